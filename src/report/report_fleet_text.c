/* What the text of a report says about a fleet. */
#include "metrics/quantile.h"
#include "report/cells.h"
#include "report/parts.h"

#include <math.h>
#include <stdio.h>

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
