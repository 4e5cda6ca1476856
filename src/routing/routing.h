/* Routers: which replica serves a request. One file and one registry line each.
 *
 * Replicas are numbered from 0; those that accept requests come and go. The simulation tells a router of
 * every change through the hooks, in the order of simulated time, so that a router may keep whatever lets it
 * choose without walking over all replicas. A request that only some replicas could ever serve (its length
 * does not fit the others' KV cache) is routed among those by a second instance of the router, with a view of
 * just them: a router never needs to look at capacities.
 *
 * Routers see requests, not work: `outstanding` counts requests sent and not yet ended, and counts() what engines
 * hold of them, equally on a fast replica and on a slow one. (So does the least-connections rule of NGINX and Envoy without weights.) */
#ifndef KM_ROUTING_ROUTING_H
#define KM_ROUTING_ROUTING_H

#include "base/registry.h"
#include "workload/request.h"

#include <gsl/gsl_rng.h>
#include <stddef.h>
#include <stdint.h>

struct km_routing_view {
    const uint32_t *accepting;   /* [accepting_count] numbers of the replicas to choose from, ascending */
    uint32_t accepting_count;    /* >= 1 when route() is called */
    uint32_t most_accepting;     /* never more than so many at once in this run */
    const uint64_t *outstanding; /* [any replica's number] requests sent there and not yet ended */
    gsl_rng *rng;                /* the stream of purpose `routing`: routers alone draw from it */
    /* What a replica's engines tell: requests that wait in their queues, and those that hold blocks. */
    void (*counts)(const void *context, uint32_t replica, uint64_t *waiting, uint64_t *running);
    const void *context;
};

struct km_router {
    struct km_entry entry;
    size_t state_bytes; /* zeroed before the first call, owned by the simulation */
    /* The number of one of view->accepting. */
    uint32_t (*route)(void *state, const struct km_routing_view *view, const struct km_request *request);
    /* Optional. A replica accepts from now on; it no longer does (the view is already without it). */
    void (*joined)(void *state, const struct km_routing_view *view, uint32_t replica);
    void (*left)(void *state, const struct km_routing_view *view, uint32_t replica);
    /* Optional: the outstanding requests of one of view->accepting changed. */
    void (*changed)(void *state, const struct km_routing_view *view, uint32_t replica);
    /* Optional: something is about to happen at now_ps, and since the last call nothing has. Times never
     * decrease. */
    void (*observe)(void *state, const struct km_routing_view *view, uint64_t now_ps);
    void (*release)(void *state); /* optional: free what the state points to */
};

extern const struct km_entry *const km_routing_registry[];

/* NULL when there is none of that name. */
static inline const struct km_router *km_routing_find(const char *name)
{
    return (const struct km_router *)(const void *)km_registry_find(km_routing_registry, name);
}

#endif
