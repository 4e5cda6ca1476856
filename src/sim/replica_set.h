/* The replicas of a run: groups of equal ones, their states, what each did, and the router's view of them.
 *
 * A replica has a number, its slot. It may be starting (paid, accepts nothing), serving, draining (accepts no
 * new request, paid until its last one ends) or off; a slot that is off is used again by the next replica of
 * its group to start, which starts empty. Fixed fleets serve from the beginning to the end.
 *
 * Routing is by pools: a pool is the accepting replicas of those groups that could serve a request at all,
 * with a router's state of its own. There are few pools, because what a group refuses depends on the
 * request's length alone. Private to src/sim. */
#ifndef KM_SIM_REPLICA_SET_H
#define KM_SIM_REPLICA_SET_H

#include "base/heap.h"
#include "base/wide.h"
#include "metrics/sketch.h"
#include "sim/lockstep.h"
#include "sim/pools.h"
#include "sim/simulation.h"

enum km_replica_state { KM_REPLICA_OFF, KM_REPLICA_STARTING, KM_REPLICA_SERVING, KM_REPLICA_DRAINING };

/* What a replica did for its requests since it started. */
struct km_deeds {
    uint64_t completed, prompt_tokens, output_tokens, preemptions;
    km_u128 ttft_ps, e2e_ps;
};

struct km_replica_slot {
    enum km_replica_state state;
    uint32_t group;
    struct km_lockstep *replica; /* while serving or draining */
    uint64_t paid_from_ps;
    struct km_deeds deeds;
    uint64_t peak_blocks; /* of all replicas that had this slot */
    double busy_s;        /* at the scaler's last look */
};

struct km_replica_group {
    uint32_t starting, serving, draining;
    uint32_t witness; /* number of a serving replica */
    uint64_t capacity_blocks;
    uint64_t completed, output_tokens; /* of all replicas */
    struct km_deeds deeds;             /* this and what follows: of replicas that have gone */
    struct km_work work;
    km_u128 paid_ps;
    uint32_t least, most; /* starting and serving at once */
    uint64_t scale_ups, scale_downs;
    struct km_sketch *ttft, *tpot, *e2e;
};

struct km_replica_set {
    const struct km_simulation_config *config;
    struct km_replica_config *templates; /* [group_count] */
    struct km_replica_group *groups;     /* [group_count] */
    struct km_replica_slot *slots;       /* [count] */
    uint32_t count;
    size_t slot_capacity;
    struct km_heap turns;  /* replicas by the time of their next action; the tie is the number */
    struct km_heap starts; /* starting replicas by the time from which they serve */
    struct km_pools pools;
    uint64_t last_end_ps; /* of a request, served or not */
};

/* `ended` and `context`: as in struct km_replica_config. */
void km_replica_set_init(struct km_replica_set *set, const struct km_simulation_config *config,
                         void (*ended)(void *context, enum km_outcome outcome, const struct km_record *record,
                                       uint64_t now_ps),
                         void *context);
void km_replica_set_release(struct km_replica_set *set);

/* The number of the replica that a request goes to. It may still refuse it, when all would. */
uint32_t km_replica_set_route(struct km_replica_set *set, const struct km_request *request);
/* A request was sent to a replica; one of its requests ended. */
void km_replica_set_sent(struct km_replica_set *set, uint32_t number);
void km_replica_set_ended(struct km_replica_set *set, enum km_outcome outcome, const struct km_record *record,
                          uint64_t now_ps);
/* A replica acted, or was given something to do. A draining one without requests goes. */
void km_replica_set_reschedule(struct km_replica_set *set, uint32_t number, uint64_t now_ps);

/* A replica of the group begins to start, and serves from ready_ps on: km_replica_set_serve(). */
void km_replica_set_start(struct km_replica_set *set, uint32_t group, uint64_t now_ps, uint64_t ready_ps);
void km_replica_set_serve(struct km_replica_set *set, uint32_t number, uint64_t now_ps);
/* One fewer: the starting replica that would be ready last; if none is starting, the serving one with the
 * fewest outstanding requests (of equals the highest number) drains. Never the last one that serves. */
void km_replica_set_stop(struct km_replica_set *set, uint32_t group, uint64_t now_ps);

/* At the end of the run: everyone goes, and the results are filled in. */
void km_replica_set_finish(struct km_replica_set *set, struct km_simulation_result *out);

#endif
