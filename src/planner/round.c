#include "planner/round.h"

#include "base/memory.h"
#include "base/pool.h"

#include <stdlib.h>

#define MOST_REPLICATIONS                                                                                    \
    31u /* of the test whether a plan holds on other workloads like the one asked for                        \
         */

/* One run's outcome beside the results that callers see. */
struct outcome {
    enum km_status status;
    struct km_error error;
};

struct work {
    struct km_round *round;
    struct outcome outcomes[KM_ROUND_SIZE];
};

static enum km_status judge(const struct km_round *round, const struct km_fleet *fleet,
                            struct km_round_run *run, struct km_error *error)
{
    struct km_capacity_options options = km_capacity_exact();
    options.max_replications = MOST_REPLICATIONS;
    enum km_status status = km_probe_run(fleet, round->load, round->whole, run->probe, error);
    run->holds = status == KM_OK && run->probe->holds;
    if (!run->holds || round->whole)
        return status;
    status = km_capacity_decide(fleet, round->demand, 1.0, &options, &run->decision, error);
    run->holds = run->decision.holds && run->decision.recorded_holds;
    return status;
}

static void simulate_one(void *context, uint64_t index)
{
    struct work *work = context;
    struct km_round *round = work->round;
    struct km_round_run *run = &round->runs[index];
    struct outcome *outcome = &work->outcomes[index];
    struct km_scenario scenario;
    struct km_fleet fleet;
    run->probe = km_alloc(sizeof *run->probe);
    outcome->status = km_candidate_scenario(round->source, run->candidate->point, run->replicas, &scenario,
                                            &outcome->error);
    if (outcome->status != KM_OK)
        return;
    scenario.workload = round->load->asked;
    outcome->status = km_fleet_create(&scenario, &fleet, &outcome->error);
    if (outcome->status == KM_OK) {
        outcome->status = judge(round, &fleet, run, &outcome->error);
        km_fleet_release(&fleet);
    }
    km_scenario_release(&scenario);
}

enum km_status km_round_simulate(struct km_round *round, uint32_t workers, struct km_error *error)
{
    struct work work = {.round = round};
    const struct outcome *failed = NULL;
    km_pool_run(workers, round->count, simulate_one, &work);
    for (uint32_t i = 0; i < round->count && !failed; i++)
        if (work.outcomes[i].status != KM_OK)
            failed = &work.outcomes[i];
    if (!failed)
        return KM_OK;
    for (uint32_t i = 0; i < round->count; i++)
        free(round->runs[i].probe);
    *error = failed->error;
    return failed->status;
}

void km_round_offer(struct km_round *round, struct km_candidate *candidate, uint32_t replicas,
                    const struct km_rank *key)
{
    uint32_t i = round->count;
    if (i == KM_ROUND_SIZE && !km_rank_before(key, &round->runs[KM_ROUND_SIZE - 1].key))
        return;
    if (i < KM_ROUND_SIZE)
        round->count++;
    else
        i--;
    for (; i > 0 && km_rank_before(key, &round->runs[i - 1].key); i--)
        round->runs[i] = round->runs[i - 1];
    round->runs[i] = (struct km_round_run){.candidate = candidate, .replicas = replicas, .key = *key};
}
