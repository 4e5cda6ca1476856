#include "batching/sequence_queue.h"

#include "base/memory.h"

#include <stdlib.h>

void km_sequence_queue_add(struct km_sequence_queue *queue, uint64_t key, uint64_t tie,
                           struct km_sequence *sequence)
{
    queue->sequences =
        km_grow(queue->sequences, &queue->capacity, (size_t)sequence->slot + 1, sizeof(struct km_sequence *));
    queue->sequences[sequence->slot] = sequence;
    km_heap_push(&queue->heap, key, tie, sequence->slot);
}

void km_sequence_queue_remove(struct km_sequence_queue *queue, const struct km_sequence *sequence)
{
    km_heap_remove(&queue->heap, sequence->slot);
}

struct km_sequence *km_sequence_queue_first(const struct km_sequence_queue *queue)
{
    return queue->heap.count ? queue->sequences[queue->heap.entries[0].item] : NULL;
}

void km_sequence_queue_release(struct km_sequence_queue *queue)
{
    km_heap_release(&queue->heap);
    free(queue->sequences);
    *queue = (struct km_sequence_queue){0};
}
