#include "cost/share.h"
#include "model/layout.h"
#include "model/memory.h"
#include "model/operators.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define assert_close(a, b) assert_near(a, b, 1e-9)

static void read_model(const char *name, struct km_arena *arena, struct km_model *model)
{
    char path[512], line[1200];
    struct km_error error;
    snprintf(path, sizeof path, KM_SOURCE_DIR "/models/%s.json", name);
    if (km_model_read(path, arena, model, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
}

/* --- refusals ------------------------------------------------------------------------------------------ */

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        struct km_layout layout;
        const char *message;
    } cases[] = {
        {"llama-3.1-8b",
         {.tensor_parallel = 5, .pipeline_parallel = 1},
         "tensor_parallel_size 5 does not divide the 32 attention heads of llama-3.1-8b; nearest: 4 or 8"},
        {"llama-3.1-8b",
         {.tensor_parallel = 64, .pipeline_parallel = 1},
         "tensor_parallel_size 64 does not divide the 32 attention heads of llama-3.1-8b; nearest: 32"},
        {"gpt-oss-20b",
         {.tensor_parallel = 3, .pipeline_parallel = 1},
         "tensor_parallel_size 3 does not divide the 64 attention heads of gpt-oss-20b; nearest: 2 or 4"},
        {"qwen2.5-7b",
         {.tensor_parallel = 14, .pipeline_parallel = 1},
         "tensor_parallel_size 14 neither divides the 4 KV heads of qwen2.5-7b nor is a multiple of them; "
         "nearest: 4"},
        {"llama-3.1-8b",
         {.tensor_parallel = 1, .pipeline_parallel = 40},
         "pipeline_parallel_size 40 stages for the 32 layers of llama-3.1-8b; nearest: 32"},
        {"llama-3.1-8b",
         {.tensor_parallel = 2, .pipeline_parallel = 1, .expert_parallel = true},
         "enable_expert_parallel true, but llama-3.1-8b has no experts"},
        {"llama-3.1-8b",
         {.tensor_parallel = 1, .pipeline_parallel = 1, .data_parallel = 2},
         "data_parallel_size 2, but llama-3.1-8b has no experts to share; use replicas; nearest: 1"},
        {"mixtral-8x7b",
         {.tensor_parallel = 16, .pipeline_parallel = 1, .expert_parallel = true},
         "tensor_parallel_size 16 does not divide the 8 experts of mixtral-8x7b; nearest: 8"},
        {"deepseek-v3",
         {.tensor_parallel = 8, .pipeline_parallel = 1, .data_parallel = 3, .expert_parallel = true},
         "data_parallel_size 3 makes 24 ranks, which do not divide the 256 experts of deepseek-v3; nearest: "
         "2 or 4"},
        {"mixtral-8x7b",
         {.tensor_parallel = 1, .pipeline_parallel = 1, .data_parallel = 3},
         "data_parallel_size 3 does not divide the 14336 expert columns of mixtral-8x7b; nearest: 2 or 4"},
        {"llama-3.1-8b",
         {.tensor_parallel = 4,
          .pipeline_parallel = 1,
          .prefill_context_parallel = 4,
          .context_method = KM_CONTEXT_ULYSSES},
         "prefill_context_parallel_size 4 of ulysses does not divide the 2 KV heads of a tensor rank of "
         "llama-3.1-8b; nearest: 2"},
        {"jamba-v0.1",
         {.tensor_parallel = 1, .pipeline_parallel = 1, .prefill_context_parallel = 2},
         "prefill_context_parallel_size 2: the recurrent layers of jamba-v0.1 read a prompt in order; "
         "nearest: 1"},
        {"llama-3.1-8b",
         {.tensor_parallel = 16, .pipeline_parallel = 1, .decode_context_parallel = 4},
         "decode_context_parallel_size 4 does not divide the 2 tensor ranks that hold the same KV head of "
         "llama-3.1-8b; nearest: 2"},
        {"mamba-2.8b",
         {.tensor_parallel = 1, .pipeline_parallel = 1, .kv_parallel = 2},
         "kv_parallel_size 2, but mamba-2.8b has no KV cache to share; nearest: 1"},
        {"mixtral-8x7b",
         {.tensor_parallel = 1, .pipeline_parallel = 1, .data_parallel = 2, .kv_parallel = 2},
         "kv_parallel_size 2 does not go together with data_parallel_size 2; nearest: 1"},
        {"mixtral-8x7b",
         {.tensor_parallel = 1, .pipeline_parallel = 1, .data_parallel = 2, .prefill_context_parallel = 2},
         "prefill_context_parallel_size 2 does not go together with data_parallel_size 2; nearest: 1"},
        {"phi-2",
         {.tensor_parallel = 16, .pipeline_parallel = 2, .gpus_per_node = 6},
         "tensor_parallel_size 16 neither divides the 6 GPUs of a node nor is a multiple of them, and 32 "
         "GPUs "
         "need several nodes; nearest: 2"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        read_model(cases[i].model, &arena, &model);
        assert_int_equal(km_layout_check(&model, &cases[i].layout, &error), KM_NO);
        assert_string_equal(error.message, cases[i].message);
        assert_int_equal(km_layout_check(&model, &cases[i].layout, NULL), KM_NO);
        km_arena_release(&arena);
    }
}

static void accepted(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        struct km_layout layout;
        uint32_t ranks;
    } cases[] = {
        {"llama-3.1-8b", {.tensor_parallel = 1, .pipeline_parallel = 1}, 1},
        {"llama-3.1-8b", {.tensor_parallel = 16, .pipeline_parallel = 1, .decode_context_parallel = 2}, 16},
        {"llama-3.1-70b", {.tensor_parallel = 8, .pipeline_parallel = 3, .gpus_per_node = 8}, 24},
        {"llama-3.1-405b", {.tensor_parallel = 16, .pipeline_parallel = 2, .gpus_per_node = 8}, 32},
        {"phi-2", {.tensor_parallel = 2, .pipeline_parallel = 1, .gpus_per_node = 3}, 2},
        {"deepseek-v3",
         {.tensor_parallel = 1,
          .pipeline_parallel = 1,
          .data_parallel = 32,
          .expert_parallel = true,
          .gpus_per_node = 8},
         32},
        {"deepseek-v3", {.tensor_parallel = 8, .pipeline_parallel = 1, .decode_context_parallel = 8}, 8},
        {"llama-3.1-8b",
         {.tensor_parallel = 2, .pipeline_parallel = 2, .prefill_context_parallel = 4, .kv_parallel = 3},
         48},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error = {0};
        read_model(cases[i].model, &arena, &model);
        if (km_layout_check(&model, &cases[i].layout, &error) != KM_OK)
            fail_msg("%s: %s", cases[i].model, error.message);
        assert_int_equal(km_layout_ranks(&cases[i].layout), cases[i].ranks);
        km_arena_release(&arena);
    }
}

/* Whatever is refused: the nearest sizes it names are accepted, or fail for another setting's fault. */
static void nearest_do(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-3.1-8b", "qwen2.5-7b", "mixtral-8x7b", "deepseek-v2-lite",
                                         "falcon-7b",    "phi-2",      "jamba-v0.1"};
    uint32_t seen = 0;
    for (size_t m = 0; m < COUNT(models); m++) {
        struct km_arena arena = {0};
        struct km_model model;
        read_model(models[m], &arena, &model);
        for (uint32_t tensor = 1; tensor <= 80; tensor++)
            for (int experts = 0; experts < 2; experts++) {
                struct km_layout layout = {.tensor_parallel = tensor,
                                           .pipeline_parallel = 2,
                                           .expert_parallel = experts != 0,
                                           .gpus_per_node = 8};
                struct km_layout_problem problem, other;
                if (km_layout_possible(&model, &layout, &problem) ||
                    strcmp(problem.key, "tensor_parallel_size") != 0)
                    continue;
                const char *nearest = strstr(problem.message, "; nearest: ");
                assert_non_null(nearest);
                unsigned below = 0, above = 0;
                int got = sscanf(nearest, "; nearest: %u or %u", &below, &above);
                assert_true(got >= 1 && below != tensor && above != tensor);
                layout.tensor_parallel = below;
                assert_true(km_layout_possible(&model, &layout, &other) || other.key != problem.key);
                if (got == 2) {
                    assert_true(below < tensor && tensor < above);
                    layout.tensor_parallel = above;
                    assert_true(km_layout_possible(&model, &layout, &other) || other.key != problem.key);
                }
                seen++;
            }
        km_arena_release(&arena);
    }
    assert_true(seen > 300);
}

/* --- stages -------------------------------------------------------------------------------------------- */

static void stages_cover_all_layers(void **state)
{
    (void)state;
    for (uint32_t layers = 1; layers <= 100; layers++)
        for (uint32_t stages = 1; stages <= layers && stages <= 64; stages++) {
            struct km_model model = {.layer_count = layers};
            struct km_layout layout = {.tensor_parallel = 1, .pipeline_parallel = stages};
            uint32_t next = 0, first, count, least = layers, most = 0;
            for (uint32_t s = 0; s < stages; s++) {
                km_layout_stage(&model, &layout, s, &first, &count);
                assert_int_equal(first, next);
                next += count;
                least = count < least ? count : least;
                most = count > most ? count : most;
            }
            assert_int_equal(next, layers);
            assert_true(most - least <= 1);
            assert_int_equal(count, layers / stages); /* the last also has the LM head */
        }
}

/* --- operators ----------------------------------------------------------------------------------------- */

static void build(const struct km_model *model, const struct km_layout *layout, uint32_t stage,
                  struct km_arena *arena, struct km_stage_operators *out)
{
    const struct km_precision bf16 = {KM_BF16, KM_BF16, KM_BF16, KM_BF16, KM_BF16};
    km_operators_build(model, &bf16, layout, stage, arena, out);
}

static const struct km_op *find(const struct km_stage_operators *stage, const char *name)
{
    for (uint32_t i = 0; i < stage->count; i++)
        if (strcmp(stage->ops[i].name, name) == 0)
            return &stage->ops[i];
    return NULL;
}

static void one_rank_talks_to_nobody(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-3.1-8b", "deepseek-v3", "gpt-oss-20b", "jamba-v0.1",
                                         "falcon-7b"};
    for (size_t m = 0; m < COUNT(models); m++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_stage_operators plain, spelt;
        const struct km_layout none = {.tensor_parallel = 1, .pipeline_parallel = 1};
        const struct km_layout ones = {.tensor_parallel = 1,
                                       .pipeline_parallel = 1,
                                       .data_parallel = 1,
                                       .prefill_context_parallel = 1,
                                       .decode_context_parallel = 1,
                                       .kv_parallel = 1,
                                       .gpus_per_node = 8};
        read_model(models[m], &arena, &model);
        build(&model, &none, 0, &arena, &plain);
        build(&model, &ones, 0, &arena, &spelt);
        assert_int_equal(plain.count, spelt.count);
        for (uint32_t i = 0; i < plain.count; i++) {
            assert_int_not_equal(plain.ops[i].kind, KM_OP_COLLECTIVE);
            assert_int_equal(plain.ops[i].group.ranks, 0);
            assert_memory_equal(&plain.ops[i], &spelt.ops[i], sizeof plain.ops[i]);
        }
        km_arena_release(&arena);
    }
}

/* Multiplications and weights of all ranks together are the single device's (replicated parts apart). */
static double total_flops(const struct km_stage_operators *stage, double rows)
{
    double flops = 0.0;
    for (uint32_t i = 0; i < stage->count; i++) {
        const struct km_op *op = &stage->ops[i];
        double each = op->kind == KM_OP_GEMM      ? op->n * op->k
                      : op->kind == KM_OP_EXPERTS ? op->n * op->k * op->routed_per_row
                                                  : 0.0;
        flops += 2.0 * rows * each * op->count;
    }
    return flops;
}

static void ranks_share_the_work(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        uint32_t tensor;
        bool experts;
    } cases[] = {{"llama-3.1-8b", 8, false},
                 {"mixtral-8x7b", 4, false},
                 {"mixtral-8x7b", 4, true},
                 {"gpt-j-6b", 2, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        struct km_stage_operators one, many;
        const struct km_layout single = {.tensor_parallel = 1, .pipeline_parallel = 1};
        const struct km_layout layout = {
            .tensor_parallel = cases[i].tensor, .pipeline_parallel = 1, .expert_parallel = cases[i].experts};
        read_model(cases[i].model, &arena, &model);
        build(&model, &single, 0, &arena, &one);
        build(&model, &layout, 0, &arena, &many);
        assert_near(total_flops(&many, 100.0) * cases[i].tensor, total_flops(&one, 100.0), 1e-3);
        assert_close(find(&many, "attention")->pair_flops * cases[i].tensor,
                     find(&one, "attention")->pair_flops);
        /* two all-reduces a layer (one where attention and MLP add up at once), one of the embedding */
        const struct km_op *reduce = find(&many, "all_reduce");
        uint32_t sums = model.layers[0].parallel_block ? 1 : 2;
        assert_int_equal(reduce->count, sums * model.layer_count + 1);
        assert_close(reduce->message_bytes_per_row, 2.0 * model.hidden);
        assert_int_equal(reduce->group.ranks, cases[i].tensor);
        assert_int_equal(reduce->group.stride, 1);
        km_arena_release(&arena);
    }
}

static void stages_add_up(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_stage_operators one, part;
    const struct km_layout single = {.tensor_parallel = 2, .pipeline_parallel = 1};
    const struct km_layout layout = {.tensor_parallel = 2, .pipeline_parallel = 5};
    double flops = 0.0;
    read_model("llama-3.1-8b", &arena, &model);
    build(&model, &single, 0, &arena, &one);
    for (uint32_t s = 0; s < 5; s++) {
        build(&model, &layout, s, &arena, &part);
        flops += total_flops(&part, 64.0);
        const struct km_op *receive = find(&part, "receive");
        assert_int_equal(receive != NULL, s > 0);
        if (!receive)
            continue;
        assert_int_equal(receive->collective, KM_SEND_RECV);
        assert_close(receive->message_bytes_per_row, model.hidden * 2.0 / 2); /* each tensor rank half */
        assert_int_equal(receive->group.stride, 2);
        assert_int_equal(receive->group.first, 2 * (s - 1));
        assert_close(find(&part, "gather_received")->message_bytes_per_row, model.hidden * 2.0 / 2);
    }
    assert_close(flops, total_flops(&one, 64.0));
    km_arena_release(&arena);
}

/* DeepSeek-V3, 8 data-parallel attention ranks and 256 experts over them. */
static void data_and_experts(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_stage_operators stage;
    const struct km_layout layout = {
        .tensor_parallel = 1, .pipeline_parallel = 1, .data_parallel = 8, .expert_parallel = true};
    read_model("deepseek-v3", &arena, &model);
    build(&model, &layout, 0, &arena, &stage);
    const struct km_op *up = find(&stage, "experts_up"), *dispatch = find(&stage, "dispatch"),
                       *collect = find(&stage, "collect");
    assert_int_equal(up->rows, KM_ROWS_ALL);
    assert_int_equal(up->experts, 32);
    assert_close(up->routed_per_row, 1.0); /* 8 of 256 experts, an eighth of them here */
    assert_int_equal(dispatch->rows, KM_ROWS_ALL);
    assert_int_equal(dispatch->collective, KM_ALL_TO_ALL);
    assert_int_equal(dispatch->group.ranks, 8);
    assert_int_equal(dispatch->count, 58); /* 61 layers, 3 dense */
    /* A row reaches 8 (1 - (7/8)^8) = 5.2511287 of the ranks; each rank sends an eighth of all rows. */
    assert_near(dispatch->message_bytes_per_row, 5.2511287 * 7168 * 2 / 8, 1e-7);
    assert_close(collect->message_bytes_per_row, dispatch->message_bytes_per_row);
    assert_null(find(&stage, "all_reduce"));
    /* attention is not cut: all heads, on an eighth of the sequences */
    assert_close(find(&stage, "mla_attention")->tile_flops, 128.0 * 2.0 * (2 * 512 + 64));

    const struct km_step_shape shape = {.sampled = 100, .decode = {.count = 100}};
    struct km_rank_share share;
    km_rank_share(&layout, &shape, &share);
    assert_int_equal(share.decodes, 13);
    assert_int_equal(share.sampled, 13);
    const struct km_chunk chunks[] = {{3000, 500}, {100, 0}, {100, 50}};
    const struct km_step_shape prompts = {
        .chunks = chunks, .chunk_count = 3, .prefill_tokens = 3200, .sampled = 3};
    km_rank_share(&layout, &prompts, &share);
    assert_int_equal(share.prefill_tokens, 3000); /* a prompt is not cut */
    assert_int_equal(share.sequences, 1);
    assert_int_equal(share.past, 500);

    /* One rank of the 8, beside others: its own tokens, all of them; the busiest has 20, all together 60. */
    const struct km_step_shape own = {
        .sampled = 9, .decode = {.count = 9}, .peers = {.ranks = 8, .most_tokens = 20, .all_tokens = 60}};
    static const struct km_engine graphs = {.graph_sizes = {1, 8, 32}, .graph_size_count = 3},
                                  small = {.graph_sizes = {1, 8, 16}, .graph_size_count = 3};
    double rows[KM_ROWS_COUNT];
    km_rank_share(&layout, &own, &share);
    assert_int_equal(share.decodes, 9);
    /* Inside the graphs all are padded to the busiest, 20 to 32, and the experts get 8 times that. */
    km_share_rows(&graphs, &share, rows);
    assert_close(rows[KM_ROWS_TOKENS], 32.0);
    assert_close(rows[KM_ROWS_ALL], 8.0 * 32.0);
    assert_close(rows[KM_ROWS_SAMPLED], 9.0);
    /* Outside each runs its own, and the experts everybody's. */
    km_share_rows(&small, &share, rows);
    assert_close(rows[KM_ROWS_TOKENS], 9.0);
    assert_close(rows[KM_ROWS_ALL], 60.0);
    km_arena_release(&arena);
}

/* Without whole experts every rank gets every row, and sums are scattered back. */
static void data_and_slices(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_stage_operators stage;
    const struct km_layout layout = {.tensor_parallel = 2, .pipeline_parallel = 1, .data_parallel = 4};
    read_model("mixtral-8x7b", &arena, &model);
    build(&model, &layout, 0, &arena, &stage);
    const struct km_op *up = find(&stage, "experts_up"), *gather = find(&stage, "gather_rows"),
                       *scatter = find(&stage, "scatter_rows");
    assert_close(up->n, 2.0 * 14336 / 8);
    assert_close(up->routed_per_row, 2.0);
    assert_int_equal(up->experts, 8);
    assert_int_equal(gather->group.ranks, 4);
    assert_int_equal(gather->group.stride, 2);
    assert_close(gather->message_bytes_per_row, 4096.0 * 2 / 4);
    assert_int_equal(scatter->collective, KM_REDUCE_SCATTER);
    assert_close(scatter->message_bytes_per_row, 4096.0 * 2);
    assert_int_equal(find(&stage, "all_reduce")->count, 2 * 32 + 1);
    km_arena_release(&arena);
}

/* Llama-3.1-8B: 32 heads of 128, 8 KV heads; one layer's attention under every way to share a context. */
static void context_is_shared(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    struct km_stage_operators stage;
    const double flops = 4.0 * 32 * 128, kv = 2.0 * 8 * 128 * 2, query = 2.0 * 32 * 128 * 2,
                 partial = 32 * (128 * 2 + 4.0);
    read_model("llama-3.1-8b", &arena, &model);

    struct km_layout ring = {.tensor_parallel = 1, .pipeline_parallel = 1, .prefill_context_parallel = 4};
    build(&model, &ring, 0, &arena, &stage);
    const struct km_op *op = find(&stage, "attention"), *other;
    assert_close(op->pair_flops, flops / 4);
    assert_close(op->tile_flops, flops / 4);
    assert_close(op->kv_bytes, kv / 4);
    assert_close(op->prefill_kv_bytes, kv); /* every rank sees the whole context pass */
    assert_close(op->query_bytes, query);
    assert_int_equal(op->group.ranks, 4);
    assert_close(op->message_bytes_per_row, kv);
    other = find(&stage, "combine_context");
    assert_int_equal(other->collective, KM_ALL_REDUCE);
    assert_int_equal(other->rows, KM_ROWS_DECODE);
    assert_close(other->message_bytes_per_row, partial);

    struct km_layout ulysses = ring;
    ulysses.context_method = KM_CONTEXT_ULYSSES;
    build(&model, &ulysses, 0, &arena, &stage);
    op = find(&stage, "attention");
    assert_close(op->pair_flops, flops / 4);
    assert_close(op->prefill_kv_bytes, kv / 4); /* a quarter of the heads */
    assert_int_equal(op->group.ranks, 0);
    other = find(&stage, "scatter_heads");
    assert_int_equal(other->collective, KM_ALL_TO_ALL);
    assert_int_equal(other->rows, KM_ROWS_PREFILL);
    assert_close(other->message_bytes_per_row, 32 * 128 * 2.0 + kv);
    assert_close(find(&stage, "gather_heads")->message_bytes_per_row, 32 * 128 * 2.0);
    assert_close(find(&stage, "gather_outputs")->message_bytes_per_row, 32 * 128 * 2.0 / 4);

    const struct km_layout groups = {.tensor_parallel = 2, .pipeline_parallel = 1, .kv_parallel = 4};
    build(&model, &groups, 0, &arena, &stage);
    op = find(&stage, "attention");
    assert_close(op->pair_flops, flops / 2 / 4);
    assert_close(op->kv_bytes, kv / 2 / 4);
    assert_close(op->prefill_kv_bytes, kv / 2 / 4);
    other = find(&stage, "combine_groups");
    assert_int_equal(other->group.ranks, 4);
    assert_int_equal(other->group.stride, 2);
    assert_int_equal(other->rows, KM_ROWS_TOKENS);
    assert_close(other->message_bytes_per_row, partial / 2);

    /* 16 tensor ranks, two to a KV head: two heads' queries each, gathered to four; half the context. */
    const struct km_layout shares = {
        .tensor_parallel = 16, .pipeline_parallel = 1, .decode_context_parallel = 2};
    build(&model, &shares, 0, &arena, &stage);
    op = find(&stage, "attention");
    assert_close(op->tile_flops, flops / 16);
    assert_close(op->kv_bytes, kv / 8 / 2);
    assert_close(op->prefill_kv_bytes, kv / 8);
    assert_close(op->query_bytes, query / 16 * 2);
    other = find(&stage, "gather_queries");
    assert_close(other->message_bytes_per_row, 2 * 128 * 2.0);
    other = find(&stage, "combine_queries");
    assert_int_equal(other->collective, KM_REDUCE_SCATTER);
    assert_close(other->message_bytes_per_row, partial / 16 * 2);
    other = find(&stage, "gather_context");
    assert_int_equal(other->rows, KM_ROWS_PAST);
    assert_close(other->message_bytes_per_row, kv / 8 / 2);
    km_arena_release(&arena);
}

static void shares_of_a_prompt(void **state)
{
    (void)state;
    const struct km_chunk chunks[] = {{1000, 0}, {1, 400}};
    const struct km_step_shape shape = {
        .chunks = chunks, .chunk_count = 2, .prefill_tokens = 1001, .sampled = 9, .decode = {.count = 7}};
    const struct km_layout layout = {
        .tensor_parallel = 1, .pipeline_parallel = 1, .prefill_context_parallel = 4};
    struct km_rank_share share;
    km_rank_share(&layout, &shape, &share);
    assert_int_equal(share.prefill_tokens, 251);
    assert_int_equal(share.decodes, 7); /* every group runs them */
    assert_int_equal(km_rank_tokens(&share), 258);
    assert_int_equal(share.sampled, 9);
    assert_int_equal(share.past, 400);
}

/* --- memory -------------------------------------------------------------------------------------------- */

static void memory_per_rank(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model llama, mixtral;
    const struct km_precision bf16 = {KM_BF16, KM_BF16, KM_BF16, KM_BF16, KM_BF16};
    const struct km_memory_limits limits = {.device_bytes = 140e9,
                                            .gpu_memory_utilization = 0.9,
                                            .activation_scale = 1.0,
                                            .block_size = 16,
                                            .max_num_batched_tokens = 8192,
                                            .max_num_seqs = 256};
    struct km_memory_map one, map;
    struct km_memory_weights weights, sliced;
    read_model("llama-3.1-8b", &arena, &llama);
    read_model("mixtral-8x7b", &arena, &mixtral);
    struct km_layout layout = {.tensor_parallel = 1, .pipeline_parallel = 1};
    km_memory_map(&llama, &bf16, &layout, &limits, &one);
    layout.kv_parallel = 4;
    km_memory_map(&llama, &bf16, &layout, &limits, &map);
    assert_close(map.kv_bytes_per_token, one.kv_bytes_per_token / 4);
    assert_close(map.weight_bytes, one.weight_bytes); /* whole on every group */
    assert_true(map.blocks >= 4 * one.blocks && map.blocks <= 4 * one.blocks + 3);
    layout = (struct km_layout){.tensor_parallel = 1, .pipeline_parallel = 1, .prefill_context_parallel = 2};
    km_memory_map(&llama, &bf16, &layout, &limits, &map);
    assert_close(map.kv_bytes_per_token, one.kv_bytes_per_token / 2);
    assert_true(map.activation_bytes < one.activation_bytes); /* half the tokens of a prompt */
    layout = (struct km_layout){.tensor_parallel = 16, .pipeline_parallel = 1, .decode_context_parallel = 2};
    km_memory_map(&llama, &bf16, &layout, &limits, &map);
    assert_close(map.kv_bytes_per_token, one.kv_bytes_per_token / 16);
    /* experts: 32 layers x 8 x 3 x 4096 x 14336 values over 8 ranks, sliced or whole */
    layout = (struct km_layout){.tensor_parallel = 2, .pipeline_parallel = 1, .data_parallel = 4};
    km_memory_weights(&mixtral, &bf16, &layout, 0, &sliced);
    layout.expert_parallel = true;
    km_memory_weights(&mixtral, &bf16, &layout, 0, &weights);
    assert_close(weights.routed_experts, 32.0 * 8 * 3 * 4096 * 14336 * 2 / 8);
    assert_close(sliced.routed_experts, weights.routed_experts);
    km_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),
        cmocka_unit_test(accepted),
        cmocka_unit_test(nearest_do),
        cmocka_unit_test(stages_cover_all_layers),
        cmocka_unit_test(one_rank_talks_to_nobody),
        cmocka_unit_test(ranks_share_the_work),
        cmocka_unit_test(stages_add_up),
        cmocka_unit_test(data_and_experts),
        cmocka_unit_test(data_and_slices),
        cmocka_unit_test(context_is_shared),
        cmocka_unit_test(shares_of_a_prompt),
        cmocka_unit_test(memory_per_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
