#include "planner/rates.h"

#include "base/pool.h"
#include "planner/certainty.h"

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
        status = km_capacity_sensitivity(&scenario, plan->demand, out, &candidate->time_error, options,
                                         *sensitivity, error);
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
    exact.workers = workers > 4 ? 4 : workers;
    exact.watch = &options->watch;
    candidate->capacity = km_arena_alloc(&plan->arena, sizeof *candidate->capacity);
    enum km_status status = km_plan_find_time_error(source, plan, candidate, error);
    if (status == KM_OK)
        status = find(source, plan, candidate, &exact, candidate->capacity, &plan->sensitivity, error);
    plan->statistics.rate_runs += candidate->capacity->runs;
    *holds = candidate->capacity->holds;
    return status;
}

struct job {
    struct km_plan_entry *entry;
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
    job->status = find(finding->source, finding->plan, job->candidate, &options, job->candidate->capacity,
                       NULL, &job->error);
}

/* Its maximum rates with slow and with fast steps, and what it could cost then. */
static void find_interval(void *context, uint64_t index)
{
    struct finding *finding = context;
    struct job *job = &finding->jobs[index];
    const struct km_candidate *candidate = job->candidate;
    struct km_capacity_options options = km_capacity_coarse();
    struct km_scenario scenario;
    struct km_variation variations[] = {
        {.time_scale = candidate->time_error.slow, .output_scale = 1.0, .prompt_scale = 1.0},
        {.time_scale = candidate->time_error.fast, .output_scale = 1.0, .prompt_scale = 1.0},
    };
    job->status =
        km_candidate_scenario(finding->source, candidate->point, candidate->replicas, &scenario, &job->error);
    if (job->status != KM_OK)
        return;
    scenario.workload = finding->plan->load.asked;
    job->status = km_capacity_vary(&scenario, candidate->capacity, &options, variations, 2, &job->error);
    if (job->status == KM_OK)
        km_plan_cost_interval(finding->plan, variations[0].scale, variations[1].scale, job->entry);
    km_scenario_release(&scenario);
}

static enum km_status first_failure(const struct job *jobs, uint64_t count, struct km_error *error)
{
    for (uint64_t i = 0; i < count; i++)
        if (jobs[i].status != KM_OK) {
            *error = jobs[i].error;
            return jobs[i].status;
        }
    return KM_OK;
}

/* Of the first `most` entries, where they stand on different rows. */
static enum km_status find_intervals(struct finding *finding, uint64_t most, struct km_error *error)
{
    struct km_plan *plan = finding->plan;
    const struct km_sensitivity *winner = plan->sensitivity;
    uint64_t count = 0;
    if (finding->options->quick || plan->search.objective == KM_OBJECTIVE_ENERGY ||
        !km_plan_rows_differ(plan, most))
        return KM_OK;
    if (winner)
        km_plan_cost_interval(plan, winner->low, winner->high, &plan->entries[0]);
    for (uint64_t i = winner ? 1 : 0; i < most; i++) {
        struct km_plan_entry *entry = &plan->entries[i];
        if (entry->candidate->capacity->kind == KM_CAPACITY_FOUND &&
            !isnan(entry->candidate->time_error.slow))
            finding->jobs[count++] = (struct job){.entry = entry, .candidate = entry->candidate};
    }
    km_pool_run_watched(finding->options->workers, count, find_interval, finding, &finding->options->watch,
                        "rates if the cost model errs", NULL);
    enum km_status status = first_failure(finding->jobs, count, error);
    if (status == KM_OK)
        km_plan_mark_uncertain(plan->entries, most);
    return status;
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
    for (uint64_t i = 0; i < most && status == KM_OK; i++) {
        struct km_candidate *candidate = plan->entries[i].candidate;
        status = km_plan_find_time_error(source, plan, candidate, error);
        if (candidate->capacity)
            continue;
        candidate->capacity = km_arena_alloc(&plan->arena, sizeof *candidate->capacity);
        finding.jobs[count++].candidate = candidate;
    }
    if (status == KM_OK) {
        km_pool_run_watched(options->workers, count, find_coarse, &finding, &options->watch,
                            "maximum rates of the others", NULL);
        status = first_failure(finding.jobs, count, error);
    }
    for (uint64_t i = 0; i < count && status == KM_OK; i++)
        plan->statistics.rate_runs += finding.jobs[i].candidate->capacity->runs;
    if (status == KM_OK)
        status = find_intervals(&finding, most, error);
    free(finding.jobs);
    return status;
}
