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
#include "base/settings.h"
#include "kv/kv.h"
#include "kv/sequence.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_batching_settings {
    uint32_t max_num_seqs;
    uint32_t max_num_batched_tokens;
    uint32_t long_prefill_token_threshold; /* 0 = none */
    bool long_prefill_unlimited_alone;     /* not for a request that is the only one, waiting or running */
    bool enable_chunked_prefill;
    uint32_t batch_size;  /* fixed, elastic: requests of a batch; 0 = not stated */
    uint32_t batch_cap;   /* dynamic, elastic: most requests of a batch; 0 = max_num_seqs alone */
    uint64_t max_wait_ps; /* dynamic, elastic: longest the first request waits for company; 0 = it does not */
    bool pad_prompts;     /* prompts computed together are padded to the longest */
    const void *own;      /* the policy's own, as its table says; NULL = its defaults; borrowed */
};

struct km_batching_view {
    uint64_t now_ps;
    uint64_t steps; /* taken so far */
    const struct km_batching_settings *settings;
    const struct km_kv *kv;
    const struct km_sequence_list *waiting; /* in queue order; preempted ones stand in front */
    const struct km_sequence_list *running; /* in admission order; ENDING ones keep their slot */
    /* When the policy was called: running in state PREFILL; in state DECODE and free to join this batch. */
    uint32_t prefill_count, decode_count;
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
    uint32_t (*preempt)(struct km_batch *batch, struct km_sequence *sequence);
    void (*pause)(struct km_batch *batch, struct km_sequence *sequence);
    void (*resume)(struct km_batch *batch, struct km_sequence *sequence);
    bool (*may_admit)(const struct km_batch *batch, const struct km_sequence *sequence);
    uint32_t (*generated)(const struct km_batch *batch, const struct km_sequence *sequence);
    void (*wait_until)(struct km_batch *batch, uint64_t time_ps);
    void (*steady)(struct km_batch *batch, uint64_t steps);
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
/* Take a running sequence that this batch did not admit out: its blocks are free at once, it waits in front of
 * the queue and will be recomputed. Returns the tokens that this batch had given it and has no more. */
static inline uint32_t km_batch_preempt(const struct km_batch_handle *h, struct km_sequence *sequence)
{
    return h->actions->preempt(h->batch, sequence);
}
/* Leave a decoding sequence, to which this batch has given nothing, out of this batch and of all that follow, until
 * it is resumed (or preempted). It keeps its blocks. */
static inline void km_batch_pause(const struct km_batch_handle *h, struct km_sequence *sequence)
{
    h->actions->pause(h->batch, sequence);
}
/* Let a paused sequence decode again, from this batch on if it is free to; before km_batch_decode_all(). */
static inline void km_batch_resume(const struct km_batch_handle *h, struct km_sequence *sequence)
{
    h->actions->resume(h->batch, sequence);
}
/* Is a waiting sequence free to be admitted? (It may have been preempted with a token in flight.) */
static inline bool km_batch_may_admit(const struct km_batch_handle *h, const struct km_sequence *sequence)
{
    return h->actions->may_admit(h->batch, sequence);
}
/* Output tokens of a sequence so far, those in flight included. */
static inline uint32_t km_batch_generated(const struct km_batch_handle *h, const struct km_sequence *sequence)
{
    return h->actions->generated(h->batch, sequence);
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
    h->actions->steady(h->batch, UINT64_MAX);
}
/* The same for the next `steps` steps only, this one included. */
static inline void km_batch_steady_for(const struct km_batch_handle *h, uint64_t steps)
{
    h->actions->steady(h->batch, steps);
}

/* What others may rely on, or must provide: nobody knows a policy by its name. */
enum km_batching_trait {
    /* A batch runs to the end of its longest member: the others keep their slots and blocks, fill rows of every step,
     * and complete with it. */
    KM_BATCHING_HOLDS_FINISHED = 1,
    KM_BATCHING_PADS_PROMPTS = 2,  /* always, whatever the settings say */
    KM_BATCHING_ONE_SIZE = 4,      /* forms batches of exactly batch_size, which must be stated */
    KM_BATCHING_WITHIN_BUDGET = 8, /* no batch has more than max_num_batched_tokens: bounds may count on it */
    KM_BATCHING_CONTINUOUS = 16,   /* the discipline that queueing/continuous/continuous.h approximates */
    KM_BATCHING_BY_LENGTH = 32,    /* needs predictions of the output lengths */
};

struct km_batching_policy {
    struct km_entry entry;
    unsigned traits;    /* of enum km_batching_trait */
    size_t state_bytes; /* zeroed before the first call */
    void (*form)(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch);
    /* All optional. A policy that keeps an order of its own is told of every change, so that it need not walk
     * over the lists: a sequence waits now (it came, or was preempted: by the policy itself, during form()); it
     * runs (was admitted during form()); it left for good (ended or gave up, or was preempted with its last
     * token in flight). */
    void (*waits)(void *state, struct km_sequence *sequence);
    void (*runs)(void *state, struct km_sequence *sequence);
    void (*leaves)(void *state, struct km_sequence *sequence);
    void (*release)(void *state); /* free what the state points to */
    /* Its own settings, optional: engine.batching.policy_settings, read by this table into a copy of the defaults. */
    const struct km_setting *settings;
    const void *defaults;
    size_t settings_bytes;
};

extern const struct km_entry *const km_batching_registry[];

/* NULL when there is none of that name. */
static inline const struct km_batching_policy *km_batching_find(const char *name)
{
    return (const struct km_batching_policy *)(const void *)km_registry_find(km_batching_registry, name);
}

#endif
