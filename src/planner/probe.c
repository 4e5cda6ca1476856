#include "planner/probe.h"

#include "base/simtime.h"

#include <math.h>
#include <string.h>

/* What the requests that have ended say of the terms that can be decided early. */
struct watch {
    const struct km_scenario *scenario;
    /* Requests that may be beyond the limit, or go unserved; infinite: not decided early. */
    double spare[KM_MAX_SLO_TERMS];
    uint64_t limit_ps[KM_MAX_SLO_TERMS], beyond[KM_MAX_SLO_TERMS];
    bool missed;
};

/* Does a class answer for itself in this respect? */
static bool is_split(const struct km_scenario *scenario, int metric)
{
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric == metric && scenario->slo[i].of_class)
            return true;
    return false;
}

static void watch_init(struct watch *watch, const struct km_scenario *scenario, const struct km_load *load)
{
    *watch = (struct watch){.scenario = scenario};
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        const struct km_slo_term *term = &scenario->slo[i];
        bool counted = load->open && !term->of_class && term->quantile >= 0.0 &&
                       term->metric < (int)KM_LATENCY_COUNT && term->metric != (int)KM_ITL;
        watch->spare[i] =
            counted ? (1.0 - term->quantile) * (double)load->count * (1.0 + 1e-9) + 1e-6 : (double)INFINITY;
        watch->limit_ps[i] = counted ? km_ps_from_s(term->limit) : 0;
        if (km_slo_is_share(term->metric) && load->open && !is_split(scenario, term->metric))
            watch->spare[i] = (double)km_slo_share_allows(term->limit, load->count);
    }
}

static bool is_beyond(int metric, uint64_t limit_ps, enum km_outcome outcome, const struct km_record *record)
{
    if (km_slo_is_share(metric))
        return outcome == (metric == KM_SLO_REJECTED_SHARE ? KM_REJECTED : KM_ABANDONED);
    uint64_t ps;
    return outcome == KM_COMPLETED && km_record_latency(record, (enum km_latency)metric, &ps) &&
           ps > limit_ps;
}

static void request_ended(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct watch *watch = context;
    const struct km_scenario *scenario = watch->scenario;
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        if (isinf(watch->spare[i]) ||
            !is_beyond(scenario->slo[i].metric, watch->limit_ps[i], outcome, record))
            continue;
        if ((double)++watch->beyond[i] > watch->spare[i])
            watch->missed = true;
    }
}

static double term_ratio(const struct km_slo_outcome *outcome)
{
    double limit = outcome->term.limit, value = outcome->value;
    if (km_slo_is_share(outcome->term.metric) && limit <= 0.0)
        return value > 0.0 ? 1.0 + value : 0.0;
    bool none = outcome->term.metric == KM_SLO_GOODPUT && value <= 0.0;
    double ratio = none                                     ? (double)INFINITY
                   : outcome->term.metric == KM_SLO_GOODPUT ? limit / value
                                                            : value / limit;
    if (isnan(ratio))
        return outcome->attained ? 0.0 : (double)INFINITY;
    return ratio;
}

static void judge(const struct km_summary *summary, struct km_probe *out)
{
    out->worst_term = -1;
    out->slo_count = summary->slo_count;
    for (uint32_t i = 0; i < summary->slo_count; i++) {
        out->slo[i] = summary->slo[i];
        double ratio = term_ratio(&summary->slo[i]);
        if (out->worst_term < 0 || ratio > out->worst_ratio) {
            out->worst_ratio = ratio;
            out->worst_term = (int)i;
        }
    }
    bool attained =
        summary->slo_stated ? summary->slo_attained : summary->rejected == 0 && summary->abandoned == 0;
    if (!out->load_bounded)
        attained = attained && !out->saturated;
    out->holds = attained && summary->completed > 0 && !out->cut;
}

static struct km_doubt doubt_of(const struct km_setup *setup)
{
    struct km_coverage coverage = {0};
    if (setup->executor->coverage && strcmp(setup->scenario->cost_model, "profile") == 0)
        setup->executor->coverage(setup->executor_state, &coverage);
    return km_coverage_doubt(&coverage);
}

enum km_status km_probe_run(const struct km_fleet *fleet, const struct km_load *load, bool whole,
                            struct km_probe *out, struct km_error *error)
{
    const struct km_scenario *scenario = fleet->scenario;
    struct watch watch;
    struct km_run_result result;
    watch_init(&watch, scenario, load);
    const struct km_run_options options = {.fast_forward = true,
                                           .ended = whole ? NULL : request_ended,
                                           .context = &watch,
                                           .enough = whole ? NULL : &watch.missed};
    enum km_status status = km_fleet_run(fleet, &load->asked, load->seed, &options, &result, error);
    if (status != KM_OK)
        return status;
    const struct km_summary *s = &result.summary;
    *out = (struct km_probe){
        .cut = result.simulation.stopped,
        .saturated = s->verdict == KM_SATURATED,
        .completed = s->completed,
        .rejected = s->rejected,
        .abandoned = s->abandoned,
        .load_bounded = km_slo_bounds_load(scenario->slo, scenario->slo_count),
        .duration_s = s->duration_s,
        .requests_per_s = s->requests_per_s,
        .output_tokens_per_s = s->output_tokens_per_s,
        .total_tokens_per_s = s->total_tokens_per_s,
        .busy = result.busy,
        .mfu = result.mfu,
        .mbu = result.mbu,
        .prefix_hit_rate = s->prefix_hit_rate,
        .kv_peak = result.simulation.capacity_blocks
                       ? (double)s->peak_blocks / (double)result.simulation.capacity_blocks
                       : (double)NAN,
        .doubt = doubt_of(fleet->groups),
        .events = result.simulation.work.events,
    };
    memcpy(out->latency, s->latency, sizeof out->latency);
    km_run_bill(fleet, &result, &out->bill);
    judge(s, out);
    return KM_OK;
}

void km_probe_explain(const struct km_probe *probe, struct km_text *out)
{
    const char *separator = "";
    for (uint32_t i = 0; i < probe->slo_count; i++) {
        const struct km_slo_outcome *outcome = &probe->slo[i];
        if (outcome->attained && !(probe->cut && (int)i == probe->worst_term))
            continue;
        char name[160];
        km_slo_term_name(&outcome->term, name, sizeof name);
        km_text_printf(out, "%s%s ", separator, name);
        km_text_number(out, outcome->value, 3);
        km_text_printf(out, ", limit %.3g%s%s", outcome->term.limit, probe->cut ? " when stopped" : "",
                       isnan(outcome->value) ? ": no request of it was served" : "");
        separator = "; ";
    }
    if (!probe->load_bounded && probe->saturated) {
        km_text_printf(out, "%ssaturated: the queue grows without bound", separator);
        separator = "; ";
    }
    if (probe->rejected) {
        km_text_printf(out, "%s%llu requests are too long for it", separator,
                       (unsigned long long)probe->rejected);
        separator = "; ";
    }
    if (probe->abandoned)
        km_text_printf(out, "%s%llu abandoned", separator, (unsigned long long)probe->abandoned);
}
