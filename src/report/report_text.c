#include "report/cells.h"
#include "report/parts.h"

#include <math.h>
#include <stdio.h>

#define LABEL KM_REPORT_LABEL

static void headline(const struct km_report *r, struct km_text *out)
{
    const char *parts[] = {r->model, r->device, r->layout, r->policy};
    bool any = false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!parts[i])
            continue;
        km_text_printf(out, "%s%s", any ? (i == 1 ? " on " : ", ") : "", parts[i]);
        any = true;
    }
    if (any)
        km_text_puts(out, "\n");
    if (r->workload)
        km_text_printf(out, "workload: %s\n", r->workload);
    if (any || r->workload)
        km_text_puts(out, "\n");
}

/* Groups whose engine would refuse to start. */
static void starts(const struct km_report *r, struct km_text *out)
{
    for (size_t i = 0; i < r->group_count; i++) {
        const struct km_report_group *g = &r->groups[i];
        if (g->max_model_len <= g->most_model_len)
            continue;
        km_text_printf(out, LABEL, r->group_count > 1 ? g->device : "engine");
        km_report_start_text(out, g->max_model_len, g->most_model_len);
        km_text_printf(out, "\n" LABEL "more than the KV cache holds; simulated all the same\n", "");
    }
}

static void requests(const struct km_report *r, struct km_text *out)
{
    const struct km_summary *s = r->summary;
    char a[KM_CELL], b[KM_CELL], c[KM_CELL];
    km_text_printf(out, LABEL "%s completed of %s", "requests", km_cell_count(a, s->completed),
                   km_cell_count(b, s->submitted));
    if (s->rejected)
        km_text_printf(out, ", %s rejected", km_cell_count(a, s->rejected));
    if (s->abandoned)
        km_text_printf(out, ", %s abandoned", km_cell_count(a, s->abandoned));
    if (s->cancelled)
        km_text_printf(out, ", %s cancelled with %s output tokens", km_cell_count(a, s->cancelled),
                       km_cell_count(b, s->cancelled_tokens));
    if (s->preemptions)
        km_text_printf(out, ", %s preemptions", km_cell_count(a, s->preemptions));
    km_text_puts(out, r->partial ? " (partial: stopped early)\n" : "\n");
    for (size_t i = 0; i < r->reason_count; i++)
        km_text_printf(out, LABEL "%s rejected: %s\n", "", km_cell_count(a, r->reasons[i].count),
                       r->reasons[i].reason);
    if (r->unsent_turns)
        km_text_printf(out, LABEL "%s later turns never sent: one before them was not answered\n", "",
                       km_cell_count(a, r->unsent_turns));
    km_text_printf(out, LABEL "%s\n", "duration", km_cell_seconds(a, s->duration_s));
    km_text_printf(out, LABEL "%s requests/s, %s output tokens/s, %s tokens/s\n", "throughput",
                   km_cell_rounded(a, s->requests_per_s), km_cell_rounded(b, s->output_tokens_per_s),
                   km_cell_rounded(c, s->total_tokens_per_s));
    km_text_printf(out, LABEL "%s", "load", km_verdict_name(s->verdict));
    if (s->verdict == KM_SATURATED)
        km_text_printf(out, ": more than the system can serve; %s requests waited when the arrivals ended",
                       km_cell_count(a, s->waiting_at_last_arrival));
    else if (s->verdict == KM_UNKNOWN)
        km_text_puts(out, ": too short or too uneven to tell whether it is stable");
    km_text_puts(out, "\n\n");
}

static void latencies(const struct km_summary *s, bool of_engine, struct km_text *out)
{
    static const struct {
        enum km_latency metric;
        const char *name;
    } rows[] = {{KM_TTFT, "TTFT"},
                {KM_TPOT, "TPOT"},
                {KM_ITL, "ITL"},
                {KM_QUEUEING_DELAY, "queueing"},
                {KM_NORMALIZED, "E2E/token"},
                {KM_E2E, "E2E"},
                {KM_TTFT_ENGINE, "engine TTFT"},
                {KM_E2E_ENGINE, "engine E2E"}};
    const size_t count = sizeof rows / sizeof rows[0] - (of_engine ? 0 : 2);
    char cell[KM_CELL];
    bool marked = false;
    km_text_printf(out, LABEL "%9s     ±95 %% %8s %8s %8s %8s %8s\n", "latency", "mean", "p50", "p90", "p95",
                   "p99", "max");
    for (size_t i = 0; i < count; i++) {
        const struct km_latency_summary *l = &s->latency[rows[i].metric];
        km_text_printf(out, LABEL "%9s", rows[i].name, km_cell_seconds(cell, l->mean_s));
        km_text_printf(out, "  %8s", km_cell_seconds(cell, l->ci95_s));
        char gap = ' ';
        marked |= km_report_quantile_text(&gap, l->p50_s, 0.5, l->independent, out);
        marked |= km_report_quantile_text(&gap, l->p90_s, 0.9, l->independent, out);
        marked |= km_report_quantile_text(&gap, l->p95_s, 0.95, l->independent, out);
        marked |= km_report_quantile_text(&gap, l->p99_s, 0.99, l->independent, out);
        km_text_printf(out, "%c%8s\n", gap, km_cell_seconds(cell, l->max_s));
    }
    if (marked)
        km_report_mark_text(out);
    km_text_puts(out, "\n");
}

static void machine(const struct km_report *r, struct km_text *out)
{
    const struct km_summary *s = r->summary;
    char a[KM_CELL], b[KM_CELL], c[KM_CELL], d[KM_CELL];
    km_text_printf(out, LABEL "%s of %s, with %s sequences and %s tokens on average\n", "steps",
                   km_cell_count(a, s->steps), km_cell_seconds(b, s->step_mean_s),
                   km_cell_rounded(c, s->mean_batch_sequences), km_cell_rounded(d, s->mean_batch_tokens));
    if (r->kv_capacity_blocks) {
        double capacity = (double)r->kv_capacity_blocks;
        km_text_printf(out, LABEL "%s blocks, %s used on average, %s at the peak", "KV cache",
                       km_cell_count(a, r->kv_capacity_blocks), km_cell_percent(b, s->mean_blocks / capacity),
                       km_cell_percent(c, (double)s->peak_blocks / capacity));
        if (!isnan(s->prefix_hit_rate))
            km_text_printf(out, ", prefix hits %s", km_cell_percent(d, s->prefix_hit_rate));
        km_text_puts(out, "\n");
    }
    km_text_printf(out, LABEL "busy %s, MFU %s, MBU %s\n", "utilisation", km_cell_percent(a, r->busy),
                   km_cell_percent(b, r->mfu), km_cell_percent(c, r->mbu));
}

void km_report_text(const struct km_report *r, struct km_text *out)
{
    const struct km_summary *s = r->summary;
    char a[KM_CELL], b[KM_CELL], c[KM_CELL];
    headline(r, out);
    starts(r, out);
    requests(r, out);
    latencies(s, r->behind_frontend, out);
    km_report_classes_text(s, out);
    machine(r, out);
    km_report_fleet_text(r, out);
    km_report_cost_text(r->bill, out);
    km_report_slo_text(s, out);
    for (size_t i = 0; i < r->note_count; i++)
        km_text_printf(out, LABEL "%s\n", "note", r->notes[i]);
    km_report_warnings_text(r->warnings, r->warning_count, "warning     ", out);
    km_report_accuracy_text(r->accuracy, r->accuracy_count, "accuracy    ", out);
    km_text_printf(out, LABEL "%s wall, %s events, %s requests/s", "simulator", km_cell_seconds(a, r->wall_s),
                   km_cell_count(b, r->events),
                   km_cell_rounded(c, r->wall_s > 0 ? (double)s->completed / r->wall_s : (double)NAN));
    km_text_printf(out, ", seed %llu\n", (unsigned long long)r->seed);
}
