/* Sequences in an order of the policy's own: the one with the smallest (key, tie) comes first. Any can be removed
 * in O(log n). A queue owns its memory, never the sequences. Zeroed, it is empty. */
#ifndef KM_BATCHING_SEQUENCE_QUEUE_H
#define KM_BATCHING_SEQUENCE_QUEUE_H

#include "base/heap.h"
#include "kv/sequence.h"

struct km_sequence_queue {
    struct km_heap heap;            /* of slots */
    struct km_sequence **sequences; /* [capacity] by slot */
    size_t capacity;
};

/* A sequence that is not in the queue. */
void km_sequence_queue_add(struct km_sequence_queue *queue, uint64_t key, uint64_t tie,
                           struct km_sequence *sequence);
/* Nothing happens when it is not there. */
void km_sequence_queue_remove(struct km_sequence_queue *queue, const struct km_sequence *sequence);
struct km_sequence *km_sequence_queue_first(const struct km_sequence_queue *queue); /* NULL when empty */
void km_sequence_queue_release(struct km_sequence_queue *queue);

#endif
