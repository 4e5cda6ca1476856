/* Rounds: runs of several plans at the asked load, decided upon together and spread over the cores. The size
 * of a round is fixed, so that what is simulated does not depend on the number of workers. */
#ifndef KM_PLANNER_ROUND_H
#define KM_PLANNER_ROUND_H

#include "planner/rank.h"

#define KM_ROUND_SIZE 16u

struct km_round_run {
    struct km_candidate *candidate;
    uint32_t replicas;
    struct km_rank key; /* by which it was offered */
    /* results */
    struct km_probe *probe; /* owned by who takes it */
    struct km_decision decision;
    bool holds; /* the probe does, and the decision agrees */
};

struct km_round {
    /* set these first */
    const struct km_candidate_source *source;
    const struct km_load *load;
    struct km_demand *demand; /* NULL for a closed loop */
    bool whole;               /* runs are never cut short, and not tried on other workloads */

    struct km_round_run runs[KM_ROUND_SIZE]; /* [count] by ascending key */
    uint32_t count;
};

/* Keep it if it is among the smallest KM_ROUND_SIZE keys offered. */
void km_round_offer(struct km_round *round, struct km_candidate *candidate, uint32_t replicas,
                    const struct km_rank *key);
/* Fills the results, a probe each; after a failure there are none. */
enum km_status km_round_simulate(struct km_round *round, uint32_t workers, struct km_error *error);

#endif
