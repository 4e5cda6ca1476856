/* The routers' view of the replicas. A pool is the serving replicas of those groups that could serve a
 * request at all, with a router's state of its own: a long request is routed among the replicas whose KV
 * cache can hold it. There are few pools, because what a group refuses depends on the request's length alone.
 * Private to src/sim. */
#ifndef KM_SIM_POOLS_H
#define KM_SIM_POOLS_H

#include "routing/routing.h"

#include <stddef.h>
#include <stdint.h>

struct km_pool; /* private */

struct km_pools {
    const struct km_router *router;
    gsl_rng *rng;
    uint32_t most_accepting;
    uint64_t *outstanding; /* [count] requests sent to a replica and not yet ended, by its number */
    uint32_t *serving_of;  /* [count] its group + 1 while it serves, else 0 */
    uint32_t count;
    size_t outstanding_capacity, serving_capacity;
    void (*counts)(const void *context, uint32_t number, uint64_t *waiting, uint64_t *running);
    const void *context;
    struct km_pool *pools; /* [pool_count] */
    size_t pool_count, pool_capacity;
};

/* `counts` and `context`: as in struct km_routing_view. */
void km_pools_init(struct km_pools *pools, const struct km_router *router, uint64_t seed,
                   void (*counts)(const void *context, uint32_t number, uint64_t *waiting, uint64_t *running),
                   const void *context);
void km_pools_release(struct km_pools *pools);

/* The replica `number` of the group serves from now on; it no longer does. */
void km_pools_join(struct km_pools *pools, uint32_t number, uint32_t group);
void km_pools_leave(struct km_pools *pools, uint32_t number);
/* Where a request goes that the groups of the mask could serve; one of them serves. */
uint32_t km_pools_route(struct km_pools *pools, uint64_t groups, const struct km_request *request);
/* Something is about to happen at now_ps. */
void km_pools_observe(struct km_pools *pools, uint64_t now_ps);
/* A request was sent to a replica (+1), or one of its requests ended (-1). */
void km_pools_count(struct km_pools *pools, uint32_t number, int change);

#endif
