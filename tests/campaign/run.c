#include "campaign/run.h"

#include "answer/describe.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sink {
    struct run *run;
    struct km_requests_csv *csv;
    struct km_report_replica replicas[256];
    size_t replica_count;
};

static void keep_row(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct sink *sink = context;
    struct run *run = sink->run;
    km_requests_csv_row(sink->csv, outcome, record);
    run->rows = km_grow(run->rows, &run->capacity, run->count + 1, sizeof *run->rows);
    run->rows[run->count] = (struct ended){outcome, *record};
    run->rows[run->count++].record.label = NULL;
}

/* As `kingman run` lists them. */
static void keep_replica(void *context, const struct km_replica_result *r)
{
    struct sink *sink = context;
    if (sink->replica_count < sizeof sink->replicas / sizeof *sink->replicas)
        sink->replicas[sink->replica_count] =
            (struct km_report_replica){.replica = r->replica,
                                       .group = r->group,
                                       .start_ps = r->start_ps,
                                       .end_ps = r->end_ps,
                                       .requests = r->completed,
                                       .prompt_tokens = r->prompt_tokens,
                                       .output_tokens = r->output_tokens,
                                       .preemptions = r->preemptions,
                                       .steps = r->steps,
                                       .ttft_mean_s = r->ttft_mean_s,
                                       .e2e_mean_s = r->e2e_mean_s,
                                       .busy = r->busy,
                                       .kv_capacity_blocks = r->capacity_blocks,
                                       .kv_peak_blocks = r->peak_blocks};
    sink->replica_count++;
}

static void describe(struct sink *sink, const struct run_options *options)
{
    struct run *run = sink->run;
    struct km_arena arena = {0};
    struct km_report report;
    km_scenario_write_json(&run->scenario, &run->resolved);
    km_describe_run(&run->fleet, &run->result, options->without_scenario ? NULL : km_text_c(&run->resolved),
                    run->scenario.seed, 0, &arena, &report);
    report.events = 0; /* fast-forward takes fewer */
    report.replica_count = sink->replica_count;
    report.replicas =
        sink->replica_count <= sizeof sink->replicas / sizeof *sink->replicas ? sink->replicas : NULL;
    km_report_json(&report, &run->json);
    km_report_text(&report, &run->table);
    km_arena_release(&arena);
}

static void simulate(struct sink *sink, const char *path, const struct run_options *options)
{
    struct run *run = sink->run;
    const struct km_run_options how = {.fast_forward = !options->no_fast_forward,
                                       .ended = keep_row,
                                       .replica_ended = keep_replica,
                                       .context = sink};
    run->status = km_scenario_read(path, NULL, 0, &run->scenario, &run->error);
    if (run->status == KM_OK)
        run->status = km_fleet_create(&run->scenario, &run->fleet, &run->error);
    if (run->status == KM_OK)
        run->status = km_fleet_run(&run->fleet, &run->scenario.workload, run->scenario.seed, &how,
                                   &run->result, &run->error);
    if (run->status == KM_OK)
        describe(sink, options);
}

static void take_csv(const char *path, struct km_text *out)
{
    char *bytes;
    size_t size;
    if (km_file_read(path, SIZE_MAX / 2, &bytes, &size, NULL) != KM_OK)
        abort();
    km_text_append(out, bytes, size);
    free(bytes);
    remove(path);
}

void run_file(const char *path, const struct run_options *options, struct run *out)
{
    static const struct run_options usual = {0};
    struct km_requests_csv csv;
    struct sink sink = {.run = out, .csv = &csv};
    char csv_path[512];
    memset(out, 0, sizeof *out);
    snprintf(csv_path, sizeof csv_path, "%s.csv", path);
    if (km_requests_csv_open(&csv, csv_path, &out->error) != KM_OK)
        abort();
    simulate(&sink, path, options ? options : &usual);
    if (km_outfile_commit(&csv.file, NULL) != KM_OK)
        abort();
    take_csv(csv_path, &out->csv);
}

void run_case(const struct random_scenario *c, const char *folder, const struct run_options *options,
              struct run *out)
{
    char path[512];
    case_write(c, folder);
    snprintf(path, sizeof path, "%s/case.yaml", folder);
    run_file(path, options, out);
}

void run_release(struct run *run)
{
    km_fleet_release(&run->fleet);
    km_scenario_release(&run->scenario);
    free(run->rows);
    km_text_release(&run->json);
    km_text_release(&run->table);
    km_text_release(&run->resolved);
    km_text_release(&run->csv);
    memset(run, 0, sizeof *run);
}

const struct ended *run_row(const struct run *run, uint64_t id)
{
    for (size_t i = 0; i < run->count; i++)
        if (run->rows[i].record.id == id)
            return &run->rows[i];
    return NULL;
}
