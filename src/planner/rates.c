#include "planner/rates.h"

#include "base/pool.h"

#include <math.h>
#include <stdlib.h>

double km_plan_max_rate_per_s(const struct km_plan_entry *entry)
{
    const struct km_capacity *capacity = entry->capacity;
    return capacity && capacity->kind == KM_CAPACITY_FOUND ? capacity->rate_per_s : (double)NAN;
}

struct job {
    enum km_status status;
    struct km_error error;
};

struct finding {
    const struct km_candidate_source *source;
    const struct km_plan_options *options;
    struct km_plan *plan;
    struct job *jobs;
};

static void find_one(void *context, uint64_t index)
{
    struct finding *finding = context;
    struct km_plan_entry *entry = &finding->plan->entries[index];
    struct job *job = &finding->jobs[index];
    bool exact = index == 0 && !finding->options->quick;
    struct km_capacity_options options = exact ? km_capacity_exact() : km_capacity_coarse();
    struct km_scenario scenario;
    struct km_fleet fleet;
    options.stop = finding->options->stop;
    job->status = km_candidate_scenario(finding->source, entry->candidate->point, entry->candidate->replicas,
                                        &scenario, &job->error);
    if (job->status != KM_OK)
        return;
    scenario.workload = finding->plan->load.asked;
    job->status = km_fleet_create(&scenario, &fleet, &job->error);
    if (job->status == KM_OK)
        job->status = km_capacity_find(&fleet, finding->plan->demand, &options, entry->capacity, &job->error);
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

enum km_status km_plan_find_rates(const struct km_candidate_source *source,
                                  const struct km_plan_options *options, struct km_plan *plan,
                                  struct km_error *error)
{
    uint64_t count = plan->holding;
    if (!options->exhaustive && count > plan->search.top)
        count = plan->search.top;
    enum km_status status = KM_OK;
    struct finding finding = {source, options, plan, km_alloc((count + 1) * sizeof(struct job))};
    for (uint64_t i = 0; i < count; i++)
        plan->entries[i].capacity = km_arena_alloc(&plan->arena, sizeof *plan->entries[i].capacity);
    km_pool_run(options->workers, count, find_one, &finding);
    for (uint64_t i = 0; i < count; i++) {
        plan->statistics.rate_runs += plan->entries[i].capacity->runs;
        if (status == KM_OK && finding.jobs[i].status != KM_OK) {
            status = finding.jobs[i].status;
            *error = finding.jobs[i].error;
        }
    }
    free(finding.jobs);
    return status;
}
