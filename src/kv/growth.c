#include "kv/growth.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void km_growth_init(struct km_growth *growth, uint32_t block_size, const struct km_kv_groups *groups)
{
    bool windowed = groups->windowed > 0;
    *growth = (struct km_growth){.block_size = block_size,
                                 .members = km_alloc(block_size * sizeof *growth->members),
                                 .full = km_kv_full_groups(groups),
                                 .windowed = groups->windowed};
    if (!windowed)
        return;
    growth->window_tokens = km_kv_window_blocks(groups, block_size) * block_size;
    growth->inside = km_alloc(block_size * sizeof *growth->inside);
    growth->scratch = km_alloc(block_size * sizeof *growth->scratch);
    growth->leaving = km_alloc(growth->window_tokens * sizeof *growth->leaving);
}

void km_growth_release(struct km_growth *growth)
{
    free(growth->members);
    free(growth->inside);
    free(growth->scratch);
    free(growth->leaving);
    *growth = (struct km_growth){0};
}

static uint32_t class_of(const struct km_growth *growth, int64_t base)
{
    int64_t residue = base % (int64_t)growth->block_size;
    return (uint32_t)(residue < 0 ? residue + (int64_t)growth->block_size : residue);
}

/* Is the window of such a member not full? Then its place in leaving[]. */
static bool is_inside(const struct km_growth *growth, int64_t base, uint64_t clock, uint64_t *place)
{
    if (growth->windowed == 0 || base + (int64_t)clock >= (int64_t)growth->window_tokens)
        return false;
    *place = (uint64_t)((int64_t)growth->window_tokens - base) % growth->window_tokens;
    return true;
}

void km_growth_add(struct km_growth *growth, int64_t base, uint64_t clock)
{
    uint64_t place;
    growth->members[class_of(growth, base)]++;
    growth->count++;
    if (is_inside(growth, base, clock, &place)) {
        growth->inside[class_of(growth, base)]++;
        growth->leaving[place]++;
        growth->inside_count++;
    }
}

void km_growth_remove(struct km_growth *growth, int64_t base, uint64_t clock)
{
    uint64_t place;
    assert(growth->members[class_of(growth, base)] > 0);
    growth->members[class_of(growth, base)]--;
    growth->count--;
    if (is_inside(growth, base, clock, &place)) {
        growth->inside[class_of(growth, base)]--;
        growth->leaving[place]--;
        growth->inside_count--;
    }
}

/* The class that needs blocks in the step taken at `clock`. */
static uint32_t due(const struct km_growth *growth, uint64_t clock)
{
    uint32_t phase = (uint32_t)(clock % growth->block_size);
    return phase == 0 ? 0 : growth->block_size - phase;
}

/* Those whose window is full at `clock` leave `inside`; their contexts are then multiples of the block size. */
static uint32_t leave(const struct km_growth *growth, uint32_t *inside, uint64_t clock)
{
    uint32_t gone = growth->leaving[clock % growth->window_tokens];
    inside[due(growth, clock)] -= gone;
    return gone;
}

/* Pages of windowed groups. */
static uint64_t windowed_pages(const struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    uint64_t blocks = 0, left = growth->inside_count;
    if (left == 0)
        return 0;
    memcpy(growth->scratch, growth->inside, growth->block_size * sizeof *growth->scratch);
    for (uint64_t i = 0; i < steps && left; i++) {
        if (i > 0)
            left -= leave(growth, growth->scratch, clock + i);
        blocks += growth->scratch[due(growth, clock + i)];
    }
    return blocks * growth->windowed;
}

uint64_t km_growth_pages(const struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    uint64_t blocks = steps / growth->block_size * growth->count;
    for (uint64_t i = 0; i < steps % growth->block_size; i++)
        blocks += growth->members[due(growth, clock + i)];
    return blocks * growth->full + windowed_pages(growth, clock, steps);
}

/* The same as km_growth_steps(), of full groups alone. */
static uint64_t full_steps(const struct km_growth *growth, uint64_t clock, uint64_t free_pages,
                           uint64_t limit)
{
    uint64_t each = growth->count * growth->full;
    if (each == 0)
        return limit;
    uint64_t cycles = free_pages / each;
    if (cycles >= limit / growth->block_size + 1)
        return limit;
    uint64_t steps = cycles * growth->block_size;
    uint64_t left = free_pages - cycles * each;
    while (steps < limit) {
        uint64_t need = (uint64_t)growth->members[due(growth, clock + steps)] * growth->full;
        if (need > left)
            break;
        left -= need;
        steps++;
    }
    return steps < limit ? steps : limit;
}

uint64_t km_growth_steps(const struct km_growth *growth, uint64_t clock, uint64_t free_pages, uint64_t limit)
{
    uint64_t inside = growth->inside_count;
    if (inside == 0)
        return full_steps(growth, clock, free_pages, limit);
    uint64_t each = growth->count * growth->full + inside * growth->windowed;
    if (free_pages / each >= limit / growth->block_size + 1)
        return limit;
    memcpy(growth->scratch, growth->inside, growth->block_size * sizeof *growth->scratch);
    uint64_t steps = 0;
    for (; steps < limit; steps++) {
        if (steps > 0)
            inside -= leave(growth, growth->scratch, clock + steps);
        if (inside == 0)
            return steps + full_steps(growth, clock + steps, free_pages, limit - steps);
        uint32_t class = due(growth, clock + steps);
        uint64_t need = (uint64_t)growth->members[class] * growth->full +
                        (uint64_t)growth->scratch[class] * growth->windowed;
        if (need > free_pages)
            break;
        free_pages -= need;
    }
    return steps;
}

uint64_t km_growth_take(struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    uint64_t pages = km_growth_pages(growth, clock, steps);
    for (uint64_t i = 1; i <= steps && growth->inside_count; i++) {
        growth->inside_count -= leave(growth, growth->inside, clock + i);
        growth->leaving[(clock + i) % growth->window_tokens] = 0;
    }
    return pages;
}
