#include "metrics/slo.h"

#include "metrics/quantile.h"

#include <math.h>
#include <stdio.h>

static const char *const names[] = {
    [KM_TTFT] = "ttft",
    [KM_TPOT] = "tpot",
    [KM_ITL] = "itl",
    [KM_E2E] = "e2e",
    [KM_QUEUEING_DELAY] = "queueing_delay",
    [KM_NORMALIZED] = "normalized",
    [KM_TTFT_ENGINE] = "ttft_engine",
    [KM_E2E_ENGINE] = "e2e_engine",
    [KM_SLO_GOODPUT] = "goodput",
    [KM_SLO_DEADLINE] = "deadline",
    [KM_SLO_REJECTED_SHARE] = "rejected_share",
    [KM_SLO_ABANDONED_SHARE] = "abandoned_share",
};

const char *km_slo_metric_name(int metric)
{
    return names[metric];
}

uint64_t km_slo_share_allows(double limit, uint64_t requests)
{
    return (uint64_t)floor(limit * (double)requests * (1 + 1e-15));
}

bool km_slo_bounds_load(const struct km_slo_term *terms, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!km_slo_is_share(terms[i].metric))
            return true;
    return false;
}

void km_slo_term_name(const struct km_slo_term *term, char *out, size_t size)
{
    const char *of = term->of_class ? "classes." : "", *class_name = term->class_name,
               *dot = term->of_class ? "." : "";
    if (term->metric == KM_SLO_GOODPUT)
        snprintf(out, size, "%s%s%smin_goodput_per_s", of, class_name, dot);
    else if (term->metric == KM_SLO_DEADLINE)
        snprintf(out, size, "%s%s%sdeadline_s", of, class_name, dot);
    else if (km_slo_is_share(term->metric))
        snprintf(out, size, "%s%s%smax_%s", of, class_name, dot, names[term->metric]);
    else if (term->quantile < 0)
        snprintf(out, size, "%s%s%s%s_mean_s", of, class_name, dot, names[term->metric]);
    else
        snprintf(out, size, "%s%s%s%s_p%.6g_s", of, class_name, dot, names[term->metric],
                 100 * term->quantile);
}

bool km_slo_is_thin(const struct km_slo_outcome *o)
{
    /* Of ITL `count` is gaps, and no more of them are independent than there are requests. */
    uint64_t independent = o->count < o->requests ? o->count : o->requests;
    return o->term.metric < KM_LATENCY_COUNT && km_quantile_is_thin(o->term.quantile, independent);
}

bool km_slo_serve(struct km_slo *slo, int group, const struct km_served *served)
{
    bool good = true;
    for (uint32_t i = 0; i < slo->count; i++) {
        struct km_slo_count *term = &slo->terms[i];
        int metric = term->term.metric;
        if ((term->group != KM_SLO_ALL && term->group != group) || metric == KM_SLO_GOODPUT ||
            km_slo_is_share(metric) || metric == KM_ITL || (metric == KM_TPOT && served->gaps == 0))
            continue;
        if (metric == KM_SLO_DEADLINE) {
            term->within += served->since_start_ps <= term->limit_ps;
            continue;
        }
        bool within = served->ps[metric] <= term->limit_ps;
        term->within += within;
        good = good && within;
    }
    return good;
}

/* How many of the progression's values are at or below the limit. */
static uint64_t progression_within(uint64_t first_ps, int64_t slope_ps, uint64_t count, uint64_t limit_ps)
{
    uint64_t stride = slope_ps < 0 ? 0 - (uint64_t)slope_ps : (uint64_t)slope_ps;
    if (first_ps <= limit_ps) {
        if (slope_ps <= 0)
            return count;
        uint64_t within = (limit_ps - first_ps) / stride + 1;
        return within < count ? within : count;
    }
    if (slope_ps >= 0)
        return 0;
    uint64_t above = (first_ps - limit_ps - 1) / stride + 1;
    return above < count ? count - above : 0;
}

void km_slo_gaps(struct km_slo *slo, int group, uint64_t first_ps, int64_t slope_ps, uint64_t steps,
                 uint64_t sequences)
{
    for (uint32_t i = 0; i < slo->count; i++) {
        struct km_slo_count *term = &slo->terms[i];
        if (term->term.metric == KM_ITL && term->group == group)
            term->within += sequences * progression_within(first_ps, slope_ps, steps, term->limit_ps);
    }
}
