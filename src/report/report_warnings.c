#include "report/cells.h"
#include "report/parts.h"

#include <string.h>

#define PAGE_WIDTH 80u

void km_report_warnings_json(const char *const *warnings, size_t count, struct km_json_writer *w)
{
    km_json_put_open(w, "warnings", '[');
    for (size_t i = 0; i < count; i++)
        km_json_put_string(w, NULL, warnings[i]);
    km_json_put_close(w, ']');
}

void km_report_warnings_text(const char *const *warnings, size_t count, const char *label,
                             struct km_text *out)
{
    for (size_t i = 0; i < count; i++) {
        km_text_puts(out, label);
        km_put_wrapped(warnings[i], (unsigned)strlen(label), PAGE_WIDTH, out);
    }
}
