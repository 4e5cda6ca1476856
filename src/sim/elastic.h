/* The moments at which a fleet changes its size: looks of the scaler (src/scaling), and replicas that have
 * started. Private to src/sim. */
#ifndef KM_SIM_ELASTIC_H
#define KM_SIM_ELASTIC_H

#include "sim/replica_set.h"

struct km_elastic {
    const struct km_scaling_settings *settings; /* NULL: the fleet is fixed, nothing ever happens */
    struct km_scaler *scaler;
    uint64_t look_ps, last_look_ps;
    uint64_t arrived_requests, arrived_prompt_tokens; /* since the last look */
};

void km_elastic_init(struct km_elastic *elastic, const struct km_scaling_settings *settings);
void km_elastic_release(struct km_elastic *elastic);
void km_elastic_arrived(struct km_elastic *elastic, const struct km_request *request);
/* When something happens next; KM_PS_NEVER. */
uint64_t km_elastic_next(const struct km_elastic *elastic, const struct km_replica_set *set);
/* Let it happen, at km_elastic_next(). */
void km_elastic_act(struct km_elastic *elastic, struct km_replica_set *set);

#endif
