#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CELL  24
#define LABEL "%-12s"

/* Digits grouped by three: 1234567 -> 1,234,567. `decimals` as in %.*f. */
static const char *grouped(char *out, double value, int decimals)
{
    char digits[CELL];
    if (!isfinite(value) || fabs(value) >= 1e12) {
        snprintf(out, CELL, isfinite(value) ? "%.3g" : "-", value);
        return out;
    }
    snprintf(digits, sizeof digits, "%.*f", decimals, value);
    size_t whole = strcspn(digits, "."), o = 0;
    for (size_t i = 0; digits[i] && o + 2 < CELL; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0 && digits[i - 1] != '-')
            out[o++] = ',';
        out[o++] = digits[i];
    }
    out[o] = '\0';
    return out;
}

/* About three significant digits. */
static const char *rounded(char *out, double value)
{
    return grouped(out, value, fabs(value) < 10 ? 2 : fabs(value) < 100 ? 1 : 0);
}

static const char *count(char *out, uint64_t value)
{
    return grouped(out, (double)value, 0);
}

static const char *seconds(char *out, double value_s)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"s", 1}, {"ms", 1e3}, {"us", 1e6}, {"ns", 1e9}};
    if (isnan(value_s) || value_s <= 0) {
        snprintf(out, CELL, isnan(value_s) ? "-" : "0 s");
        return out;
    }
    /* The smallest unit that leaves three digits before the point, as they will be printed. */
    int unit = 0;
    while (unit < 3 && value_s * units[unit].factor < 0.9995)
        unit++;
    char number[CELL];
    snprintf(out, CELL, "%.20s %s", rounded(number, value_s * units[unit].factor), units[unit].name);
    return out;
}

static const char *percent(char *out, double share)
{
    if (isnan(share))
        snprintf(out, CELL, "-");
    else
        snprintf(out, CELL, "%.1f %%", 100 * share);
    return out;
}

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

static void requests(const struct km_report *r, struct km_text *out)
{
    const struct km_summary *s = r->summary;
    char a[CELL], b[CELL], c[CELL];
    km_text_printf(out, LABEL "%s completed of %s", "requests", count(a, s->completed),
                   count(b, s->submitted));
    if (s->rejected)
        km_text_printf(out, ", %s rejected", count(a, s->rejected));
    if (s->abandoned)
        km_text_printf(out, ", %s abandoned", count(a, s->abandoned));
    if (s->preemptions)
        km_text_printf(out, ", %s preemptions", count(a, s->preemptions));
    km_text_puts(out, r->partial ? " (stopped early)\n" : "\n");
    for (size_t i = 0; i < r->reason_count; i++)
        km_text_printf(out, LABEL "%s rejected: %s\n", "", count(a, r->reasons[i].count),
                       r->reasons[i].reason);
    km_text_printf(out, LABEL "%s\n", "duration", seconds(a, s->duration_s));
    km_text_printf(out, LABEL "%s requests/s, %s output tokens/s, %s tokens/s\n", "throughput",
                   rounded(a, s->requests_per_s), rounded(b, s->output_tokens_per_s),
                   rounded(c, s->total_tokens_per_s));
    km_text_printf(out, LABEL "%s", "load", km_verdict_name(s->verdict));
    if (s->verdict == KM_SATURATED)
        km_text_printf(out, ": more than the system can serve; %s requests waited when the arrivals ended",
                       count(a, s->waiting_at_last_arrival));
    else if (s->verdict == KM_UNKNOWN)
        km_text_puts(out, ": too short or too uneven to tell whether it is stable");
    km_text_puts(out, "\n\n");
}

static void latencies(const struct km_summary *s, struct km_text *out)
{
    static const struct {
        enum km_latency metric;
        const char *name;
    } rows[] = {{KM_TTFT, "TTFT"},
                {KM_TPOT, "TPOT"},
                {KM_ITL, "ITL"},
                {KM_QUEUEING_DELAY, "queueing"},
                {KM_NORMALIZED, "E2E/token"},
                {KM_E2E, "E2E"}};
    char cell[CELL];
    km_text_printf(out, LABEL "%9s     ±95 %% %8s %8s %8s %8s %8s\n", "latency", "mean", "p50", "p90", "p95",
                   "p99", "max");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct km_latency_summary *l = &s->latency[rows[i].metric];
        km_text_printf(out, LABEL "%9s", rows[i].name, seconds(cell, l->mean_s));
        km_text_printf(out, "  %8s", seconds(cell, l->ci95_s));
        const double rest[] = {l->p50_s, l->p90_s, l->p95_s, l->p99_s, l->max_s};
        for (size_t j = 0; j < sizeof rest / sizeof rest[0]; j++)
            km_text_printf(out, " %8s", seconds(cell, rest[j]));
        km_text_puts(out, "\n");
    }
    km_text_puts(out, "\n");
}

static void machine(const struct km_report *r, struct km_text *out)
{
    const struct km_summary *s = r->summary;
    char a[CELL], b[CELL], c[CELL], d[CELL];
    km_text_printf(out, LABEL "%s of %s, with %s sequences and %s tokens on average\n", "steps",
                   count(a, s->steps), seconds(b, s->step_mean_s), rounded(c, s->mean_batch_sequences),
                   rounded(d, s->mean_batch_tokens));
    if (r->kv_capacity_blocks) {
        double capacity = (double)r->kv_capacity_blocks;
        km_text_printf(out, LABEL "%s blocks, %s used on average, %s at the peak", "KV cache",
                       count(a, r->kv_capacity_blocks), percent(b, s->mean_blocks / capacity),
                       percent(c, (double)s->peak_blocks / capacity));
        if (!isnan(s->prefix_hit_rate))
            km_text_printf(out, ", prefix hits %s", percent(d, s->prefix_hit_rate));
        km_text_puts(out, "\n");
    }
    km_text_printf(out, LABEL "busy %s, MFU %s, MBU %s\n", "utilisation", percent(a, r->busy),
                   percent(b, r->mfu), percent(c, r->mbu));
}

static void slo(const struct km_report *r, struct km_text *out)
{
    const struct km_summary *s = r->summary;
    char a[CELL], b[CELL];
    if (!s->slo_stated)
        return;
    km_text_printf(out, LABEL "%s, goodput %s requests/s\n", "SLO", s->slo_attained ? "met" : "MISSED",
                   rounded(a, s->goodput_per_s));
    for (uint32_t i = 0; i < r->slo_count; i++) {
        const struct km_slo_term *term = &r->slo[i];
        char name[48];
        if (term->quantile < 0)
            snprintf(name, sizeof name, "%s mean", km_latency_key((enum km_latency)term->metric));
        else
            snprintf(name, sizeof name, "%s p%.6g", km_latency_key((enum km_latency)term->metric),
                     100 * term->quantile);
        bool missed = s->slo_value_s[i] > term->limit_s;
        km_text_printf(out, LABEL "%s %s, limit %s%s\n", "", name, seconds(a, s->slo_value_s[i]),
                       seconds(b, term->limit_s), missed ? "  MISSED" : "");
    }
}

void km_report_text(const struct km_report *r, struct km_text *out)
{
    const struct km_summary *s = r->summary;
    char a[CELL], b[CELL], c[CELL];
    headline(r, out);
    requests(r, out);
    latencies(s, out);
    machine(r, out);
    slo(r, out);
    for (size_t i = 0; i < r->note_count; i++)
        km_text_printf(out, LABEL "%s\n", "note", r->notes[i]);
    km_text_printf(out, LABEL "%s wall, %s events, %s requests/s", "simulator", seconds(a, r->wall_s),
                   count(b, r->events),
                   rounded(c, r->wall_s > 0 ? (double)s->completed / r->wall_s : (double)NAN));
    km_text_printf(out, ", seed %llu\n", (unsigned long long)r->seed);
}
