/* The candidates of a search: every point of its axes, read as a scenario of its own, with what can be said
 * of it before anything is simulated. */
#ifndef KM_PLANNER_CANDIDATES_H
#define KM_PLANNER_CANDIDATES_H

#include "capacity/vary.h"
#include "planner/probe.h"

/* What became of a candidate. */
enum km_fate {
    KM_FATE_OPEN,       /* still in the race */
    KM_FATE_INVALID,    /* its settings do not go together, or the device cannot compute so */
    KM_FATE_LAYOUT,     /* the model cannot be split so */
    KM_FATE_MEMORY,     /* the weights leave no room for a KV block, or for the longest request */
    KM_FATE_BUDGET,     /* one replica takes more than max_gpus */
    KM_FATE_LATENCY,    /* bound: requests alone on it miss the SLO */
    KM_FATE_THROUGHPUT, /* bound: the work takes longer than the SLO leaves, whatever the schedule */
    KM_FATE_SLO,        /* simulated: does not hold with all the replicas it may have */
    KM_FATE_BEATEN,     /* it may hold, but at no cost that could still be among the best */
    KM_FATE_HOLDS,      /* simulated: holds */
    KM_FATE_COUNT,
};
const char *km_fate_name(enum km_fate fate); /* "layout", "memory", ... */

/* What planner/bounds.h can say of it without a run. */
struct km_candidate_bounds {
    uint32_t least_replicas; /* fewer cannot hold */
    double work_s, slack_s;  /* seconds of a replica that the load takes at least, all due so long after the
                                last arrival; 0 = not known */
    double busy_s;           /* seconds of a replica that all requests take at least; 0 = not known */
    double ttft_s, tpot_s;   /* medians of what requests take at least when they are alone; NAN = not known */
    double latency_ratio;    /* of the SLO term that an empty system comes nearest to: value over limit */
};

struct km_candidate {
    uint64_t point;
    const char *label; /* the axes that vary: "h200-sxm, TP 2, max_num_seqs 128" */
    enum km_fate fate;
    const char *reason; /* why it fell; "" while it has not */

    char model[64], device[64];
    char layout[64];        /* of one replica: "TP 2 x PP 1" */
    uint32_t max_model_len; /* lowered, so that the engine starts (planner/model_len.h); 0 = as stated */
    uint32_t gpus_per_replica, gpus_per_node;
    uint32_t least_replicas, most_replicas; /* what the search and the budget allow */
    double usd_per_gpu_hour, idle_power_w;
    double weight_bytes, kv_bytes, budget_bytes; /* of a rank */
    struct km_candidate_bounds bounds;

    uint32_t replicas;           /* of the plan: the fewest that hold, or the last tried */
    uint32_t runs;               /* simulated at the asked load */
    struct km_decision decision; /* of that plan, when the probe holds; else no replications */
    struct km_probe *probe; /* at the asked load, with `replicas`; NULL = not simulated. Owned by the plan */
    struct km_capacity *capacity; /* its maximum rate; NULL = not looked for. In the plan's arena */
    /* What measurements say of its step times (planner/certainty.h), where its rate is looked for: the
     * closest row of throughput, in the plan's arena, or NULL. */
    struct km_accuracy_answer *accuracy;
    struct km_time_error time_error;
    bool weight_only; /* the device widens the checkpoint's weights (scenario.h) */
    bool no_profile;  /* cost model profile was asked for, but there is none of the device: roofline */
};

/* GPUs that are paid for: those of the replicas, or the whole nodes they stand on. */
uint32_t km_candidate_rented_gpus(const struct km_search *search, const struct km_candidate *candidate,
                                  uint32_t replicas);

struct km_candidates {
    struct km_candidate *items; /* [count] by point */
    uint64_t count;
    struct km_arena arena; /* owns items and strings */
};

/* What every candidate is read from. */
struct km_candidate_source {
    const char *path;
    const struct km_override *overrides; /* [override_count] the user's own, before those of the axes */
    size_t override_count;
    const struct km_search *search;
    struct km_profile_store *profiles; /* read once for all of them */
    uint64_t longest_tokens;           /* of the load: km_load_longest_tokens() */
};

/* Overrides of a candidate: the user's, its point's, and, unless 0, cluster.replicas. Returns their number,
 * at most km_candidate_override_count(source). `digits` is storage for the last. */
size_t km_candidate_overrides(const struct km_candidate_source *source, uint64_t point, uint32_t replicas,
                              char digits[16], struct km_override *out);
size_t km_candidate_override_count(const struct km_candidate_source *source);

/* The candidate's scenario with so many replicas; km_scenario_release() it. */
enum km_status km_candidate_scenario(const struct km_candidate_source *source, uint64_t point,
                                     uint32_t replicas, struct km_scenario *out, struct km_error *error);

/* Read them all, on `workers` threads, telling `watch` (NULL: nobody). KM_BAD_INPUT, at the axis: a value
 * that no plan could have (a misspelt name or key); combinations that do not go are candidates with a fate.
 */
enum km_status km_candidates_create(const struct km_candidate_source *source, uint32_t workers,
                                    const struct km_watch *watch, struct km_candidates *out,
                                    struct km_error *error);
void km_candidates_release(struct km_candidates *candidates);

#endif
