#include "hardware/device.h"
#include "model/memory.h"
#include "scenario/run.h"
#include "scenario/scenario.h"
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

static void read_device(const char *name, struct km_arena *arena, struct km_device *device)
{
    char path[512], line[1200];
    struct km_error error;
    snprintf(path, sizeof path, KM_SOURCE_DIR "/configs/devices/%s.yaml", name);
    if (km_device_read(path, arena, device, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
}

/* --- operand pairs ------------------------------------------------------------------------------------- */

static void rates_of_pairs(void **state)
{
    (void)state;
    static const struct {
        const char *device;
        enum km_dtype weights, activations;
        double tflops;
    } cases[] = {
        {"h200-sxm", KM_BF16, KM_BF16, 989.4},  {"h200-sxm", KM_FP8, KM_FP8, 1978.9},
        {"h200-sxm", KM_FP8, KM_BF16, 989.4}, /* weight-only: widened first */
        {"h200-sxm", KM_INT8, KM_INT8, 1978.9}, {"h200-sxm", KM_INT8, KM_BF16, 989.4},
        {"h200-sxm", KM_INT4, KM_BF16, 989.4},  {"h200-sxm", KM_INT4, KM_FP16, 989.4},
        {"h200-sxm", KM_INT4, KM_FP8, 1978.9},  {"h200-sxm", KM_INT4, KM_INT8, 1978.9},
        {"h200-sxm", KM_MXFP4, KM_BF16, 989.4}, {"h200-sxm", KM_NVFP4, KM_BF16, 989.4},
        {"h200-sxm", KM_FP32, KM_FP32, 66.9},   {"h200-sxm", KM_BF16, KM_FP32, 66.9},
        {"b200", KM_NVFP4, KM_NVFP4, 9000},     {"b200", KM_MXFP4, KM_MXFP4, 9000},
        {"b200", KM_MXFP4, KM_FP8, 4500},       {"b200", KM_NVFP4, KM_BF16, 2250},
        {"a100-80g-sxm", KM_FP8, KM_BF16, 312}, {"a100-80g-sxm", KM_INT4, KM_FP16, 312},
        {"rtx-4090", KM_INT8, KM_INT8, 660.6},  {"mi300x", KM_FP8, KM_FP8, 2614.9},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_device device;
        double rate;
        read_device(cases[i].device, &arena, &device);
        assert_true(km_device_peak(&device, cases[i].weights, cases[i].activations, &rate));
        assert_close(rate, cases[i].tflops * 1e12);
        km_arena_release(&arena);
    }
}

static void refused_pairs(void **state)
{
    (void)state;
    static const struct {
        const char *device;
        enum km_dtype weights, activations;
        const char *message;
    } cases[] = {
        {"h200-sxm", KM_NVFP4, KM_NVFP4,
         "h200-sxm cannot multiply nvfp4 activations; it can fp32, bf16, fp16, fp8, int8"},
        {"a100-80g-sxm", KM_FP8, KM_FP8,
         "a100-80g-sxm cannot multiply fp8 activations; it can fp32, bf16, fp16, int8"},
        {"h200-sxm", KM_BF16, KM_FP8,
         "h200-sxm cannot multiply bf16 weights with fp8 activations; these take weights of fp8, int4, "
         "mxfp4, "
         "nvfp4"},
        {"h200-sxm", KM_FP8, KM_INT8,
         "h200-sxm cannot multiply fp8 weights with int8 activations; these take weights of int8, int4"},
        {"h200-sxm", KM_FP32, KM_BF16,
         "h200-sxm cannot multiply fp32 weights with bf16 activations; these take weights of bf16, fp8, "
         "int8, "
         "int4, mxfp4, nvfp4, int4_g32, nf4"},
        {"h200-sxm", KM_INT2, KM_BF16,
         "h200-sxm cannot multiply int2 weights with bf16 activations; these take weights of bf16, fp8, "
         "int8, "
         "int4, mxfp4, nvfp4, int4_g32, nf4"},
        {"b200", KM_FP8, KM_NVFP4,
         "b200 cannot multiply fp8 weights with nvfp4 activations; these take weights of nvfp4"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_arena arena = {0};
        struct km_device device;
        double rate;
        char message[KM_DEVICE_PAIR_MESSAGE], little[40];
        read_device(cases[i].device, &arena, &device);
        assert_false(km_device_peak(&device, cases[i].weights, cases[i].activations, &rate));
        km_device_explain_pair(&device, cases[i].weights, cases[i].activations, message, sizeof message);
        assert_string_equal(message, cases[i].message);
        km_device_explain_pair(&device, cases[i].weights, cases[i].activations, little, sizeof little);
        assert_int_equal(strlen(little), sizeof little - 1); /* cut, not overrun */
        assert_memory_equal(little, message, sizeof little - 1);
        km_arena_release(&arena);
    }
}

/* --- scenarios ----------------------------------------------------------------------------------------- */

#define SCENARIO "tests/data/good-scenarios/weibull-constant.yaml"

static enum km_status read_with(const char *model, const char *device, const char *precision,
                                struct km_scenario *out, struct km_error *error)
{
    const struct km_override overrides[] = {
        {"model", model}, {"cluster.device", device}, {"precision", precision}};
    return km_scenario_read(SCENARIO, overrides, precision ? 3 : 2, out, error);
}

static void read_good(const char *model, const char *device, const char *precision, struct km_scenario *out)
{
    struct km_error error;
    char line[1200];
    if (read_with(model, device, precision, out, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
}

/* What is stated draws along what is not. */
static void what_is_served(void **state)
{
    (void)state;
    static const struct {
        const char *model, *device, *precision;
        struct km_precision expected; /* weights, activations, cache, embeddings, attention */
    } cases[] = {
        {"llama-3.1-8b", "h200-sxm", NULL, {KM_BF16, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        /* no dtype in the file, or float32: 16 bits unless asked for */
        {"gpt2", "h200-sxm", NULL, {KM_BF16, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        {"mamba-2.8b", "h200-sxm", NULL, {KM_BF16, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        {"gpt2", "h200-sxm", "{weights: fp32}", {KM_FP32, KM_FP32, KM_FP32, KM_FP32, KM_FP32}},
        {"gpt2", "h200-sxm", "{weights: fp32, kv_cache: fp8}", {KM_FP32, KM_FP32, KM_FP8, KM_FP32, KM_FP32}},
        {"llama-3.1-8b", "h200-sxm", "{weights: fp16}", {KM_FP16, KM_FP16, KM_FP16, KM_FP16, KM_FP16}},
        /* weight-only: the activations stay */
        {"llama-3.1-8b", "h200-sxm", "{weights: int4}", {KM_INT4, KM_BF16, KM_BF16, KM_BF16, KM_INT4}},
        {"llama-3.1-8b",
         "h200-sxm",
         "{weights: fp8, activations: fp8, kv_cache: int2}",
         {KM_FP8, KM_FP8, KM_INT2, KM_BF16, KM_FP8}},
        {"llama-3.1-8b",
         "h200-sxm",
         "{weights: int4, attention: bf16}",
         {KM_INT4, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        /* experts in mxfp4, the rest in bf16: as the checkpoint, until other weights are stated */
        {"gpt-oss-20b", "h200-sxm", NULL, {KM_MXFP4, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        {"gpt-oss-20b", "h200-sxm", "{weights: mxfp4}", {KM_MXFP4, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        {"gpt-oss-20b", "h200-sxm", "{weights: fp8}", {KM_FP8, KM_BF16, KM_BF16, KM_BF16, KM_FP8}},
        {"deepseek-v3", "h200-sxm", NULL, {KM_FP8, KM_FP8, KM_BF16, KM_BF16, KM_FP8}},
        {"deepseek-v3", "h200-sxm", "{weights: bf16}", {KM_BF16, KM_BF16, KM_BF16, KM_BF16, KM_BF16}},
        {"deepseek-v3", "a100-80g-sxm", "{activations: bf16}", {KM_FP8, KM_BF16, KM_BF16, KM_BF16, KM_FP8}},
        {"llama-3.1-8b",
         "b200",
         "{weights: nvfp4, activations: nvfp4}",
         {KM_NVFP4, KM_NVFP4, KM_BF16, KM_BF16, KM_NVFP4}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_scenario s;
        read_good(cases[i].model, cases[i].device, cases[i].precision, &s);
        const struct km_precision *want = &cases[i].expected, *got = &s.precision;
        if (got->weights != want->weights || got->activations != want->activations ||
            got->kv_cache != want->kv_cache || got->embeddings != want->embeddings ||
            got->attention != want->attention)
            fail_msg("%s %s: weights %s activations %s kv_cache %s embeddings %s attention %s",
                     cases[i].model, cases[i].precision ? cases[i].precision : "",
                     km_dtype_name(got->weights), km_dtype_name(got->activations),
                     km_dtype_name(got->kv_cache), km_dtype_name(got->embeddings),
                     km_dtype_name(got->attention));
        km_scenario_release(&s);
    }
}

/* Checkpoints whose products the device lacks run weight-only, unless the scenario says another precision. */
static void weight_only(void **state)
{
    (void)state;
    static const struct {
        const char *model, *device, *precision;
        bool weight_only;
        enum km_dtype weights, activations;
    } cases[] = {
        {"deepseek-v3", "a100-80g-sxm", NULL, true, KM_FP8, KM_BF16},
        {"deepseek-v3", "a100-80g-sxm", "{activations: bf16}", true, KM_FP8, KM_BF16},
        {"deepseek-v3", "a100-80g-sxm", "{weights: int8, activations: int8}", false, KM_INT8, KM_INT8},
        {"deepseek-v3", "h200-sxm", NULL, false, KM_FP8, KM_FP8},
        {"gpt-oss-20b", "a100-80g-sxm", NULL, false, KM_MXFP4, KM_BF16},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_scenario s;
        struct km_error error = {0};
        struct km_arena arena = {0};
        if (read_with(cases[i].model, cases[i].device, cases[i].precision, &s, &error) != KM_OK)
            fail_msg("%s", error.message);
        assert_int_equal(s.weight_only, cases[i].weight_only);
        assert_int_equal(s.precision.weights, cases[i].weights);
        assert_int_equal(s.precision.activations, cases[i].activations);
        const char *note = km_scenario_weight_only(&s, &arena);
        assert_true(cases[i].weight_only ? note && strstr(note, "a100-80g-sxm has no fp8 products") != NULL
                                         : !note);
        km_arena_release(&arena);
        km_scenario_release(&s);
    }
}

static void refused_scenarios(void **state)
{
    (void)state;
    static const struct {
        const char *model, *device, *precision, *message;
    } cases[] = {
        {"llama-3.1-8b", "h200-sxm", "{weights: nvfp4, activations: nvfp4}",
         "precision.activations: h200-sxm cannot multiply nvfp4 activations; it can fp32, bf16, fp16, fp8, "
         "int8"},
        {"llama-3.1-8b", "h200-sxm", "{activations: fp8}",
         "precision.weights: h200-sxm cannot multiply bf16 weights with fp8 activations; these take weights "
         "of "
         "fp8, int4, mxfp4, nvfp4"},
        {"llama-3.1-8b", "h200-sxm", "{weights: int2}",
         "precision.weights: h200-sxm cannot multiply int2 weights with bf16 activations; these take weights "
         "of bf16, fp8, int8, int4, mxfp4, nvfp4, int4_g32, nf4"},
        {"llama-3.1-8b", "h200-sxm", "{weights: fp8, activations: fp8, attention: int8}",
         "precision.attention: h200-sxm cannot multiply int8 weights with fp8 activations; these take "
         "weights "
         "of fp8, int4, mxfp4, nvfp4"},
        {"deepseek-v3", "a100-80g-sxm", "{activations: fp8}",
         "precision.activations: a100-80g-sxm cannot multiply fp8 activations; it can fp32, bf16, fp16, "
         "int8"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_scenario s;
        struct km_error error = {0};
        assert_int_equal(read_with(cases[i].model, cases[i].device, cases[i].precision, &s, &error),
                         KM_BAD_INPUT);
        assert_string_equal(error.message, cases[i].message);
    }
}

/* --- what it is worth ---------------------------------------------------------------------------------- */

/* Device time of one step, by the ideal engine. */
static double step_s(const char *device, const char *precision, const struct km_step_shape *shape)
{
    struct km_scenario s;
    struct km_error error;
    char line[1200];
    double stage_s = 0.0;
    void *state;
    read_good("llama-3.1-8b", device, precision, &s);
    const struct km_cost_config config = {.model = &s.model,
                                          .precision = s.precision,
                                          .layout = km_scenario_layout(&s),
                                          .device = &s.device,
                                          .engine = &s.engine};
    const struct km_cost_model *cost =
        (const struct km_cost_model *)(const void *)km_registry_find(km_cost_registry, "roofline");
    if (cost->create(&config, &state, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
    cost->step(state, shape, &stage_s);
    cost->destroy(state);
    km_scenario_release(&s);
    return stage_s;
}

static void narrow_formats_pay_off(void **state)
{
    (void)state;
    const struct km_chunk chunk = {.tokens = 8192};
    const struct km_step_shape prompt = {
        .chunks = &chunk, .chunk_count = 1, .prefill_tokens = 8192, .sampled = 1};
    const struct km_step_shape decode = {
        .sampled = 4, .decode = {.count = 4, .sum_context = 400, .sum_windowed = 400, .max_context = 100}};
    const struct km_step_shape deep = {
        .sampled = 64,
        .decode = {.count = 64, .sum_context = 64 * 8192, .sum_windowed = 64 * 8192, .max_context = 8192}};
    double prompt_s = step_s("h200-sxm", "{weights: bf16}", &prompt),
           decode_s = step_s("h200-sxm", "{weights: bf16}", &decode),
           deep_s = step_s("h200-sxm", "{weights: bf16}", &deep);
    /* Weight-only formats keep the 16-bit math of a prompt, and save the bytes of a small decode step. */
    static const char *const weight_only[] = {"{weights: int4}", "{weights: mxfp4}", "{weights: nvfp4}"};
    for (size_t i = 0; i < COUNT(weight_only); i++) {
        assert_true(fabs(step_s("h200-sxm", weight_only[i], &prompt) - prompt_s) < 0.01 * prompt_s);
        assert_true(step_s("h200-sxm", weight_only[i], &decode) < 0.6 * decode_s);
    }
    /* Both operands in 8 bits: twice the rate of what is not attention. */
    double fp8_s = step_s("h200-sxm", "{weights: fp8, activations: fp8}", &prompt);
    assert_true(fp8_s < 0.65 * prompt_s && fp8_s > 0.5 * prompt_s);
    /* Native 4 bits where the device has them: below weight-only on the same device. */
    assert_true(step_s("b200", "{weights: nvfp4, activations: nvfp4}", &prompt) <
                0.5 * step_s("b200", "{weights: nvfp4}", &prompt));
    /* Narrower caches: faster where contexts are deep; attention scores stay in 16 bits. */
    static const char *const caches[] = {"{kv_cache: fp8}", "{kv_cache: int4}", "{kv_cache: int2}"};
    double last_s = deep_s;
    for (size_t i = 0; i < COUNT(caches); i++) {
        double cache_s = step_s("h200-sxm", caches[i], &deep);
        assert_true(cache_s < last_s);
        assert_true(fabs(step_s("h200-sxm", caches[i], &prompt) - prompt_s) < 0.01 * prompt_s);
        last_s = cache_s;
    }
}

/* Llama-3.1-8B: 32 layers x 2 x 8 x 128 values a token. */
static void cache_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *precision;
        double bytes;
    } cases[] = {
        {"{kv_cache: bf16}", 131072},
        {"{kv_cache: fp8}", 65536},
        {"{kv_cache: int8}", 65536},
        {"{kv_cache: int4}", 65536 * (4 + 20.0 / 128) / 8}, /* scale and zero point a head and token */
        {"{kv_cache: int2}", 65536 * (2 + 32.0 / 32) / 8},  /* 16-bit scale and zero point for 32 values */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_scenario s;
        struct km_memory_map map;
        struct km_error error;
        read_good("llama-3.1-8b", "h200-sxm", cases[i].precision, &s);
        assert_int_equal(km_setup_memory(&s, &map, &error), KM_OK);
        assert_close(map.kv_bytes_per_token, cases[i].bytes);
        km_scenario_release(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_of_pairs),    cmocka_unit_test(refused_pairs),
        cmocka_unit_test(what_is_served),    cmocka_unit_test(weight_only),
        cmocka_unit_test(refused_scenarios), cmocka_unit_test(narrow_formats_pay_off),
        cmocka_unit_test(cache_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
