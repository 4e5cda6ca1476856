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
    uint64_t first; /* entry of job 0 */
};

/* The plan's scenario under the asked load. */
static enum km_status scenario_of(const struct finding *finding, uint64_t index, struct km_scenario *out,
                                  struct km_error *error)
{
    const struct km_candidate *candidate = finding->plan->entries[index].candidate;
    enum km_status status =
        km_candidate_scenario(finding->source, candidate->point, candidate->replicas, out, error);
    if (status == KM_OK)
        out->workload = finding->plan->load.asked;
    return status;
}

static enum km_status find_rate(const struct finding *finding, uint64_t index,
                                const struct km_capacity_options *options, const struct km_scenario *scenario,
                                struct km_error *error)
{
    struct km_fleet fleet;
    enum km_status status = km_fleet_create(scenario, &fleet, error);
    if (status != KM_OK)
        return status;
    status = km_capacity_find(&fleet, finding->plan->demand, options, finding->plan->entries[index].capacity,
                              error);
    km_fleet_release(&fleet);
    return status;
}

static void find_coarse(void *context, uint64_t job_index)
{
    struct finding *finding = context;
    uint64_t index = job_index + finding->first;
    struct job *job = &finding->jobs[index];
    struct km_capacity_options options = km_capacity_coarse();
    struct km_scenario scenario;
    options.stop = finding->options->stop;
    job->status = scenario_of(finding, index, &scenario, &job->error);
    if (job->status != KM_OK)
        return;
    job->status = find_rate(finding, index, &options, &scenario, &job->error);
    km_scenario_release(&scenario);
}

/* The winner: its interval, and what if. */
static enum km_status find_exact(const struct finding *finding, struct km_error *error)
{
    struct km_plan *plan = finding->plan;
    struct km_capacity *capacity = plan->entries[0].capacity;
    struct km_capacity_options options = km_capacity_exact();
    struct km_scenario scenario;
    uint32_t workers = finding->options->workers ? finding->options->workers : km_pool_cores();
    options.stop = finding->options->stop;
    options.workers = workers > 4 ? 4 : workers;
    options.watch = &finding->options->watch;
    enum km_status status = scenario_of(finding, 0, &scenario, error);
    if (status != KM_OK)
        return status;
    status = find_rate(finding, 0, &options, &scenario, error);
    if (status == KM_OK && capacity->kind == KM_CAPACITY_FOUND) {
        plan->sensitivity = km_arena_alloc(&plan->arena, sizeof *plan->sensitivity);
        status =
            km_capacity_sensitivity(&scenario, plan->demand, capacity, &options, plan->sensitivity, error);
    }
    km_scenario_release(&scenario);
    return status;
}

enum km_status km_plan_find_rates(const struct km_candidate_source *source,
                                  const struct km_plan_options *options, struct km_plan *plan,
                                  struct km_error *error)
{
    uint64_t count = plan->holding;
    if (!options->exhaustive && count > plan->search.top)
        count = plan->search.top;
    if (count == 0)
        return KM_OK;
    enum km_status status = KM_OK;
    struct finding finding = {source, options, plan, km_alloc((count + 1) * sizeof(struct job)),
                              options->quick ? 0 : 1};
    for (uint64_t i = 0; i < count; i++)
        plan->entries[i].capacity = km_arena_alloc(&plan->arena, sizeof *plan->entries[i].capacity);
    if (!options->quick)
        status = find_exact(&finding, error);
    if (status == KM_OK)
        km_pool_run_watched(options->workers, count - finding.first, find_coarse, &finding, &options->watch,
                            "maximum rates of the others", NULL);
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
