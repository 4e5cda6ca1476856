/* `kingman plan`: of all candidates of a search, those that sustain the load, the cheapest first.
 *
 * A plan is a candidate with a number of replicas. Where cluster.replicas is no axis a candidate is tried
 * with 1, 2, ... replicas until it holds or exceeds max_gpus; the first that holds is its plan. So nothing is
 * assumed about how latency falls with replicas.
 *
 * Plans are ranked by (objective, USD per hour, GPUs, the SLO term nearest to its limit, position in the
 * search); the first is the winner.
 *
 * A plan holds when the workload itself does on it (planner/probe.h) and, asked of other workloads like it
 * (other seeds; of a trace, block bootstraps of it), the sequential test of capacity/capacity.h says so, too.
 * The winner's maximum rate is then found on runs that are made longer until chance matters little; a winner
 * whose rate is below the load asked for is none, and the search goes on (unless `quick`).
 *
 * Synthetic workloads are drawn as long as it takes to tell, whatever the scenario says (planner/length.h). A
 * recording too short for the SLO's quantiles has no answer: `thin_term`.
 *
 * The search leaves out what provably cannot change the first `top` of that ranking: candidates and numbers
 * of replicas that a bound rules out (planner/bounds.h), and those whose least possible key is above the key
 * of the top-th plan found. It goes best-first, in rounds of a fixed size, so that what is simulated and what
 * is found do not depend on the number of workers. `exhaustive` simulates everything that fits into memory
 * and budget, with the same result.
 *
 * The best `top` (with `exhaustive` all that hold) then get their maximum rate: the winner with its interval
 * and what if (capacity/vary.h), the others to a few per cent. */
#ifndef KM_PLANNER_PLAN_H
#define KM_PLANNER_PLAN_H

#include "base/watch.h"
#include "capacity/vary.h"
#include "planner/candidates.h"

struct km_plan_options {
    uint32_t workers; /* 0 = a core each */
    bool exhaustive;
    bool quick;      /* the winner's maximum rate, too, to a few per cent, without interval and what if */
    double lengthen; /* > 1: runs so many times as long as it takes to tell; for checking that it does */
    struct km_watch watch;
};

struct km_plan_statistics {
    uint64_t candidates;
    uint64_t fates[KM_FATE_COUNT];
    uint64_t runs, cut_runs; /* simulated at the asked load; of them cut short */
    uint64_t replications;   /* of them, on other workloads like it */
    uint64_t rate_runs;      /* simulated for maximum rates */
    uint64_t rounds;
    uint64_t replicas_skipped; /* numbers of replicas that bounds made needless to try */
    double read_wall_s, bound_wall_s, search_wall_s, rate_wall_s;
};

/* A plan that holds, or a candidate that does not; in the order of the ranking those that hold first. */
struct km_plan_entry {
    struct km_candidate *candidate;
    uint32_t gpus, rented_gpus;
    double usd_per_hour;
    double usd_per_million_tokens; /* at the asked load */
    double cost;                   /* by the objective; when it does not hold, the least it could be */
    bool on_front;                 /* no other plan that holds is at least as good in all, and better in one:
                                      USD per hour, the SLO's worst ratio, maximum rate */
    /* By the objective, if the cost model errs as its measurements say (planner/certainty.h); NAN when not
     * looked for: every plan has the winner's row. */
    double least_cost, most_cost;
    bool uncertain; /* it may cost no more than a plan above it */
};

/* Its maximum rate; NAN when there is none or it was not looked for. */
double km_plan_max_rate_per_s(const struct km_plan_entry *entry);

struct km_plan {
    struct km_search search;
    struct km_load load;
    struct km_demand *demand;    /* other workloads like the load */
    struct km_accuracy accuracy; /* what was measured, and predicted for it */
    struct km_candidates candidates;
    struct km_plan_entry *entries; /* [candidates.count] */
    /* of the winner; NULL when it has no maximum rate, or in a quick plan */
    struct km_sensitivity *sensitivity;
    uint64_t holding; /* the first so many hold: entries[0] is the winner */
    /* A recording cannot tell: the first term of the SLO whose quantile has too few samples beyond it
     * (planner/length.h); nothing was searched. Else -1. */
    int thin_term;
    struct km_plan_statistics statistics;
    bool exhaustive;
    struct km_scenario scenario; /* as the file states it, the user's overrides applied */
    struct km_arena arena;
};

/* KM_BAD_INPUT: no `search:` section, or a bad one. That nothing holds, or that a recording cannot tell, is
 * an answer: `holding` is 0. */
enum km_status km_plan_create(const char *path, const struct km_override *overrides, size_t override_count,
                              const struct km_plan_options *options, struct km_plan *out,
                              struct km_error *error);
void km_plan_release(struct km_plan *plan);

#endif
