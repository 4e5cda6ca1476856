/* What a report says about a fleet: its groups of equal replicas, and single replicas. */
#include "base/simtime.h"
#include "metrics/quantile.h"
#include "report/cells.h"
#include "report/parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static void put_latency(struct km_json_writer *w, const char *key, const struct km_report_group_latency *l,
                        uint64_t requests)
{
    km_json_put_open(w, key, '{');
    km_json_put_number(w, "mean", l->mean_s);
    km_json_put_number(w, "p50", l->p50_s);
    km_json_put_number(w, "p99", l->p99_s);
    km_report_thin_json(w, requests);
    km_json_put_close(w, '}');
}

static void put_group(struct km_json_writer *w, const struct km_report_group *g)
{
    km_json_put_open(w, NULL, '{');
    km_json_put_string(w, "device", g->device);
    km_json_put_string(w, "layout", g->layout);
    km_json_put_count(w, "gpus_per_replica", g->gpus_per_replica);
    km_json_put_count(w, "least_replicas", g->least_replicas);
    km_json_put_count(w, "most_replicas", g->most_replicas);
    km_json_put_number(w, "mean_replicas", g->mean_replicas);
    km_json_put_number(w, "replica_seconds", g->replica_seconds);
    km_json_put_number(w, "gpu_seconds", g->gpu_seconds);
    km_json_put_count(w, "scale_ups", g->scale_ups);
    km_json_put_count(w, "scale_downs", g->scale_downs);
    km_json_put_count(w, "requests", g->requests);
    km_json_put_count(w, "prompt_tokens", g->prompt_tokens);
    km_json_put_count(w, "output_tokens", g->output_tokens);
    km_json_put_count(w, "preemptions", g->preemptions);
    km_json_put_count(w, "steps", g->steps);
    km_json_put_count(w, "kv_capacity_blocks", g->kv_capacity_blocks);
    km_json_put_count(w, "kv_peak_blocks", g->kv_peak_blocks);
    km_report_start_json(w, g->max_model_len, g->most_model_len);
    put_latency(w, "ttft_s", &g->ttft, g->requests);
    put_latency(w, "tpot_s", &g->tpot, g->requests);
    put_latency(w, "e2e_s", &g->e2e, g->requests);
    km_json_put_number(w, "mfu", g->mfu);
    km_json_put_number(w, "mbu", g->mbu);
    km_json_put_number(w, "busy", g->busy);
    km_json_put_close(w, '}');
}

static void put_replica(struct km_json_writer *w, const struct km_report_replica *r)
{
    km_json_put_open(w, NULL, '{');
    km_json_put_count(w, "replica", r->replica);
    km_json_put_count(w, "group", r->group);
    km_json_put_number(w, "start_s", km_s_from_ps(r->start_ps));
    km_json_put_number(w, "end_s", km_s_from_ps(r->end_ps));
    km_json_put_count(w, "requests", r->requests);
    km_json_put_count(w, "prompt_tokens", r->prompt_tokens);
    km_json_put_count(w, "output_tokens", r->output_tokens);
    km_json_put_count(w, "preemptions", r->preemptions);
    km_json_put_count(w, "steps", r->steps);
    km_json_put_number(w, "ttft_mean_s", r->ttft_mean_s);
    km_json_put_number(w, "e2e_mean_s", r->e2e_mean_s);
    km_json_put_number(w, "busy", r->busy);
    km_json_put_count(w, "kv_capacity_blocks", r->kv_capacity_blocks);
    km_json_put_count(w, "kv_peak_blocks", r->kv_peak_blocks);
    km_json_put_close(w, '}');
}

void km_report_fleet_json(const struct km_report *r, struct km_json_writer *w)
{
    km_json_put_open(w, "fleet", '{');
    km_json_put_string(w, "router", r->router);
    km_json_put_number(w, "gpu_seconds", r->gpu_seconds);
    km_json_put_open(w, "groups", '[');
    for (size_t i = 0; i < r->group_count; i++)
        put_group(w, &r->groups[i]);
    km_json_put_close(w, ']');
    if (r->replicas) {
        km_json_put_open(w, "replicas", '[');
        for (size_t i = 0; i < r->replica_count; i++)
            put_replica(w, &r->replicas[i]);
        km_json_put_close(w, ']');
    } else {
        km_json_put_null(w, "replicas");
    }
    km_json_put_close(w, '}');
}

/* --- text ---------------------------------------------------------------------------------------------- */

static void elastic(const struct km_report_group *g, struct km_text *out)
{
    char a[KM_CELL], b[KM_CELL], c[KM_CELL];
    km_text_printf(out, KM_REPORT_LABEL "%s x %s %s: %s GPU-hours\n", "fleet",
                   km_cell_rounded(a, g->mean_replicas), g->device, g->layout,
                   km_cell_rounded(b, g->gpu_seconds / 3600));
    km_text_printf(out, KM_REPORT_LABEL "%u to %u replicas, %s added and %s removed\n", "", g->least_replicas,
                   g->most_replicas, km_cell_count(a, g->scale_ups), km_cell_count(c, g->scale_downs));
}

static bool group_line(const struct km_report_group *g, struct km_text *out)
{
    char replicas[KM_CELL] = "-", requests[KM_CELL], busy[KM_CELL], mean[KM_CELL], gap = ' ';
    if (isfinite(g->mean_replicas)) /* nothing completed: no mean */
        snprintf(replicas, sizeof replicas, "%.4g", g->mean_replicas);
    km_text_printf(out, "  %4s x %-12s %-12s %9s %8s", replicas, g->device, g->layout,
                   km_cell_count(requests, g->requests), km_cell_percent(busy, g->busy));
    km_text_printf(out, " %8s", km_cell_seconds(mean, g->ttft.mean_s));
    km_report_quantile_text(&gap, g->ttft.p99_s, 0.99, g->requests, out);
    km_text_printf(out, "%c%8s", gap, km_cell_seconds(mean, g->tpot.mean_s));
    gap = ' ';
    bool marked = km_report_quantile_text(&gap, g->tpot.p99_s, 0.99, g->requests, out);
    km_text_puts(out, marked ? KM_QUANTILE_MARK "\n" : "\n");
    return marked;
}

void km_report_fleet_text(const struct km_report *r, struct km_text *out)
{
    bool several = false, moved = false;
    for (size_t i = 0; i < r->group_count; i++) {
        const struct km_report_group *g = &r->groups[i];
        several = several || g->most_replicas > 1;
        if (g->scale_ups + g->scale_downs == 0)
            continue;
        moved = true;
        elastic(g, out);
    }
    several = several || r->group_count > 1;
    if (several)
        km_text_printf(out, KM_REPORT_LABEL "%s\n", "router", r->router);
    if (r->group_count > 1) {
        km_text_printf(out, "\n  replicas               %-12s %9s %8s %8s %8s %8s %8s\n", "", "requests",
                       "busy", "TTFT", "p99", "TPOT", "p99");
        bool marked = false;
        for (size_t i = 0; i < r->group_count; i++)
            marked |= group_line(&r->groups[i], out);
        if (marked)
            km_report_mark_text(out);
        km_text_puts(out, "\n");
    }
    if (moved || !r->replicas || r->replica_count < 2)
        return;
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t i = 0; i < r->replica_count; i++) {
        uint64_t requests = r->replicas[i].requests;
        least = requests < least ? requests : least;
        most = requests > most ? requests : most;
    }
    char a[KM_CELL], b[KM_CELL];
    km_text_printf(out, KM_REPORT_LABEL "%s to %s requests each\n", "replicas", km_cell_count(a, least),
                   km_cell_count(b, most));
}

/* --- CSV ----------------------------------------------------------------------------------------------- */

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
