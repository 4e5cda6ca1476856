/* Each replica in turn. When replicas come or go the turn stays at its place in the list of those that
 * accept.
 */
#include "routing/routing.h"

static uint32_t route(void *state, const struct km_routing_view *view, const struct km_request *request)
{
    (void)request;
    uint32_t *next = state, at = *next < view->accepting_count ? *next : 0;
    *next = at + 1;
    return view->accepting[at];
}

const struct km_router km_routing_round_robin = {
    .entry = {"round_robin", "each replica in turn (default)"},
    .state_bytes = sizeof(uint32_t),
    .route = route,
};
