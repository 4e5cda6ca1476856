#include "report/plan_report.h"

#include "metrics/quantile.h"
#include "planner/bounds.h"
#include "planner/rank.h"
#include "report/cells.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FALLEN_SHOWN 3u /* candidates of each kind that fell */
#define TERM_COLUMNS 2u
#define LABEL_WIDTH  46
#define PAGE_WIDTH   118u

static void put_plural(struct km_text *out, uint64_t count, const char *noun)
{
    char cell[KM_CELL];
    km_text_printf(out, "%s %s%s", km_cell_count(cell, count), noun, count == 1 ? "" : "s");
}

/* A job: all that counts is when it is done. */
static bool is_job(const struct km_plan *plan)
{
    const struct km_scenario *scenario = &plan->scenario;
    bool deadline = false;
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        const int metric = scenario->slo[i].metric;
        if (metric != KM_SLO_DEADLINE && !km_slo_is_share(metric))
            return false;
        deadline = deadline || metric == KM_SLO_DEADLINE;
    }
    return deadline;
}

static void put_load(const struct km_plan *plan, struct km_text *out)
{
    char cell[KM_CELL];
    if (is_job(plan) && plan->load.open)
        put_plural(out, plan->load.count, "request");
    else if (plan->load.open && isfinite(plan->load.rate_per_s))
        km_text_printf(out, "%s requests/s", km_cell_rounded(cell, plan->load.rate_per_s));
    else
        km_text_puts(out, "the workload");
}

static const char *slo_words(const struct km_plan *plan)
{
    return plan->scenario.slo_count ? "within the SLO" : "without a growing queue (no SLO is stated)";
}

static void put_plan_name(const struct km_plan_entry *entry, struct km_text *out)
{
    const struct km_candidate *c = entry->candidate;
    km_text_printf(out, "%u x %s (%s", entry->gpus, c->device, c->layout);
    if (c->replicas > 1)
        km_text_printf(out, ", %u replicas", c->replicas);
    km_text_puts(out, ")");
}

/* Three digits of what is small. */
static const char *price_cell(char *out, double value)
{
    return value < 1.0 ? km_cell_grouped(out, value, 3) : km_cell_rounded(out, value);
}

static bool by_energy(const struct km_plan *plan)
{
    return plan->search.objective == KM_OBJECTIVE_ENERGY;
}

/* Of the GPUs, a million tokens. */
static double kwh_per_million_tokens(const struct km_plan *plan, const struct km_probe *probe)
{
    return km_plan_energy_j(&plan->load, probe) / 3.6e6 / (probe->total_tokens_per_s * probe->duration_s) *
           1e6;
}

/* --- the first line ------------------------------------------------------------------------------------- */

static void put_winner(const struct km_plan *plan, struct km_text *out)
{
    const struct km_plan_entry *winner = &plan->entries[0];
    const struct km_probe *probe = winner->candidate->probe;
    char cell[KM_CELL], other[KM_CELL];
    put_plan_name(winner, out);
    if (is_job(plan)) {
        km_text_puts(out, winner->gpus == 1 ? " serves " : " serve ");
        put_load(plan, out);
        km_text_printf(out, " in %s for $%s", km_cell_seconds(cell, probe->duration_s),
                       km_cell_grouped(other, winner->usd_per_hour * probe->duration_s / 3600.0, 2));
    } else {
        km_text_puts(out, winner->gpus == 1 ? " sustains " : " sustain ");
        put_load(plan, out);
        km_text_printf(out, " %s", slo_words(plan));
    }
    km_text_printf(out, " at $%s an hour", km_cell_grouped(cell, winner->usd_per_hour, 2));
    if (!isnan(km_plan_max_rate_per_s(winner)))
        km_text_printf(out, ", and up to %s/s", km_cell_rounded(cell, km_plan_max_rate_per_s(winner)));
    km_text_printf(out, ".\nSettings: %s; $%s and %s kWh a million tokens.\n", winner->candidate->label,
                   price_cell(cell, winner->usd_per_million_tokens),
                   price_cell(other, kwh_per_million_tokens(plan, probe)));
    if (plan->search.rent_nodes) {
        km_text_printf(out, "Rented: ");
        put_plural(out, winner->rented_gpus / winner->candidate->gpus_per_node, "whole node");
        km_text_printf(out, " of %u, %u GPUs of them unused.\n", winner->candidate->gpus_per_node,
                       winner->rented_gpus - winner->gpus);
    }
}

/* By what plans are ranked, and how much was simulated of each. */
static void put_method(const struct km_plan *plan, struct km_text *out)
{
    const struct km_load *load = &plan->load;
    const struct km_capacity *c = plan->holding ? plan->entries[0].candidate->capacity : NULL;
    char cell[KM_CELL];
    km_text_printf(out, "Ranked by %s", km_objective_name(plan->search.objective));
    if (load->open) {
        km_text_puts(out, "; a run is ");
        put_plural(out, load->count, "request");
        if (isfinite(load->rate_per_s) && !is_job(plan))
            km_text_printf(out, " over %s", km_cell_seconds(cell, load->span_s));
        km_text_puts(out, load->drawn_to_tell ? ", drawn as long as this SLO takes to tell" : ", as stated");
    }
    if (c && c->kind == KM_CAPACITY_FOUND && c->length > 1.0) {
        km_text_puts(out, "; for the maximum rate ");
        put_plural(out, (uint64_t)c->requests, "request");
        km_text_printf(out, " over %s", km_cell_seconds(cell, c->requests / c->rate_per_s));
    }
    km_text_puts(out, ".\n");
}

/* A recording is too short for the SLO. */
static void put_cannot_tell(const struct km_plan *plan, struct km_text *out)
{
    const struct km_slo_term *term = &plan->scenario.slo[plan->thin_term];
    const uint64_t samples = plan->load.samples[plan->thin_term];
    char name[160], cell[KM_CELL], beyond[KM_CELL], needed[KM_CELL];
    km_slo_term_name(term, name, sizeof name);
    km_text_printf(
        out,
        "Cannot be told: %s rests on %s samples of a recorded workload, of which %s lie beyond it; it "
        "takes %u,\nhence %s samples. A longer recording has them; or ask for a lower percentile, or for "
        "a mean.\n",
        name, km_cell_count(cell, samples), km_cell_rounded(beyond, (double)samples * (1.0 - term->quantile)),
        KM_QUANTILE_BEYOND, km_cell_count(needed, km_quantile_least_samples(term->quantile)));
}

/* Of those that fell, the one that came nearest: by the ratio of its worst term if it was simulated, else the
 * one that came farthest. */
static const struct km_plan_entry *nearest(const struct km_plan *plan)
{
    const struct km_plan_entry *best = NULL;
    for (uint64_t i = 0; i < plan->candidates.count; i++) {
        const struct km_plan_entry *entry = &plan->entries[i];
        const struct km_probe *probe = entry->candidate->probe;
        if (probe && (!best || probe->worst_ratio < best->candidate->probe->worst_ratio))
            best = entry;
    }
    return best ? best : plan->candidates.count ? &plan->entries[0] : NULL;
}

static void put_infeasible(const struct km_plan *plan, struct km_text *out)
{
    km_text_puts(out, "None of ");
    put_plural(out, plan->candidates.count, "plan");
    km_text_puts(out, is_job(plan) ? " serves " : " sustains ");
    put_load(plan, out);
    km_text_printf(out, " %s on up to ", slo_words(plan));
    put_plural(out, plan->search.max_gpus, "GPU");
    km_text_puts(out, ".\n");
    const struct km_plan_entry *entry = nearest(plan);
    if (!entry)
        return;
    km_text_puts(out, "Nearest: ");
    put_plan_name(entry, out);
    if (strcmp(entry->candidate->label, "as stated") != 0)
        km_text_printf(out, ", %s", entry->candidate->label);
    km_text_printf(out, ": %s.\n", entry->candidate->reason);
}

/* --- the table ------------------------------------------------------------------------------------------ */

/* The first terms but shares: of plans that hold there is little to see in these. */
static uint32_t list_columns(const struct km_plan *plan, uint32_t terms[TERM_COLUMNS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->scenario.slo_count && count < TERM_COLUMNS; i++)
        if (!km_slo_is_share(plan->scenario.slo[i].metric))
            terms[count++] = i;
    return count;
}

static void put_head(const struct km_plan *plan, struct km_text *out)
{
    km_text_printf(out, "\n   %-4s %-*s %4s %4s %8s %7s", "rank", LABEL_WIDTH, "plan", "repl", "GPUs", "$/h",
                   by_energy(plan) ? "kWh/M" : "$/M tok");
    uint32_t terms[TERM_COLUMNS];
    const uint32_t columns = list_columns(plan, terms);
    for (uint32_t i = 0; i < columns; i++) {
        char name[160];
        km_slo_term_name(&plan->scenario.slo[terms[i]], name, sizeof name);
        km_text_printf(out, " %10.10s", name);
    }
    km_text_printf(out, " %9s\n", "max rate");
}

/* Is a value of it marked? */
static bool put_row(const struct km_plan *plan, uint64_t rank, struct km_text *out)
{
    const struct km_plan_entry *entry = &plan->entries[rank];
    const struct km_candidate *c = entry->candidate;
    char usd[KM_CELL], tokens[KM_CELL], cell[KM_CELL], gap = ' ';
    bool marked = false;
    double most_per_s = km_bounds_most_rate_per_s(&c->bounds, &plan->load, c->replicas);
    char place[24];
    snprintf(place, sizeof place, "%llu%s", (unsigned long long)rank + 1, entry->uncertain ? "~" : "");
    km_text_printf(out, " %c %-4s %-*.*s %4u %4u %8s %7s", entry->on_front ? '*' : ' ', place, LABEL_WIDTH,
                   LABEL_WIDTH, c->label, c->replicas, entry->gpus,
                   km_cell_grouped(usd, entry->usd_per_hour, 2),
                   price_cell(tokens, by_energy(plan) ? kwh_per_million_tokens(plan, c->probe)
                                                      : entry->usd_per_million_tokens));
    uint32_t terms[TERM_COLUMNS];
    const uint32_t columns = list_columns(plan, terms);
    for (uint32_t i = 0; i < columns; i++) {
        const struct km_slo_outcome *outcome = &c->probe->slo[terms[i]];
        bool rate = outcome->term.metric == KM_SLO_GOODPUT;
        km_text_printf(out, "%c%10s", gap,
                       rate ? km_cell_rounded(cell, outcome->value) : km_cell_seconds(cell, outcome->value));
        gap = ' ';
        if (!isnan(outcome->value) && km_slo_is_thin(outcome)) {
            gap = KM_QUANTILE_MARK[0];
            marked = true;
        }
    }
    if (!isnan(km_plan_max_rate_per_s(entry)))
        km_text_printf(out, "%c%7s/s\n", gap, km_cell_rounded(cell, km_plan_max_rate_per_s(entry)));
    else if (isfinite(most_per_s))
        km_text_printf(out, "%c<=%5s/s\n", gap, km_cell_rounded(cell, most_per_s));
    else
        km_text_printf(out, "%c%9s\n", gap, "-");
    return marked;
}

static void put_table(const struct km_plan_report *report, struct km_text *out)
{
    const struct km_plan *plan = report->plan;
    uint64_t shown = plan->holding;
    if (!report->all && shown > plan->search.top)
        shown = plan->search.top;
    put_head(plan, out);
    bool marked = false;
    for (uint64_t i = 0; i < shown; i++)
        marked |= put_row(plan, i, out);
    if (shown < plan->holding)
        km_text_printf(out, "     and %llu more that hold (--all, --json)\n",
                       (unsigned long long)(plan->holding - shown));
    km_text_puts(out, "   * no plan shown is better in price, latency and maximum rate at once");
    km_text_puts(out, plan->search.replicas_free ? "; replicas are the fewest that hold\n" : "\n");
    if (marked)
        km_text_printf(out, "   %s fewer than %d requests beyond it: too few to tell\n", KM_QUANTILE_MARK,
                       KM_QUANTILE_BEYOND);
    km_plan_accuracy_text(plan, shown, PAGE_WIDTH, out);
}

/* --- the winner's margin -------------------------------------------------------------------------------- */

static void put_decision(const char *what, const struct km_decision *decision, struct km_text *out)
{
    bool holds = decision->holds && decision->recorded_holds;
    km_text_printf(out, "   %-24s %s (%u of %u runs)\n", what, holds ? "still holds" : "misses the SLO",
                   decision->held, decision->replications);
}

static void put_changed(const char *what, double scale, double found_scale, double rate_per_s,
                        struct km_text *out)
{
    char rate[KM_CELL], percent[KM_CELL];
    double at_most = rate_per_s * scale / found_scale;
    km_text_printf(out, "   %-24s up to %s/s (%s of the maximum)\n", what, km_cell_rounded(rate, at_most),
                   km_cell_percent(percent, scale / found_scale));
}

static void put_margin(const struct km_plan *plan, struct km_text *out)
{
    const struct km_sensitivity *s = plan->sensitivity;
    char a[KM_CELL], b[KM_CELL], percent[KM_CELL];
    if (!s)
        return;
    const struct km_capacity *c = plan->entries[0].candidate->capacity;
    double per_scale = c->rate_per_s / c->scale;
    km_text_printf(out, "\nThe winner's margin: %s above the asked load.\n",
                   km_cell_percent(percent, s->headroom));
    if (!isnan(c->low))
        km_text_printf(out, "   %-24s %s to %s/s (95 %% interval, %u workloads like it)\n", "maximum rate",
                       km_cell_rounded(a, c->low * per_scale), km_cell_rounded(b, c->high * per_scale),
                       c->replications);
    if (c->low < 1.0)
        km_text_puts(
            out,
            "   The interval reaches below the asked load: one replica more would be on the safe side.\n");
    if (!isnan(s->low) && !isnan(s->high))
        km_text_printf(out, "   %-24s %s to %s/s (steps take %.2f to %.2f times as long: %s)\n",
                       "if the cost model errs", km_cell_rounded(a, s->low * per_scale),
                       km_cell_rounded(b, s->high * per_scale), s->time_error.fast, s->time_error.slow,
                       s->time_error.source);
    put_decision("20 % more load", &s->more_load, out);
    put_decision("20 % less load", &s->less_load, out);
    put_changed("steps 20 % slower", s->slower_scale, c->scale, c->rate_per_s, out);
    put_changed("outputs 20 % longer", s->longer_scale, c->scale, c->rate_per_s, out);
}

/* --- who fell ------------------------------------------------------------------------------------------- */

static const char *fate_words(enum km_fate fate)
{
    switch (fate) {
    case KM_FATE_BEATEN:
        return "cannot be among the best: even the least they could cost is more";
    case KM_FATE_SLO:
        return "simulated, SLO missed";
    case KM_FATE_THROUGHPUT:
        return "too little throughput, whatever the schedule";
    case KM_FATE_LATENCY:
        return "too slow even for a request alone";
    case KM_FATE_BUDGET:
        return "beyond max_gpus with a single replica";
    case KM_FATE_MEMORY:
        return "without room in memory, or with an engine that would not start";
    case KM_FATE_LAYOUT:
        return "cannot be split so";
    case KM_FATE_INVALID:
        return "settings do not go together";
    case KM_FATE_OPEN:
    case KM_FATE_HOLDS:
    case KM_FATE_COUNT:
        break;
    }
    return "";
}

static void put_fallen(const struct km_plan_report *report, struct km_text *out)
{
    const struct km_plan *plan = report->plan;
    char cell[KM_CELL];
    uint64_t of_kind = 0;
    for (uint64_t i = plan->holding; i < plan->candidates.count; i++) {
        const struct km_plan_entry *entry = &plan->entries[i];
        const struct km_candidate *c = entry->candidate;
        bool first = i == plan->holding || plan->entries[i - 1].candidate->fate != c->fate;
        of_kind = first ? 0 : of_kind + 1;
        if (first)
            km_text_printf(out, "\n%s %s:\n", km_cell_count(cell, plan->statistics.fates[c->fate]),
                           fate_words(c->fate));
        if (!report->all && of_kind == FALLEN_SHOWN)
            km_text_puts(out, "     ...\n");
        if (!report->all && of_kind >= FALLEN_SHOWN)
            continue;
        km_text_printf(out, "     %-*.*s ", LABEL_WIDTH, LABEL_WIDTH, c->label);
        km_put_wrapped(c->reason, 5 + LABEL_WIDTH + 1, PAGE_WIDTH, out);
    }
}

static void put_search(const struct km_plan *plan, struct km_text *out)
{
    const struct km_plan_statistics *s = &plan->statistics;
    char cell[KM_CELL];
    double wall_s = s->read_wall_s + s->bound_wall_s + s->search_wall_s + s->rate_wall_s;
    km_text_puts(out, "\n");
    put_plural(out, s->candidates, "candidate");
    km_text_puts(out, "; ");
    put_plural(out, s->runs, "run");
    km_text_printf(out, " at the asked load (%s cut short), ", km_cell_count(cell, s->cut_runs));
    km_text_printf(out, "%s on workloads like it, ", km_cell_count(cell, s->replications));
    km_text_printf(out, "%s for maximum rates", km_cell_count(cell, s->rate_runs));
    km_text_printf(out, "; %s%s.\n", km_cell_seconds(cell, wall_s), plan->exhaustive ? ", exhaustive" : "");
}

void km_plan_report_text(const struct km_plan_report *report, struct km_text *out)
{
    const struct km_plan *plan = report->plan;
    if (plan->thin_term >= 0) {
        put_cannot_tell(plan, out);
        return;
    }
    if (plan->holding) {
        put_winner(plan, out);
        put_method(plan, out);
        put_table(report, out);
        put_margin(plan, out);
    } else {
        put_infeasible(plan, out);
        put_method(plan, out);
    }
    put_fallen(report, out);
    put_search(plan, out);
}
