/* Two different replicas at random, and of these the one with fewer outstanding requests; the first drawn
 * when they are equal. M. Mitzenmacher 2001, "The power of two choices in randomized load balancing", IEEE
 * Trans. Parallel and Distributed Systems 12(10): nearly as good as asking all of them. */
#include "routing/routing.h"

static uint32_t route(void *state, const struct km_routing_view *view, const struct km_request *request)
{
    (void)state;
    (void)request;
    uint32_t count = view->accepting_count;
    if (count == 1)
        return view->accepting[0];
    uint32_t first = (uint32_t)gsl_rng_uniform_int(view->rng, count);
    uint32_t second = (uint32_t)gsl_rng_uniform_int(view->rng, count - 1);
    second += second >= first;
    uint32_t a = view->accepting[first], b = view->accepting[second];
    return view->outstanding[b] < view->outstanding[a] ? b : a;
}

const struct km_router km_routing_power_of_two = {
    .entry = {"power_of_two", "of two random replicas the one with fewer outstanding requests"},
    .route = route,
};
