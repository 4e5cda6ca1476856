/* The batching configuration advisor, after "Mind the Memory Gap: Unveiling GPU Bottlenecks in Large-Batch
 * LLM Inference" (Recasens et al. 2025, arXiv 2503.08311): decode at large batches stays bound by memory
 * bandwidth, so beyond some batch size throughput hardly grows, while latency and the KV cache do.
 *
 * T(B), output tokens a second, and the inter-token latency L(B) are those of the scenario's own requests in
 * a closed loop of B clients with max_num_seqs = B: B sequences are always there. T = B * (sum of output
 * tokens) / (sum of E2E latencies), by Little's law, so that neither the start nor the end of the run counts.
 * The advised batch is
 *
 *     argmax T(B)  over B with  T(B) / (B * T(1)) >= epsilon  and the SLO met at B,
 *
 * where the SLO is the scenario's terms of TPOT and ITL, judged on that run, and a limit of the mean ITL if
 * one is given. Batch sizes are those of a grid up to the largest that the KV cache holds at the mean
 * length, then bisected around the knee.
 *
 * Memory: the KV blocks that the run at the advised batch held at its peak are what it needs; the rest of the
 * allocation can be freed.
 *
 * Replicas that share the GPUs: R equal engines on the same devices, each with the advised batch. A step's
 * device time divides into operators bound by arithmetic (share c of the run), by memory or links (share m),
 * and by launches; what is left of the run is the host's. With solo throughput T, three models of all R:
 *
 *   sliced    min(R T, T / busy)        time slices: one engine's kernels at a time; another's fill the gaps
 *                                       in which its host works
 *   adding    min(R T, T / (c + m))     kernels side by side (MPS), but phases bound by bandwidth and phases
 *                                       bound by arithmetic add up; gaps of host and launches overlap
 *   overlap   min(R T, T / max(c, m))   what one engine leaves of the bandwidth another's arithmetic could
 *                                       overlap: nothing can be faster
 *
 * Advice never harms. The advised batch, and the replicas that share, are run under the scenario's own
 * arrivals beside the scenario as it is. What saturates a load that was carried, misses an SLO that was met
 * or, where no SLO is met, makes the p99 of E2E latency worse by more than a tenth is withdrawn. What might
 * help instead - fp8 weights, twice the tensor-parallel ranks, twice the replicas, with max_num_seqs as it is
 * - is then run, too, and the best that does help is told: it meets the SLO or cuts that p99 by a tenth; of
 * several those that meet the SLO, then the fewest GPUs.
 *
 * Advice follows `adding`. Interference in caches, slower kernels on part of the multiprocessors and a host
 * with fewer cores than engines are not modelled. Latencies grow as each replica slows down: by R T / bound.
 */
#ifndef KM_ADVISOR_ADVISOR_H
#define KM_ADVISOR_ADVISOR_H

#include "base/watch.h"
#include "scenario/fleet.h"

#define KM_ADVICE_POINTS 40
#define KM_ADVICE_SHARES 8
#define KM_ADVICE_TRIED  3
#define KM_ADVICE_WORSE  0.1 /* by how much the p99 of E2E latency may grow, relative */

struct km_advice_options {
    double epsilon;     /* 0 < epsilon <= 1; the paper's is 0.1 */
    double itl_slo_s;   /* limit of the mean ITL; 0 = none */
    uint32_t max_batch; /* largest batch to look at; 0 = 512, or max_num_seqs if that is more */
    uint32_t workers;   /* threads; 0 = one a core. Does not change the answer. */
    struct km_watch watch;
};

struct km_advice_point {
    uint32_t batch;
    uint64_t requests, preemptions;
    double output_tokens_per_s, efficiency; /* efficiency: T(B) / (B * T(1)) */
    double itl_mean_s, itl_p99_s, tpot_mean_s;
    double slo_ratio; /* the worst TPOT or ITL term's value over its limit; 0 when none is stated */
    bool slo_met, efficient;
    double mfu, mbu, busy;    /* of the whole run */
    double prompt_step_share; /* of the steps: those that computed prompt tokens ... */
    double prompts_a_step;    /* ... and how many whole prompts each, on average */
    uint64_t peak_blocks;
};

enum km_advice_bound {
    KM_ADVICE_AT_MOST,    /* the largest batch looked at */
    KM_ADVICE_MEMORY,     /* the largest that the KV cache holds at the mean length */
    KM_ADVICE_EFFICIENCY, /* beyond it, T(B) / (B * T(1)) is below epsilon */
    KM_ADVICE_SLO,        /* beyond it, the SLO is missed */
    KM_ADVICE_PLATEAU,    /* larger batches have no more throughput */
};

enum km_sharing { KM_SHARING_SLICED, KM_SHARING_ADDING, KM_SHARING_OVERLAP, KM_SHARING_COUNT };

struct km_advice_share {
    uint32_t replicas;
    double memory_bytes; /* of one GPU */
    bool fits;
    double output_tokens_per_s[KM_SHARING_COUNT], itl_mean_s[KM_SHARING_COUNT];
    bool slo_met; /* under KM_SHARING_ADDING */
};

enum km_advice_harm { KM_ADVICE_HARMLESS, KM_ADVICE_SATURATES, KM_ADVICE_MISSES_SLO, KM_ADVICE_SLOWER };

struct km_advice_run { /* the scenario's own arrivals */
    const char *name;  /* "as it is", "advised batch", "replicas sharing"; of those tried "fp8 weights" ... */
    char setting[96];  /* of those tried: the keys that were changed, "cluster.replicas=4" */
    uint32_t max_num_seqs, replicas, gpus;
    struct km_summary summary;
    enum km_advice_harm harm; /* of advice, against the scenario as it is */
    bool helps;               /* of those tried */
};

struct km_advice {
    double epsilon, itl_slo_s;
    double mean_prompt_tokens, mean_output_tokens;
    uint32_t fits_batch; /* largest batch that the KV cache holds at the mean length */
    uint32_t point_count;
    struct km_advice_point points[KM_ADVICE_POINTS]; /* by batch */
    uint32_t advised;                                /* index of a point */
    enum km_advice_bound bound;
    /* Of one GPU. */
    double budget_bytes, weight_bytes, other_bytes, kv_bytes, kv_needed_bytes, kv_freed_bytes;
    uint64_t blocks, needed_blocks;
    double needed_utilization; /* gpu_memory_utilization that leaves just the needed blocks */
    /* Shares of a run at the advised batch: device time of operators bound by arithmetic, and by memory or
     * links; all device time. */
    double compute_share, memory_share, busy_share;
    uint32_t share_count;
    struct km_advice_share shares[KM_ADVICE_SHARES];
    uint32_t advised_replicas; /* on the same GPUs; 1 = one engine */
    uint32_t run_count;
    struct km_advice_run runs[3];
    uint32_t tried_count; /* what might help, where advice was withdrawn */
    struct km_advice_run tried[KM_ADVICE_TRIED];
    /* tried[instead - 1] is the best of those that help; 0 = none does, or nothing was tried */
    uint32_t instead;
};

/* Was the advised batch withdrawn? */
static inline bool km_advice_is_withdrawn(const struct km_advice *advice)
{
    return advice->runs[1].harm != KM_ADVICE_HARMLESS;
}

/* What helps instead; NULL when nothing does. */
static inline const struct km_advice_run *km_advice_instead(const struct km_advice *advice)
{
    return advice->instead ? &advice->tried[advice->instead - 1] : NULL;
}

/* What advice does to the scenario; of the runs before and after. */
enum km_advice_harm km_advice_harms(const struct km_advice_run *before, const struct km_advice_run *after);

/* private to the folder (advisor_share.c): memory, sharing and advised_replicas, once the point is found */
enum km_status km_advise_sharing(const struct km_setup *setup, struct km_advice *advice,
                                 struct km_error *error);

/* private to the folder (instead.c): a run of the scenario's own arrivals; and, for advice that is withdrawn,
 * what would help */
enum km_status km_advice_try(const struct km_scenario *scenario, struct km_advice_run *run,
                             struct km_error *error);
enum km_status km_advise_instead(const struct km_scenario *scenario, const struct km_advice_options *options,
                                 struct km_advice *out, struct km_error *error);

/* KM_NO: the model does not fit, or no batch meets the SLO. KM_BAD_INPUT: cluster.groups, or a policy that
 * waits for a batch of a fixed size. */
enum km_status km_advise(const struct km_scenario *scenario, const struct km_advice_options *options,
                         struct km_advice *out, struct km_error *error);

#endif
