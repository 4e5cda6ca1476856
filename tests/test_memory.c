/* The memory map: weights by class and rank against hand-computed bytes and against the operators, blocks,
 * concurrency. */
#include "model/memory.h"

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

static const struct km_layout one = {.tensor_parallel = 1, .pipeline_parallel = 1};
static const struct km_memory_limits h200 = {.device_bytes = 150109880320.0,
                                             .gpu_memory_utilization = 0.9,
                                             .reserve_bytes = 0.236e9,
                                             .graph_reserve_bytes = 0.634e9,
                                             .activation_scale = 1.0,
                                             .block_size = 16,
                                             .max_num_batched_tokens = 8192,
                                             .max_num_seqs = 256};

/* Llama-3.1-8B: 32 layers of 4096 x (4096 + 2*1024 + 4096) and 3 * 4096 * 14336 values, two tables of
 * 128256 x 4096, 65 norms of 4096. */
static void test_weights_by_class(void **state)
{
    (void)state;
    static const struct {
        uint32_t ranks;
        double attention, mlp, table;
    } cases[] = {
        {1, 2684354560, 11274289152, 1050673152},
        {2, 1342177280, 5637144576, 525336576},
        {8, 335544320, 1409286144, 131334144},
        /* 8 KV heads on 16 ranks: each holds one of its own, 32 * 2 * 4096 * 128 values */
        {16, (32.0 * 2 * 4096 * 4096 / 16 + 32.0 * 2 * 4096 * 128) * 2, 704643072, 65667072},
    };
    struct km_arena arena = {0};
    struct km_model model;
    read_model("llama-3.1-8b", &arena, &model);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_layout layout = {.tensor_parallel = cases[i].ranks, .pipeline_parallel = 1};
        struct km_memory_weights weights;
        km_memory_weights(&model, &model.precision, &layout, 0, &weights);
        assert_true(weights.attention == cases[i].attention);
        assert_true(weights.dense_mlp == cases[i].mlp);
        assert_true(weights.embedding == cases[i].table && weights.lm_head == cases[i].table);
        assert_true(weights.norms == 65.0 * 4096 * 2); /* on every rank */
        assert_true(weights.routed_experts == 0 && weights.shared_experts == 0 && weights.router == 0);
    }
    km_arena_release(&arena);
}

/* The same model's bytes by the format of its linear layers: 6,979,321,856 values in it, 1,050,939,392
 * (tables and norms) in 16 bits. */
static void test_weights_by_precision(void **state)
{
    (void)state;
    static const struct {
        enum km_dtype dtype;
        double bytes;
    } cases[] = {
        {KM_FP32, 30019166208}, {KM_BF16, 16060522496}, {KM_FP16, 16060522496},
        {KM_FP8, 9081200640},   {KM_INT8, 9081200640},  {KM_INT4, 5727854592}, /* 4 + 20/128 bits */
        {KM_MXFP4, 5809643520},                                                /* 4.25 bits */
        {KM_NVFP4, 6027747328},                                                /* 4.5 bits */
    };
    struct km_arena arena = {0};
    struct km_model model;
    read_model("llama-3.1-8b", &arena, &model);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_precision precision = model.precision;
        precision.weights = precision.attention = cases[i].dtype;
        assert_true(km_memory_weight_bytes(&model, &precision, &one, 0) == cases[i].bytes);
    }
    km_arena_release(&arena);
}

/* Bytes of every matrix of a stage, as its operators read them, with all experts hit. */
static double operator_bytes(const struct km_model *model, const struct km_layout *layout, uint32_t stage)
{
    struct km_arena arena = {0};
    struct km_stage_operators operators;
    double bytes = 0.0;
    km_operators_build(model, &model->precision, layout, stage, &arena, &operators);
    for (uint32_t i = 0; i < operators.count; i++)
        bytes += operators.ops[i].count * km_op_weight_bytes(&operators.ops[i], 1e9);
    km_arena_release(&arena);
    return bytes;
}

/* What the map says stands on a rank is what the operators of that rank read: all models, several layouts. */
static void test_weights_are_the_operators(void **state)
{
    (void)state;
    static const uint32_t ranks[] = {1, 2, 4, 8, 16}, stages[] = {1, 3};
    DIR *directory = opendir(KM_SOURCE_DIR "/models");
    assert_non_null(directory);
    int compared = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".json") != 0)
            continue;
        char name[256];
        struct km_arena arena = {0};
        struct km_model model;
        snprintf(name, sizeof name, "%.*s", (int)(dot - entry->d_name), entry->d_name);
        read_model(name, &arena, &model);
        for (size_t i = 0; i < COUNT(ranks) * COUNT(stages); i++) {
            const struct km_layout layout = {.tensor_parallel = ranks[i % COUNT(ranks)],
                                             .pipeline_parallel = stages[i / COUNT(ranks)]};
            struct km_error error;
            if (km_layout_check(&model, &layout, &error) != KM_OK)
                continue;
            for (uint32_t stage = 0; stage < layout.pipeline_parallel; stage++) {
                struct km_memory_weights w;
                km_memory_weights(&model, &model.precision, &layout, stage, &w);
                bool is_last = stage + 1 == layout.pipeline_parallel;
                double positions = (double)model.learned_positions * model.hidden *
                                   km_dtype_bytes(model.precision.embeddings);
                double head = !is_last                              ? 0.0
                              : model.tied_embeddings && stage == 0 ? w.embedding - positions
                                                                    : w.lm_head;
                double map =
                    w.attention + w.dense_mlp + w.routed_experts + w.shared_experts + w.router + head;
                double operators = operator_bytes(&model, &layout, stage);
                /* Biases, convolutions and position tables are no matrix products. */
                if (!(fabs(map - operators) <= 0.01 * map))
                    fail_msg("%s, TP %u, stage %u of %u: %.0f bytes in memory, %.0f read", name,
                             layout.tensor_parallel, stage, layout.pipeline_parallel, map, operators);
                compared++;
            }
        }
        km_arena_release(&arena);
    }
    closedir(directory);
    assert_true(compared > 200);
}

/* Stages together hold the whole model, a tied table twice. */
static void test_stages_add_up(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool tied;
    } models[] = {{"llama-3.1-8b", false}, {"qwen3-30b-a3b", false}, {"llama-3.2-1b", true}};
    for (size_t i = 0; i < COUNT(models); i++) {
        struct km_arena arena = {0};
        struct km_model model;
        read_model(models[i].name, &arena, &model);
        assert_int_equal(model.tied_embeddings, models[i].tied);
        for (uint32_t stages = 1; stages <= 5; stages++) {
            const struct km_layout layout = {.tensor_parallel = 1, .pipeline_parallel = stages};
            double sum = 0.0, twice = models[i].tied && stages > 1 ? 2.0 * model.vocab * model.hidden : 0.0;
            for (uint32_t stage = 0; stage < stages; stage++)
                sum += km_memory_weight_bytes(&model, &model.precision, &layout, stage);
            assert_true(fabs(sum - km_model_weight_bytes(&model, &model.precision) - twice) <= 1.0);
        }
        km_arena_release(&arena);
    }
}

static void map_of(const char *name, const struct km_layout *layout, const struct km_memory_limits *limits,
                   struct km_memory_map *map)
{
    struct km_arena arena = {0};
    struct km_model model;
    read_model(name, &arena, &model);
    km_memory_map(&model, &model.precision, layout, limits, map);
    km_arena_release(&arena);
}

static void test_terms_add_up(void **state)
{
    (void)state;
    struct km_memory_map map;
    map_of("llama-3.1-8b", &one, &h200, &map);
    assert_true(map.budget_bytes == 150109880320.0 * 0.9);
    /* 8192 * (3 * 14336 + 3 * 4096) * 2 + 256 * 128256 * 10, the analytic workspace */
    assert_true(map.activation_bytes == 8192.0 * (3 * 14336 + 3 * 4096) * 2 + 256.0 * 128256 * 10);
    assert_true(map.state_bytes == 0.0 && map.reserve_bytes == 0.236e9 && map.graph_bytes == 0.634e9);
    assert_true(map.kv_bytes ==
                map.budget_bytes - map.weight_bytes - map.activation_bytes - map.reserve_bytes);
    assert_true(map.kv_bytes_per_token == 131072 && map.block_bytes == 2097152);
    assert_true((double)map.blocks == floor(map.kv_bytes / 2097152));
    assert_true(map.fragmentation_bytes == 256 * 1048576.0);
    /* the graphs are outside the budget: no block less */
    struct km_memory_limits more = h200;
    struct km_memory_map again;
    more.graph_reserve_bytes *= 2;
    map_of("llama-3.1-8b", &one, &more, &again);
    assert_int_equal(again.blocks, map.blocks);
    more.reserve_bytes += 2097152;
    map_of("llama-3.1-8b", &one, &more, &again);
    assert_int_equal(again.blocks, map.blocks - 1);
}

static void test_too_small(void **state)
{
    (void)state;
    struct km_memory_map map;
    map_of("llama-3.1-70b", &one, &h200, &map);
    assert_int_equal(map.blocks, 0);
    assert_true(map.kv_bytes < 0.0);
    /* just one block too little, then just one block */
    struct km_memory_limits limits = h200;
    map_of("llama-3.1-8b", &one, &h200, &map);
    double without_kv = (map.budget_bytes - map.kv_bytes) / 0.9;
    limits.device_bytes = without_kv + 2097152 / 0.9 - 10;
    map_of("llama-3.1-8b", &one, &limits, &map);
    assert_int_equal(map.blocks, 0);
    limits.device_bytes += 20;
    map_of("llama-3.1-8b", &one, &limits, &map);
    assert_int_equal(map.blocks, 1);
}

/* Llama-3.1-8B in two stages: the last one holds the LM head and the logits. In three, of 11, 11 and 10
 * layers, the KV cache of a stage with 11 is the tightest. The terms are of the stage named. */
static void test_fullest_stage(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_model model;
    read_model("llama-3.1-8b", &arena, &model);
    for (uint32_t stages = 1; stages <= 6; stages++) {
        const struct km_layout layout = {.tensor_parallel = 1, .pipeline_parallel = stages};
        struct km_memory_map map;
        km_memory_map(&model, &model.precision, &layout, &h200, &map);
        uint32_t first, count;
        km_layout_stage(&model, &layout, map.stage, &first, &count);
        assert_true(stages != 2 || map.stage == 1);
        assert_true(stages != 3 || map.stage < 2);
        assert_true(map.weight_bytes == km_memory_weight_bytes(&model, &model.precision, &layout, map.stage));
        assert_true(map.kv_bytes_per_token == count * 4096.0); /* 2 * 8 * 128 values of 2 bytes a layer */
    }
    km_arena_release(&arena);
}

/* Constant state of a hybrid: Mamba-2.8B keeps 5120 * (3 + 16) values a layer and sequence, and no KV cache.
 */
static void test_state_space(void **state)
{
    (void)state;
    struct km_memory_map map;
    map_of("mamba-2.8b", &one, &h200, &map);
    assert_true(map.state_bytes == 64.0 * 5120 * (3 + 16) * 2 * 256);
    assert_true(map.block_bytes == 0.0 && map.fragmentation_bytes == 0.0);
    assert_true(map.blocks > 0);
    struct km_memory_limits small = h200;
    small.device_bytes = 8e9;
    map_of("mamba-2.8b", &one, &small, &map);
    assert_int_equal(map.blocks, 0);
}

static void test_shared_cache(void **state)
{
    (void)state;
    struct km_memory_map alone, shared, data;
    map_of("llama-3.1-8b", &one, &h200, &alone);
    const struct km_layout groups = {.tensor_parallel = 1, .pipeline_parallel = 1, .kv_parallel = 2};
    map_of("llama-3.1-8b", &groups, &h200, &shared);
    assert_true(shared.weight_bytes == alone.weight_bytes);
    assert_true(shared.kv_bytes_per_token == alone.kv_bytes_per_token / 2);
    assert_true(shared.blocks == 2 * alone.blocks || shared.blocks == 2 * alone.blocks + 1);
    /* data-parallel ranks around shared experts: each has its own blocks, and half of the experts */
    map_of("mixtral-8x7b", &one, &h200, &alone);
    const struct km_layout ranks = {.tensor_parallel = 1, .pipeline_parallel = 1, .data_parallel = 2};
    map_of("mixtral-8x7b", &ranks, &h200, &data);
    assert_true(data.weights.routed_experts == alone.weights.routed_experts / 2);
    assert_true(data.weights.attention == alone.weights.attention);
    assert_true(data.blocks % 2 == 0 && data.blocks > 2 * alone.blocks);
}

static void test_concurrency(void **state)
{
    (void)state;
    static const struct {
        uint64_t blocks;
        uint32_t block_size;
        uint64_t context, sequences;
    } cases[] = {{56057, 16, 1024, 875}, {56057, 16, 1025, 862}, {100, 16, 1, 100},
                 {100, 16, 16, 100},     {100, 16, 17, 50},      {100, 16, 1600, 1},
                 {100, 16, 1601, 0},     {0, 16, 1, 0},          {7, 1, 2, 3}};
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(km_kv_concurrency(&(struct km_kv_groups){0}, cases[i].blocks, cases[i].block_size,
                                           cases[i].context),
                         cases[i].sequences);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_by_class),
        cmocka_unit_test(test_weights_by_precision),
        cmocka_unit_test(test_weights_are_the_operators),
        cmocka_unit_test(test_stages_add_up),
        cmocka_unit_test(test_terms_add_up),
        cmocka_unit_test(test_too_small),
        cmocka_unit_test(test_fullest_stage),
        cmocka_unit_test(test_state_space),
        cmocka_unit_test(test_shared_cache),
        cmocka_unit_test(test_concurrency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
