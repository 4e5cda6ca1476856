/* Blocks of sliding windows that go back to the pool, worked out from vLLM's sources by hand
 * (vllm/v1/core/single_type_kv_cache_manager.py: allocate what is scheduled, free what the processed tokens have left
 * behind, one batch later; hits; kv_cache_utils.py: groups). */
#include "base/random.h"
#include "model/kv_groups.h"
#include "support/check.h"
#include "support/kv_moves.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* A model of so many full and so many windowed layers, one KV head each. */
static void layers(struct km_layer *out, uint32_t full, uint32_t windowed, uint32_t window)
{
    for (uint32_t i = 0; i < full + windowed; i++)
        out[i] = (struct km_layer){.mixer = KM_ATTENTION,
                                   .heads = 1,
                                   .kv_heads = 1,
                                   .head_dim = 64,
                                   .value_dim = 64,
                                   .kv_source = -1,
                                   .window = i < full ? 0 : window};
}

static void groups_of_models(void **state)
{
    (void)state;
    const struct {
        uint32_t full, windowed, groups_full, groups_windowed, each;
    } cases[] = {
        {32, 0, 1, 0, 32},  {0, 32, 0, 1, 32}, /* Mistral-7B v0.1: one group, windowed */
        {10, 52, 1, 6, 10}, /* Gemma-3-27B: "7 groups of 10 layers (6 sliding, with 8 padding layers, 1 full)" */
        {12, 12, 1, 1, 12}, /* gpt-oss-20b */
        {13, 12, 1, 1, 13}, /* with a drafter's layer: padded, not (12 windowed, 24 full) */
        {20, 10, 2, 1, 10}, {16, 48, 1, 3, 16}, /* OLMo-3-32B */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_layer all[80];
        struct km_kv_groups groups;
        layers(all, cases[i].full, cases[i].windowed, 128);
        struct km_model model = {.layers = all, .layer_count = cases[i].full + cases[i].windowed};
        assert_null(km_kv_groups_of(&model, false, &groups));
        assert_int_equal(groups.full, cases[i].groups_full);
        assert_int_equal(groups.windowed, cases[i].groups_windowed);
        assert_int_equal(groups.layers, cases[i].each);
        assert_int_equal(groups.window_tokens, cases[i].windowed ? 128 : 0);
        assert_true((km_kv_groups_of(&model, true, &groups) != NULL) == (cases[i].windowed > 0));
        assert_true(groups.full == 1 && groups.windowed == 0 && groups.layers == model.layer_count);
    }
    struct km_layer odd[2];
    struct km_kv_groups groups;
    const struct km_model model = {.layers = odd, .layer_count = 2};
    layers(odd, 0, 2, 128);
    odd[1].window = 256;
    assert_string_equal(km_kv_groups_of(&model, false, &groups), "windows differ in length");
    layers(odd, 1, 1, 128);
    odd[1].kv_heads = 2;
    assert_string_equal(km_kv_groups_of(&model, false, &groups),
                        "layers differ in the size of their KV cache");
    layers(odd, 1, 1, 128);
    odd[1].chunked = true;
    assert_string_equal(km_kv_groups_of(&model, false, &groups), "attention is chunked, not sliding");
}

/* A state takes one page, for which blocks are made large enough. Nemotron-Nano-9B-v2 has 4 attention layers (8 KV
 * heads of 128: 4,096 bytes a token) and 27 of Mamba-2, whose states have 128 x 80 x 128 values and a convolution's 3 x
 * (10,240 + 2 x 8 x 128): "672 tokens" (vllm-project/vllm issue 24280). */
static void states(void **state)
{
    (void)state;
    struct km_layer all[31];
    struct km_kv_groups groups;
    const struct km_model model = {.layers = all, .layer_count = COUNT(all)};
    const struct km_precision precision = {.kv_cache = KM_BF16};
    const struct km_layout one = {.tensor_parallel = 1}, two = {.tensor_parallel = 2},
                           sixteen = {.tensor_parallel = 16};
    layers(all, 4, 27, 0);
    for (size_t i = 0; i < 4; i++) {
        all[i].kv_heads = 8;
        all[i].head_dim = all[i].value_dim = 128;
    }
    for (size_t i = 4; i < COUNT(all); i++)
        all[i] = (struct km_layer){.mixer = KM_SSD,
                                   .kv_source = -1,
                                   .ssm_inner = 10240,
                                   .ssm_state = 128,
                                   .ssm_conv = 4,
                                   .ssm_heads = 128,
                                   .ssm_groups = 8};
    assert_null(km_kv_groups_of(&model, false, &groups));
    assert_true(groups.full == 1 && groups.windowed == 0 && groups.recurrent == 7 && groups.layers == 4);
    assert_int_equal(km_kv_block_size(&model, &precision, &one, 16), 672);
    assert_int_equal(km_kv_block_size(&model, &precision, &one, 672), 672);
    assert_int_equal(km_kv_block_size(&model, &precision, &two, 16), 672);     /* both halve */
    assert_int_equal(km_kv_block_size(&model, &precision, &sixteen, 16), 336); /* a KV head is the least */
    assert_int_equal(
        km_kv_block_size(&(struct km_model){.layers = all, .layer_count = 4}, &precision, &one, 16), 16);
    assert_int_equal(km_kv_pages(&groups, 672, 2), 2 + 7);
    assert_int_equal(km_kv_concurrency(&groups, 90, 672, 1000), 10);
    assert_int_equal(km_kv_most_tokens(&groups, 90, 672, 0), 83 * 672);
    assert_string_equal(km_kv_groups_of(&model, true, &groups), "disable_hybrid_kv_cache_manager");

    /* A prompt of 1,000 and its state; it grows by a block of the attention layers' group alone. */
    const char *const managers[] = {"paged", "prefix"};
    km_kv_groups_of(&model, false, &groups);
    for (size_t m = 0; m < COUNT(managers); m++) {
        struct km_kv *kv = create_grouped(managers[m], 10, 672, groups, 8192);
        struct km_sequence sequence = {.prompt_tokens = 1000, .target_tokens = 1000};
        assert_int_equal(admit_all(kv, &sequence, 1000), 0);
        assert_int_equal(kv->used_blocks, 9);
        decode(kv, 1000, 1345);
        assert_int_equal(kv->used_blocks, 10);
        end(kv, &sequence, 1345);
        assert_int_equal(kv->used_blocks, 0);
        kv->manager->destroy(kv);
    }
}

/* Of 100 pages, blocks of 4, window 8: three blocks. A context of 16 takes 4 + 2 * 3 pages; the longest that 100
 * pages hold with 16 tokens in flight leaves 2 * 7 to the windows: 86 blocks. */
static void pages(void **state)
{
    (void)state;
    const struct km_kv_groups groups = {.window_tokens = 8, .full = 1, .windowed = 2, .layers = 4};
    const struct km_kv_groups windows = {.window_tokens = 8, .full = 0, .windowed = 1, .layers = 4};
    assert_int_equal(km_kv_pages(&groups, 4, 4), 10);
    assert_int_equal(km_kv_pages(&groups, 4, 2), 6);
    assert_int_equal(km_kv_pages(&windows, 4, 400), 3);
    assert_int_equal(km_kv_concurrency(&groups, 100, 4, 16), 10);
    assert_int_equal(km_kv_most_tokens(&groups, 100, 4, 16), 86 * 4);
    assert_int_equal(km_kv_most_tokens(&groups, 20, 4, 16), 6 * 4); /* 20 / 3, while no window is full */
    assert_true(km_kv_most_tokens(&windows, 100, 4, 16) == UINT64_MAX);
    assert_int_equal(km_kv_most_tokens(&windows, 6, 4, 16), 6 * 4);
}

/* A prompt of 20 in chunks of 10, then decodes. Blocks of 4, a window of 8, one full group and two windowed. */
static void one_sequence(void **state)
{
    (void)state;
    const char *const managers[] = {"paged", "prefix"};
    const struct km_kv_groups groups = {.window_tokens = 8, .full = 1, .windowed = 2, .layers = 4};
    for (size_t m = 0; m < COUNT(managers); m++) {
        struct km_kv *kv = create_grouped(managers[m], 14, 4, groups, 16);
        struct km_sequence sequence = {.prompt_tokens = 20, .target_tokens = 20};
        assert_int_equal(admit(kv, &sequence, 20, 10), -1); /* 5 blocks of each of 3 groups */
        kv->manager->destroy(kv);
        kv = create_grouped(managers[m], 15, 4, groups, 16);
        assert_int_equal(admit(kv, &sequence, 20, 10), 0);
        assert_int_equal(kv->used_blocks, 9); /* 3 blocks */
        assert_true(extend(kv, &sequence, 20));
        assert_int_equal(kv->used_blocks, 15);
        settle(kv, &sequence, 10, false); /* token 10 sees 3 to 10: none before block 0 */
        assert_int_equal(kv->used_blocks, 15);
        settle(kv, &sequence, 20, true);
        assert_int_equal(kv->used_blocks, 5 + 2 * 3);
        assert_int_equal(kv->manager->decode_needs(kv, 20), 1); /* a windowed block comes, another goes */
        assert_int_equal(kv->manager->decode_needs(kv, 21), 0);
        assert_int_equal(kv->manager->decode_needs(kv, 8), 3);
        decode(kv, 20, 24);
        assert_int_equal(kv->used_blocks, 6 + 2 * 3);
        assert_int_equal(kv->peak_blocks, 15);
        end(kv, &sequence, 24);
        assert_int_equal(kv->used_blocks, 0);
        kv->manager->destroy(kv);
    }
}

static const uint64_t hashes[] = {11, 12};

static struct km_sequence prompt(uint64_t id, uint32_t tokens, uint32_t known)
{
    return (struct km_sequence){.id = id,
                                .prompt_tokens = tokens,
                                .target_tokens = tokens,
                                .prefix_hashes = known ? hashes : NULL,
                                .prefix_hash_count = known};
}

/* Blocks of 16, a window of 64: a hit needs 4 blocks before its end, a sequence holds 5. The first request leaves its
 * prompt of 1,024: all of the full group, and of the windowed ones what was behind the window early, the rest late. */
static void hits(void **state)
{
    (void)state;
    const struct km_kv_groups groups = {.window_tokens = 64, .full = 1, .windowed = 2, .layers = 4};
    struct km_kv *kv = create_grouped("prefix", 400, 16, groups, 2048);
    struct km_sequence first = prompt(1, 1024, 2);
    assert_int_equal(admit_all(kv, &first, 1024), 0);
    assert_int_equal(kv->used_blocks, 3 * 64);
    settle(kv, &first, 1024, true);
    assert_int_equal(kv->used_blocks, 64 + 2 * 5);
    end(kv, &first, 1024);
    assert_int_equal(kv->used_blocks, 0);

    /* All of it is found, and held from block 60 on in windowed groups. */
    struct km_sequence second = prompt(2, 1040, 2);
    assert_int_equal(admit_all(kv, &second, 1040), 1024);
    assert_int_equal(kv->used_blocks, 65 + 2 * 5);
    /* A third shares what the second holds, until it decodes: what leaves its window then is its own. */
    struct km_sequence third = prompt(3, 1040, 2);
    assert_int_equal(admit_all(kv, &third, 1040), 1024);
    assert_int_equal(kv->used_blocks, 65 + 1 + 2 * (5 + 1));
    settle(kv, &third, 1040, true);
    assert_int_equal(kv->used_blocks, 65 + 1 + 2 * (5 + 5));
    end(kv, &third, 1040);
    end(kv, &second, 1040);
    assert_int_equal(kv->used_blocks, 0);

    /* The first hash alone: blocks 28 to 31 went back early, and are still there. */
    struct km_sequence half = prompt(4, 600, 1);
    assert_int_equal(kv->manager->match(kv, &half, 600), 512);
    /* Now somebody takes 352 pages: 32 tokens of whatever was freed late stay, and none of blocks 28 to 31. */
    struct km_sequence stranger = prompt(5, 16 * 117, 0);
    assert_int_equal(admit_all(kv, &stranger, 16 * 117), 0);
    assert_int_equal(kv->used_blocks, 3 * 117);
    assert_int_equal(kv->manager->match(kv, &half, 600), 0);
    end(kv, &stranger, 16 * 117);
    kv->manager->destroy(kv);
}

/* Sequences come, grow, are preempted and end in any order: pages are never lost, never more than there are. */
static void none_is_lost(void **state)
{
    (void)state;
    enum { MOST = 12 };
    gsl_rng *rng = km_random_stream(8, KM_RANDOM_PROMPT_TOKENS);
    const struct km_kv_groups kinds[] = {
        {.window_tokens = 64, .full = 1, .windowed = 2, .layers = 4},
        {.window_tokens = 100, .full = 2, .windowed = 1, .layers = 4},
        {.window_tokens = 200, .full = 0, .windowed = 1, .layers = 4},
    };
    for (int round = 0; round < 200; round++) {
        struct km_kv *kv = create_grouped(round % 2 ? "prefix" : "paged", 300 + gsl_rng_uniform_int(rng, 400),
                                          16, kinds[gsl_rng_uniform_int(rng, 3)], 1024);
        struct km_sequence all[MOST] = {0};
        uint32_t context[MOST] = {0}, computed[MOST] = {0};
        for (int move = 0; move < 300; move++) {
            uint32_t i = (uint32_t)gsl_rng_uniform_int(rng, MOST);
            struct km_sequence *s = &all[i];
            if (context[i] == 0) {
                uint32_t tokens = 1 + (uint32_t)gsl_rng_uniform_int(rng, 1500), preemptions = s->preemptions;
                if (preemptions == 0)
                    *s = prompt(i, tokens, tokens >= 1024 ? 2 : tokens >= 512);
                int64_t hit = admit(kv, s, s->target_tokens, 1 + (uint32_t)gsl_rng_uniform_int(rng, 600));
                context[i] = hit < 0 ? 0 : s->computed_tokens;
                computed[i] = hit < 0 ? 0 : (uint32_t)hit;
            } else if (s->state == KM_SEQ_PREFILL && context[i] < s->target_tokens &&
                       gsl_rng_uniform_int(rng, 2)) {
                uint32_t left = s->target_tokens - context[i];
                computed[i] = context[i];
                context[i] += 1 + (uint32_t)gsl_rng_uniform_int(rng, left);
                if (!extend(kv, s, context[i]))
                    context[i] = computed[i];
                settle(kv, s, computed[i], false);
            } else if (s->state == KM_SEQ_PREFILL && context[i] == s->target_tokens) {
                settle(kv, s, context[i], true);
            } else if (s->state == KM_SEQ_DECODE && gsl_rng_uniform_int(rng, 3)) {
                uint32_t steps = (uint32_t)gsl_rng_uniform_int(rng, 300);
                struct km_growth growth;
                km_growth_init(&growth, 16, &kv->config.groups);
                km_growth_add(&growth, context[i], 0);
                steps = (uint32_t)kv->manager->decode_steps(kv, &growth, 0, steps);
                kv->manager->decode(kv, &growth, 0, steps);
                km_growth_release(&growth);
                context[i] += steps;
            } else if (s->state == KM_SEQ_DECODE && gsl_rng_uniform_int(rng, 2)) {
                preempt(kv, s, context[i]);
                s->target_tokens = context[i];
                context[i] = 0;
            } else {
                end(kv, s, context[i]);
                context[i] = 0;
                s->preemptions = 0;
            }
            assert_true(kv->used_blocks <= kv->config.capacity_blocks);
        }
        for (uint32_t i = 0; i < MOST; i++)
            if (context[i])
                end(kv, &all[i], context[i]);
        assert_int_equal(kv->used_blocks, 0);
        kv->manager->destroy(kv);
    }
    gsl_rng_free(rng);
}

static void steps(struct km_kv *kv, const struct km_sequence *sequence, uint32_t count)
{
    decode(kv, sequence->target_tokens, sequence->target_tokens + count);
}

/* As vLLM 0.26 recorded it: 16 prompts of 2,048 tokens at once, Gemma-3-27B on one H200, 8,192 tokens a batch, 59,034
 * pages of which one is set aside (../shared/data/vllm-h200-more/gemma-3-27b/burst_16_2048_64-steps.csv, column
 * kv_usage, each row after the next batch was formed). Where a window is still to be settled, that engine takes a page
 * of each group for a first decode: 6 more here. */
static void recorded_burst(void **state)
{
    (void)state;
    const struct km_kv_groups groups = {.window_tokens = 1024, .full = 1, .windowed = 6, .layers = 10};
    const double pages = 59033;
    struct km_kv *kv = create_grouped("prefix", (uint64_t)pages, 16, groups, 16384);
    struct km_sequence s[16];
    for (uint32_t i = 0; i < 16; i++)
        s[i] = prompt(i, 2048, 0);
    for (uint32_t i = 0; i < 4; i++) /* batch 1 */
        admit_all(kv, &s[i], 2048);
    for (uint32_t i = 0; i < 4; i++) /* batch 2: four decodes, 8,188 tokens */
        steps(kv, &s[i], 1);
    for (uint32_t i = 4; i < 8; i++)
        admit(kv, &s[i], 2048, i < 7 ? 2048 : 2044);
    assert_true(fabs((double)kv->used_blocks / pages / 0.1219 - 1) < 0.005);
    for (uint32_t i = 0; i < 4; i++) /* batch 1 is back; batch 3: seven decodes, a rest of 4, 8,181 tokens */
        settle(kv, &s[i], 2048, true);
    for (uint32_t i = 4; i < 7; i++)
        steps(kv, &s[i], 1);
    assert_true(extend(kv, &s[7], 2048));
    for (uint32_t i = 8; i < 12; i++)
        admit(kv, &s[i], 2048, i < 11 ? 2048 : 2037);
    assert_true(fabs((double)kv->used_blocks / pages / 0.15695 - 1) < 0.005);
    assert_true(extend(kv, &s[11], 2048));
    for (uint32_t i = 12; i < 16; i++)
        admit_all(kv, &s[i], 2048);
    for (uint32_t i = 4; i < 16; i++)
        settle(kv, &s[i], 2048, true);
    for (uint32_t i = 7; i < 16; i++)
        steps(kv, &s[i], 1);
    assert_true(fabs((double)kv->used_blocks / pages - 0.14067) < 0.000005); /* 16 x (129 + 6 x 65) */
    kv->manager->destroy(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_of_models), cmocka_unit_test(states), cmocka_unit_test(pages),
        cmocka_unit_test(one_sequence),     cmocka_unit_test(hits),   cmocka_unit_test(none_is_lost),
        cmocka_unit_test(recorded_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
