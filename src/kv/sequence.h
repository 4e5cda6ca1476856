/* A sequence: a request as the engine sees it. This is all that policies, KV managers and routers may know of
 * it; the true output length, the request's own record and the bookkeeping of the event core are private to
 * the simulator. */
#ifndef KM_KV_SEQUENCE_H
#define KM_KV_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

enum km_sequence_state {
    KM_SEQ_WAITING, /* not admitted, or preempted */
    KM_SEQ_PREFILL, /* admitted; computed_tokens < target_tokens */
    KM_SEQ_DECODE,  /* one token a step */
    KM_SEQ_PAUSED,  /* decodes no further until the policy says so; keeps its slot and blocks */
    KM_SEQ_ENDING,  /* its last token is in flight; keeps slot and blocks until the results are processed */
};

struct km_sequence {
    /* Neighbours in the waiting or the running list, in queue or admission order. */
    struct km_sequence *next, *previous;
    enum km_sequence_state state;
    uint32_t slot; /* small integer, unique among live sequences */
    uint64_t id;
    uint64_t arrival_ps;
    uint64_t admission; /* running: rank of its admission, increasing */
    uint32_t prompt_tokens;
    uint32_t target_tokens;   /* tokens to compute before it can yield its next output token */
    uint32_t computed_tokens; /* WAITING, PREFILL: computed or scheduled so far (hits included) */
    uint32_t preemptions;
    uint32_t class_index;
    int32_t priority;              /* smaller is served first (as vLLM's); 0 unless the trace says so */
    uint32_t max_tokens;           /* most output tokens the request allows; 0 = not stated */
    float predicted_output_tokens; /* of the whole output; 0 = not predicted */
    int64_t session;
    const uint64_t *prefix_hashes; /* [prefix_hash_count], borrowed for the sequence's life; NULL = unique */
    uint32_t prefix_hash_count;
    /* the KV manager's: held in each windowed group beyond a full window, until computed */
    uint32_t window_excess_blocks;
    void *kv; /* the KV manager's own record */
};

/* Doubly linked list of sequences. */
struct km_sequence_list {
    struct km_sequence *first, *last;
    uint32_t count;
};

#endif
