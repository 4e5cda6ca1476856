#include "capacity/trial.h"

#include "base/simtime.h"

#include <math.h>
#include <string.h>

/* A term as far as its outcome can be known before the end. */
struct watched {
    int term; /* of the scenario's SLO */
    struct km_slo_term stated;
    bool any_class;
    uint32_t class_index;
    uint32_t others[KM_MAX_CLASSES], other_count; /* of a share: classes that answer for themselves */
    uint64_t limit_ps;
    /* A quantile's samples beyond its limit, a share's requests unserved, and how many of them it bears. */
    uint64_t beyond, allowed;
    double sum_ps, sum_allowed_ps; /* of a mean */
};

struct watch {
    struct watched terms[KM_MAX_SLO_TERMS];
    uint32_t count;
    bool slo_stated;
    uint64_t requests;
    int failed;
    bool enough;
};

/* Has this request made the term's failure certain? */
static bool lost(struct watched *w, enum km_outcome outcome, const struct km_record *r)
{
    uint64_t ps;
    const int metric = w->stated.metric;
    if (km_slo_is_share(metric)) {
        w->beyond += outcome == (metric == KM_SLO_REJECTED_SHARE ? KM_REJECTED : KM_ABANDONED);
        return w->beyond > w->allowed;
    }
    if (metric == KM_SLO_DEADLINE)
        return outcome != KM_COMPLETED || r->last_token_ps > w->limit_ps; /* the first request arrives at 0 */
    if (outcome != KM_COMPLETED || !km_record_latency(r, (enum km_latency)metric, &ps))
        return false;
    if (w->stated.quantile < 0.0) {
        w->sum_ps += (double)ps;
        return w->sum_ps > w->sum_allowed_ps;
    }
    w->beyond += ps > w->limit_ps;
    return w->beyond > w->allowed;
}

static bool concerns(const struct watched *w, uint32_t class_index)
{
    for (uint32_t i = 0; i < w->other_count; i++)
        if (w->others[i] == class_index)
            return false;
    return w->any_class || w->class_index == class_index;
}

static void ended(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct watch *watch = context;
    watch->requests++;
    if (watch->enough)
        return;
    if (!watch->slo_stated && outcome != KM_COMPLETED) {
        watch->failed = KM_TRIAL_UNSERVED;
        watch->enough = true;
    }
    for (uint32_t i = 0; i < watch->count && !watch->enough; i++) {
        struct watched *w = &watch->terms[i];
        if (concerns(w, record->class_index) && lost(w, outcome, record)) {
            watch->failed = w->term;
            watch->enough = true;
        }
    }
}

static bool find_class(const struct km_recording *recording, const char *name, uint32_t *index)
{
    const uint32_t count = recording ? km_recording_class_count(recording) : 0;
    for (*index = 0; *index < count; ++*index)
        if (strcmp(km_recording_class_name(recording, *index), name) == 0)
            return true;
    return false;
}

/* Can the term be watched? Its class, and those that answer for themselves, must be known by number. */
static bool watch_share(const struct km_scenario *scenario, const struct km_recording *recording,
                        size_t requests, struct watched *out)
{
    for (uint32_t i = 0; out->any_class && i < scenario->slo_count; i++) {
        const struct km_slo_term *other = &scenario->slo[i];
        if (other->metric != out->stated.metric || !other->of_class)
            continue;
        if (!recording)
            return false;
        out->other_count += find_class(recording, other->class_name, &out->others[out->other_count]);
    }
    out->allowed = km_slo_share_allows(out->stated.limit, requests);
    return true;
}

static bool watch_term(const struct km_scenario *scenario, const struct km_slo_term *term,
                       const struct km_recording *recording, size_t requests, struct watched *out)
{
    *out = (struct watched){.stated = *term, .any_class = !term->of_class};
    if (term->metric == KM_ITL || term->metric == KM_SLO_GOODPUT ||
        (!out->any_class && !find_class(recording, term->class_name, &out->class_index)))
        return false;
    if (km_slo_is_share(term->metric))
        return watch_share(scenario, recording, requests, out);
    out->limit_ps = km_ps_from_s(term->limit);
    /* Met when within >= share * count * (1 - 1e-15) (metrics), and count is at most `requests`: of fewer
     * samples fewer must be within, but by no more than are missing. */
    const double need = ceil(term->quantile * (double)requests * (1.0 - 1e-15));
    out->allowed = term->quantile < 0.0 ? UINT64_MAX : (uint64_t)((double)requests - need);
    /* The margin is for the rounding of sums: what is beyond it is beyond the limit for certain. */
    out->sum_allowed_ps = term->limit * 1e12 * (double)requests * (1.0 + 1e-9);
    return true;
}

static void watch_init(struct watch *watch, const struct km_scenario *scenario,
                       const struct km_workload_settings *workload)
{
    size_t requests = SIZE_MAX / 2; /* of a closed loop without a number: the most there can be */
    *watch = (struct watch){.failed = KM_TRIAL_NO_TERM, .slo_stated = scenario->slo_count > 0};
    if (!km_workload_waits(workload))
        km_recording_requests(workload->recording, &requests);
    else if (workload->requests)
        requests = workload->requests;
    for (uint32_t i = 0; i < scenario->slo_count; i++) {
        struct watched *w = &watch->terms[watch->count];
        if (watch_term(scenario, &scenario->slo[i], workload->recording, requests, w)) {
            w->term = (int)i;
            watch->count++;
        }
    }
}

/* Of the terms missed, the one farthest beyond its limit. */
static int farthest(const struct km_summary *summary)
{
    int worst = KM_TRIAL_NO_TERM;
    double most = 0.0;
    for (uint32_t i = 0; i < summary->slo_count; i++) {
        const struct km_slo_outcome *outcome = &summary->slo[i];
        if (outcome->attained || outcome->term.metric == KM_SLO_GOODPUT)
            continue;
        const double limit = outcome->term.limit;
        const double beyond =
            limit > 0.0 && !isnan(outcome->value) ? outcome->value / limit : (double)INFINITY;
        if (worst == KM_TRIAL_NO_TERM || beyond > most) {
            worst = (int)i;
            most = beyond;
        }
    }
    return worst;
}

static void judge(const struct km_summary *summary, bool load_bounded, struct km_trial *out)
{
    out->saturated = summary->verdict == KM_SATURATED;
    out->goodput_per_s = summary->goodput_per_s;
    out->duration_s = summary->duration_s;
    out->goodput_met = true;
    for (uint32_t i = 0; i < summary->slo_count; i++)
        if (summary->slo[i].term.metric == KM_SLO_GOODPUT)
            out->goodput_met = out->goodput_met && summary->slo[i].attained;
    out->failed = farthest(summary);
    if (!summary->slo_stated && summary->rejected + summary->abandoned > 0)
        out->failed = KM_TRIAL_UNSERVED;
    else if (!load_bounded && out->failed == KM_TRIAL_NO_TERM && out->saturated)
        out->failed = KM_TRIAL_SATURATED;
    out->holds = out->failed == KM_TRIAL_NO_TERM && summary->completed > 0;
}

enum km_status km_trial_run(const struct km_fleet *fleet, const struct km_workload_settings *workload,
                            uint64_t seed, bool whole, struct km_trial *out, struct km_error *error)
{
    struct watch watch;
    struct km_run_result result;
    watch_init(&watch, fleet->scenario, workload);
    const struct km_run_options options = {
        .fast_forward = true,
        .ended = ended,
        .context = &watch,
        .enough = whole ? NULL : &watch.enough,
    };
    *out = (struct km_trial){.goodput_per_s = (double)NAN, .duration_s = (double)NAN};
    enum km_status status = km_fleet_run(fleet, workload, seed, &options, &result, error);
    if (status != KM_OK)
        return status;
    out->requests = watch.requests;
    out->events = result.simulation.work.events;
    out->early = result.simulation.stopped;
    out->failed = watch.failed;
    if (!out->early)
        judge(&result.summary, km_slo_bounds_load(fleet->scenario->slo, fleet->scenario->slo_count), out);
    return KM_OK;
}
