/* The replica with the fewest outstanding requests; of equals the one that was longest without a new request
 * (at first: the lowest number), so that an idle fleet is used in rotation. A heap over the replicas makes a
 * choice O(log n). */
#include "base/heap.h"
#include "base/memory.h"
#include "routing/routing.h"

#include <stdlib.h>

struct state {
    struct km_heap order;  /* replicas by (outstanding, number of the last request sent) */
    uint64_t *last_routed; /* [capacity] by replica; 0 = none yet */
    size_t capacity;
    uint64_t routed;
};

static void place(struct state *s, const struct km_routing_view *view, uint32_t replica)
{
    km_heap_remove(&s->order, replica);
    /* Replicas without a request tie by number: below 2^32, and request numbers are put above. */
    uint64_t last = s->last_routed[replica], tie = last ? ((uint64_t)UINT32_MAX + last) : replica;
    km_heap_push(&s->order, view->outstanding[replica], tie, replica);
}

static void joined(void *state, const struct km_routing_view *view, uint32_t replica)
{
    struct state *s = state;
    size_t before = s->capacity;
    s->last_routed = km_grow(s->last_routed, &s->capacity, (size_t)replica + 1, sizeof *s->last_routed);
    for (size_t i = before; i < s->capacity; i++)
        s->last_routed[i] = 0;
    s->last_routed[replica] = 0;
    place(s, view, replica);
}

static void left(void *state, const struct km_routing_view *view, uint32_t replica)
{
    struct state *s = state;
    (void)view;
    km_heap_remove(&s->order, replica);
}

static void changed(void *state, const struct km_routing_view *view, uint32_t replica)
{
    place(state, view, replica);
}

static uint32_t route(void *state, const struct km_routing_view *view, const struct km_request *request)
{
    struct state *s = state;
    (void)request;
    uint32_t chosen = s->order.entries[0].item;
    s->last_routed[chosen] = ++s->routed;
    place(s, view, chosen);
    return chosen;
}

static void release(void *state)
{
    struct state *s = state;
    km_heap_release(&s->order);
    free(s->last_routed);
}

const struct km_router km_routing_least_outstanding = {
    .entry = {"least_outstanding", "the replica with the fewest outstanding requests"},
    .state_bytes = sizeof(struct state),
    .route = route,
    .joined = joined,
    .left = left,
    .changed = changed,
    .release = release,
};
