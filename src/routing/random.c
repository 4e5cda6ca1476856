/* Any replica with equal probability: of Poisson arrivals, each of n replicas then sees Poisson arrivals at a
 * rate of 1/n, independent of the others (Kleinrock 1975, Queueing Systems I, section 2.5). */
#include "routing/routing.h"

static uint32_t route(void *state, const struct km_routing_view *view, const struct km_request *request)
{
    (void)state;
    (void)request;
    return view->accepting[gsl_rng_uniform_int(view->rng, view->accepting_count)];
}

const struct km_router km_routing_random = {
    .entry = {"random", "any replica, equally likely"},
    .route = route,
};
