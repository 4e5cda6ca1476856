#include "planner/rates.h"

#include "base/pool.h"

#include <math.h>
#include <stdlib.h>

double km_plan_max_rate_per_s(const struct km_plan_entry *entry)
{
    const struct km_capacity *capacity = entry->candidate->capacity;
    return capacity && capacity->kind == KM_CAPACITY_FOUND ? capacity->rate_per_s : (double)NAN;
}

/* The candidate's plan under the asked load. */
static enum km_status find(const struct km_candidate_source *source, struct km_plan *plan,
                           const struct km_candidate *candidate, const struct km_capacity_options *options,
                           struct km_capacity *out, struct km_sensitivity **sensitivity,
                           struct km_error *error)
{
    struct km_scenario scenario;
    struct km_fleet fleet;
    enum km_status status =
        km_candidate_scenario(source, candidate->point, candidate->replicas, &scenario, error);
    if (status != KM_OK)
        return status;
    scenario.workload = plan->load.asked;
    status = km_fleet_create(&scenario, &fleet, error);
    if (status == KM_OK) {
        status = km_capacity_find(&fleet, plan->demand, options, out, error);
        km_fleet_release(&fleet);
    }
    if (status == KM_OK && sensitivity && out->kind == KM_CAPACITY_FOUND && out->scale >= 1.0) {
        *sensitivity = km_arena_alloc(&plan->arena, sizeof **sensitivity);
        status = km_capacity_sensitivity(&scenario, plan->demand, out, options, *sensitivity, error);
    }
    km_scenario_release(&scenario);
    return status;
}

enum km_status km_plan_confirm(const struct km_candidate_source *source,
                               const struct km_plan_options *options, struct km_plan *plan,
                               struct km_candidate *candidate, bool *holds, struct km_error *error)
{
    struct km_capacity_options exact = km_capacity_exact();
    const uint32_t workers = options->workers ? options->workers : km_pool_cores();
    exact.stop = options->stop;
    exact.workers = workers > 4 ? 4 : workers;
    exact.watch = &options->watch;
    candidate->capacity = km_arena_alloc(&plan->arena, sizeof *candidate->capacity);
    enum km_status status =
        find(source, plan, candidate, &exact, candidate->capacity, &plan->sensitivity, error);
    plan->statistics.rate_runs += candidate->capacity->runs;
    *holds = candidate->capacity->holds;
    return status;
}

struct job {
    struct km_candidate *candidate;
    enum km_status status;
    struct km_error error;
};

struct finding {
    const struct km_candidate_source *source;
    const struct km_plan_options *options;
    struct km_plan *plan;
    struct job *jobs;
};

static void find_coarse(void *context, uint64_t index)
{
    struct finding *finding = context;
    struct job *job = &finding->jobs[index];
    struct km_capacity_options options = km_capacity_coarse();
    options.stop = finding->options->stop;
    job->status = find(finding->source, finding->plan, job->candidate, &options, job->candidate->capacity,
                       NULL, &job->error);
}

enum km_status km_plan_find_rates(const struct km_candidate_source *source,
                                  const struct km_plan_options *options, struct km_plan *plan,
                                  struct km_error *error)
{
    const bool all = options->exhaustive || plan->holding <= plan->search.top;
    const uint64_t most = all ? plan->holding : plan->search.top;
    struct finding finding = {source, options, plan, km_alloc((most + 1) * sizeof(struct job))};
    enum km_status status = KM_OK;
    uint64_t count = 0;
    for (uint64_t i = 0; i < most; i++) {
        struct km_candidate *candidate = plan->entries[i].candidate;
        if (candidate->capacity)
            continue;
        candidate->capacity = km_arena_alloc(&plan->arena, sizeof *candidate->capacity);
        finding.jobs[count++].candidate = candidate;
    }
    km_pool_run_watched(options->workers, count, find_coarse, &finding, &options->watch,
                        "maximum rates of the others", NULL);
    for (uint64_t i = 0; i < count && status == KM_OK; i++) {
        plan->statistics.rate_runs += finding.jobs[i].candidate->capacity->runs;
        if (finding.jobs[i].status == KM_OK)
            continue;
        status = finding.jobs[i].status;
        *error = finding.jobs[i].error;
    }
    free(finding.jobs);
    return status;
}
