/* Limits that nobody states. Expected values are worked out by hand from vLLM's own rules: 0.26.0 and 0.33.0,
 * vllm/engine/arg_utils.py (get_batch_defaults, _set_default_max_num_seqs_and_batched_tokens_args,
 * _set_default_chunked_prefill_and_prefix_caching_args) and vllm/config/vllm.py (_set_cudagraph_sizes). */
#include "engine/defaults.h"
#include "scenario/scenario.h"
#include "support/check.h"

#include <stdio.h>
#include <string.h>

#define SCENARIO KM_SOURCE_DIR "/tests/data/defaults.yaml" /* states no limit */

static void read_scenario(const struct km_override *overrides, size_t count, struct km_scenario *out)
{
    struct km_error error = {0};
    if (km_scenario_read(SCENARIO, overrides, count, out, &error) != KM_OK)
        fail_msg("%s", error.message);
}

/* "= null" asks vllm-0.26 for the engine's own defaults; vllm-0.33 has nothing else. */
static void devices(void **state)
{
    (void)state;
    static const struct {
        const char *engine, *device;
        uint32_t seqs, server_tokens, offline_tokens, sizes, largest;
    } cases[] = {
        {"vllm-0.26", "a100-80g-sxm", 256, 2048, 8192, 51, 512},
        {"vllm-0.26", "l40s", 256, 2048, 8192, 51, 512},
        {"vllm-0.26", "rtx-4090", 256, 2048, 8192, 51, 512},
        {"vllm-0.26", "h100-sxm", 1024, 8192, 16384, 51, 512},
        {"vllm-0.26", "rtx-pro-6000", 1024, 8192, 16384, 51, 512},
        {"vllm-0.26", "b200", 1024, 8192, 16384, 51, 512},
        {"vllm-0.33", "a100-80g-sxm", 256, 2048, 8192, 51, 512},
        {"vllm-0.33", "l40s", 256, 2048, 8192, 51, 512},
        {"vllm-0.33", "h100-pcie", 1024, 8192, 16384, 51, 512},
        {"vllm-0.33", "h200-sxm", 1024, 8192, 16384, 51, 512},
        {"vllm-0.33", "rtx-pro-6000", 1024, 8192, 16384, 51, 512},
        {"vllm-0.33", "mi300x", 1024, 16384, 16384, 51, 512},
        /* Compute capability 10.0 and 10.3: 3 sizes to 4, 31 to 248, 49 from 256 to 1,024. */
        {"vllm-0.33", "b200", 1024, 16384, 16384, 83, 1024},
        {"vllm-0.33", "gb300", 1024, 16384, 16384, 83, 1024},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int offline = 0; offline < 2; offline++) {
            const struct km_override overrides[] = {
                {"engine.name", cases[i].engine},
                {"cluster.device", cases[i].device},
                {"engine.usage", offline ? "offline" : "server"},
                {"engine.batching.max_num_seqs", "null"},
                {"engine.batching.max_num_batched_tokens", "null"},
                {"engine.cudagraph_capture_sizes", "by_rule"},
            };
            struct km_scenario s;
            read_scenario(overrides, COUNT(overrides), &s);
            const struct km_engine *e = &s.engine;
            if (e->max_num_seqs != cases[i].seqs ||
                e->max_num_batched_tokens != (offline ? cases[i].offline_tokens : cases[i].server_tokens) ||
                e->graph_size_count != cases[i].sizes ||
                e->graph_sizes[cases[i].sizes - 1] != cases[i].largest)
                fail_msg("%s on %s: %u sequences, %u tokens, %u sizes", cases[i].engine, cases[i].device,
                         e->max_num_seqs, e->max_num_batched_tokens, e->graph_size_count);
            km_scenario_release(&s);
        }
    }
}

static void what_is_stated_counts(void **state)
{
    (void)state;
    static const struct {
        struct km_override overrides[3];
        size_t count;
        uint32_t seqs, tokens, sizes, largest;
    } cases[] = {
        /* The model, 131,072 positions; H200: 1,024 sequences, 8,192 tokens. */
        {{{0}}, 0, 1024, 8192, 51, 512},
        {{{"engine.batching.max_num_seqs", "16"}}, 1, 16, 8192, 7, 32},
        {{{"engine.batching.max_num_batched_tokens", "300"}}, 1, 300, 300, 38, 300},
        {{{"engine.batching.max_num_seqs", "2"}, {"engine.max_model_len", "1000"}}, 2, 2, 2000, 3, 4},
        {{{"engine.batching.enable_chunked_prefill", "false"}}, 1, 1024, 131072, 51, 512},
        {{{"engine.batching.enable_chunked_prefill", "false"}, {"engine.max_model_len", "4096"}},
         2,
         1024,
         8192,
         51,
         512},
        {{{"engine.cudagraph_capture_sizes", "[1, 7]"}}, 1, 1024, 8192, 2, 7},
        {{{"engine.cudagraph_capture_sizes", "none"}}, 1, 1024, 8192, 0, 0},
        {{{"engine.name", "vllm-0.26"}}, 1, 256, 8192, 51, 512}, /* as the recorded engine */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_scenario s;
        read_scenario(cases[i].overrides, cases[i].count, &s);
        const struct km_engine *e = &s.engine;
        if (e->max_num_seqs != cases[i].seqs || e->max_num_batched_tokens != cases[i].tokens ||
            e->graph_size_count != cases[i].sizes ||
            (cases[i].sizes && e->graph_sizes[cases[i].sizes - 1] != cases[i].largest))
            fail_msg("case %zu: %u sequences, %u tokens, %u sizes", i, e->max_num_seqs,
                     e->max_num_batched_tokens, e->graph_size_count);
        km_scenario_release(&s);
    }
}

static void graph_sizes(void **state)
{
    (void)state;
    static const struct {
        uint32_t seqs, tokens, most;
        bool seqs_too;
        uint32_t count, sizes[20];
    } cases[] = {
        {1, 8192, 512, true, 2, {1, 2}},
        {1, 1, 512, true, 1, {1}},
        {3, 8192, 512, false, 3, {1, 2, 4}},
        {3, 8192, 512, true, 4, {1, 2, 3, 4}},
        {3, 5, 512, true, 5, {1, 2, 3, 4, 5}}, /* the budget, as far as it is within 6 */
        {16, 8192, 512, true, 7, {1, 2, 4, 8, 16, 24, 32}},
        {20, 8192, 512, false, 8, {1, 2, 4, 8, 16, 24, 32, 40}},
        {20, 8192, 512, true, 9, {1, 2, 4, 8, 16, 20, 24, 32, 40}},
        {60, 60, 512, true, 11, {1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 60}},
        {60, 8192, 50, true, 9, {1, 2, 4, 8, 16, 24, 32, 40, 48}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_default_rule rule = {.max_cudagraph_capture_size = cases[i].most,
                                       .capture_max_num_seqs = cases[i].seqs_too};
        uint32_t out[128];
        uint32_t count = km_default_graph_sizes(&rule, cases[i].seqs, cases[i].tokens, out);
        if (count != cases[i].count || memcmp(out, cases[i].sizes, count * sizeof *out) != 0)
            fail_msg("case %zu: %u sizes, the last %u", i, count, out[count - 1]);
    }
    struct km_default_rule rule = {.max_cudagraph_capture_size = KM_MAX_RULE_GRAPH_SIZE,
                                   .capture_max_num_seqs = true};
    uint32_t out[128];
    assert_int_equal(km_default_graph_sizes(&rule, 1001, 1023, out), 84); /* 82 to 1,008; 1,001; 1,023 */
    for (uint32_t i = 1; i < 84; i++)
        assert_true(out[i] > out[i - 1]);
}

static void rules(void **state)
{
    (void)state;
    const struct km_defaults defaults = {.rules = {{.memory_from_gib = 100, .only = "B200|B300"},
                                                   {.memory_from_gib = 70, .except = "A100|GB10"},
                                                   {0}},
                                         .count = 3};
    static const struct {
        const char *name;
        double gib;
        int rule;
    } cases[] = {
        {"NVIDIA B200", 178, 0},
        {"NVIDIA GB300", 278, 0},
        {"nvidia b200", 100, 0},
        {"NVIDIA B200", 99.9, 1},
        {"NVIDIA H200", 140, 1},
        {"NVIDIA A100-SXM4-80GB", 79, 2},
        {"nvidia a100 80gb", 79, 2},
        {"NVIDIA GB10", 119, 2},
        {"NVIDIA GeForce RTX 4090", 24, 2},
        {"", 80, 1},
        {"", 0, 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_ptr_equal(km_default_rule(&defaults, cases[i].name, cases[i].gib * 0x1p30),
                         &defaults.rules[cases[i].rule]);
    const struct km_defaults none = {.rules = {{.memory_from_gib = 70}}, .count = 1};
    assert_null(km_default_rule(&none, "NVIDIA L40S", 44 * 0x1p30));
    assert_null(km_default_rule(&(struct km_defaults){0}, "NVIDIA L40S", 44 * 0x1p30));
}

/* 0.26 keeps prefix caching of models with recurrent layers for those that ask (arg_utils.py:2518-2522); 0.33
 * does not (arg_utils.py:3044-3045). */
static void hybrids(void **state)
{
    (void)state;
    static const struct {
        const char *engine, *model, *stated;
        bool caches;
    } cases[] = {
        {"vllm-0.26", "jamba-v0.1", NULL, false},  {"vllm-0.26", "jamba-v0.1", "true", true},
        {"vllm-0.33", "jamba-v0.1", NULL, true},   {"vllm-0.33", "jamba-v0.1", "false", false},
        {"vllm-0.26", "llama-3.1-8b", NULL, true}, {"vllm-0.19", "llama-3.1-8b", NULL, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_override overrides[] = {{"engine.name", cases[i].engine},
                                                {"model", cases[i].model},
                                                {"cluster.tensor_parallel_size", "2"},
                                                {"engine.kv.enable_prefix_caching", cases[i].stated}};
        struct km_scenario s;
        read_scenario(overrides, cases[i].stated ? 4 : 3, &s);
        assert_int_equal(s.engine.enable_prefix_caching, cases[i].caches);
        assert_string_equal(s.engine.kv_manager, cases[i].caches ? "prefix" : "paged");
        km_scenario_release(&s);
    }
}

/* What followed from rules is stated by the resolved scenario, so that it reads back the same. */
static void resolved(void **state)
{
    (void)state;
    const struct km_override overrides[] = {{"cluster.device", "a100-80g-sxm"}};
    struct km_scenario s;
    struct km_text json = {0};
    read_scenario(overrides, 1, &s);
    km_scenario_write_json(&s, &json);
    assert_non_null(strstr(km_text_c(&json), "\"max_num_seqs\": 256, \"max_num_batched_tokens\": 2048,"));
    assert_non_null(strstr(km_text_c(&json), "\"cudagraph_capture_sizes\": [1, 2, 4, 8, 16,"));
    assert_null(strstr(km_text_c(&json), "\"defaults\""));
    assert_null(strstr(km_text_c(&json), "\"usage\""));
    km_text_release(&json);
    km_scenario_release(&s);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        struct km_override overrides[2];
        const char *message;
    } cases[] = {
        {{{"engine.name", "ideal"}, {"engine.batching.max_num_seqs", "null"}},
         "engine.batching.max_num_seqs: to be stated: engine ideal has no default for this device"},
        {{{"engine.name", "sglang"}, {"engine.batching.max_num_batched_tokens", "null"}},
         "engine.batching.max_num_batched_tokens: to be stated: engine sglang has no default for this "
         "device"},
        {{{"engine.name", "sglang"}, {"engine.cudagraph_capture_sizes", "by_rule"}},
         "engine.cudagraph_capture_sizes: to be stated: engine sglang has no default for this device"},
        {{{"engine.name", "vllm-0.33"}, {"engine.usage", "batch"}},
         "engine.usage: unknown name \"batch\"; known: server, offline"},
        {{{"engine.name", "vllm-0.33"}, {"engine.defaults", "[]"}},
         "engine.defaults: expected a list of rules"},
        {{{"engine.name", "vllm-0.33"}, {"engine.defaults", "[{max_num_seqs: 0}]"}},
         "engine.defaults[0].max_num_seqs: expected an integer ≥ 1, got \"0\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_scenario s;
        struct km_error error = {0};
        assert_int_equal(km_scenario_read(SCENARIO, cases[i].overrides, 2, &s, &error), KM_BAD_INPUT);
        assert_string_equal(error.message, cases[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices),     cmocka_unit_test(what_is_stated_counts),
        cmocka_unit_test(graph_sizes), cmocka_unit_test(rules),
        cmocka_unit_test(hybrids),     cmocka_unit_test(resolved),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
