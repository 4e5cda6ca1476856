#include "kv/block_cache.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_BUCKETS 64u

static uint32_t new_entry(struct km_block_cache *cache)
{
    uint32_t entry = cache->unused;
    if (entry) {
        cache->unused = cache->entries[entry].bucket_next;
    } else {
        assert(cache->entry_count < UINT32_MAX);
        cache->entries =
            km_grow(cache->entries, &cache->entry_capacity, cache->entry_count + 1, sizeof *cache->entries);
        entry = (uint32_t)cache->entry_count++;
    }
    cache->entries[entry] = (struct km_cached_block){0};
    return entry;
}

static void reuse_entry(struct km_block_cache *cache, uint32_t entry)
{
    cache->entries[entry].bucket_next = cache->unused;
    cache->unused = entry;
}

/* ---- the queue ---- */

static void append(struct km_block_cache *cache, uint32_t entry)
{
    struct km_cached_block *entries = cache->entries;
    entries[entry].previous = cache->last;
    entries[entry].next = 0;
    if (cache->last)
        entries[cache->last].next = entry;
    else
        cache->first = entry;
    cache->last = entry;
}

static void take_out(struct km_block_cache *cache, uint32_t entry)
{
    struct km_cached_block *e = &cache->entries[entry];
    if (e->previous)
        cache->entries[e->previous].next = e->next;
    else
        cache->first = e->next;
    if (e->next)
        cache->entries[e->next].previous = e->previous;
    else
        cache->last = e->previous;
    e->next = e->previous = 0;
}

/* ---- the index: keys in buckets, each by its oldest block ---- */

static uint32_t *bucket_of(const struct km_block_cache *cache, uint64_t key)
{
    return &cache->buckets[key & (cache->bucket_count - 1)];
}

static void grow_buckets(struct km_block_cache *cache)
{
    uint32_t *old = cache->buckets;
    size_t old_count = cache->bucket_count;
    cache->bucket_count = 2 * old_count;
    cache->buckets = km_alloc(cache->bucket_count * sizeof *cache->buckets);
    for (size_t i = 0; i < old_count; i++)
        for (uint32_t entry = old[i], next; entry; entry = next) {
            uint32_t *bucket = bucket_of(cache, cache->entries[entry].key);
            next = cache->entries[entry].bucket_next;
            cache->entries[entry].bucket_next = *bucket;
            *bucket = entry;
        }
    free(old);
}

uint32_t km_block_cache_find(const struct km_block_cache *cache, uint64_t key)
{
    uint32_t entry = *bucket_of(cache, key);
    while (entry && cache->entries[entry].key != key)
        entry = cache->entries[entry].bucket_next;
    return entry;
}

uint32_t km_block_cache_name(struct km_block_cache *cache, uint64_t key, uint32_t blocks)
{
    if (cache->named_count == cache->bucket_count)
        grow_buckets(cache);
    uint32_t entry = new_entry(cache), oldest = km_block_cache_find(cache, key);
    struct km_cached_block *entries = cache->entries;
    entries[entry].key = key;
    entries[entry].blocks = blocks;
    entries[entry].named = true;
    entries[entry].references = 1;
    cache->named_count++;
    if (oldest) {
        uint32_t youngest = entries[oldest].twin_previous;
        entries[entry].twin_previous = youngest;
        entries[entry].twin_next = oldest;
        entries[youngest].twin_next = entries[oldest].twin_previous = entry;
    } else {
        uint32_t *bucket = bucket_of(cache, key);
        entries[entry].twin_next = entries[entry].twin_previous = entry;
        entries[entry].bucket_next = *bucket;
        *bucket = entry;
    }
    return entry;
}

static void forget_name(struct km_block_cache *cache, uint32_t entry)
{
    struct km_cached_block *entries = cache->entries;
    const struct km_cached_block gone = entries[entry];
    entries[gone.twin_previous].twin_next = gone.twin_next;
    entries[gone.twin_next].twin_previous = gone.twin_previous;
    cache->named_count--;
    uint32_t *link = bucket_of(cache, gone.key);
    while (*link && *link != entry && entries[*link].key != gone.key)
        link = &entries[*link].bucket_next;
    if (*link != entry)
        return; /* a younger one, which only its twins know */
    if (gone.twin_next != entry) {
        *link = gone.twin_next;
        entries[gone.twin_next].bucket_next = gone.bucket_next;
    } else {
        *link = gone.bucket_next;
    }
}

/* ---- blocks ---- */

void km_block_cache_init(struct km_block_cache *cache, uint64_t blocks)
{
    *cache = (struct km_block_cache){.bucket_count = FIRST_BUCKETS};
    cache->buckets = km_alloc(cache->bucket_count * sizeof *cache->buckets);
    new_entry(cache); /* number 0 means none */
    km_block_cache_give(cache, blocks);
}

void km_block_cache_release(struct km_block_cache *cache)
{
    free(cache->entries);
    free(cache->buckets);
    *cache = (struct km_block_cache){0};
}

void km_block_cache_take(struct km_block_cache *cache, uint64_t blocks)
{
    assert(blocks <= cache->free_blocks);
    cache->free_blocks -= blocks;
    while (blocks) {
        uint32_t entry = cache->first;
        struct km_cached_block *e = &cache->entries[entry];
        if (e->named) {
            forget_name(cache, entry);
            e->named = false;
        }
        if (e->blocks > blocks) {
            e->blocks -= blocks;
            return;
        }
        blocks -= e->blocks;
        take_out(cache, entry);
        reuse_entry(cache, entry);
    }
}

void km_block_cache_give(struct km_block_cache *cache, uint64_t blocks)
{
    if (blocks == 0)
        return;
    cache->free_blocks += blocks;
    if (!cache->last || cache->entries[cache->last].named)
        append(cache, new_entry(cache));
    cache->entries[cache->last].blocks += blocks;
}

void km_block_cache_forget(struct km_block_cache *cache, uint64_t blocks)
{
    const struct km_cached_block *first = &cache->entries[cache->first];
    if (blocks == 0 || (!first->named && first->blocks >= blocks))
        return;
    km_block_cache_take(cache, blocks);
    cache->free_blocks += blocks;
    uint32_t entry = new_entry(cache);
    struct km_cached_block *e = &cache->entries[entry];
    e->blocks = blocks;
    e->next = cache->first;
    if (cache->first)
        cache->entries[cache->first].previous = entry;
    else
        cache->last = entry;
    cache->first = entry;
}

uint64_t km_block_cache_hold(struct km_block_cache *cache, uint32_t entry)
{
    if (cache->entries[entry].references++ > 0)
        return 0;
    take_out(cache, entry);
    cache->free_blocks -= cache->entries[entry].blocks;
    return cache->entries[entry].blocks;
}

uint64_t km_block_cache_drop(struct km_block_cache *cache, uint32_t entry)
{
    assert(cache->entries[entry].references > 0);
    if (--cache->entries[entry].references > 0)
        return 0;
    append(cache, entry);
    cache->free_blocks += cache->entries[entry].blocks;
    return cache->entries[entry].blocks;
}
