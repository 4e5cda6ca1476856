/* The manager `prefix` against a model that walks over every block, in random lives. */
#include "base/memory.h"
#include "base/random.h"
#include "support/kv_moves.h"
#include "workload/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
    km_growth_init(&growth, w->model.block_size, &w->kv->config.groups);
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++)
        if (w->sequences[i].phase == DECODING)
            km_growth_add(&growth, w->sequences[i].tokens, 0);
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
        cmocka_unit_test(random_lives),
        cmocka_unit_test(decoding_helps_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
