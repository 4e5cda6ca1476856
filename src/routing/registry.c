#include "routing/routing.h"

extern const struct km_router km_routing_round_robin, km_routing_random, km_routing_least_outstanding,
    km_routing_power_of_two, km_routing_session, km_routing_data_parallel;

const struct km_entry *const km_routing_registry[] = {
    &km_routing_round_robin.entry,       /* the default first */
    &km_routing_random.entry,            /* */
    &km_routing_least_outstanding.entry, /* */
    &km_routing_power_of_two.entry,      /* */
    &km_routing_session.entry,           /* */
    &km_routing_data_parallel.entry,     /* */
    NULL,
};
