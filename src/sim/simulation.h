/* One run: a workload through a router into replicas, event by event, into metrics. A run is a function of
 * its configuration and seed alone; nothing is global, so any number of runs can live in one process. */
#ifndef KM_SIM_SIMULATION_H
#define KM_SIM_SIMULATION_H

#include "base/error.h"
#include "base/stop.h"
#include "metrics/metrics.h"
#include "prediction/prediction.h"
#include "routing/routing.h"
#include "scaling/scaling.h"
#include "sim/replica.h"
#include "workload/workload.h"

#include <stdbool.h>
#include <stdint.h>

#define KM_MAX_GROUPS 16

/* Equal replicas. */
struct km_simulation_group {
    struct km_replica_config replica; /* of each rank; index, metrics, ended and context are filled in here */
    uint32_t replicas;                /* >= 1 */
    uint32_t ranks;                   /* data-parallel, of each replica; 0 = 1 */
};

struct km_replica_result;

/* How many replicas a group has, from now on. */
struct km_group_size {
    uint64_t now_ps;
    uint32_t group, starting, serving, draining;
};

struct km_simulation_config {
    const struct km_workload_settings *workload;
    uint64_t seed;
    const struct km_simulation_group *groups; /* [group_count] borrowed */
    uint32_t group_count;                     /* 1 .. KM_MAX_GROUPS */
    const struct km_router *router;
    const struct km_prediction *prediction;    /* of output lengths, borrowed; NULL = none */
    const struct km_scaling_settings *scaling; /* borrowed; NULL = every group is fixed */
    struct km_metrics *metrics;                /* borrowed */
    /* Optional: told of every request that ended. */
    void (*ended)(void *context, enum km_outcome outcome, const struct km_record *record);
    /* Optional: told of every step (sim/replica.h). */
    void (*stepped)(void *context, const struct km_step_record *record);
    /* Optional: told of every replica when it goes, at the latest at the end of the run. */
    void (*replica_ended)(void *context, const struct km_replica_result *result);
    /* Optional: told at the beginning and of every change. */
    void (*resized)(void *context, const struct km_group_size *size);
    void *context;
    /* Optional: share of the workload taken so far (negative: unknown), called now and then. */
    void (*progress)(void *context, double share, uint64_t requests);
    const km_stop *stop; /* optional: the run ends soon after this turns nonzero */
    /* Optional: the run ends with the event in which this turns true. Where `ended` alone sets it, the end is
     * as reproducible as the run. */
    const bool *enough;
};

struct km_rejection {
    const char *reason;
    uint64_t count;
};

/* One replica, from its start to its end. Latencies are those of the requests it completed; NAN without any.
 */
struct km_replica_result {
    uint32_t replica, group; /* replica: as in the records of its requests */
    uint64_t start_ps, end_ps;
    uint64_t completed, prompt_tokens, output_tokens,
        preemptions; /* of completed requests; preemptions: of all */
    uint64_t steps, peak_blocks, capacity_blocks;
    double ttft_mean_s, e2e_mean_s;
    double busy; /* share of its time; NAN when it had none */
};

struct km_group_latency {
    double mean_s, p50_s, p99_s; /* NAN where undefined */
};

struct km_group_result {
    uint64_t completed, prompt_tokens, output_tokens,
        preemptions; /* of completed requests; preemptions: of all */
    struct km_work work;
    uint64_t capacity_blocks; /* of all slots: of as many replicas as were there at most at once */
    double replica_seconds; /* paid: from the start of each replica to its end, or that of the last request */
    double mean_replicas;   /* the same over the run's duration; NAN when nothing completed */
    uint32_t least_replicas, most_replicas;  /* starting and serving at once */
    uint64_t scale_ups, scale_downs;         /* replicas added and removed */
    struct km_group_latency ttft, tpot, e2e; /* NAN when there is one group: they are those of the run */
};

struct km_simulation_result {
    struct km_work work; /* summed over the replicas */
    uint64_t capacity_blocks;
    struct km_group_result groups[KM_MAX_GROUPS]; /* [group_count] */
    uint32_t group_count;
    struct km_rejection rejections[8]; /* [rejection_count] */
    uint32_t rejection_count;
    bool stopped;          /* by `stop`, `enough` or an executor that failed, before the end */
    uint64_t unsent_turns; /* of sessions that wait, after one that was not answered */
    uint64_t unserved;     /* requests in the system when the run ended: 0 unless stopped */
    uint64_t used_blocks;  /* KV blocks still held at the end: 0 unless stopped */
};

/* A broken trace surfaces as KM_BAD_INPUT. KM_FAILED: an executor failed; `out` and the metrics hold what was
 * done so far. */
enum km_status km_simulation_run(const struct km_simulation_config *config, struct km_simulation_result *out,
                                 struct km_error *error);

#endif
