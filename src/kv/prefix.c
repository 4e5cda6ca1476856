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
 * - Groups of layers with a sliding window (model/kv_groups.h) have names of their own for the same tokens: a block
 *   behind the window goes back, and can be hit until it is reused. A match ends where the windowed groups have the
 *   whole window before it (SlidingWindowManager.find_longest_cache_hit, vllm/v1/core/single_type_kv_cache_manager.py),
 *   or all from the beginning. While a sequence decodes, its window's named blocks stay; when it gives its blocks
 *   back, those that have left the window meanwhile change places with anonymous ones.
 *
 * Keys are 64-bit mixtures. With n named blocks at a time, the chance that a look-up meets the wrong one is
 * n / 2^64: 1e-8 over a billion look-ups among 200 blocks, 1e-5 among 200,000. */
#include "base/memory.h"
#include "base/mix.h"
#include "kv/block_cache.h"
#include "kv/kv.h"
#include "workload/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Entries of neighbouring blocks of a sequence. */
struct entries {
    uint64_t first; /* block */
    uint32_t *list; /* [count] */
    size_t count, capacity;
};

/* What a running sequence holds by name. */
struct holding {
    uint64_t named;          /* blocks, from its first */
    struct entries full;     /* all of them */
    struct entries windowed; /* less those behind its window */
    uint64_t missing; /* pages of windowed blocks that it should hold without a name, and could not get */
    uint64_t chain;   /* key of the first chain_hashes hashes */
    uint32_t chain_hashes;
    struct holding *all_next, *idle_next;
};

struct prefix {
    struct km_kv kv; /* first */
    struct km_block_cache cache;
    struct holding *all, *idle;
    uint64_t *chains; /* scratch of match: key of the hashes up to each */
    size_t chain_capacity;
    struct entries full_hits, windowed_hits; /* scratch of admit */
};

static struct prefix *prefix_of(struct km_kv *kv)
{
    return (struct prefix *)(void *)kv;
}

/* Pages that one block of tokens takes of full groups, and of windowed ones. */
static uint32_t full_pages(const struct km_kv *kv)
{
    return km_kv_full_groups(&kv->config.groups);
}

static uint32_t windowed_pages(const struct km_kv *kv)
{
    return kv->config.groups.windowed;
}

/* ---- keys ---- */

static uint64_t chain_on(uint64_t chain, uint64_t hash)
{
    return km_mix(chain * KM_GOLDEN + km_mix(hash + KM_GOLDEN));
}

static uint64_t block_key(uint64_t chain, uint64_t block)
{
    return km_mix(chain + (block + 1) * KM_GOLDEN);
}

/* The key of the same tokens in windowed groups. */
static uint64_t windowed_key(uint64_t key)
{
    return km_mix(key ^ KM_GOLDEN);
}

static uint64_t hash_at(const struct km_sequence *sequence, uint32_t i)
{
    return i < sequence->prefix_hash_count ? sequence->prefix_hashes[i] : chain_on(km_mix(sequence->id), i);
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

/* ---- holdings ---- */

static void push(struct entries *entries, uint64_t block, uint32_t entry)
{
    if (entries->count == 0)
        entries->first = block;
    assert(entries->first + entries->count == block);
    entries->list = km_grow(entries->list, &entries->capacity, entries->count + 1, sizeof *entries->list);
    entries->list[entries->count++] = entry;
}

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
    holding->named = holding->missing = holding->full.count = holding->windowed.count = 0;
    holding->chain = 0;
    holding->chain_hashes = 0;
    return holding;
}

/* What is held by name of the first `count` windowed blocks goes; returns how many of these were nobody else's. */
static uint64_t drop_windowed(struct prefix *prefix, struct holding *holding, uint64_t count)
{
    struct entries *entries = &holding->windowed;
    uint64_t own = 0;
    if (count == 0) /* perhaps it has no list */
        return 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t pages = km_block_cache_drop(&prefix->cache, entries->list[i]);
        km_kv_give(&prefix->kv, pages);
        own += pages > 0;
    }
    entries->first += count;
    entries->count -= count;
    memmove(entries->list, entries->list + count, entries->count * sizeof *entries->list);
    return own;
}

/* Windowed blocks before `start` that are held by name. */
static uint64_t named_before(const struct holding *holding, uint64_t start)
{
    const struct entries *entries = &holding->windowed;
    if (entries->count == 0 || start <= entries->first)
        return 0;
    return start - entries->first < entries->count ? start - entries->first : entries->count;
}

/* Name what the sequence's first `tokens` fill, beyond what it holds by name; in windowed groups from block
 * `start` on. */
static void name_through(struct prefix *prefix, const struct km_sequence *sequence, uint32_t tokens, bool own,
                         uint64_t start)
{
    struct holding *holding = sequence->kv;
    struct km_block_cache *cache = &prefix->cache;
    const struct km_kv *kv = &prefix->kv;
    uint64_t nameable = nameable_blocks(kv, sequence, tokens, own);
    for (; holding->named < nameable; holding->named++) {
        uint32_t hashes = hashes_under(kv, holding->named + 1);
        for (; holding->chain_hashes < hashes; holding->chain_hashes++)
            holding->chain = chain_on(holding->chain, hash_at(sequence, holding->chain_hashes));
        uint64_t key = block_key(holding->chain, holding->named);
        if (full_pages(kv))
            push(&holding->full, holding->named, km_block_cache_name(cache, key, full_pages(kv)));
        if (windowed_pages(kv) && holding->named >= start)
            push(&holding->windowed, holding->named,
                 km_block_cache_name(cache, windowed_key(key), windowed_pages(kv)));
    }
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
        free(holding->full.list);
        free(holding->windowed.list);
        free(holding);
    }
    km_block_cache_release(&prefix->cache);
    free(prefix->chains);
    free(prefix->full_hits.list);
    free(prefix->windowed_hits.list);
    free(prefix);
}

/* The key of block b; prefix->chains are known so far. */
static uint64_t key_of(const struct prefix *prefix, uint64_t b)
{
    return block_key(prefix->chains[hashes_under(&prefix->kv, b + 1) - 1], b);
}

/* A block outlives no block before it: whoever gives it back holds one of its predecessors, too, and gives
 * that back later or leaves it with others. So what is cached of a sequence is its first so many blocks, and
 * these can be bisected. */
static uint64_t match_full(const struct prefix *prefix, uint64_t absent)
{
    uint64_t present = 0; /* this many are there; of those below `absent` it is not known */
    while (present < absent) {
        uint64_t middle = present + (absent - present) / 2;
        if (km_block_cache_find(&prefix->cache, key_of(prefix, middle)))
            present = middle + 1;
        else
            absent = middle;
    }
    return present;
}

/* The last block, of `blocks`, behind which all that its window reaches is there. */
static uint64_t match_windowed(const struct prefix *prefix, uint64_t blocks)
{
    uint64_t need = km_kv_blocks_for(&prefix->kv, prefix->kv.config.groups.window_tokens - 1u), run = 0;
    for (uint64_t b = blocks; b-- > 0;) {
        run = km_block_cache_find(&prefix->cache, windowed_key(key_of(prefix, b))) ? run + 1 : 0;
        if (run && run == need)
            return b + run;
    }
    return run;
}

static uint32_t prefix_match(struct km_kv *kv, const struct km_sequence *sequence, uint32_t tokens)
{
    struct prefix *prefix = prefix_of(kv);
    uint64_t most = tokens ? nameable_blocks(kv, sequence, tokens - 1u, was_preempted(sequence)) : 0;
    if (most == 0)
        return 0;
    /* Blocks promised to decodes of this batch are theirs, though not yet taken. */
    km_block_cache_forget(&prefix->cache, kv->promised_blocks);
    uint32_t hashes = hashes_under(kv, most);
    prefix->chains = km_grow(prefix->chains, &prefix->chain_capacity, hashes, sizeof *prefix->chains);
    uint64_t chain = 0;
    for (uint32_t i = 0; i < hashes; i++)
        prefix->chains[i] = chain = chain_on(chain, hash_at(sequence, i));
    uint64_t hits = full_pages(kv) ? match_full(prefix, most) : most;
    if (windowed_pages(kv))
        hits = match_windowed(prefix, hits);
    return (uint32_t)(hits * kv->config.block_size);
}

static void find_hit(struct prefix *prefix, struct entries *hits, uint64_t block, uint64_t key,
                     uint64_t *free_pages)
{
    uint32_t entry = km_block_cache_find(&prefix->cache, key);
    assert(entry);
    push(hits, block, entry);
    if (!km_block_cache_is_held(&prefix->cache, entry))
        *free_pages += prefix->cache.entries[entry].blocks;
}

/* Find the blocks that match() found, those behind the window left out. Returns how many of their pages are free. */
static uint64_t find_hits(struct prefix *prefix, const struct km_sequence *sequence, uint64_t count)
{
    const struct km_kv *kv = &prefix->kv;
    uint64_t skipped = km_kv_skipped_blocks(kv, count * kv->config.block_size), chain = 0, free_pages = 0;
    uint32_t hashes = 0;
    prefix->full_hits.count = prefix->windowed_hits.count = 0;
    for (uint64_t b = 0; b < count; b++) {
        for (uint32_t under = hashes_under(kv, b + 1); hashes < under; hashes++)
            chain = chain_on(chain, hash_at(sequence, hashes));
        uint64_t key = block_key(chain, b);
        if (full_pages(kv))
            find_hit(prefix, &prefix->full_hits, b, key, &free_pages);
        if (windowed_pages(kv) && b >= skipped)
            find_hit(prefix, &prefix->windowed_hits, b, windowed_key(key), &free_pages);
    }
    return free_pages;
}

static void hold(struct prefix *prefix, const struct entries *hits, struct entries *into)
{
    for (size_t i = 0; i < hits->count; i++) {
        push(into, hits->first + i, hits->list[i]);
        km_kv_take(&prefix->kv, km_block_cache_hold(&prefix->cache, hits->list[i]));
    }
}

static bool prefix_admit(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, uint32_t hit_tokens,
                         uint32_t first_tokens)
{
    struct prefix *prefix = prefix_of(kv);
    uint64_t hits = hit_tokens / kv->config.block_size, pages = km_kv_block_pages(&kv->config.groups);
    uint64_t now = (km_kv_blocks_for(kv, first_tokens) - hits) * pages + kv->config.groups.recurrent;
    uint64_t whole = km_kv_most_pages(kv, tokens), found = hits * pages;
    uint64_t fresh = whole > found + now ? whole - found : now;
    if (fresh > km_kv_free_blocks(kv) ||
        (hits && find_hits(prefix, sequence, hits) > km_kv_free_blocks(kv) - fresh))
        return false;
    if (sequence->prefix_hash_count || was_preempted(sequence)) {
        struct holding *holding = sequence->kv = holding_take(prefix);
        if (hits) {
            hold(prefix, &prefix->full_hits, &holding->full);
            hold(prefix, &prefix->windowed_hits, &holding->windowed);
            holding->named = hits;
            holding->chain_hashes = hashes_under(kv, hits);
            for (uint32_t i = 0; i < holding->chain_hashes; i++)
                holding->chain = chain_on(holding->chain, hash_at(sequence, i));
        }
    }
    take(prefix, now);
    uint64_t start = km_kv_skipped_blocks(kv, hit_tokens);
    if (windowed_pages(kv))
        km_kv_window_start_at(kv, sequence, first_tokens, start);
    if (sequence->kv)
        name_through(prefix, sequence, first_tokens, was_preempted(sequence), start);
    return true;
}

static bool prefix_extend(struct km_kv *kv, struct km_sequence *sequence, uint32_t from_tokens,
                          uint32_t to_tokens)
{
    uint64_t blocks = km_kv_blocks_for(kv, to_tokens) - km_kv_blocks_for(kv, from_tokens);
    uint64_t need = blocks * km_kv_block_pages(&kv->config.groups), start = 0;
    if (need > km_kv_free_blocks(kv))
        return false;
    take(prefix_of(kv), need);
    if (windowed_pages(kv)) {
        start = km_kv_window_start(kv, sequence, from_tokens);
        km_kv_window_start_at(kv, sequence, to_tokens, start);
    }
    if (sequence->kv)
        name_through(prefix_of(kv), sequence, to_tokens, was_preempted(sequence), start);
    return true;
}

static void give(struct prefix *prefix, uint64_t pages)
{
    km_block_cache_give(&prefix->cache, pages);
    km_kv_give(&prefix->kv, pages);
}

/* Decodes that are in flight have given the blocks before `start` for those they took. The named ones become anonymous;
 * for one that others hold, too, a page is missing if none is free. */
static void exchange(struct prefix *prefix, struct holding *holding, uint64_t start)
{
    const uint32_t pages = windowed_pages(&prefix->kv);
    uint64_t count = named_before(holding, start), own = drop_windowed(prefix, holding, count);
    take(prefix, own * pages);
    for (; own < count; own++)
        if (km_kv_free_blocks(&prefix->kv) >= pages)
            take(prefix, pages);
        else
            holding->missing++;
}

static void prefix_settle(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    struct prefix *prefix = prefix_of(kv);
    struct holding *holding = sequence->kv;
    uint64_t before = km_kv_window_start(kv, sequence, sequence->computed_tokens);
    uint64_t blocks = km_kv_window_settle(kv, sequence, tokens), freed = blocks;
    if (holding && blocks) {
        exchange(prefix, holding, before);
        uint64_t start = km_kv_window_start(kv, sequence, sequence->computed_tokens);
        uint64_t named = named_before(holding, start);
        drop_windowed(prefix, holding, named);
        freed -= named;
        uint64_t owed = holding->missing < freed ? holding->missing : freed;
        holding->missing -= owed;
        freed -= owed;
    }
    give(prefix, freed * windowed_pages(kv));
    /* From now on what leaves the window is given for what is taken: which it must not share with others. */
    if (!holding || sequence->state == KM_SEQ_PREFILL)
        return;
    while (holding->windowed.count && km_kv_free_blocks(kv) >= windowed_pages(kv) &&
           km_block_cache_is_shared(&prefix->cache, holding->windowed.list[0])) {
        drop_windowed(prefix, holding, 1);
        take(prefix, windowed_pages(kv));
    }
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
    return km_growth_pages(growth, clock, steps);
}

static void prefix_decode(struct km_kv *kv, struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    take(prefix_of(kv), km_growth_take(growth, clock, steps));
}

/* Anonymous blocks of each windowed group, when the sequence goes: named ones that have left the window change places
 * with anonymous ones, unless somebody else holds them; then there are fewer, for the last. Returns from which block
 * on the others can be named. */
static uint64_t leave_window(struct prefix *prefix, const struct km_sequence *sequence, uint32_t tokens,
                             bool own, uint64_t *anonymous)
{
    struct km_kv *kv = &prefix->kv;
    struct holding *holding = sequence->kv;
    uint64_t start = km_kv_window_start(kv, sequence, tokens);
    *anonymous = km_kv_blocks_for(kv, tokens) - start;
    if (!holding)
        return start;
    *anonymous -= holding->windowed.count + holding->missing;
    uint64_t exchanged = drop_windowed(prefix, holding, named_before(holding, start));
    take(prefix, exchanged * windowed_pages(kv));
    *anonymous += exchanged;
    uint64_t nameable = nameable_blocks(kv, sequence, tokens, own);
    uint64_t from = start > holding->named ? start : holding->named;
    if (nameable > from + *anonymous) {
        drop_windowed(prefix, holding, holding->windowed.count);
        return nameable - *anonymous;
    }
    return start;
}

static void drop_all(struct prefix *prefix, struct entries *entries)
{
    while (entries->count)
        km_kv_give(&prefix->kv, km_block_cache_drop(&prefix->cache, entries->list[--entries->count]));
}

static void prefix_release(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    struct prefix *prefix = prefix_of(kv);
    bool returns = sequence->state != KM_SEQ_ENDING;
    if (returns && !sequence->kv)
        sequence->kv = holding_take(prefix);
    struct holding *holding = sequence->kv;
    uint64_t start = 0, windowed = 0, named = 0;
    if (windowed_pages(kv))
        start = leave_window(prefix, sequence, tokens, returns, &windowed);
    if (holding) {
        uint64_t before = holding->windowed.count;
        name_through(prefix, sequence, tokens, returns, start);
        named = holding->named;
        windowed -= holding->windowed.count - before;
    }
    give(prefix, (km_kv_blocks_for(kv, tokens) - named) * full_pages(kv) + windowed * windowed_pages(kv) +
                     kv->config.groups.recurrent);
    sequence->window_excess_blocks = 0;
    if (!holding)
        return;
    drop_all(prefix, &holding->full);
    drop_all(prefix, &holding->windowed);
    holding->idle_next = prefix->idle;
    prefix->idle = holding;
    sequence->kv = NULL;
}

const struct km_kv_manager km_kv_prefix = {
    .entry = {"prefix", "paged blocks, those of equal prefixes shared and kept for later requests (vLLM)"},
    .create = prefix_create,
    .destroy = prefix_destroy,
    .most_blocks = km_kv_most_pages,
    .match = prefix_match,
    .admit = prefix_admit,
    .extend = prefix_extend,
    .settle = prefix_settle,
    .decode_needs = km_kv_decode_needs,
    .decode_steps = prefix_decode_steps,
    .decode_blocks = prefix_decode_blocks,
    .decode = prefix_decode,
    .release = prefix_release,
};
