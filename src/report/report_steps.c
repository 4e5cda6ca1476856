#include "report/parts.h"

#include <inttypes.h>

enum km_status km_steps_csv_open(struct km_steps_csv *csv, const char *path, struct km_error *error)
{
    enum km_status status = km_outfile_open(&csv->file, path, error);
    if (status == KM_OK)
        fputs("time_s,running,waiting,kv_usage,prefill_requests,prefill_tokens,decode_requests,decode_tokens,"
              "elapsed_ms,preempted,replica,engine\n",
              csv->file.stream);
    return status;
}

void km_steps_csv_row(struct km_steps_csv *csv, const struct km_report_step *step)
{
    FILE *stream = csv->file.stream;
    km_report_csv_time(stream, step->now_ps);
    fprintf(stream, ",%" PRIu64 ",%" PRIu64 ",%.9g", step->running, step->waiting, step->kv_usage);
    fprintf(stream, ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32, step->prefill_requests,
            step->prefill_tokens, step->decode_requests, step->decode_requests);
    fprintf(stream, ",%.9g,%" PRIu32 ",%" PRIu32 ",%" PRIu32 "\n", (double)step->waited_ps * 1e-9,
            step->preempted, step->replica, step->rank);
    km_outfile_note(&csv->file);
}

void km_steps_csv_abort(struct km_steps_csv *csv)
{
    km_outfile_abort(&csv->file);
}
