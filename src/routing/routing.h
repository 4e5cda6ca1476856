/* Routers: which replica serves a request. One file and one registry line each. */
#ifndef KM_ROUTING_ROUTING_H
#define KM_ROUTING_ROUTING_H

#include "base/registry.h"
#include "workload/request.h"

#include <stddef.h>
#include <stdint.h>

struct km_routing_view {
    uint32_t replicas;
    const uint64_t *outstanding; /* [replicas] requests sent there and not yet ended */
};

struct km_router {
    struct km_entry entry;
    size_t state_bytes; /* zeroed before the first call, owned by the simulation */
    uint32_t (*route)(void *state, const struct km_routing_view *view, const struct km_request *request);
};

extern const struct km_entry *const km_routing_registry[];

/* NULL when there is none of that name. */
static inline const struct km_router *km_routing_find(const char *name)
{
    return (const struct km_router *)(const void *)km_registry_find(km_routing_registry, name);
}

#endif
