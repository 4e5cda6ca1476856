#include "planner/certainty.h"

#include "planner/rank.h"
#include "scenario/accuracy_key.h"

#include <math.h>

enum km_status km_plan_find_time_error(const struct km_candidate_source *source, struct km_plan *plan,
                                       struct km_candidate *candidate, struct km_error *error)
{
    struct km_scenario scenario;
    struct km_accuracy_key key;
    if (candidate->accuracy)
        return KM_OK;
    enum km_status status = km_candidate_scenario(source, candidate->point, 0, &scenario, error);
    if (status != KM_OK)
        return status;
    candidate->accuracy = km_arena_alloc(&plan->arena, sizeof *candidate->accuracy);
    km_scenario_accuracy_key(&scenario, KM_ACCURACY_PACE, &key);
    km_accuracy_closest(&plan->accuracy, &key, &plan->arena, candidate->accuracy);
    candidate->no_profile = scenario.no_profile;
    candidate->weight_only = scenario.weight_only;
    candidate->time_error = km_time_error_of(&scenario, candidate->accuracy);
    km_scenario_release(&scenario);
    return KM_OK;
}

/* An error that the user states, or none, is common to all. */
static bool same_error(const struct km_plan_entry *a, const struct km_plan_entry *b)
{
    const struct km_candidate *x = a->candidate, *y = b->candidate;
    if (x->time_error.measured != y->time_error.measured)
        return false;
    return !x->time_error.measured || km_accuracy_same_row(x->accuracy, y->accuracy);
}

bool km_plan_rows_differ(const struct km_plan *plan, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++)
        if (!same_error(&plan->entries[0], &plan->entries[i]))
            return true;
    return false;
}

/* With its maximum rate at `scale` times the asked one. */
static double cost_at(const struct km_plan *plan, const struct km_candidate *candidate, double scale)
{
    const double need = scale > 0.0 ? fmax(1.0, ceil(candidate->replicas / scale - 1e-9)) : (double)INFINITY;
    const uint32_t most = plan->search.replicas_free ? candidate->most_replicas : candidate->replicas;
    if (need > most)
        return (double)INFINITY;
    const uint32_t replicas = plan->search.replicas_free ? (uint32_t)need : candidate->replicas;
    return km_rank_of(&plan->search, &plan->load, candidate, replicas, candidate->probe).parts[0];
}

void km_plan_cost_interval(const struct km_plan *plan, double slow_scale, double fast_scale,
                           struct km_plan_entry *entry)
{
    if (isnan(slow_scale) || isnan(fast_scale))
        return;
    entry->least_cost = cost_at(plan, entry->candidate, fmax(slow_scale, fast_scale));
    entry->most_cost = cost_at(plan, entry->candidate, fmin(slow_scale, fast_scale));
}

void km_plan_mark_uncertain(struct km_plan_entry *entries, uint64_t count)
{
    for (uint64_t j = 1; j < count; j++)
        for (uint64_t i = 0; i < j && !entries[j].uncertain; i++)
            entries[j].uncertain =
                !same_error(&entries[i], &entries[j]) && entries[j].least_cost <= entries[i].most_cost;
}
