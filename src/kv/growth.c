#include "kv/growth.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

void km_growth_init(struct km_growth *growth, uint32_t block_size)
{
    growth->block_size = block_size;
    growth->members = km_alloc(block_size * sizeof *growth->members);
    growth->count = 0;
}

void km_growth_release(struct km_growth *growth)
{
    free(growth->members);
    *growth = (struct km_growth){0};
}

static uint32_t class_of(const struct km_growth *growth, int64_t base)
{
    int64_t residue = base % (int64_t)growth->block_size;
    return (uint32_t)(residue < 0 ? residue + (int64_t)growth->block_size : residue);
}

void km_growth_add(struct km_growth *growth, int64_t base)
{
    growth->members[class_of(growth, base)]++;
    growth->count++;
}

void km_growth_remove(struct km_growth *growth, int64_t base)
{
    assert(growth->members[class_of(growth, base)] > 0);
    growth->members[class_of(growth, base)]--;
    growth->count--;
}

/* The class that needs blocks in the step taken at `clock`. */
static uint32_t due(const struct km_growth *growth, uint64_t clock)
{
    uint32_t phase = (uint32_t)(clock % growth->block_size);
    return phase == 0 ? 0 : growth->block_size - phase;
}

uint64_t km_growth_blocks(const struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    uint64_t blocks = steps / growth->block_size * growth->count;
    for (uint64_t i = 0; i < steps % growth->block_size; i++)
        blocks += growth->members[due(growth, clock + i)];
    return blocks;
}

uint64_t km_growth_steps(const struct km_growth *growth, uint64_t clock, uint64_t free_blocks, uint64_t limit)
{
    if (growth->count == 0)
        return limit;
    uint64_t cycles = free_blocks / growth->count;
    if (cycles >= limit / growth->block_size + 1)
        return limit;
    uint64_t steps = cycles * growth->block_size;
    uint64_t left = free_blocks - cycles * growth->count;
    while (steps < limit) {
        uint64_t need = growth->members[due(growth, clock + steps)];
        if (need > left)
            break;
        left -= need;
        steps++;
    }
    return steps < limit ? steps : limit;
}
