/* Prefix caching over paged blocks, in the manner of vLLM V1: blocks that hold the same tokens behind the
 * same prefix are kept once and shared, and stay findable after their holders have gone, until the blocks are
 * needed (least recently used first).
 *
 * Token t of a request is (hash t / 512, t mod 512), whether it was sent or generated; so block b is
 * identified by b and the hashes from the first to the one its last token falls under. The first hashes of a
 * request are its prefix hashes, and those beyond are its own: what they cover it shares with nobody. A block
 * can be hit as soon as it is wholly scheduled to be computed.
 *
 * - Only a request that comes back can hit blocks of its own. They are named when it is preempted, and from
 *   then on as they are computed; in requests never preempted they are anonymous, and cost nothing.
 * - A sequence that ends or is preempted gives its blocks back last one first, so that the ends of prefixes
 *   are evicted before their beginnings.
 * - Blocks of generated tokens are named when the sequence gives its blocks back, not while it decodes: a
 *   cohort's growth stays a matter of counting, and a match never grows by decoding.
 * - A sequence that computes a block another one has cached meanwhile (or its whole prompt's last block, of
 *   which one token must be computed) keeps its own copy.
 *
 * Keys are 64-bit mixtures. With n named blocks at a time, the chance that a look-up meets the wrong one is
 * n / 2^64: 1e-8 over a billion look-ups among 200 blocks, 1e-5 among 200,000. */
#include "base/memory.h"
#include "kv/block_cache.h"
#include "kv/kv.h"
#include "workload/request.h"

#include <assert.h>
#include <stdlib.h>

/* What a running sequence holds by name: its first blocks. */
struct holding {
    uint32_t *blocks; /* [count] */
    size_t count, capacity;
    uint64_t chain; /* key of the first chain_hashes hashes */
    uint32_t chain_hashes;
    struct holding *all_next, *idle_next;
};

struct prefix {
    struct km_kv kv; /* first */
    struct km_block_cache cache;
    struct holding *all, *idle;
    uint64_t *chains; /* scratch of match: key of the hashes up to each */
    size_t chain_capacity;
    uint32_t *hits; /* scratch of admit */
    size_t hit_capacity;
};

static struct prefix *prefix_of(struct km_kv *kv)
{
    return (struct prefix *)(void *)kv;
}

/* ---- keys ---- */

#define GOLDEN 0x9e3779b97f4a7c15u /* 2^64 / golden ratio, odd */

/* The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA'14). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t chain_on(uint64_t chain, uint64_t hash)
{
    return mix(chain * GOLDEN + mix(hash + GOLDEN));
}

static uint64_t block_key(uint64_t chain, uint64_t block)
{
    return mix(chain + (block + 1) * GOLDEN);
}

static uint64_t hash_at(const struct km_sequence *sequence, uint32_t i)
{
    return i < sequence->prefix_hash_count ? sequence->prefix_hashes[i] : chain_on(mix(sequence->id), i);
}

/* Hashes that `blocks` >= 1 blocks come under. */
static uint32_t hashes_under(const struct km_kv *kv, uint64_t blocks)
{
    return (uint32_t)((blocks * kv->config.block_size - 1) / KM_PREFIX_BLOCK_TOKENS + 1);
}

/* Whole blocks of the first `tokens` that have a name, with those of the sequence's own if `own`. */
static uint64_t nameable_blocks(const struct km_kv *kv, const struct km_sequence *sequence, uint64_t tokens,
                                bool own)
{
    uint64_t hashed = (uint64_t)sequence->prefix_hash_count * KM_PREFIX_BLOCK_TOKENS;
    return (own || tokens < hashed ? tokens : hashed) / kv->config.block_size;
}

static bool was_preempted(const struct km_sequence *sequence)
{
    return sequence->preemptions > 0;
}

/* Key of the holding's next block. */
static uint64_t next_key(const struct km_kv *kv, struct holding *holding, const struct km_sequence *sequence)
{
    uint32_t hashes = hashes_under(kv, holding->count + 1);
    for (; holding->chain_hashes < hashes; holding->chain_hashes++)
        holding->chain = chain_on(holding->chain, hash_at(sequence, holding->chain_hashes));
    return block_key(holding->chain, holding->count);
}

/* ---- holdings ---- */

static struct holding *holding_take(struct prefix *prefix)
{
    struct holding *holding = prefix->idle;
    if (holding) {
        prefix->idle = holding->idle_next;
    } else {
        holding = km_alloc(sizeof *holding);
        holding->all_next = prefix->all;
        prefix->all = holding;
    }
    holding->count = 0;
    holding->chain = 0;
    holding->chain_hashes = 0;
    return holding;
}

static void holding_push(struct holding *holding, uint32_t block)
{
    holding->blocks =
        km_grow(holding->blocks, &holding->capacity, holding->count + 1, sizeof *holding->blocks);
    holding->blocks[holding->count++] = block;
}

/* Name what the sequence's first `tokens` fill, beyond what it holds by name. */
static void name_through(struct prefix *prefix, const struct km_sequence *sequence, uint32_t tokens, bool own)
{
    struct holding *holding = sequence->kv;
    uint64_t nameable = nameable_blocks(&prefix->kv, sequence, tokens, own);
    while (holding->count < nameable)
        holding_push(holding, km_block_cache_name(&prefix->cache, next_key(&prefix->kv, holding, sequence)));
}

static void take(struct prefix *prefix, uint64_t blocks)
{
    km_kv_take(&prefix->kv, blocks);
    km_block_cache_take(&prefix->cache, blocks);
}

/* ---- the manager ---- */

static struct km_kv *prefix_create(const struct km_kv_config *config)
{
    extern const struct km_kv_manager km_kv_prefix;
    struct prefix *prefix = km_alloc(sizeof *prefix);
    prefix->kv.manager = &km_kv_prefix;
    prefix->kv.config = *config;
    km_block_cache_init(&prefix->cache, config->capacity_blocks);
    return &prefix->kv;
}

static void prefix_destroy(struct km_kv *kv)
{
    struct prefix *prefix = prefix_of(kv);
    for (struct holding *holding = prefix->all, *next; holding; holding = next) {
        next = holding->all_next;
        free(holding->blocks);
        free(holding);
    }
    km_block_cache_release(&prefix->cache);
    free(prefix->chains);
    free(prefix->hits);
    free(prefix);
}

static uint64_t prefix_most_blocks(const struct km_kv *kv, uint64_t tokens)
{
    return km_kv_blocks_for(kv, tokens);
}

/* A block outlives no block before it: whoever gives it back holds one of its predecessors, too, and gives
 * that back later or leaves it with others. So what is cached of a sequence is its first so many blocks, and
 * these can be bisected. */
static uint32_t prefix_match(struct km_kv *kv, const struct km_sequence *sequence, uint32_t tokens)
{
    struct prefix *prefix = prefix_of(kv);
    uint64_t absent = tokens ? nameable_blocks(kv, sequence, tokens - 1u, was_preempted(sequence)) : 0;
    if (absent == 0)
        return 0;
    /* Blocks promised to decodes of this batch are theirs, though not yet taken. */
    km_block_cache_forget(&prefix->cache, kv->promised_blocks);
    uint32_t hashes = hashes_under(kv, absent);
    prefix->chains = km_grow(prefix->chains, &prefix->chain_capacity, hashes, sizeof *prefix->chains);
    uint64_t chain = 0;
    for (uint32_t i = 0; i < hashes; i++)
        prefix->chains[i] = chain = chain_on(chain, hash_at(sequence, i));
    uint64_t present = 0; /* this many are there; of those below `absent` it is not known */
    while (present < absent) {
        uint64_t middle = present + (absent - present) / 2;
        chain = prefix->chains[hashes_under(kv, middle + 1) - 1];
        if (km_block_cache_find(&prefix->cache, block_key(chain, middle)))
            present = middle + 1;
        else
            absent = middle;
    }
    return (uint32_t)(present * kv->config.block_size);
}

/* Find the blocks that match() found, as long as no more than `most_free` of them are free. */
static bool find_hits(struct prefix *prefix, const struct km_sequence *sequence, uint64_t count,
                      uint64_t most_free)
{
    prefix->hits = km_grow(prefix->hits, &prefix->hit_capacity, count, sizeof *prefix->hits);
    uint64_t chain = 0;
    uint32_t hashes = 0;
    for (uint64_t b = 0; b < count; b++) {
        for (uint32_t under = hashes_under(&prefix->kv, b + 1); hashes < under; hashes++)
            chain = chain_on(chain, hash_at(sequence, hashes));
        prefix->hits[b] = km_block_cache_find(&prefix->cache, block_key(chain, b));
        assert(prefix->hits[b]);
        if (!km_block_cache_is_held(&prefix->cache, prefix->hits[b]) && most_free-- == 0)
            return false;
    }
    return true;
}

static bool prefix_admit(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, uint32_t hit_tokens,
                         uint32_t first_tokens)
{
    struct prefix *prefix = prefix_of(kv);
    uint64_t hits = hit_tokens / kv->config.block_size;
    uint64_t fresh = km_kv_blocks_for(kv, tokens) - hits;
    if (fresh > km_kv_free_blocks(kv) ||
        (hits && !find_hits(prefix, sequence, hits, km_kv_free_blocks(kv) - fresh)))
        return false;
    if (sequence->prefix_hash_count || was_preempted(sequence)) {
        struct holding *holding = sequence->kv = holding_take(prefix);
        for (uint64_t b = 0; b < hits; b++) {
            holding_push(holding, prefix->hits[b]);
            if (km_block_cache_hold(&prefix->cache, prefix->hits[b]))
                km_kv_take(kv, 1);
        }
    }
    take(prefix, km_kv_blocks_for(kv, first_tokens) - hits);
    if (sequence->kv)
        name_through(prefix, sequence, first_tokens, was_preempted(sequence));
    return true;
}

static bool prefix_extend(struct km_kv *kv, struct km_sequence *sequence, uint32_t from_tokens,
                          uint32_t to_tokens)
{
    uint64_t need = km_kv_blocks_for(kv, to_tokens) - km_kv_blocks_for(kv, from_tokens);
    if (need > km_kv_free_blocks(kv))
        return false;
    take(prefix_of(kv), need);
    if (sequence->kv)
        name_through(prefix_of(kv), sequence, to_tokens, was_preempted(sequence));
    return true;
}

static bool prefix_decode_needs(const struct km_kv *kv, uint32_t tokens)
{
    return tokens % kv->config.block_size == 0;
}

static uint64_t prefix_decode_steps(const struct km_kv *kv, const struct km_growth *growth, uint64_t clock,
                                    uint64_t limit)
{
    return km_growth_steps(growth, clock, km_kv_free_blocks(kv), limit);
}

static uint64_t prefix_decode_blocks(const struct km_kv *kv, const struct km_growth *growth, uint64_t clock,
                                     uint64_t steps)
{
    (void)kv;
    return km_growth_blocks(growth, clock, steps);
}

static void prefix_decode(struct km_kv *kv, const struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    take(prefix_of(kv), km_growth_blocks(growth, clock, steps));
}

static void prefix_release(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    struct prefix *prefix = prefix_of(kv);
    bool returns = sequence->state != KM_SEQ_ENDING;
    if (returns && !sequence->kv)
        sequence->kv = holding_take(prefix);
    struct holding *holding = sequence->kv;
    if (holding)
        name_through(prefix, sequence, tokens, returns);
    uint64_t anonymous = km_kv_blocks_for(kv, tokens) - (holding ? holding->count : 0);
    km_block_cache_give(&prefix->cache, anonymous);
    km_kv_give(kv, anonymous);
    if (!holding)
        return;
    while (holding->count)
        if (km_block_cache_drop(&prefix->cache, holding->blocks[--holding->count]))
            km_kv_give(kv, 1);
    holding->idle_next = prefix->idle;
    prefix->idle = holding;
    sequence->kv = NULL;
}

const struct km_kv_manager km_kv_prefix = {
    .entry = {"prefix", "paged blocks, those of equal prefixes shared and kept for later requests (vLLM)"},
    .create = prefix_create,
    .destroy = prefix_destroy,
    .most_blocks = prefix_most_blocks,
    .match = prefix_match,
    .admit = prefix_admit,
    .extend = prefix_extend,
    .decode_needs = prefix_decode_needs,
    .decode_steps = prefix_decode_steps,
    .decode_blocks = prefix_decode_blocks,
    .decode = prefix_decode,
    .release = prefix_release,
};
