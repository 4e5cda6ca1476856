/* Blocks that remember what they hold: an index of named blocks, and the queue of free ones in the order in
 * which they will be reused.
 *
 * A block is named (it holds a known stretch of tokens behind a known prefix, both summed up in a 64-bit key)
 * or anonymous; held (by one sequence or, if named, by several) or free. All free blocks stand in one queue,
 * named or not: blocks are taken from its head, and lose their names there; blocks given back join its tail.
 * A named block that is free can be held again from wherever it stands. That is least-recently-used eviction
 * as in vLLM's block pool. Several blocks may bear one key, when sequences computed the same tokens side by
 * side; the oldest is found first, and another takes its place when it is gone. Blocks with one name are lost
 * together: whose first is taken from the queue has no name any more.
 *
 * Anonymous free blocks that are neighbours in the queue are kept as one entry with a count, and anonymous
 * held blocks only by their holders, so that work and memory grow with named blocks alone. */
#ifndef KM_KV_BLOCK_CACHE_H
#define KM_KV_BLOCK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_cached_block { /* an entry: what has one name, or a run of anonymous free blocks */
    uint64_t key;        /* named */
    uint64_t blocks;     /* of the run; of the name, which several blocks may bear together */
    bool named;
    uint32_t references;
    uint32_t next, previous;           /* in the queue */
    uint32_t bucket_next;              /* oldest of its key: the next key of the bucket, or unused entry */
    uint32_t twin_next, twin_previous; /* ring of the blocks with its key, from old to young */
};

struct km_block_cache {
    struct km_cached_block *entries; /* [entry_count], numbered from 1; 0 = none */
    size_t entry_count, entry_capacity;
    uint32_t unused; /* list of entries to use again */
    uint32_t *buckets;
    size_t bucket_count; /* a power of two */
    size_t named_count;
    uint32_t first, last; /* of the queue */
    uint64_t free_blocks; /* in the queue */
};

/* All `blocks` are free and anonymous. */
void km_block_cache_init(struct km_block_cache *cache, uint64_t blocks);
void km_block_cache_release(struct km_block_cache *cache);

/* Take `blocks` free ones, all of which are there, from the head of the queue: they are now held, anonymous.
 */
void km_block_cache_take(struct km_block_cache *cache, uint64_t blocks);
/* Give anonymous blocks back. */
void km_block_cache_give(struct km_block_cache *cache, uint64_t blocks);
/* The next `blocks` to be taken are as good as taken: let them forget their names now. */
void km_block_cache_forget(struct km_block_cache *cache, uint64_t blocks);

/* Give one name to `blocks` (at least 1) of the caller's anonymous blocks, which the caller goes on holding. Returns
 * the entry. */
uint32_t km_block_cache_name(struct km_block_cache *cache, uint64_t key, uint32_t blocks);
/* The oldest entry of that key, held or free; 0 = none. */
uint32_t km_block_cache_find(const struct km_block_cache *cache, uint64_t key);
/* Hold what is named. Returns its blocks if they were free, else 0. */
uint64_t km_block_cache_hold(struct km_block_cache *cache, uint32_t entry);
/* One holder lets go of it. Returns its blocks if they are free now, else 0. */
uint64_t km_block_cache_drop(struct km_block_cache *cache, uint32_t entry);

static inline bool km_block_cache_is_held(const struct km_block_cache *cache, uint32_t entry)
{
    return cache->entries[entry].references > 0;
}

static inline bool km_block_cache_is_shared(const struct km_block_cache *cache, uint32_t entry)
{
    return cache->entries[entry].references > 1;
}

#endif
