#include "planner/pareto.h"

#include <math.h>

/* A plan without a maximum rate is not known to be worse in it, nor better. */
static bool dominates(const struct km_plan_entry *a, const struct km_plan_entry *b)
{
    double a_ratio = a->candidate->probe->worst_ratio, b_ratio = b->candidate->probe->worst_ratio;
    double a_rate = km_plan_max_rate_per_s(a), b_rate = km_plan_max_rate_per_s(b);
    if (a->usd_per_hour > b->usd_per_hour || a_ratio > b_ratio)
        return false;
    if (!isnan(b_rate) && !(a_rate >= b_rate))
        return false;
    return a->usd_per_hour < b->usd_per_hour || a_ratio < b_ratio || a_rate > b_rate;
}

void km_pareto_mark(struct km_plan_entry *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        entries[i].on_front = true;
        for (uint64_t j = 0; j < count && entries[i].on_front; j++)
            entries[i].on_front = !dominates(&entries[j], &entries[i]);
    }
}
