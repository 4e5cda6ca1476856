#include "workload/hash_set.h"

#include "base/memory.h"

#include <stdlib.h>

/* The slot that holds `value` or, when it is new, the free one for it. Fibonacci hashing (Knuth, TAOCP 6.4)
 * spreads the consecutive numbers that traces use as hashes. */
static size_t find(const struct km_hash_set *set, uint64_t value)
{
    uint64_t mixed = (value ^ (value >> 32)) * 0x9e3779b97f4a7c15ULL;
    size_t slot = (size_t)(mixed >> 32) & (set->capacity - 1);
    while (set->slots[slot] && set->slots[slot] != value)
        slot = (slot + 1) & (set->capacity - 1);
    return slot;
}

bool km_hash_set_has(const struct km_hash_set *set, uint64_t value)
{
    if (value == 0)
        return set->has_zero;
    return set->capacity && set->slots[find(set, value)];
}

static void grow(struct km_hash_set *set)
{
    struct km_hash_set old = *set;
    set->capacity = old.capacity ? old.capacity * 2 : 1024;
    set->slots = km_alloc(set->capacity * sizeof *set->slots);
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i])
            set->slots[find(set, old.slots[i])] = old.slots[i];
    free(old.slots);
}

bool km_hash_set_add(struct km_hash_set *set, uint64_t value)
{
    if (value == 0) {
        bool fresh = !set->has_zero;
        set->has_zero = true;
        set->count += fresh;
        return fresh;
    }
    if (set->count + 1 > set->capacity / 2)
        grow(set);
    size_t slot = find(set, value);
    if (set->slots[slot])
        return false;
    set->slots[slot] = value;
    set->count++;
    return true;
}

void km_hash_set_release(struct km_hash_set *set)
{
    free(set->slots);
    *set = (struct km_hash_set){0};
}
