#include "base/heap.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool less(const struct km_heap_entry *a, const struct km_heap_entry *b)
{
    return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static void place(struct km_heap *heap, size_t at, struct km_heap_entry entry)
{
    heap->entries[at] = entry;
    heap->positions[entry.item] = (uint32_t)at + 1;
}

static void sift_up(struct km_heap *heap, size_t at, struct km_heap_entry entry)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!less(&entry, &heap->entries[parent]))
            break;
        place(heap, at, heap->entries[parent]);
        at = parent;
    }
    place(heap, at, entry);
}

static void sift_down(struct km_heap *heap, size_t at, struct km_heap_entry entry)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && less(&heap->entries[child + 1], &heap->entries[child]))
            child++;
        if (!less(&heap->entries[child], &entry))
            break;
        place(heap, at, heap->entries[child]);
        at = child;
    }
    place(heap, at, entry);
}

void km_heap_push(struct km_heap *heap, uint64_t key, uint64_t tie, uint32_t item)
{
    size_t old = heap->position_capacity;
    heap->positions =
        km_grow(heap->positions, &heap->position_capacity, (size_t)item + 1, sizeof *heap->positions);
    if (heap->position_capacity > old)
        memset(heap->positions + old, 0, (heap->position_capacity - old) * sizeof *heap->positions);
    assert(heap->positions[item] == 0);
    heap->entries = km_grow(heap->entries, &heap->capacity, heap->count + 1, sizeof *heap->entries);
    sift_up(heap, heap->count++, (struct km_heap_entry){key, tie, item});
}

bool km_heap_contains(const struct km_heap *heap, uint32_t item)
{
    return item < heap->position_capacity && heap->positions[item] != 0;
}

void km_heap_remove(struct km_heap *heap, uint32_t item)
{
    if (!km_heap_contains(heap, item))
        return;
    size_t at = heap->positions[item] - 1;
    heap->positions[item] = 0;
    struct km_heap_entry last = heap->entries[--heap->count];
    if (at == heap->count)
        return;
    if (at > 0 && less(&last, &heap->entries[(at - 1) / 2]))
        sift_up(heap, at, last);
    else
        sift_down(heap, at, last);
}

uint32_t km_heap_pop(struct km_heap *heap)
{
    assert(heap->count > 0);
    uint32_t item = heap->entries[0].item;
    km_heap_remove(heap, item);
    return item;
}

void km_heap_release(struct km_heap *heap)
{
    free(heap->entries);
    free(heap->positions);
    *heap = (struct km_heap){0};
}
