/* Would the engine start with its max_model_len? */
#include "report/cells.h"
#include "report/parts.h"

void km_report_start_json(struct km_json_writer *w, uint32_t max_model_len, uint64_t most_model_len)
{
    km_json_put_bool(w, "starts", max_model_len <= most_model_len);
    km_json_put_count(w, "max_model_len", max_model_len);
    if (most_model_len == UINT64_MAX)
        km_json_put_null(w, "most_model_len");
    else
        km_json_put_count(w, "most_model_len", most_model_len);
}

void km_report_start_text(struct km_text *out, uint32_t max_model_len, uint64_t most_model_len)
{
    char most[KM_CELL], stated[KM_CELL];
    km_text_printf(out, "does not start: --max-model-len <= %s (now %s)", km_cell_count(most, most_model_len),
                   km_cell_count(stated, max_model_len));
}
