#include "base/simtime.h"
#include "report/parts.h"

#include <inttypes.h>
#include <string.h>

enum km_status km_requests_csv_open(struct km_requests_csv *csv, const char *path, struct km_error *error)
{
    enum km_status status = km_outfile_open(&csv->file, path, error);
    if (status == KM_OK)
        fputs("id,arrival_s,prompt_tokens,output_tokens,scheduled_s,started_s,first_token_s,last_token_s,"
              "preemptions,replica,queued_s,client_first_s,client_last_s\n",
              csv->file.stream);
    return status;
}

static void write_id(FILE *stream, const struct km_record *record)
{
    const char *label = record->label;
    if (!label) {
        fprintf(stream, "%" PRIu64, record->id);
        return;
    }
    if (!strpbrk(label, ",\"\r\n")) {
        fputs(label, stream);
        return;
    }
    fputc('"', stream);
    for (; *label; label++) {
        if (*label == '"')
            fputc('"', stream);
        fputc(*label, stream);
    }
    fputc('"', stream);
}

void km_report_csv_time(FILE *stream, uint64_t ps)
{
    fprintf(stream, "%" PRIu64, (uint64_t)(ps / KM_PS_PER_S));
    uint64_t fraction = ps % KM_PS_PER_S;
    if (fraction == 0)
        return;
    int digits = 12;
    for (; fraction % 10 == 0; fraction /= 10)
        digits--;
    fprintf(stream, ".%0*" PRIu64, digits, fraction);
}

static void write_time(FILE *stream, uint64_t ps)
{
    fputc(',', stream);
    km_report_csv_time(stream, ps);
}

void km_requests_csv_row(struct km_requests_csv *csv, enum km_outcome outcome, const struct km_record *record)
{
    FILE *stream = csv->file.stream;
    write_id(stream, record);
    write_time(stream, record->arrival_ps);
    fprintf(stream, ",%" PRIu32 ",%" PRIu32, record->prompt_tokens, record->output_tokens);
    if (outcome != KM_COMPLETED) {
        fputs(",,,,,0,,,,\n", stream);
        km_outfile_note(&csv->file);
        return;
    }
    write_time(stream, record->scheduled_ps);
    write_time(stream, record->started_ps);
    write_time(stream, record->first_token_ps);
    write_time(stream, record->last_token_ps);
    fprintf(stream, ",%" PRIu32 ",%" PRIu32, record->preemptions, record->replica);
    write_time(stream, record->queued_ps);
    write_time(stream, record->first_token_ps + record->delivery_ps);
    write_time(stream, record->last_token_ps + record->delivery_ps);
    fputc('\n', stream);
    km_outfile_note(&csv->file);
}

void km_requests_csv_abort(struct km_requests_csv *csv)
{
    km_outfile_abort(&csv->file);
}
