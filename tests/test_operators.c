/* The operators of a step against hand-computed shapes, and against what the model holds. */
#include "model/operators.h"
#include "support/check.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct built {
    struct km_arena arena;
    struct km_model model;
    struct km_stage_operators operators;
};

static void build(const char *name, const struct km_layout *layout, uint32_t stage, struct built *out)
{
    char path[512], line[1200];
    struct km_error error;
    *out = (struct built){0};
    snprintf(path, sizeof path, KM_SOURCE_DIR "/models/%s.json", name);
    if (km_model_read(path, &out->arena, &out->model, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
    km_operators_build(&out->model, &out->model.precision, layout, stage, &out->arena, &out->operators);
}

static const struct km_op *find(const struct built *b, const char *name)
{
    for (uint32_t i = 0; i < b->operators.count; i++)
        if (strcmp(b->operators.ops[i].name, name) == 0)
            return &b->operators.ops[i];
    fail_msg("no operator %s", name);
    return NULL;
}

static const struct km_layout one = {.tensor_parallel = 1, .pipeline_parallel = 1};

/* Llama-3.1-8B: hidden 4096, 32 heads and 8 KV heads of 128, MLP 14336, vocabulary 128256, 32 layers. */
static void test_llama_products(void **state)
{
    (void)state;
    static const struct {
        uint32_t ranks;
        const char *name;
        uint32_t count;
        double n, k;
    } cases[] = {
        {1, "qkv_proj", 32, 6144, 4096},      {1, "o_proj", 32, 4096, 4096},
        {1, "gate_up_proj", 32, 28672, 4096}, {1, "down_proj", 32, 4096, 14336},
        {1, "lm_head", 1, 128256, 4096},      {2, "qkv_proj", 32, 3072, 4096},
        {2, "o_proj", 32, 4096, 2048},        {2, "gate_up_proj", 32, 14336, 4096},
        {2, "down_proj", 32, 4096, 7168},     {2, "lm_head", 1, 64128, 4096},
        {16, "qkv_proj", 32, 512, 4096}, /* two query heads, and one K and one V head of its own */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct built b;
        const struct km_layout layout = {.tensor_parallel = cases[i].ranks, .pipeline_parallel = 1};
        build("llama-3.1-8b", &layout, 0, &b);
        const struct km_op *op = find(&b, cases[i].name);
        assert_int_equal(op->kind, KM_OP_GEMM);
        assert_int_equal(op->count, cases[i].count);
        assert_true(op->n == cases[i].n && op->k == cases[i].k);
        assert_true(km_op_weight_bytes(op, 1) == 2 * op->n * op->k);
        assert_int_equal(op->rows, strcmp(op->name, "lm_head") == 0 ? KM_ROWS_SAMPLED : KM_ROWS_TOKENS);
        km_arena_release(&b.arena);
    }
}

static void test_llama_attention(void **state)
{
    (void)state;
    struct built b;
    build("llama-3.1-8b", &one, 0, &b);
    const struct km_op *op = find(&b, "attention");
    assert_int_equal(op->count, 32);
    assert_true(op->pair_flops == 4 * 32 * 128 && op->tile_flops == 4 * 32 * 128);
    assert_true(op->kv_bytes == 2 * 8 * 128 * 2);
    assert_true(op->query_bytes == 2 * 32 * 128 * 2); /* in and out */
    assert_int_equal(op->window, 0);
    km_arena_release(&b.arena);
}

static void test_llama_streams(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t count;
        double bytes_per_row;
    } cases[] = {
        {"embed", 1, 2 * 4096 * 2},           {"norm", 64, 4 * 4096 * 2},
        {"rope", 32, 2 * (32 + 8) * 128 * 2}, {"kv_write", 32, 2 * 2 * 8 * 128 * 2},
        {"activation", 32, 3 * 14336 * 2},    {"sample", 1, 4 * 128256.0},
    };
    struct built b;
    build("llama-3.1-8b", &one, 0, &b);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_op *op = find(&b, cases[i].name);
        assert_int_equal(op->kind, KM_OP_STREAM);
        assert_int_equal(op->count, cases[i].count);
        assert_true(op->bytes_per_row == cases[i].bytes_per_row);
    }
    km_arena_release(&b.arena);
}

/* Experts read: E * (1 - (1 - k/E)^rows) of them (design section 4); Mixtral routes 2 of 8. */
static void test_experts_hit(void **state)
{
    (void)state;
    struct built b;
    build("mixtral-8x7b", &one, 0, &b);
    const struct km_op *up = find(&b, "experts_up");
    double expert_bytes = 28672.0 * 4096 * 2;
    assert_int_equal(up->count, 32);
    assert_true(up->n == 28672 && up->k == 4096);
    assert_true(up->experts == 8 && up->routed_per_row == 2);
    static const struct {
        double rows, experts;
    } cases[] = {{1, 2}, {2, 3.5}, {3, 4.625}, {1e6, 8}};
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_true(fabs(km_op_weight_bytes(up, cases[i].rows) / expert_bytes - cases[i].experts) < 1e-9);

    /* Tokens that choose among four of them, half of which each takes; among two, which all take; among all, as before. */
    static const struct {
        uint32_t distinct;
        double rows, experts;
    } fewer[] = {{4, 1, 2}, {4, 2, 3}, {4, 1e6, 4}, {2, 1, 2}, {2, 1e6, 2}, {8, 2, 3.5}};
    for (size_t i = 0; i < COUNT(fewer); i++) {
        b.model.distinct_experts = fewer[i].distinct;
        km_operators_build(&b.model, &b.model.precision, &one, 0, &b.arena, &b.operators);
        up = find(&b, "experts_up");
        assert_true(up->experts == 8 && up->routed_per_row == 2);
        assert_true(fabs(km_op_weight_bytes(up, fewer[i].rows) / expert_bytes - fewer[i].experts) < 1e-9);
    }
    km_arena_release(&b.arena);
}

/* Each shipped model's operators do 2 FLOPs a parameter that is active for a token and a table's worth for
 * the LM head, and their caches are as wide as the model's. */
static void test_all_models(void **state)
{
    (void)state;
    DIR *directory = opendir(KM_SOURCE_DIR "/models");
    assert_non_null(directory);
    int seen = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".json") != 0)
            continue;
        char name[256];
        struct built b;
        snprintf(name, sizeof name, "%.*s", (int)(dot - entry->d_name), entry->d_name);
        build(name, &one, 0, &b);
        double products = 0.0, cache_bytes = 0.0;
        for (uint32_t i = 0; i < b.operators.count; i++) {
            const struct km_op *op = &b.operators.ops[i];
            double each = op->kind == KM_OP_GEMM      ? op->n * op->k
                          : op->kind == KM_OP_EXPERTS ? op->n * op->k * op->routed_per_row
                                                      : 0.0;
            products += op->count * each;
            if (op->kind == KM_OP_ATTENTION)
                /* an indexer also writes and reads its scores */
                cache_bytes +=
                    op->count * (strcmp(op->name, "index_scores") == 0 ? op->prefill_kv_bytes : op->kv_bytes);
        }
        struct km_parameters p;
        km_model_parameters(&b.model, &p);
        double expected = p.active - p.norms - (b.model.tied_embeddings ? 0.0 : p.embedding);
        if (!(fabs(products - expected) <= 0.01 * expected))
            fail_msg("%s: %.0f multiplications a token, %.0f active parameters", name, products, expected);
        double kv_bytes = km_model_kv_bytes_per_token(&b.model, b.model.precision.kv_cache, 1);
        bool shares = false;
        for (uint32_t i = 0; i < b.model.layer_count; i++)
            shares |= b.model.layers[i].kv_source >= 0;
        if (shares ? cache_bytes <= kv_bytes : cache_bytes != kv_bytes)
            fail_msg("%s: %.0f bytes of cache read a token of context, %.0f kept", name, cache_bytes,
                     kv_bytes);
        km_arena_release(&b.arena);
        seen++;
    }
    closedir(directory);
    assert_true(seen >= 20);
}

/* Stages together are the whole, but for what passes between them. */
static void test_stages(void **state)
{
    (void)state;
    struct built whole;
    build("llama-3.1-8b", &one, 0, &whole);
    for (uint32_t stages = 2; stages <= 5; stages++) {
        const struct km_layout layout = {.tensor_parallel = 1, .pipeline_parallel = stages};
        uint32_t attention = 0, heads = 0, embeds = 0, sends = 0;
        for (uint32_t stage = 0; stage < stages; stage++) {
            struct built b;
            build("llama-3.1-8b", &layout, stage, &b);
            for (uint32_t i = 0; i < b.operators.count; i++) {
                const struct km_op *op = &b.operators.ops[i];
                attention += op->kind == KM_OP_ATTENTION ? op->count : 0;
                heads += strcmp(op->name, "lm_head") == 0;
                embeds += strcmp(op->name, "embed") == 0;
                sends += op->kind == KM_OP_COLLECTIVE && op->collective == KM_SEND_RECV;
            }
            km_arena_release(&b.arena);
        }
        assert_int_equal(attention, find(&whole, "attention")->count);
        assert_true(heads == 1 && embeds == 1 && sends == stages - 1);
    }
    km_arena_release(&whole.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_products), cmocka_unit_test(test_llama_attention),
        cmocka_unit_test(test_llama_streams),  cmocka_unit_test(test_experts_hit),
        cmocka_unit_test(test_all_models),     cmocka_unit_test(test_stages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
