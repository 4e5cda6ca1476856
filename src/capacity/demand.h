/* Demand: the replications of one workload that all plans are tried on, so that plans and rates are compared
 * on the same requests (common random numbers).
 *
 * Replication i is drawn with seed + i. Of a trace with its own times, replication 0 is the trace as it is,
 * and the others are block bootstraps of it (workload/resample.h); a scenario that asks for a bootstrap
 * itself gets only such. A replication is made when first asked for, kept, and shared by all threads; its
 * content depends on nothing but the workload, the seed and i. It takes what a recording takes (56 bytes a
 * request). */
#ifndef KM_CAPACITY_DEMAND_H
#define KM_CAPACITY_DEMAND_H

#include "base/error.h"
#include "workload/workload.h"

#define KM_DEMAND_MAX 256u

struct km_demand; /* opaque */

struct km_demand_config {
    const struct km_workload_settings *workload; /* borrowed strings and distributions; an open loop */
    uint64_t seed;
    double block_s; /* of the bootstrap, in the trace's time */
    /* A stream this many times as long: a synthetic one's requests and end_s, a bootstrap's span; >= 1. */
    double length;
};

enum km_status km_demand_create(const struct km_demand_config *config, struct km_demand **out,
                                struct km_error *error);
void km_demand_destroy(struct km_demand *demand);

/* Replication `index` < KM_DEMAND_MAX; borrowed until the demand is destroyed. Any thread. */
enum km_status km_demand_get(struct km_demand *demand, uint32_t index, const struct km_recording **out,
                             struct km_error *error);

/* Free a replication that nobody is using; it is made anew, the same, when asked for again. */
void km_demand_drop(struct km_demand *demand, uint32_t index);

/* First replication that is drawn: 1 where replication 0 is a trace as recorded, else 0. */
uint32_t km_demand_first_drawn(const struct km_demand *demand);
bool km_demand_is_synthetic(const struct km_workload_settings *workload); /* no trace */
/* Is there a rate to change? Not in a closed loop, nor when all come at once. */
bool km_demand_has_rate(const struct km_workload_settings *workload);
/* Can the stream be made longer? Not one that draws times for the requests of a trace in their order. */
bool km_demand_can_lengthen(const struct km_workload_settings *workload);
/* Mean arrivals a second at rate_scale 1: the process's rate; of a trace, requests over the time from the
 * first to the last. NAN when there is none (one moment). */
double km_demand_rate_per_s(const struct km_demand *demand);

#endif
