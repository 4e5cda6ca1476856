#include "routing/routing.h"

extern const struct km_router km_routing_round_robin;

const struct km_entry *const km_routing_registry[] = {
    &km_routing_round_robin.entry,
    NULL,
};
