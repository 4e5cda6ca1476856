/* Batching policies: what the next step computes. One file and one registry line each.
 *
 * When the engine is free to submit a batch it asks the policy, which looks at a read-only view and acts
 * through km_batch_* calls. Each call takes effect at once (blocks are booked, lists change), so the view
 * stays true while the policy works; a call that cannot be granted returns false or 0 and changes nothing. A
 * batch with no tokens means "nothing to do now": the policy is asked again when a batch returns, when a
 * request arrives while nothing is in flight, or at km_batch_wait_until().
 *
 * A policy never sees a true output length. Its private state lives in memory the engine owns
 * (`state_bytes`). */
#ifndef KM_BATCHING_BATCHING_H
#define KM_BATCHING_BATCHING_H

#include "base/registry.h"
#include "kv/kv.h"
#include "kv/sequence.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_batching_settings {
    uint32_t max_num_seqs;
    uint32_t max_num_batched_tokens;
    uint32_t long_prefill_token_threshold; /* 0 = none */
    bool enable_chunked_prefill;
    uint32_t batch_size;  /* fixed, elastic: requests of a batch; 0 = not stated */
    uint32_t batch_cap;   /* dynamic, elastic: most requests of a batch; 0 = max_num_seqs alone */
    uint64_t max_wait_ps; /* dynamic, elastic: longest the first request waits for company; 0 = it does not */
    bool pad_prompts;     /* prompts computed together are padded to the longest */
};

struct km_batching_view {
    uint64_t now_ps;
    const struct km_batching_settings *settings;
    const struct km_kv *kv;
    const struct km_sequence_list *waiting; /* in queue order; preempted ones stand in front */
    const struct km_sequence_list *running; /* in admission order; ENDING ones keep their slot */
    uint32_t prefill_count;                 /* running in state PREFILL, when the policy was called */
    uint32_t
        decode_count; /* running, in state DECODE and free to join this batch, when the policy was called */
    uint32_t batches_in_flight;
    bool draining; /* nobody will arrive unless one of these ends first */
};

struct km_batch; /* the batch being formed, private to the event core */

/* What a policy can do. */
struct km_batch_actions {
    bool (*decode_all)(struct km_batch *batch);
    bool (*may_decode)(const struct km_batch *batch, const struct km_sequence *sequence);
    bool (*decode)(struct km_batch *batch, struct km_sequence *sequence);
    bool (*chunk)(struct km_batch *batch, struct km_sequence *sequence, uint32_t tokens);
    uint32_t (*admit)(struct km_batch *batch, struct km_sequence *sequence, uint32_t max_tokens);
    void (*preempt)(struct km_batch *batch, struct km_sequence *sequence);
    void (*wait_until)(struct km_batch *batch, uint64_t time_ps);
    void (*steady)(struct km_batch *batch);
};

struct km_batch_handle {
    const struct km_batch_actions *actions;
    struct km_batch *batch;
};

/* One token for every sequence that is free to decode, if the blocks for all of them are there; false: none
 * was added. */
static inline bool km_batch_decode_all(const struct km_batch_handle *h)
{
    return h->actions->decode_all(h->batch);
}
/* Is the sequence free to decode in this batch? (With pipeline stages its previous batch may not have
 * returned yet.) */
static inline bool km_batch_may_decode(const struct km_batch_handle *h, const struct km_sequence *sequence)
{
    return h->actions->may_decode(h->batch, sequence);
}
/* One token for one sequence that may decode and is not yet in this batch; false: no block. */
static inline bool km_batch_decode(const struct km_batch_handle *h, struct km_sequence *sequence)
{
    return h->actions->decode(h->batch, sequence);
}
/* The next `tokens` (1 .. target - computed) of a sequence in state PREFILL; false: no blocks. */
static inline bool km_batch_chunk(const struct km_batch_handle *h, struct km_sequence *sequence,
                                  uint32_t tokens)
{
    return h->actions->chunk(h->batch, sequence, tokens);
}
/* Admit a waiting sequence, whose whole length must fit in free blocks, with a first chunk of at most
 * max_tokens. Returns the chunk's tokens; 0: not admitted. Without chunked prefill the whole rest must be
 * within max_tokens. */
static inline uint32_t km_batch_admit(const struct km_batch_handle *h, struct km_sequence *sequence,
                                      uint32_t max_tokens)
{
    return h->actions->admit(h->batch, sequence, max_tokens);
}
/* Take a running sequence that is not in this batch out: its blocks are free at once, it waits in front of
 * the queue and will be recomputed. */
static inline void km_batch_preempt(const struct km_batch_handle *h, struct km_sequence *sequence)
{
    h->actions->preempt(h->batch, sequence);
}
/* With an empty batch: ask again at `time_ps` at the latest. */
static inline void km_batch_wait_until(const struct km_batch_handle *h, uint64_t time_ps)
{
    h->actions->wait_until(h->batch, time_ps);
}
/* Promise: as long as nothing but decode progress happens (no arrival, no end, no shortage of blocks), the
 * policy would decide the same again - all decodes, nothing else. The event core may then run many steps at
 * once. */
static inline void km_batch_steady(const struct km_batch_handle *h)
{
    h->actions->steady(h->batch);
}

struct km_batching_policy {
    struct km_entry entry;
    size_t state_bytes;    /* zeroed before the first call */
    bool holds_finished;   /* a batch runs to the end of its longest member: the others keep their slots and
                              blocks, fill rows of every   step, and complete with it */
    bool pads_prompts;     /* always, whatever the settings say */
    bool needs_batch_size; /* batch_size must be stated */
    void (*form)(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch);
};

extern const struct km_entry *const km_batching_registry[];

/* NULL when there is none of that name. */
static inline const struct km_batching_policy *km_batching_find(const char *name)
{
    return (const struct km_batching_policy *)(const void *)km_registry_find(km_batching_registry, name);
}

#endif
