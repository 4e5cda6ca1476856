/* One run: a workload through a router into replicas, event by event, into metrics. A run is a function of
 * its configuration and seed alone; nothing is global, so any number of runs can live in one process. */
#ifndef KM_SIM_SIMULATION_H
#define KM_SIM_SIMULATION_H

#include "base/error.h"
#include "metrics/metrics.h"
#include "routing/routing.h"
#include "sim/replica.h"
#include "workload/workload.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct km_simulation_config {
    const struct km_workload_settings *workload;
    uint64_t seed;
    struct km_replica_config replica; /* of every replica; index, ended and context are filled in here */
    uint32_t replicas;
    const struct km_router *router;
    struct km_metrics *metrics; /* borrowed */
    /* Optional: told of every request that ended. */
    void (*ended)(void *context, enum km_outcome outcome, const struct km_record *record);
    void *context;
    /* Optional: share of the workload taken so far (negative: unknown), called now and then. */
    void (*progress)(void *context, double share, uint64_t requests);
    const volatile sig_atomic_t *stop; /* optional: the run ends soon after this turns nonzero */
    /* Optional: the run ends with the event in which this turns true. Where `ended` alone sets it, the end is
     * as reproducible as the run. */
    const bool *enough;
};

struct km_rejection {
    const char *reason;
    uint64_t count;
};

struct km_simulation_result {
    struct km_work work; /* summed over the replicas */
    uint64_t capacity_blocks;
    struct km_rejection rejections[8]; /* [rejection_count] */
    uint32_t rejection_count;
    bool stopped;         /* by `stop` or `enough`, before the end */
    uint64_t unserved;    /* requests in the system when the run ended: 0 unless stopped */
    uint64_t used_blocks; /* KV blocks still held at the end: 0 unless stopped */
};

/* A broken trace surfaces as KM_BAD_INPUT. */
enum km_status km_simulation_run(const struct km_simulation_config *config, struct km_simulation_result *out,
                                 struct km_error *error);

#endif
