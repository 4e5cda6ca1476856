/* Each replica in turn. */
#include "routing/routing.h"

static uint32_t route(void *state, const struct km_routing_view *view, const struct km_request *request)
{
    (void)request;
    uint32_t *next = state, chosen = *next;
    *next = (chosen + 1) % view->replicas;
    return chosen;
}

const struct km_router km_routing_round_robin = {
    .entry = {"round_robin", "each replica in turn (default)"},
    .state_bytes = sizeof(uint32_t),
    .route = route,
};
