/* The same session always goes to the same replica, where its prefixes are cached; a request without a
 * session goes by its own id. Which replica is decided by AnchorHash (Mendelson, Vargaftik, Barabash, Lorenz,
 * Keslassy, Orda 2021, "AnchorHash: a scalable consistent hash", IEEE/ACM Trans. Networking 29(2), arXiv
 * 1812.09674, algorithm 3): sessions spread evenly; when a replica goes, only its own sessions move, evenly
 * over those that stay; when one comes, only the sessions it takes move. A look-up takes 1 + ln(most /
 * current) hashes on average, whatever the number of replicas.
 *
 * AnchorHash chooses among `most_accepting` buckets, of which the working ones have a replica each. Of the
 * removed buckets the one removed last comes back first; any replica may take it. */
#include "base/memory.h"
#include "base/mix.h"
#include "routing/routing.h"

#include <stdlib.h>

struct bucket {
    uint32_t removed_at; /* A: buckets still working after its removal; 0 = it works */
    uint32_t successor;  /* K */
    uint32_t place;      /* L: where it stands in `working` */
    uint32_t working;    /* W: [i] the i-th working bucket (of no meaning to this bucket itself) */
    uint32_t previous;   /* stack of removed buckets: the one below */
    uint32_t replica;    /* of a working bucket */
};

struct state {
    struct bucket *buckets;           /* [count] */
    uint32_t count, working, removed; /* removed: top of the stack, `count` = empty */
    uint32_t *bucket_of;              /* [capacity] by replica */
    size_t capacity;
};

static void remove_bucket(struct state *s, uint32_t index)
{
    struct bucket *b = s->buckets;
    b[index].previous = s->removed;
    s->removed = index;
    uint32_t last = --s->working;
    b[index].removed_at = last;
    uint32_t moved = b[last].working;
    b[b[index].place].working = b[index].successor = moved;
    b[moved].place = b[index].place;
}

static uint32_t restore_bucket(struct state *s)
{
    struct bucket *b = s->buckets;
    uint32_t index = s->removed;
    s->removed = b[index].previous;
    b[index].removed_at = 0;
    b[b[s->working].working].place = s->working;
    b[b[index].place].working = b[index].successor = index;
    s->working++;
    return index;
}

static void set_up(struct state *s, uint32_t count)
{
    s->buckets = km_alloc(count * sizeof *s->buckets);
    s->count = s->working = s->removed = count;
    for (uint32_t i = 0; i < count; i++)
        s->buckets[i] = (struct bucket){.successor = i, .place = i, .working = i};
    for (uint32_t i = count; i-- > 0;)
        remove_bucket(s, i);
}

static void joined(void *state, const struct km_routing_view *view, uint32_t replica)
{
    struct state *s = state;
    if (!s->buckets)
        set_up(s, view->most_accepting);
    s->bucket_of = km_grow(s->bucket_of, &s->capacity, (size_t)replica + 1, sizeof *s->bucket_of);
    uint32_t index = restore_bucket(s);
    s->bucket_of[replica] = index;
    s->buckets[index].replica = replica;
}

static void left(void *state, const struct km_routing_view *view, uint32_t replica)
{
    struct state *s = state;
    (void)view;
    remove_bucket(s, s->bucket_of[replica]);
}

static uint32_t route(void *state, const struct km_routing_view *view, const struct km_request *request)
{
    const struct state *s = state;
    const struct bucket *b = s->buckets;
    (void)view;
    uint64_t key =
        request->session >= 0 ? km_mix_next((uint64_t)request->session) : ~km_mix_next(request->id);
    uint32_t index = (uint32_t)(km_mix_next(key) % s->count);
    while (b[index].removed_at > 0) {
        uint32_t among = b[index].removed_at;
        uint32_t next = (uint32_t)(km_mix_next(key ^ km_mix_next(index + 1ULL)) % among);
        while (b[next].removed_at >= among)
            next = b[next].successor;
        index = next;
    }
    return b[index].replica;
}

static void release(void *state)
{
    struct state *s = state;
    free(s->buckets);
    free(s->bucket_of);
}

const struct km_router km_routing_session = {
    .entry = {"session", "a session stays with its replica (consistent hashing)"},
    .state_bytes = sizeof(struct state),
    .route = route,
    .joined = joined,
    .left = left,
    .release = release,
};
