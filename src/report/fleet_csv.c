/* replicas.csv and fleet.csv: single replicas, and the sizes of groups over time. */
#include "report/parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum km_status km_replicas_csv_open(struct km_replicas_csv *csv, const char *path, struct km_error *error)
{
    enum km_status status = km_outfile_open(&csv->file, path, error);
    if (status == KM_OK)
        fputs(
            "replica,group,start_s,end_s,requests,prompt_tokens,output_tokens,preemptions,steps,ttft_mean_s,"
            "e2e_mean_s,busy,kv_capacity_blocks,kv_peak_blocks\n",
            csv->file.stream);
    return status;
}

/* Nothing where undefined. */
static void write_number(FILE *stream, double value)
{
    if (!isfinite(value))
        fputc(',', stream);
    else
        fprintf(stream, "%.9g,", value);
}

void km_replicas_csv_row(struct km_replicas_csv *csv, const struct km_report_replica *r)
{
    FILE *stream = csv->file.stream;
    fprintf(stream, "%" PRIu32 ",%" PRIu32 ",", r->replica, r->group);
    km_report_csv_time(stream, r->start_ps);
    fputc(',', stream);
    km_report_csv_time(stream, r->end_ps);
    fprintf(stream, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", r->requests,
            r->prompt_tokens, r->output_tokens, r->preemptions, r->steps);
    write_number(stream, r->ttft_mean_s);
    write_number(stream, r->e2e_mean_s);
    write_number(stream, r->busy);
    fprintf(stream, "%" PRIu64 ",%" PRIu64 "\n", r->kv_capacity_blocks, r->kv_peak_blocks);
}

void km_replicas_csv_abort(struct km_replicas_csv *csv)
{
    km_outfile_abort(&csv->file);
}

enum km_status km_fleet_csv_open(struct km_fleet_csv *csv, const char *path, struct km_error *error)
{
    enum km_status status = km_outfile_open(&csv->file, path, error);
    if (status == KM_OK)
        fputs("time_s,group,starting,serving,draining\n", csv->file.stream);
    return status;
}

void km_fleet_csv_row(struct km_fleet_csv *csv, uint64_t now_ps, uint32_t group, uint32_t starting,
                      uint32_t serving, uint32_t draining)
{
    km_report_csv_time(csv->file.stream, now_ps);
    fprintf(csv->file.stream, ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 "\n", group, starting, serving,
            draining);
    km_outfile_note(&csv->file);
}

void km_fleet_csv_abort(struct km_fleet_csv *csv)
{
    km_outfile_abort(&csv->file);
}
