#include "engine/engine.h"
#include "engine/launch.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER KM_SOURCE_DIR "/configs/engines/"

static void read_engine(const char *name, struct km_arena *arena, struct km_engine *engine)
{
    char path[512], line[1200];
    struct km_error error;
    snprintf(path, sizeof path, FOLDER "%s.yaml", name);
    if (km_engine_read(path, arena, engine, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
    assert_string_equal(engine->name, name);
}

static void vllm(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_engine e;
    read_engine("vllm-0.26", &arena, &e);
    assert_int_equal(e.max_num_seqs, 256);
    assert_int_equal(e.max_num_batched_tokens, 8192);
    assert_int_equal(e.block_size, 16);
    assert_true(e.gpu_memory_utilization == 0.9);
    assert_true(e.enable_prefix_caching && e.enable_chunked_prefill && e.async_scheduling);
    assert_int_equal(e.max_model_len, 0);
    assert_int_equal(e.long_prefill_token_threshold, 0);
    assert_int_equal(e.num_gpu_blocks_override, 0);
    assert_int_equal(e.graph_size_count, 51); /* as the recorded engine listed them */
    assert_int_equal(e.mixed_tile_rows, 128);
    assert_within(e.launch_scale * e.launch_layer_s * 32, 22e-3, 2e-3);
    assert_within(e.reserve_bytes / 0x1p30, 0.22, 0.005);
    assert_within(e.graph_reserve_bytes / 0x1p30, 0.59, 0.005);
    static const struct {
        uint32_t tokens, padded;
        bool captured;
    } cases[] = {{1, 1, true},      {3, 4, true},       {5, 8, true},     {9, 16, true},
                 {200, 200, true},  {201, 208, true},   {257, 272, true}, {512, 512, true},
                 {513, 513, false}, {8192, 8192, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool captured;
        assert_int_equal(km_engine_padded_tokens(&e, cases[i].tokens, &captured), cases[i].padded);
        assert_int_equal(captured, cases[i].captured);
    }
    km_arena_release(&arena);
}

static void ideal_costs_nothing(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_engine e;
    read_engine("ideal", &arena, &e);
    assert_true(e.form_step_s + e.form_sequence_s + e.process_step_s + e.process_sequence_s +
                    e.launch_graph_s + e.launch_layer_s + e.frontend.fixed_s + e.attention_sequence_s +
                    e.op_overhead_scale + e.reserve_bytes + e.graph_reserve_bytes ==
                0);
    assert_int_equal(e.graph_size_count, 0);
    assert_int_equal(e.mixed_tile_rows, 0);
    assert_false(e.async_scheduling);
    km_arena_release(&arena);
}

static void others_read(void **state)
{
    (void)state;
    static const char *const names[] = {"sglang", "tensorrt-llm", "vidur"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct km_arena arena = {0};
        struct km_engine e;
        read_engine(names[i], &arena, &e);
        assert_true(e.max_num_batched_tokens >= e.max_num_seqs);
        for (uint32_t g = 1; g < e.graph_size_count; g++)
            assert_true(e.graph_sizes[g] > e.graph_sizes[g - 1]);
        km_arena_release(&arena);
    }
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    return text;
}

/* Break ideal.yaml in one place and read it under `file`. */
static void broken_files(void **state)
{
    (void)state;
    static const struct {
        const char *file, *what, *with, *message;
    } cases[] = {
        {"ideal.yaml", "max_num_seqs: 256", "max_num_sqs: 256",
         "batching.max_num_sqs: unknown key; did you mean \"max_num_seqs\"?"},
        {"ideal.yaml", "max_num_seqs: 256", "max_num_seqs: 8k",
         "batching.max_num_seqs: expected an integer ≥ 1, got \"8k\""},
        {"ideal.yaml", "frontend: {kind: none}", "", "frontend: missing"},
        {"ideal.yaml", "host:\n", "host:\n  ingest_s: 0\n",
         "host.ingest_s: says the same as frontend: state one of them"},
        {"ideal.yaml", "kind: none", "kind: tcp",
         "frontend.kind: unknown name \"tcp\"; known: none, fixed, http"},
        {"ideal.yaml", "gpu_memory_utilization: 0.9", "gpu_memory_utilization: 1.2",
         "kv.gpu_memory_utilization: expected a number > 0 and ≤ 1, got \"1.2\""},
        {"ideal.yaml", "sizes: none", "sizes: [1, 2, 2]",
         "cudagraph_capture_sizes[2]: sizes must ascend: 2 follows 2"},
        {"ideal.yaml", "sizes: none", "sizes: [0]",
         "cudagraph_capture_sizes[0]: expected an integer from 1 to 1048576, got \"0\""},
        {"ideal.yaml", "sizes: none", "sizes: some",
         "cudagraph_capture_sizes: expected default, by_rule, none or a list of sizes, got \"some\""},
        {"ideal.yaml", "sizes: none", "sizes: []",
         "cudagraph_capture_sizes: expected default, by_rule, none or a list of sizes, got nothing"},
        {"ideal.yaml", "sizes: none", "sizes: default",
         "cudagraph_capture_sizes: \"default\" is for scenarios; an engine description lists its sizes"},
        {"other.yaml", "sizes: none", "sizes: none", "name: \"ideal\" is not what the file is called"},
    };
    char *text = slurp(FOLDER "ideal.yaml");
    char folder[] = "/tmp/km_engine_XXXXXX";
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", folder, cases[i].file);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        const char *at = strstr(text, cases[i].what);
        assert_non_null(at);
        fprintf(f, "%.*s%s%s", (int)(at - text), text, cases[i].with, at + strlen(cases[i].what));
        fclose(f);
        struct km_arena arena = {0};
        struct km_engine engine;
        struct km_error error;
        enum km_status status = km_engine_read(path, &arena, &engine, &error);
        unlink(path);
        if (status != KM_BAD_INPUT)
            fail_msg("accepted: %s", cases[i].with);
        assert_string_equal(error.message, cases[i].message);
        km_arena_release(&arena);
    }
    rmdir(folder);
    free(text);
}

/* The padded size is the smallest captured one that holds the tokens. */
static void padding_is_minimal(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    struct km_engine e;
    read_engine("vllm-0.26", &arena, &e);
    for (uint32_t tokens = 1; tokens <= 600; tokens++) {
        bool captured;
        uint32_t padded = km_engine_padded_tokens(&e, tokens, &captured), want = tokens;
        for (uint32_t g = e.graph_size_count; g-- > 0;)
            if (e.graph_sizes[g] >= tokens)
                want = e.graph_sizes[g];
        assert_int_equal(padded, want);
        assert_int_equal(captured, tokens <= 512);
    }
    km_arena_release(&arena);
}

static double launch_ms(const struct km_engine *engine, struct km_launch_layers layers, bool captured,
                        bool prompts, bool want_whole)
{
    bool whole;
    double launch_s = km_engine_launch_s(engine, &layers, captured, prompts, &whole);
    assert_int_equal(whole, want_whole);
    return 1e3 * launch_s;
}

/* By hand; every class of kernel adds its own, the host's factor multiplies all but the launch of a graph. */
static void launching_layers(void **state)
{
    (void)state;
    struct km_engine e = {.launch_graph_s = 0.1e-3,
                          .launch_layer_s = 0.4e-3,
                          .launch_experts_layer_s = 0.7e-3,
                          .launch_latent_layer_s = 0.5e-3,
                          .launch_quantize_layer_s = 0.1e-3,
                          .launch_piecewise_layer_s = 0.15e-3};
    const struct km_launch_layers dense = {.layers = 10}, none = {0},
                                  all = {.layers = 10, .routed = 9, .latent = 10, .quantized = 10};
    for (int slow = 0; slow < 2; slow++) {
        double times = slow ? 2.0 : 1.0;
        e.launch_scale = slow ? 2.0 : 0.0;
        assert_within(launch_ms(&e, dense, true, false, true), 0.1, 1e-12);
        assert_within(launch_ms(&e, dense, true, true, false), times * 1.5, 1e-9);
        assert_within(launch_ms(&e, dense, false, true, false), times * 4.0, 1e-9);
        assert_within(launch_ms(&e, dense, false, false, false), times * 4.0, 1e-9);
        assert_within(launch_ms(&e, all, true, true, false), times * 1.5, 1e-9);
        assert_within(launch_ms(&e, all, false, true, false), times * (4.0 + 6.3 + 5.0 + 1.0), 1e-9);
        assert_within(launch_ms(&e, none, false, true, false), 0.0, 1e-12);
    }
    e.launch_piecewise_layer_s = 0.0; /* the graphs hold attention too */
    assert_within(launch_ms(&e, all, true, true, true), 0.1, 1e-12);
}

static void launched_layers_of_models(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum km_dtype activations;
        uint32_t first, count, routed, latent, quantized;
    } cases[] = {{"llama-3.1-8b", KM_BF16, 0, 32, 0, 0, 0},
                 {"llama-3.1-8b", KM_FP8, 16, 16, 0, 0, 16},
                 {"qwen3-30b-a3b", KM_BF16, 0, 48, 48, 0, 0},
                 {"deepseek-v2-lite", KM_BF16, 0, 27, 26, 27, 0},
                 {"deepseek-v3", KM_FP8, 0, 3, 0, 3, 3}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512];
        struct km_arena arena = {0};
        struct km_model model;
        struct km_error error;
        snprintf(path, sizeof path, KM_SOURCE_DIR "/models/%s.json", cases[i].name);
        assert_int_equal(km_model_read(path, &arena, &model, &error), KM_OK);
        struct km_precision precision = model.precision;
        precision.activations = cases[i].activations;
        const struct km_launch_layers got =
            km_launch_layers(&model, &precision, cases[i].first, cases[i].count);
        assert_int_equal(got.layers, cases[i].count);
        assert_int_equal(got.routed, cases[i].routed);
        assert_int_equal(got.latent, cases[i].latent);
        assert_int_equal(got.quantized, cases[i].quantized);
        km_arena_release(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vllm),
        cmocka_unit_test(ideal_costs_nothing),
        cmocka_unit_test(others_read),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(padding_is_minimal),
        cmocka_unit_test(launching_layers),
        cmocka_unit_test(launched_layers_of_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
