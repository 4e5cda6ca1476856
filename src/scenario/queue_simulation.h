/* The queueing models' systems, run on the event core: Poisson arrivals into one server with the linear
 * service law, by the project's own batching policies. What `kingman queue` prints beside the theory. */
#ifndef KM_SCENARIO_QUEUE_SIMULATION_H
#define KM_SCENARIO_QUEUE_SIMULATION_H

#include "base/error.h"
#include "batching/batching.h"
#include "cost/cost.h"
#include "workload/distribution.h"

#include <stddef.h>
#include <stdint.h>

#define KM_QUEUE_MAX_TAILS 32

struct km_queue_system {
    const struct km_batching_policy
        *policy;              /* dynamic, fixed, elastic; one request at a time: dynamic with batch_cap 1 */
    uint32_t batch_size;      /* 0 = none */
    uint32_t batch_cap;       /* 0 = unlimited */
    struct km_linear_law law; /* M/G/1 with S = a*N + c: k4 = a, k2 = c */
    double arrival_rate_per_s;
    const struct km_distribution *output_tokens;
    double patience_s;         /* 0 = infinite */
    const double *wait_tail_s; /* [wait_tail_count] times t of P(W > t) */
    size_t wait_tail_count;    /* at most KM_QUEUE_MAX_TAILS */
    uint64_t requests;         /* fewer when they would not fit into simulated time (53 days) */
    uint64_t seed;
};

struct km_queue_estimate {
    double value, ci95; /* NAN where undefined */
};

struct km_queue_simulated {
    uint64_t requests;                                                         /* that were sent */
    struct km_queue_estimate mean_wait_s, mean_square_wait_s, mean_response_s; /* of the requests served */
    double var_wait_s;
    double utilization; /* share of the time the server was busy */
    double mean_batch;  /* requests of a batch when it starts */
    double idle;
    struct km_queue_estimate loss; /* share that left unserved */
    struct km_queue_estimate wait_tail[KM_QUEUE_MAX_TAILS];
};

/* KM_BAD_INPUT: no request arrives within simulated time. */
enum km_status km_queue_simulate(const struct km_queue_system *system, struct km_queue_simulated *out,
                                 struct km_error *error);

#endif
