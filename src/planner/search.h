/* The `search:` section: what is looked for, and among which plans.
 *
 *     search:
 *       objective: usd_per_hour     # usd_per_hour | usd_per_million_tokens | gpus | energy
 *       max_gpus: 16                # of a whole plan, all replicas
 *       rent: gpu                   # gpu | node: whole nodes are paid for, and count against max_gpus
 *       rate_scale: 2               # the load to sustain, over the scenario's; or
 *       rate_per_s: 12              # the load itself, in requests per second; either may be a list: then
 *                                   # kingman plan answers one load after the other
 *       top: 5                      # plans to rank: the best so many, each with its maximum rate
 *       cluster.device: [h200-sxm, h100-sxm]
 *       cluster.tensor_parallel_size: divisors   # every size the model can be split by, up to a node
 *       engine.batching.max_num_seqs: [128, 256]
 *
 * Every other key is an axis (scenario/axes.h). Keys of the workload, the SLO and the seed are the question,
 * not the plan, and are refused. Without an axis over cluster.replicas every plan takes the fewest replicas
 * that sustain the load. */
#ifndef KM_PLANNER_SEARCH_H
#define KM_PLANNER_SEARCH_H

#include "scenario/axes.h"

#define KM_SEARCH_LIMIT_POINTS 100000u
#define KM_SEARCH_LIMIT_LOADS  1000u

enum km_objective {
    KM_OBJECTIVE_GPUS,
    KM_OBJECTIVE_USD_PER_HOUR,
    /* Rent over the time that is paid for, a million prompt and output tokens: of an online load proportional
     * to USD per hour, of an offline job what the job costs. */
    KM_OBJECTIVE_USD_PER_MILLION_TOKENS,
    KM_OBJECTIVE_ENERGY, /* joules, over the time that is paid for */
    KM_OBJECTIVE_COUNT,
};
const char *km_objective_name(enum km_objective objective); /* as the section spells it */

struct km_search {
    enum km_objective objective;
    uint32_t max_gpus;
    bool rent_nodes;   /* else single GPUs */
    double rate_scale; /* 1 = the scenario's load */
    double rate_per_s; /* 0 = not stated */
    uint32_t top;
    struct km_axes axes;
    bool replicas_free; /* cluster.replicas is no axis */
};

/* Of scenario->search, which must be there. Everything lives in `arena`. */
enum km_status km_search_read(const struct km_scenario *scenario, struct km_arena *arena,
                              struct km_search *out, struct km_error *error);

/* The values of a rate_per_s (or rate_scale) that is a list: a search for each. *count is 0 when neither is. `scenario`
 * may have no search. Everything lives in `arena`. */
enum km_status km_search_loads(const struct km_scenario *scenario, struct km_arena *arena, const char **key,
                               const char *const **values, uint32_t *count, struct km_error *error);

/* Where the value of an axis is stated: its place in the list, or the axis. */
const struct km_yaml *km_search_value_at(const struct km_axis *axis, uint32_t value);

#endif
