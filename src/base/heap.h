/* Indexed binary min-heap of small integers (slots), ordered by (key, tie): the event queue, the order in
 * which sequences finish, the longest context. Any item can be removed in O(log n), because the heap knows
 * where each item stands. */
#ifndef KM_BASE_HEAP_H
#define KM_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_heap_entry {
    uint64_t key, tie;
    uint32_t item;
};

struct km_heap {
    struct km_heap_entry *entries; /* [count], entries[0] the smallest */
    size_t count, capacity;
    uint32_t *positions; /* [position_capacity] index + 1 of each item, 0 = absent */
    size_t position_capacity;
};

void km_heap_push(struct km_heap *heap, uint64_t key, uint64_t tie,
                  uint32_t item);                         /* item not yet in the heap */
void km_heap_remove(struct km_heap *heap, uint32_t item); /* nothing happens when absent */
bool km_heap_contains(const struct km_heap *heap, uint32_t item);
uint32_t km_heap_pop(struct km_heap *heap); /* count > 0 */
void km_heap_release(struct km_heap *heap);

/* Smallest key; UINT64_MAX when empty. */
static inline uint64_t km_heap_key(const struct km_heap *heap)
{
    return heap->count ? heap->entries[0].key : UINT64_MAX;
}

#endif
