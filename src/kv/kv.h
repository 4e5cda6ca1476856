/* KV-cache managers: who owns which blocks. One file and one registry line each.
 *
 * Every manager upholds `used_blocks + free blocks == capacity_blocks` after every call. Blocks are taken
 * when tokens are scheduled, not when they have been computed. A sequence that decodes grows with its cohort
 * (growth.h), never singly, so that a manager's work does not grow with the batch. Cached blocks that nobody
 * holds count as free.
 *
 * Where layers with sliding windows or recurrent ones are groups of their own (model/kv_groups.h), the pool's unit is the page of one
 * group: what is called blocks here are pages, and a block of a sequence's tokens takes several. */
#ifndef KM_KV_KV_H
#define KM_KV_KV_H

#include "base/registry.h"
#include "kv/growth.h"
#include "kv/sequence.h"

#include <stdbool.h>
#include <stdint.h>

struct km_kv_config {
    uint64_t capacity_blocks;
    uint32_t block_size;    /* tokens */
    uint32_t max_model_len; /* most tokens one sequence can reach */
    struct km_kv_groups groups;
    uint64_t in_flight_tokens; /* with windowed groups: most tokens scheduled and not yet processed */
};

struct km_kv; /* a manager's state begins with the struct below */

struct km_kv_manager {
    struct km_entry entry;
    struct km_kv *(*create)(const struct km_kv_config *config);
    void (*destroy)(struct km_kv *kv);
    /* Blocks a sequence of `tokens` in all may come to hold at once: a request that needs more than there are
     * can never be served. */
    uint64_t (*most_blocks)(const struct km_kv *kv, uint64_t tokens);
    /* Tokens of the sequence's first `tokens` that are cached: whole blocks, at most tokens - 1. Optional:
     * NULL = never any. While nothing but decoding happens a match never grows, and a sequence that was not
     * admitted would not be: policies rely on it when they promise to go on (km_batch_steady). */
    uint32_t (*match)(struct km_kv *kv, const struct km_sequence *sequence, uint32_t tokens);
    /* Admit a waiting sequence: if its whole `tokens` fit, take the blocks of its first `first_tokens` (of
     * which `hit_tokens` are cached, as match() said) and return true; otherwise change nothing and return
     * false. */
    bool (*admit)(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, uint32_t hit_tokens,
                  uint32_t first_tokens);
    /* Prefill goes on from `from_tokens` to `to_tokens`; false (nothing changed) when the blocks are not
     * there. */
    bool (*extend)(struct km_kv *kv, struct km_sequence *sequence, uint32_t from_tokens, uint32_t to_tokens);
    /* The first `tokens` of a sequence have been computed: what it holds of them and needs no more goes back.
     * Optional, with windowed groups alone. */
    void (*settle)(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens);
    /* Blocks that one decode step of a sequence with `tokens` of context takes. */
    uint32_t (*decode_needs)(const struct km_kv *kv, uint32_t tokens);
    /* Steps, up to `limit`, that the cohort can take from `clock` with the blocks now free. */
    uint64_t (*decode_steps)(const struct km_kv *kv, const struct km_growth *growth, uint64_t clock,
                             uint64_t limit);
    /* Blocks that `steps` steps of the cohort take from `clock`. */
    uint64_t (*decode_blocks)(const struct km_kv *kv, const struct km_growth *growth, uint64_t clock,
                              uint64_t steps);
    /* Take them; they are there. The growth moves on with the clock. */
    void (*decode)(struct km_kv *kv, struct km_growth *growth, uint64_t clock, uint64_t steps);
    /* With `tokens` of context the sequence ended (its state is KM_SEQ_ENDING), or is preempted and may come
     * back (any other; `preemptions` is not yet counted up): give its blocks back. */
    void (*release)(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens);
};

struct km_kv {
    const struct km_kv_manager *manager;
    struct km_kv_config config;
    uint64_t used_blocks;
    uint64_t promised_blocks; /* to decodes of the batch being formed; 0 between batches */
    uint64_t peak_blocks;     /* most ever used */
};

static inline uint64_t km_kv_free_blocks(const struct km_kv *kv)
{
    return kv->config.capacity_blocks - kv->used_blocks - kv->promised_blocks;
}

static inline uint64_t km_kv_blocks_for(const struct km_kv *kv, uint64_t tokens)
{
    return (tokens + kv->config.block_size - 1) / kv->config.block_size;
}

/* For managers, of a sequence that pages: blocks a decode takes with `tokens` of context; the most it comes to hold. */
uint32_t km_kv_decode_needs(const struct km_kv *kv, uint32_t tokens);
uint64_t km_kv_most_pages(const struct km_kv *kv, uint64_t tokens);

/* Pages of a sequence with `tokens` of context, all settled. */
static inline uint64_t km_kv_pages_for(const struct km_kv *kv, uint64_t tokens)
{
    return km_kv_pages(&kv->config.groups, kv->config.block_size, km_kv_blocks_for(kv, tokens));
}

/* Blocks of a windowed group that a sequence needs no more once `tokens` are computed: one later than their last
 * token leaves the window, as vLLM frees them in the batch after (by what has been processed, not scheduled). */
uint64_t km_kv_skipped_blocks(const struct km_kv *kv, uint64_t tokens);
/* The first block that windowed groups hold of a sequence with `tokens` of context; all behind it are held, too. */
uint64_t km_kv_window_start(const struct km_kv *kv, const struct km_sequence *sequence, uint32_t tokens);
void km_kv_window_start_at(const struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens,
                           uint64_t start);
/* `tokens` have been computed. Returns the blocks that each windowed group gives up: those at its start. */
uint64_t km_kv_window_settle(const struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens);

/* For managers: book `blocks` more or fewer. */
void km_kv_take(struct km_kv *kv, uint64_t blocks);
void km_kv_give(struct km_kv *kv, uint64_t blocks);

extern const struct km_entry *const km_kv_registry[];

/* NULL when there is none of that name. */
static inline const struct km_kv_manager *km_kv_find(const char *name)
{
    return (const struct km_kv_manager *)(const void *)km_registry_find(km_kv_registry, name);
}

#endif
