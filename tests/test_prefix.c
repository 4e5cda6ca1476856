/* The manager `prefix`: cases worked out by hand, and random ones against a model that walks over every
 * block. */
#include "base/memory.h"
#include "base/random.h"
#include "kv/kv.h"
#include "workload/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct km_kv *create(const char *name, uint64_t blocks, uint32_t block_size)
{
    const struct km_kv_manager *manager =
        (const struct km_kv_manager *)(const void *)km_registry_find(km_kv_registry, name);
    const struct km_kv_config config = {blocks, block_size, 1u << 20};
    return manager->create(&config);
}

/* Admit a sequence whose `tokens` are to be computed, with a first chunk of at most `chunk`. Returns the hit
 * tokens, -1 when it is not admitted. */
static int64_t admit(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, uint32_t chunk)
{
    uint32_t hit = kv->manager->match(kv, sequence, tokens);
    assert_true(hit == 0 || hit < tokens);
    assert_int_equal(hit % kv->config.block_size, 0);
    uint32_t first = chunk < tokens - hit ? hit + chunk : tokens;
    return kv->manager->admit(kv, sequence, tokens, hit, first) ? (int64_t)hit : -1;
}

static int64_t admit_all(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    return admit(kv, sequence, tokens, UINT32_MAX);
}

/* One sequence decodes from `from` to `to` tokens of context. */
static void decode(struct km_kv *kv, uint32_t from, uint32_t to)
{
    struct km_growth growth;
    km_growth_init(&growth, kv->config.block_size);
    km_growth_add(&growth, from);
    kv->manager->decode(kv, &growth, 0, to - from);
    km_growth_release(&growth);
}

/* The two ways to give blocks back, each in the simulator's order. */
static void preempt(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    sequence->state = KM_SEQ_DECODE;
    kv->manager->release(kv, sequence, tokens);
    assert_null(sequence->kv);
    sequence->state = KM_SEQ_WAITING;
    sequence->preemptions++;
}

static void end(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    sequence->state = KM_SEQ_ENDING;
    kv->manager->release(kv, sequence, tokens);
    assert_null(sequence->kv);
}

#define HASHED(...)                                                                                          \
    {                                                                                                        \
        .prefix_hashes = (const uint64_t[]){__VA_ARGS__},                                                    \
        .prefix_hash_count = sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)                      \
    }

/* Blocks of 256 tokens: two under each hash. */
static struct km_kv *halves(uint64_t blocks)
{
    return create("prefix", blocks, 256);
}

static void hits_and_misses(void **state)
{
    (void)state;
    struct km_kv *kv = halves(100);
    struct km_sequence a = HASHED(1, 2);
    assert_int_equal(admit_all(kv, &a, 1024), 0);
    assert_int_equal(kv->used_blocks, 4);
    end(kv, &a, 1024);
    assert_int_equal(kv->used_blocks, 0);
    const struct {
        struct km_sequence sequence;
        uint32_t tokens, hit;
    } probes[] = {
        {HASHED(1, 2, 3), 1100, 1024},
        {HASHED(1, 2), 1024, 768}, /* one token must be computed */
        {HASHED(1, 2), 1025, 1024},
        {HASHED(1, 2), 1023, 768}, /* whole blocks only */
        {HASHED(1, 2), 256, 0},
        {HASHED(1, 2), 257, 256},
        {HASHED(1, 2), 1, 0},
        {HASHED(1, 3), 1024, 512},       /* another end */
        {HASHED(3, 2), 1024, 0},         /* the same behind another beginning */
        {HASHED(2), 512, 0},             /* ... or none */
        {HASHED(1), 1024, 512},          /* known no further */
        {{.prompt_tokens = 1}, 1024, 0}, /* unique */
    };
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++)
        assert_int_equal(kv->manager->match(kv, &probes[i].sequence, probes[i].tokens), probes[i].hit);
    kv->manager->destroy(kv);
}

/* What is scheduled can be hit at once, in the same batch. */
static void hits_what_is_scheduled(void **state)
{
    (void)state;
    struct km_kv *kv = halves(100);
    struct km_sequence a = HASHED(1, 2), b = HASHED(1, 2, 3), c = HASHED(1, 2, 4);
    assert_int_equal(admit(kv, &a, 1024, 600), 0); /* two whole blocks and a begun one */
    assert_int_equal(kv->used_blocks, 3);
    assert_int_equal(admit(kv, &b, 1100, 1), 512);
    assert_int_equal(kv->used_blocks, 4);
    assert_true(kv->manager->extend(kv, &a, 600, 1024));
    assert_int_equal(kv->used_blocks, 5);
    assert_int_equal(admit(kv, &c, 1100, 1), 1024);
    assert_int_equal(kv->used_blocks, 6);
    /* b goes on with blocks of its own: it looked when it was admitted. */
    assert_true(kv->manager->extend(kv, &b, 513, 1100));
    assert_int_equal(kv->used_blocks, 8);
    end(kv, &a, 1024);
    assert_int_equal(kv->used_blocks, 8); /* a's first two are b's, too, and all four are c's */
    end(kv, &c, 1025);
    assert_int_equal(kv->used_blocks, 5);
    end(kv, &b, 1100);
    assert_int_equal(kv->used_blocks, 0);
    kv->manager->destroy(kv);
}

/* What others hold costs nothing; what is cached but free does, for it is free no more. */
static void room(void **state)
{
    (void)state;
    struct km_kv *kv = halves(5);
    struct km_sequence a = HASHED(1, 2), b = HASHED(1, 2), c = {0}, d = HASHED(1, 2);
    assert_int_equal(admit_all(kv, &a, 1024), 0);
    assert_int_equal(admit_all(kv, &c, 256), 0);
    assert_int_equal(admit_all(kv, &b, 1024), -1); /* 768 hits, but not one block left */
    assert_int_equal(kv->used_blocks, 5);
    end(kv, &c, 256);
    assert_int_equal(admit_all(kv, &b, 1024), 768);
    assert_int_equal(kv->used_blocks, 5);
    end(kv, &a, 1024);
    assert_int_equal(kv->used_blocks, 4);
    end(kv, &b, 1024);
    assert_int_equal(admit_all(kv, &c, 512), 0);   /* a's own fourth block, and the one nobody named */
    assert_int_equal(admit_all(kv, &d, 1025), -1); /* five blocks, three are free */
    assert_int_equal(admit_all(kv, &d, 700), 512);
    assert_int_equal(kv->used_blocks, 5);
    assert_int_equal(kv->peak_blocks, 5);
    kv->manager->destroy(kv); /* with sequences still in it */
}

/* The least recently used goes first, and of a sequence its end. */
static void eviction_order(void **state)
{
    (void)state;
    struct km_kv *kv = halves(7);
    struct km_sequence a = HASHED(1), b = HASHED(2), c = HASHED(3);
    struct km_sequence taker[5] = {0}, again = HASHED(2);
    assert_int_equal(admit_all(kv, &a, 512), 0);
    assert_int_equal(admit_all(kv, &b, 512), 0);
    assert_int_equal(admit_all(kv, &c, 512), 0);
    end(kv, &a, 512);
    end(kv, &b, 512);
    end(kv, &c, 512);
#define CACHED(s) kv->manager->match(kv, &(s), 513)
    assert_int_equal(admit_all(kv, &taker[0], 1), 0); /* one block was never used */
    assert_true(CACHED(a) == 512 && CACHED(b) == 512 && CACHED(c) == 512);
    assert_int_equal(admit_all(kv, &taker[1], 1), 0);
    assert_true(CACHED(a) == 256 && CACHED(b) == 512 && CACHED(c) == 512);
    assert_int_equal(admit_all(kv, &again, 257), 256); /* b's beginning is used again, and a's gives way */
    assert_true(CACHED(a) == 0 && CACHED(b) == 512 && CACHED(c) == 512);
    assert_int_equal(admit_all(kv, &taker[2], 1), 0);
    assert_true(CACHED(b) == 256 && CACHED(c) == 512);
    end(kv, &again, 257); /* its unnamed block goes in front of b's beginning */
    assert_int_equal(admit_all(kv, &taker[3], 512), 0);
    assert_true(CACHED(b) == 256 && CACHED(c) == 0);
    assert_int_equal(admit_all(kv, &taker[4], 1), 0);
    assert_true(CACHED(b) == 256);
    assert_int_equal(kv->used_blocks, 6);
    end(kv, &taker[3], 512); /* behind it */
    struct km_sequence last = {0};
    assert_int_equal(admit_all(kv, &last, 1), 0);
    assert_int_equal(CACHED(b), 0);
    kv->manager->destroy(kv);
}

/* A preempted sequence finds its own blocks: of the prompt, and of what it generated. Beyond the hashes
 * nobody else does. */
static void preempted(void **state)
{
    (void)state;
    struct km_kv *kv = halves(100);
    struct km_sequence a = HASHED(1, 2), twin = HASHED(1, 2), longer = HASHED(1, 2, 3);
    a.id = 1;
    twin.id = longer.id = 2;
    twin.preemptions = 1;
    assert_int_equal(admit_all(kv, &a, 600), 0);
    decode(kv, 600, 1400);
    assert_int_equal(kv->used_blocks, 6);
    assert_int_equal(kv->manager->match(kv, &twin, 1024), 512); /* not while it decodes */
    preempt(kv, &a, 1400);
    assert_int_equal(kv->used_blocks, 0);
    assert_int_equal(kv->manager->match(kv, &twin, 1024), 768);
    assert_int_equal(kv->manager->match(kv, &twin, 1401), 1024);
    assert_int_equal(kv->manager->match(kv, &longer, 1401), 1024);
    assert_int_equal(admit(kv, &a, 1401, 1), 1280);
    assert_int_equal(kv->used_blocks, 6);
    preempt(kv, &a, 1281); /* again, while it is recomputing */
    assert_int_equal(admit_all(kv, &a, 1401), 1280);
    decode(kv, 1401, 1800);
    assert_int_equal(kv->used_blocks, 8);
    end(kv, &a, 1800);
    assert_int_equal(kv->used_blocks, 0);
    assert_int_equal(kv->manager->match(kv, &longer, 1801), 1024);
    kv->manager->destroy(kv);
}

/* Without hashes, too; and others may need some of its blocks before it is back. */
static void preempted_without_hashes(void **state)
{
    (void)state;
    struct km_kv *kv = halves(12);
    struct km_sequence a = {.id = 1}, b = {.id = 2}, c = {.id = 3}, stranger = {.id = 4, .preemptions = 1};
    assert_int_equal(admit_all(kv, &a, 600), 0);
    decode(kv, 600, 1400);
    assert_null(a.kv); /* nothing is kept of a sequence that was never preempted */
    preempt(kv, &a, 1400);
    assert_int_equal(kv->used_blocks, 0);
    assert_int_equal(kv->manager->match(kv, &a, 1401), 1280); /* five whole blocks */
    assert_int_equal(kv->manager->match(kv, &a, 1280), 1024); /* one token must be computed */
    assert_int_equal(kv->manager->match(kv, &stranger, 1401), 0);
    assert_int_equal(admit_all(kv, &b, 1792), 0); /* six never used, and a's begun one */
    assert_int_equal(kv->manager->match(kv, &a, 1401), 1280);
    assert_int_equal(admit_all(kv, &c, 257), 0); /* a's fifth and fourth */
    assert_int_equal(kv->manager->match(kv, &a, 1401), 768);
    assert_int_equal(admit_all(kv, &a, 1401),
                     -1); /* of six blocks three are cached, and those alone are free */
    assert_int_equal(kv->used_blocks, 9);
    end(kv, &c, 257);
    assert_int_equal(admit_all(kv, &a, 1401), -1);
    end(kv, &b, 1792);
    assert_int_equal(admit(kv, &a, 1401, 300), 768);
    assert_int_equal(kv->used_blocks, 5);
    assert_true(kv->manager->extend(kv, &a, 1068, 1401));
    assert_int_equal(kv->used_blocks, 6);
    decode(kv, 1401, 1600);
    preempt(kv, &a, 1600);
    assert_int_equal(kv->manager->match(kv, &a, 1601), 1536);
    assert_int_equal(admit_all(kv, &a, 1601), 1536);
    decode(kv, 1601, 2048);
    end(kv, &a, 2048);
    assert_int_equal(kv->used_blocks, 0);
    /* What it generated after its last return has no name: it will not come again. */
    assert_int_equal(kv->manager->match(kv, &a, 2049), 1536);
    kv->manager->destroy(kv);
}

/* Two copies of a block: when the older is evicted, the younger is found. */
static void copies(void **state)
{
    (void)state;
    struct km_kv *kv = halves(4);
    struct km_sequence a = HASHED(1), b = HASHED(1), c = {0}, probe = HASHED(1);
    assert_int_equal(admit_all(kv, &a, 512), 0);
    end(kv, &a, 512);
    assert_int_equal(admit_all(kv, &b, 512), 256); /* computes its second block again */
    assert_int_equal(kv->used_blocks, 2);
    assert_int_equal(admit_all(kv, &c, 512), 0); /* the unused block, and a's second */
    assert_int_equal(kv->manager->match(kv, &probe, 513), 512);
    end(kv, &b, 512);
    assert_int_equal(kv->manager->match(kv, &probe, 513), 512);
    kv->manager->destroy(kv);
}

/* Blocks promised to decodes of the batch being formed are theirs already. */
static void promised(void **state)
{
    (void)state;
    struct km_kv *kv = halves(4);
    struct km_sequence a = HASHED(1, 2), probe = HASHED(1, 2);
    assert_int_equal(admit_all(kv, &a, 1024), 0);
    end(kv, &a, 1024);
    assert_int_equal(kv->manager->match(kv, &probe, 1025), 1024);
    kv->promised_blocks = 2;
    assert_int_equal(kv->manager->match(kv, &probe, 1025), 512);
    assert_int_equal(admit_all(kv, &probe, 600), -1);
    assert_int_equal(admit_all(kv, &probe, 512), 256);
    assert_int_equal(kv->used_blocks, 2);
    kv->promised_blocks = 0;
    assert_int_equal(km_kv_free_blocks(kv), 2);
    kv->manager->destroy(kv);
}

/* ---- the model: every block, one by one ---- */

#define MOST_BLOCKS    48u
#define MOST_SEQUENCES 12u
#define MOST_HASHES    4u

struct model_block {
    uint32_t references;
    uint64_t freed, named; /* when; named = 0: anonymous */
    uint64_t position;     /* which block of a sequence it is */
    uint64_t hashes[MOST_HASHES];
    uint32_t hash_count;
    uint64_t owner; /* who alone can hit it, from 1; 0 = whoever has the hashes */
};

struct model_sequence {
    struct km_sequence sequence;
    uint64_t hashes[MOST_HASHES];
    enum { ABSENT, PREFILL, DECODING } phase;
    uint32_t tokens, target;
    uint32_t blocks[MOST_BLOCKS], count;
};

struct model {
    struct model_block blocks[MOST_BLOCKS];
    uint32_t block_count, block_size;
    uint64_t now;
};

static uint32_t hashes_of(const struct model *m, uint64_t position)
{
    return (uint32_t)(((position + 1) * m->block_size + 511) / 512);
}

static bool is_shared(const struct model *m, const struct km_sequence *s, uint64_t position)
{
    return hashes_of(m, position) <= s->prefix_hash_count;
}

static int model_find(const struct model *m, const struct km_sequence *s, uint64_t position)
{
    int found = -1;
    uint32_t hashes = hashes_of(m, position);
    bool shared = is_shared(m, s, position);
    for (uint32_t i = 0; i < m->block_count; i++) {
        const struct model_block *b = &m->blocks[i];
        bool same = shared ? b->owner == 0 && b->hash_count == hashes &&
                                 memcmp(b->hashes, s->prefix_hashes, hashes * sizeof *b->hashes) == 0
                           : b->owner == s->id + 1;
        if (b->named && b->position == position && same && (found < 0 || b->named < m->blocks[found].named))
            found = (int)i;
    }
    return found;
}

static uint64_t model_used(const struct model *m)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < m->block_count; i++)
        used += m->blocks[i].references > 0;
    return used;
}

static uint32_t model_match(const struct model *m, const struct km_sequence *s, uint32_t tokens)
{
    uint32_t hits = 0;
    while ((hits + 1) * m->block_size < tokens && model_find(m, s, hits) >= 0)
        hits++;
    return hits * m->block_size;
}

/* Blocks up to `tokens` of context, each the longest free one. */
static void model_grow(struct model *m, struct model_sequence *s, uint32_t tokens)
{
    while (s->count * m->block_size < tokens) {
        uint32_t oldest = UINT32_MAX;
        for (uint32_t i = 0; i < m->block_count; i++)
            if (!m->blocks[i].references &&
                (oldest == UINT32_MAX || m->blocks[i].freed < m->blocks[oldest].freed))
                oldest = i;
        assert_true(oldest != UINT32_MAX);
        m->blocks[oldest] = (struct model_block){.references = 1};
        s->blocks[s->count++] = oldest;
    }
    s->tokens = tokens;
}

/* Names of the full blocks: of those that others may hit, and if `own` of those that it alone may. */
static void model_name(struct model *m, struct model_sequence *s, bool own)
{
    for (uint32_t p = 0; (p + 1) * m->block_size <= s->tokens; p++) {
        struct model_block *b = &m->blocks[s->blocks[p]];
        bool shared = is_shared(m, &s->sequence, p);
        if (b->named || !(shared || own))
            continue;
        b->named = ++m->now;
        b->position = p;
        if (!shared) {
            b->owner = s->sequence.id + 1;
            continue;
        }
        b->hash_count = hashes_of(m, p);
        memcpy(b->hashes, s->hashes, b->hash_count * sizeof *b->hashes);
    }
}

static void model_hit(struct model *m, struct model_sequence *s, uint32_t hit)
{
    for (s->count = 0; s->count * m->block_size < hit; s->count++) {
        s->blocks[s->count] = (uint32_t)model_find(m, &s->sequence, s->count);
        m->blocks[s->blocks[s->count]].references++;
    }
}

static bool model_fits(const struct model *m, const struct km_sequence *s, uint32_t tokens, uint32_t hit)
{
    uint64_t need = (tokens + m->block_size - 1) / m->block_size;
    for (uint32_t p = 0; p < hit / m->block_size; p++)
        need -= m->blocks[model_find(m, s, p)].references > 0;
    return need + model_used(m) <= m->block_count;
}

static void model_release(struct model *m, struct model_sequence *s, bool comes_back)
{
    model_name(m, s, comes_back);
    while (s->count) {
        struct model_block *b = &m->blocks[s->blocks[--s->count]];
        if (--b->references == 0)
            b->freed = ++m->now;
    }
    s->phase = ABSENT;
}

/* Requests from a small world, so that they meet: each hash is one of two. */
static void draw_request(gsl_rng *rng, struct model_sequence *s, uint64_t id, uint32_t most_tokens)
{
    *s = (struct model_sequence){.target = 1 + (uint32_t)gsl_rng_uniform_int(rng, most_tokens)};
    uint32_t hashes = (s->target + 511) / 512;
    if (gsl_rng_uniform_int(rng, 3) == 0) /* unique, or not wholly described */
        hashes = (uint32_t)gsl_rng_uniform_int(rng, hashes + 1);
    for (uint32_t i = 0; i < hashes; i++)
        s->hashes[i] = gsl_rng_uniform_int(rng, 2);
    s->sequence.id = id;
    s->sequence.prefix_hashes = s->hashes;
    s->sequence.prefix_hash_count = hashes;
}

static void try_admit(struct km_kv *kv, struct model *m, struct model_sequence *s, gsl_rng *rng)
{
    uint32_t hit = kv->manager->match(kv, &s->sequence, s->target);
    assert_int_equal(hit, model_match(m, &s->sequence, s->target));
    uint32_t first = hit + 1 + (uint32_t)gsl_rng_uniform_int(rng, s->target - hit);
    bool fits = model_fits(m, &s->sequence, s->target, hit);
    assert_int_equal(kv->manager->admit(kv, &s->sequence, s->target, hit, first), fits);
    if (!fits)
        return;
    model_hit(m, s, hit);
    model_grow(m, s, first);
    model_name(m, s, s->sequence.preemptions > 0);
    s->phase = first == s->target ? DECODING : PREFILL;
}

struct world {
    struct km_kv *kv;
    struct model model;
    struct model_sequence sequences[MOST_SEQUENCES];
    uint64_t requests, hits, own_hits, refusals, decoded;
};

static struct model_sequence *any(struct world *w, gsl_rng *rng)
{
    return &w->sequences[gsl_rng_uniform_int(rng, MOST_SEQUENCES)];
}

static void go_on(struct world *w, struct model_sequence *s, gsl_rng *rng)
{
    uint32_t to = s->tokens + 1 + (uint32_t)gsl_rng_uniform_int(rng, s->target - s->tokens);
    uint64_t need = (to + w->model.block_size - 1) / w->model.block_size - s->count;
    bool fits = model_used(&w->model) + need <= w->model.block_count;
    assert_int_equal(w->kv->manager->extend(w->kv, &s->sequence, s->tokens, to), fits);
    if (!fits)
        return;
    model_grow(&w->model, s, to);
    model_name(&w->model, s, s->sequence.preemptions > 0);
    s->phase = to == s->target ? DECODING : PREFILL;
}

/* Everybody decodes; if `with_company`, one step, and others are admitted while its blocks are only promised.
 */
static void everybody_decodes(struct world *w, gsl_rng *rng, bool with_company)
{
    struct km_growth growth;
    km_growth_init(&growth, w->model.block_size);
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++)
        if (w->sequences[i].phase == DECODING)
            km_growth_add(&growth, w->sequences[i].tokens);
    uint64_t steps =
        w->kv->manager->decode_steps(w->kv, &growth, 0, with_company ? 1 : 1 + gsl_rng_uniform_int(rng, 900));
    bool member[MOST_SEQUENCES];
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++)
        member[i] = w->sequences[i].phase == DECODING;
    for (uint64_t step = 0; step < steps; step++)
        for (uint32_t i = 0; i < MOST_SEQUENCES; i++)
            if (member[i])
                model_grow(&w->model, &w->sequences[i], w->sequences[i].tokens + 1);
    if (with_company && steps) {
        w->kv->promised_blocks = w->kv->manager->decode_blocks(w->kv, &growth, 0, 1);
        for (uint32_t i = 0; i < 3; i++) {
            struct model_sequence *s = any(w, rng);
            if (s->phase == ABSENT)
                try_admit(w->kv, &w->model, s, rng);
        }
        w->kv->promised_blocks = 0;
    }
    w->kv->manager->decode(w->kv, &growth, 0, steps);
    w->decoded += steps * growth.count;
    km_growth_release(&growth);
}

static void leaves(struct world *w, struct model_sequence *s, gsl_rng *rng, uint32_t most_tokens)
{
    bool comes_back = gsl_rng_uniform_int(rng, 2) && s->tokens < w->model.block_count * w->model.block_size;
    if (comes_back)
        preempt(w->kv, &s->sequence, s->tokens);
    else
        end(w->kv, &s->sequence, s->tokens);
    if (s->phase == DECODING)
        s->target = s->tokens + 1; /* and the token in flight */
    model_release(&w->model, s, comes_back);
    if (!comes_back)
        draw_request(rng, s, w->requests++, most_tokens);
}

static void random_lives(void **state)
{
    (void)state;
    static const uint32_t block_sizes[] = {48, 64, 128, 200, 256, 512, 700, 1024};
    struct world w = {0};
    for (unsigned long seed = 1; seed <= 400; seed++) {
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_ARRIVALS);
        uint32_t block_size = block_sizes[gsl_rng_uniform_int(rng, 8)];
        uint32_t blocks = 3 + (uint32_t)gsl_rng_uniform_int(rng, MOST_BLOCKS - 2);
        uint32_t most_tokens = blocks * block_size < 2048 ? blocks * block_size : 2048;
        w.kv = create("prefix", blocks, block_size);
        w.model = (struct model){.block_count = blocks, .block_size = block_size};
        for (uint32_t i = 0; i < MOST_SEQUENCES; i++)
            draw_request(rng, &w.sequences[i], w.requests++, most_tokens);
        for (int op = 0; op < 300; op++) {
            struct model_sequence *s = any(&w, rng);
            uint64_t kind = gsl_rng_uniform_int(rng, 8);
            if (kind == 0)
                everybody_decodes(&w, rng, false);
            else if (kind == 1)
                everybody_decodes(&w, rng, true);
            else if (s->phase == ABSENT)
                try_admit(w.kv, &w.model, s, rng);
            else if (s->phase == PREFILL && kind < 6)
                go_on(&w, s, rng);
            else if (kind < 4)
                leaves(&w, s, rng, most_tokens);
            assert_int_equal(w.kv->used_blocks, model_used(&w.model));
            assert_int_equal(w.kv->used_blocks + km_kv_free_blocks(w.kv), blocks);
            for (uint32_t i = 0; i < MOST_SEQUENCES; i++) {
                const struct model_sequence *probe = &w.sequences[i];
                uint32_t hit = w.kv->manager->match(w.kv, &probe->sequence, probe->target);
                assert_int_equal(hit, model_match(&w.model, &probe->sequence, probe->target));
                w.hits += hit > 0;
                w.own_hits += hit > probe->sequence.prefix_hash_count * KM_PREFIX_BLOCK_TOKENS;
                w.refusals +=
                    probe->phase == ABSENT && !model_fits(&w.model, &probe->sequence, probe->target, hit);
            }
        }
        for (uint32_t i = 0; i < MOST_SEQUENCES; i++)
            if (w.sequences[i].phase != ABSENT)
                end(w.kv, &w.sequences[i].sequence, w.sequences[i].tokens);
        assert_int_equal(w.kv->used_blocks, 0);
        w.kv->manager->destroy(w.kv);
        gsl_rng_free(rng);
    }
    /* The lives do meet. */
    assert_true(w.hits > 100000 && w.own_hits > 10000 && w.refusals > 100000 && w.decoded > 100000);
}

/* While others only decode, a match never grows and who was refused stays refused. */
static void decoding_helps_nobody(void **state)
{
    (void)state;
    for (unsigned long seed = 1; seed <= 200; seed++) {
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_PREDICTION);
        struct world w = {.kv = create("prefix", 30, 128)};
        w.model = (struct model){.block_count = 30, .block_size = 128};
        for (uint32_t i = 0; i < MOST_SEQUENCES; i++)
            draw_request(rng, &w.sequences[i], w.requests++, 2048);
        for (int op = 0; op < 60; op++) {
            struct model_sequence *s = any(&w, rng);
            if (s->phase == ABSENT)
                try_admit(w.kv, &w.model, s, rng);
            else if (s->phase == PREFILL)
                go_on(&w, s, rng);
            else if (op % 3 == 0)
                leaves(&w, s, rng, 2048);
        }
        uint32_t hit[MOST_SEQUENCES];
        bool fits[MOST_SEQUENCES];
        for (int round = 0; round < 20; round++) {
            for (uint32_t i = 0; i < MOST_SEQUENCES; i++) {
                const struct model_sequence *s = &w.sequences[i];
                uint32_t now_hit = w.kv->manager->match(w.kv, &s->sequence, s->target);
                bool now_fits = model_fits(&w.model, &s->sequence, s->target, now_hit);
                if (round > 0)
                    assert_true(now_hit <= hit[i] && (fits[i] || !now_fits));
                hit[i] = now_hit;
                fits[i] = now_fits;
            }
            everybody_decodes(&w, rng, false);
        }
        w.kv->manager->destroy(w.kv);
        gsl_rng_free(rng);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_and_misses),
        cmocka_unit_test(hits_what_is_scheduled),
        cmocka_unit_test(room),
        cmocka_unit_test(eviction_order),
        cmocka_unit_test(preempted),
        cmocka_unit_test(preempted_without_hashes),
        cmocka_unit_test(copies),
        cmocka_unit_test(promised),
        cmocka_unit_test(random_lives),
        cmocka_unit_test(decoding_helps_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
