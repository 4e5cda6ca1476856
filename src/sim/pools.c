#include "sim/pools.h"

#include "base/memory.h"
#include "base/random.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct km_pool {
    uint64_t groups; /* bit i: the replicas of group i */
    void *state;     /* of the router */
    uint32_t *accepting;
    size_t count, capacity;
};

void km_pools_init(struct km_pools *pools, const struct km_router *router, uint64_t seed,
                   void (*counts)(const void *context, uint32_t number, uint64_t *waiting, uint64_t *running),
                   const void *context)
{
    *pools = (struct km_pools){.router = router,
                               .rng = km_random_stream(seed, KM_RANDOM_ROUTING),
                               .counts = counts,
                               .context = context};
}

void km_pools_release(struct km_pools *pools)
{
    for (size_t i = 0; i < pools->pool_count; i++) {
        if (pools->router->release)
            pools->router->release(pools->pools[i].state);
        free(pools->pools[i].state);
        free(pools->pools[i].accepting);
    }
    gsl_rng_free(pools->rng);
    free(pools->pools);
    free(pools->outstanding);
    free(pools->serving_of);
}

static struct km_routing_view view_of(const struct km_pools *pools, const struct km_pool *pool)
{
    return (struct km_routing_view){
        .accepting = pool->accepting,
        .accepting_count = (uint32_t)pool->count,
        .most_accepting = pools->most_accepting,
        .outstanding = pools->outstanding,
        .rng = pools->rng,
        .counts = pools->counts,
        .context = pools->context,
    };
}

/* A serving replica of one of the pool's groups? */
static bool holds(const struct km_pools *pools, const struct km_pool *pool, uint32_t number)
{
    uint32_t group = pools->serving_of[number];
    return group > 0 && (pool->groups >> (group - 1) & 1);
}

/* Where the number stands, or would, in the ascending list. */
static size_t place_in(const struct km_pool *pool, uint32_t number)
{
    size_t low = 0, high = pool->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (pool->accepting[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void join_pool(struct km_pools *pools, struct km_pool *pool, uint32_t number)
{
    pool->accepting = km_grow(pool->accepting, &pool->capacity, pool->count + 1, sizeof *pool->accepting);
    size_t at = place_in(pool, number);
    memmove(pool->accepting + at + 1, pool->accepting + at, (pool->count - at) * sizeof *pool->accepting);
    pool->accepting[at] = number;
    pool->count++;
    const struct km_routing_view view = view_of(pools, pool);
    if (pools->router->joined)
        pools->router->joined(pool->state, &view, number);
}

static void leave_pool(struct km_pools *pools, struct km_pool *pool, uint32_t number)
{
    size_t at = place_in(pool, number);
    pool->count--;
    memmove(pool->accepting + at, pool->accepting + at + 1, (pool->count - at) * sizeof *pool->accepting);
    const struct km_routing_view view = view_of(pools, pool);
    if (pools->router->left)
        pools->router->left(pool->state, &view, number);
}

void km_pools_join(struct km_pools *pools, uint32_t number, uint32_t group)
{
    if (number >= pools->count) {
        pools->outstanding = km_grow(pools->outstanding, &pools->outstanding_capacity, (size_t)number + 1,
                                     sizeof *pools->outstanding);
        pools->serving_of = km_grow(pools->serving_of, &pools->serving_capacity, (size_t)number + 1,
                                    sizeof *pools->serving_of);
        for (; pools->count <= number; pools->count++)
            pools->outstanding[pools->count] = pools->serving_of[pools->count] = 0;
    }
    pools->serving_of[number] = group + 1;
    for (size_t i = 0; i < pools->pool_count; i++)
        if (holds(pools, &pools->pools[i], number))
            join_pool(pools, &pools->pools[i], number);
}

void km_pools_leave(struct km_pools *pools, uint32_t number)
{
    for (size_t i = 0; i < pools->pool_count; i++)
        if (holds(pools, &pools->pools[i], number))
            leave_pool(pools, &pools->pools[i], number);
    pools->serving_of[number] = 0;
}

static struct km_pool *pool_of(struct km_pools *pools, uint64_t groups)
{
    for (size_t i = 0; i < pools->pool_count; i++)
        if (pools->pools[i].groups == groups)
            return &pools->pools[i];
    pools->pools = km_grow(pools->pools, &pools->pool_capacity, pools->pool_count + 1, sizeof *pools->pools);
    struct km_pool *pool = &pools->pools[pools->pool_count++];
    *pool = (struct km_pool){.groups = groups, .state = km_alloc(pools->router->state_bytes)};
    for (uint32_t i = 0; i < pools->count; i++)
        if (holds(pools, pool, i))
            join_pool(pools, pool, i);
    return pool;
}

uint32_t km_pools_route(struct km_pools *pools, uint64_t groups, const struct km_request *request)
{
    struct km_pool *pool = pool_of(pools, groups);
    const struct km_routing_view view = view_of(pools, pool);
    return pools->router->route(pool->state, &view, request);
}

void km_pools_observe(struct km_pools *pools, uint64_t now_ps)
{
    for (size_t i = 0; pools->router->observe && i < pools->pool_count; i++) {
        const struct km_routing_view view = view_of(pools, &pools->pools[i]);
        pools->router->observe(pools->pools[i].state, &view, now_ps);
    }
}

void km_pools_count(struct km_pools *pools, uint32_t number, int change)
{
    pools->outstanding[number] += (uint64_t)(int64_t)change;
    if (!pools->router->changed)
        return;
    for (size_t i = 0; i < pools->pool_count; i++) {
        const struct km_routing_view view = view_of(pools, &pools->pools[i]);
        if (holds(pools, &pools->pools[i], number))
            pools->router->changed(pools->pools[i].state, &view, number);
    }
}
