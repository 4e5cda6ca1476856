/* vLLM's balancer of data-parallel ranks (0.26: vllm/v1/engine/core_client.py, DPLBAsyncMPClient): the least of
 * 4 * waiting + running, on counts that the coordinator publishes every 100 ms (vllm/v1/engine/coordinator.py,
 * min_stats_update_interval_ms), to which a client adds what it has sent since. Of equals the first from a place
 * that moves on by one with every request. */
#include "base/memory.h"
#include "base/simtime.h"
#include "routing/routing.h"

#include <stdlib.h>

#define EVERY_PS       (UINT64_C(100) * 1000000000)
#define WAITING_WEIGHT 4

struct counts {
    uint64_t waiting, running;
};

struct state {
    struct counts *known; /* [capacity] by replica: as published, and waiting what was sent since */
    size_t capacity;
    uint64_t published_ps; /* the latest */
    uint64_t first;        /* place among the accepting ones */
};

static void joined(void *state, const struct km_routing_view *view, uint32_t replica)
{
    struct state *s = state;
    (void)view;
    size_t before = s->capacity;
    s->known = km_grow(s->known, &s->capacity, (size_t)replica + 1, sizeof *s->known);
    for (size_t i = before; i < s->capacity; i++)
        s->known[i] = (struct counts){0};
    s->known[replica] = (struct counts){0};
}

static void observe(void *state, const struct km_routing_view *view, uint64_t now_ps)
{
    struct state *s = state;
    const uint64_t due_ps = now_ps - now_ps % EVERY_PS;
    if (due_ps <= s->published_ps)
        return;
    s->published_ps = due_ps;
    for (uint32_t i = 0; i < view->accepting_count; i++) {
        struct counts *known = &s->known[view->accepting[i]];
        view->counts(view->context, view->accepting[i], &known->waiting, &known->running);
    }
}

static uint32_t route(void *state, const struct km_routing_view *view, const struct km_request *request)
{
    struct state *s = state;
    (void)request;
    uint32_t chosen = 0;
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < view->accepting_count; i++) {
        const uint32_t replica = view->accepting[(s->first + i) % view->accepting_count];
        const uint64_t score = WAITING_WEIGHT * s->known[replica].waiting + s->known[replica].running;
        if (score < least) {
            least = score;
            chosen = replica;
        }
    }
    s->known[chosen].waiting++;
    s->first = (s->first + 1) % view->accepting_count;
    return chosen;
}

static void release(void *state)
{
    free(((struct state *)state)->known);
}

const struct km_router km_routing_data_parallel = {
    .entry = {"data_parallel", "vLLM's balancer of data-parallel ranks: the least 4 x waiting + running, on "
                               "counts up to 100 ms old"},
    .state_bytes = sizeof(struct state),
    .route = route,
    .joined = joined,
    .observe = observe,
    .release = release,
};
