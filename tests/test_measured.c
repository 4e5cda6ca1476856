#include "cost/profile/ideal.h"
#include "cost/profile/measured.h"
#include "support/check.h"
#include "support/shipped.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA KM_SOURCE_DIR "/tests/data/profiles/"

extern const struct km_cost_model km_cost_profile, km_cost_roofline;

/* What was measured takes its measured time; what was not, the roofline's. */
static void model_takes_measured_times(void **state)
{
    (void)state;
    struct shipped w;
    void *profile, *roofline;
    struct km_error error;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_cost_config config = shipped_config(&w, DATA "good/small.json");
    must(km_cost_profile.create(&config, &profile, &error), &error);
    must(km_cost_roofline.create(&config, &roofline, &error), &error);
    const struct km_step_shape step = {.sampled = 64,
                                       .decode = {.count = 64,
                                                  .sum_context = 64 * 4096,
                                                  .sum_windowed = 64 * 4096,
                                                  .below_window = 64,
                                                  .max_context = 4096}};
    struct op_times o_proj = time_op(&km_cost_profile, profile, &step, "o_proj");
    assert_near(o_proj.time_s, o_proj.count * 12e-6, 1e-9);
    assert_int_equal(o_proj.origin, KM_ORIGIN_MEASURED);
    struct op_times attention = time_op(&km_cost_profile, profile, &step, "attention");
    assert_near(attention.time_s, attention.count * 260e-6, 1e-9);
    struct op_times norm = time_op(&km_cost_profile, profile, &step, "norm");
    assert_int_equal(norm.origin, KM_ORIGIN_INTERPOLATED);
    struct op_times down = time_op(&km_cost_profile, profile, &step, "down_proj");
    assert_int_equal(down.origin, KM_ORIGIN_EXTRAPOLATED); /* k = 14336: only 4096 was measured */
    struct op_times rope = time_op(&km_cost_profile, profile, &step, "rope");
    assert_int_equal(rope.origin, KM_ORIGIN_MODEL);
    assert_near(rope.time_s, time_op(&km_cost_roofline, roofline, &step, "rope").time_s, 1e-12);
    assert_int_equal(time_op(&km_cost_roofline, roofline, &step, "o_proj").origin, KM_ORIGIN_MODEL);

    /* a step is its parts, however it is asked for */
    double whole, fixed, attending;
    km_cost_profile.step(profile, &step, &whole);
    km_cost_profile.decode_fixed(profile, 64, &fixed);
    km_cost_profile.decode_attention(profile, &step.decode, &attending);
    assert_near(fixed + attending, whole, 1e-12);
    assert_near(rope.total_s, whole, 1e-12);
    struct km_coverage coverage;
    km_cost_profile.coverage(profile, &coverage);
    assert_near(coverage.time_s[KM_ORIGIN_MEASURED] / 2.0, o_proj.time_s + attention.time_s,
                1e-9); /* asked twice */
    km_cost_profile.destroy(profile);
    km_cost_roofline.destroy(roofline);
    km_arena_release(&w.arena);
}

/* More work never takes less time, over shapes inside and outside the tables, prompts and decodes mixed. */
static void mixed_steps_are_sane(void **state)
{
    (void)state;
    struct shipped w;
    void *profile;
    struct km_error error;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_cost_config config = shipped_config(&w, DATA "good/small.json");
    must(km_cost_profile.create(&config, &profile, &error), &error);
    srand(3);
    for (int i = 0; i < 2000; i++) {
        struct km_chunk chunks[3];
        struct km_step_shape step = {.chunks = chunks, .chunk_count = (uint32_t)(1 + rand() % 3)};
        for (uint32_t c = 0; c < step.chunk_count; c++) {
            chunks[c] = (struct km_chunk){(uint32_t)(1 + rand() % 3000), (uint32_t)(rand() % 9000)};
            step.prefill_tokens += chunks[c].tokens;
        }
        step.sampled = step.chunk_count;
        struct op_times prompts = time_op(&km_cost_profile, profile, &step, "attention");
        uint32_t n = (uint32_t)(1 + rand() % 300), context = (uint32_t)(1 + rand() % 9000);
        step.decode = (struct km_decode_shape){.count = n,
                                               .sum_context = (uint64_t)n * context,
                                               .sum_windowed = (uint64_t)n * context,
                                               .below_window = n,
                                               .max_context = context};
        step.sampled += n;
        struct op_times both = time_op(&km_cost_profile, profile, &step, "attention");
        assert_true(isfinite(both.time_s) && both.time_s >= prompts.time_s && both.time_s < 10.0);
        /* at most every decode alone, or a tile of 128 rows each at the rate of long prompts */
        struct km_step_shape alone = {.sampled = n, .decode = step.decode};
        double decodes_s = time_op(&km_cost_profile, profile, &alone, "attention").time_s;
        double tiles_s = 32.0 * 4.0 * 128.0 * n * context * 4096.0 / (0.3 * 989.4e12);
        assert_true(both.time_s <= prompts.time_s + fmax(decodes_s, tiles_s) * 1.001);
    }
    km_cost_profile.destroy(profile);
    km_arena_release(&w.arena);
}

/* Answers are remembered; what was asked before must not show. */
static void order_does_not_matter(void **state)
{
    (void)state;
    enum { STEPS = 8000 };
    static struct km_chunk chunks[STEPS];
    static double forward_s[STEPS];
    struct shipped w;
    struct km_error error;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_cost_config config = shipped_config(&w, DATA "good/small.json");
    srand(11);
    for (int i = 0; i < STEPS; i++)
        chunks[i] = (struct km_chunk){(uint32_t)(1 + rand() % 2000), (uint32_t)(rand() % 500)};
    for (int pass = 0; pass < 2; pass++) {
        void *cost;
        must(km_cost_profile.create(&config, &cost, &error), &error);
        for (int j = 0; j < STEPS; j++) {
            int i = pass ? STEPS - 1 - j : j;
            uint32_t n = 1 + chunks[i].tokens % 100;
            struct km_step_shape step = {.chunks = &chunks[i],
                                         .chunk_count = 1,
                                         .prefill_tokens = chunks[i].tokens,
                                         .sampled = n,
                                         .decode = {.count = n,
                                                    .sum_context = n * 1000,
                                                    .sum_windowed = n * 1000,
                                                    .below_window = n,
                                                    .max_context = 1000}};
            double step_s;
            km_cost_profile.step(cost, &step, &step_s);
            if (pass == 0)
                forward_s[i] = step_s;
            else
                assert_true(step_s == forward_s[i]);
        }
        km_cost_profile.destroy(cost);
    }
    km_arena_release(&w.arena);
}

static void refuses(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    static const struct {
        const char *profile, *message;
    } cases[] = {
        {NULL, "cost model profile needs cost.profile: the file of a measured profile"},
        {DATA "bad/version.json",
         DATA "bad/version.json:1:12: schema: profile version 2 is unknown; this program reads version 1"},
        {DATA "other-device.json",
         DATA "other-device.json: was measured on b200, but the cluster's device is h200-sxm"},
        {DATA "scalars-only.json",
         DATA "scalars-only.json: has neither gemm nor attention_decode rows: nothing a "
              "model's time follows from"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_error error = {0};
        char line[1200];
        void *cost = NULL;
        struct km_cost_config config = shipped_config(&w, cases[i].profile);
        assert_int_equal(km_cost_profile.create(&config, &cost, &error), KM_BAD_INPUT);
        assert_null(cost);
        km_error_format(&error, line, sizeof line);
        assert_string_equal(line, cases[i].message);
    }
    km_arena_release(&w.arena);
}

/* Ragged decodes take the profile's ratio. */
static void skew(void **state)
{
    (void)state;
    struct shipped w;
    void *cost;
    struct km_error error;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_cost_config config = shipped_config(&w, DATA "skewed.json");
    must(km_cost_profile.create(&config, &cost, &error), &error);
    struct km_step_shape step = {.sampled = 64,
                                 .decode = {.count = 64,
                                            .sum_context = 64 * 4096,
                                            .sum_windowed = 64 * 4096,
                                            .below_window = 64,
                                            .max_context = 4096}};
    double even_s = time_op(&km_cost_profile, cost, &step, "attention").time_s;
    step.decode.max_context = 2 * 4096;
    double ragged_s = time_op(&km_cost_profile, cost, &step, "attention").time_s;
    assert_near(ragged_s, 1.5 * even_s, 1e-9);
    km_cost_profile.destroy(cost);
    km_arena_release(&w.arena);
}

/* Element-wise and attention kernels of another program take no less than the engine's description says;
 * products of matrices, and kernels of the engine itself, take what was measured. */
static void stand_ins(void **state)
{
    (void)state;
    static const struct {
        const char *engine;
        bool own;
    } cases[] = {
        {"vllm-0.26", false}, {"others", false}, {"oth", false}, {"other", true}, {"other-1.2", true}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct shipped w;
        void *profile, *roofline;
        struct km_error error;
        open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
        w.engine.name = cases[i].engine;
        struct km_cost_config config = shipped_config(&w, DATA "stand-in.json");
        must(km_cost_profile.create(&config, &profile, &error), &error);
        must(km_cost_roofline.create(&config, &roofline, &error), &error);
        for (uint32_t n = 1; n <= 64; n += 63) {
            const struct km_step_shape step = {.sampled = n,
                                               .decode = {.count = n,
                                                          .sum_context = n * 4096,
                                                          .sum_windowed = n * 4096,
                                                          .below_window = n,
                                                          .max_context = 4096}};
            const struct {
                const char *name;
                double measured_s;
                bool shared; /* by all engines */
            } ops[] = {{"o_proj", 9e-6, true},
                       {"norm", n == 1 ? 2e-6 : 3e-6, false},
                       {"rope", 9e-6, false},
                       {"attention", n == 1 ? 14e-6 : 260e-6, false}};
            for (size_t j = 0; j < COUNT(ops); j++) {
                struct op_times described = time_op(&km_cost_roofline, roofline, &step, ops[j].name);
                struct op_times answer = time_op(&km_cost_profile, profile, &step, ops[j].name);
                double measured_s = ops[j].measured_s * answer.count;
                bool measured = cases[i].own || ops[j].shared || measured_s > described.time_s;
                assert_near(answer.time_s, measured ? measured_s : described.time_s, 1e-9);
                assert_int_equal(answer.origin, measured ? KM_ORIGIN_MEASURED : KM_ORIGIN_MODEL);
            }
        }
        km_cost_profile.destroy(profile);
        km_cost_roofline.destroy(roofline);
        km_arena_release(&w.arena);
    }
}

/* The share of the roofline between the one-shot rows of 4 us at 64 KiB and 5 us at 1 MiB, in logarithms; the
 * edge's below. */
static double one_shot_s(const struct km_device *device, double bytes)
{
    const double low[KM_PROFILE_DIMS] = {[KM_COLLECTIVE_BYTES] = 65536},
                 high[KM_PROFILE_DIMS] = {[KM_COLLECTIVE_BYTES] = 1048576},
                 at[KM_PROFILE_DIMS] = {[KM_COLLECTIVE_BYTES] = bytes};
    double from = log(km_profile_ideal_s(device, KM_PROFILE_COLLECTIVE, low) / 4e-6),
           to = log(km_profile_ideal_s(device, KM_PROFILE_COLLECTIVE, high) / 5e-6);
    double weight = fmax(0.0, (log1p(bytes) - log1p(65536.0)) / (log1p(1048576.0) - log1p(65536.0)));
    return km_profile_ideal_s(device, KM_PROFILE_COLLECTIVE, at) / exp(from + weight * (to - from));
}

/* All-reduces of two ranks as measured; of other numbers by the formulas. */
static void collectives(void **state)
{
    (void)state;
    static const struct {
        const char *engine;
        enum km_all_reduce algorithm;
        double fixed_s;
        uint32_t ranks, tokens; /* 8 KiB each */
        double measured_s;      /* 0 = see origin */
        enum km_origin origin;
    } cases[] = {
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 2, 8, 4e-6, KM_ORIGIN_MEASURED},
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 2, 128, 5e-6, KM_ORIGIN_MEASURED},
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 2, 32, 0, KM_ORIGIN_INTERPOLATED},
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 2, 4, 0, KM_ORIGIN_EXTRAPOLATED},
        /* the library's, though others are faster; what was measured rather than what lies beyond */
        {"other", KM_ALL_REDUCE_RING, 0, 2, 8, 10e-6, KM_ORIGIN_MEASURED},
        {"other", KM_ALL_REDUCE_FASTEST, 0, 2, 2048, 100e-6, KM_ORIGIN_MEASURED},
        /* another engine's own kernel takes no less than its description says; NCCL is NCCL */
        {"vllm-0.26", KM_ALL_REDUCE_ONE_SHOT, 50e-6, 2, 8, 0, KM_ORIGIN_MODEL},
        {"vllm-0.26", KM_ALL_REDUCE_RING, 50e-6, 2, 8, 10e-6, KM_ORIGIN_MEASURED},
        {"other", KM_ALL_REDUCE_ONE_SHOT, 0, 4, 8, 0, KM_ORIGIN_MODEL},
        {"other", KM_ALL_REDUCE_RING, 0, 8, 8, 0, KM_ORIGIN_MODEL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct shipped w;
        void *profile, *roofline;
        struct km_error error;
        open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
        w.engine.name = cases[i].engine;
        w.engine.all_reduce[0] =
            (struct km_all_reduce_rule){.algorithm = cases[i].algorithm, .fixed_s = cases[i].fixed_s};
        w.engine.all_reduce_count = 1;
        struct km_cost_config config = shipped_config(&w, DATA "collectives.json");
        config.layout.tensor_parallel = cases[i].ranks;
        must(km_cost_profile.create(&config, &profile, &error), &error);
        must(km_cost_roofline.create(&config, &roofline, &error), &error);
        const uint32_t n = cases[i].tokens;
        const struct km_step_shape step = {.sampled = n,
                                           .decode = {.count = n,
                                                      .sum_context = n * 64,
                                                      .sum_windowed = n * 64,
                                                      .below_window = n,
                                                      .max_context = 64}};
        struct op_times answer = time_op(&km_cost_profile, profile, &step, "all_reduce");
        struct op_times described = time_op(&km_cost_roofline, roofline, &step, "all_reduce");
        double one_s = answer.time_s / answer.count;
        assert_int_equal(answer.origin, cases[i].origin);
        if (cases[i].measured_s > 0.0)
            assert_near(one_s, cases[i].measured_s, 1e-9);
        else if (cases[i].origin == KM_ORIGIN_MODEL)
            assert_near(answer.time_s, described.time_s, 1e-12);
        else
            assert_near(one_s, one_shot_s(&w.device, 8192.0 * n), 1e-9);
        km_cost_profile.destroy(profile);
        km_cost_roofline.destroy(roofline);
        km_arena_release(&w.arena);
    }
}

/* The committed times of two H200: a collective takes no less than its bytes over the link, and no more the
 * fewer the bytes, but for noise. */
static void shipped_collectives(void **state)
{
    (void)state;
    struct shipped w;
    struct km_profile profile;
    struct km_error error;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    must(km_profile_read(KM_SOURCE_DIR "/configs/profiles/h200-sxm.json", &profile, &error), &error);
    const struct km_profile_table *table = &profile.tables[KM_PROFILE_COLLECTIVE];
    assert_true(table->count > 200);
    for (size_t i = 0; i < table->count; i++) {
        const double *at = table->rows[i].dims, kind = at[KM_COLLECTIVE_KIND];
        double parts = kind == KM_REDUCE_SCATTER || kind == KM_ALL_TO_ALL ? 0.5 : 1.0;
        assert_true(at[KM_COLLECTIVE_RANKS] == 2.0);
        double least_us = parts * at[KM_COLLECTIVE_BYTES] / w.device.node.link.bandwidth_bytes_per_s * 1e6;
        assert_true(table->rows[i].us > least_us);
        if (i > 0 && memcmp(at, table->rows[i - 1].dims, KM_COLLECTIVE_BYTES * sizeof *at) == 0)
            assert_true(table->rows[i].us > 0.5 * table->rows[i - 1].us);
    }
    km_profile_release(&profile);
    km_arena_release(&w.arena);
}

/* Every shipped profile reads, answers for a model, and stays below 1 MB. */
static void shipped_profiles(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"h200-sxm", "h200-sxm"},
        {"h200-sxm-aiconfigurator", "h200-sxm"},
        {"h100-sxm-aiconfigurator", "h100-sxm"},
        {"a100-80g-sxm", "a100-80g-sxm"},
        {"b200", "b200"},
        {"b300", "b300"},
        {"gb200", "gb200"},
        {"gb300", "gb300"},
        {"l40s", "l40s"},
        {"rtx-pro-6000", "rtx-pro-6000"},
        {"arc-pro-b60", "arc-pro-b60"},
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        struct shipped w;
        struct km_error error;
        char path[512], device[512];
        void *cost;
        open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
        snprintf(path, sizeof path, KM_SOURCE_DIR "/configs/profiles/%s.json", names[i][0]);
        snprintf(device, sizeof device, KM_SOURCE_DIR "/configs/devices/%s.yaml", names[i][1]);
        must(km_device_read(device, &w.arena, &w.device, &error), &error);
        struct km_cost_config config = shipped_config(&w, path);
        must(km_cost_profile.create(&config, &cost, &error), &error);
        const struct km_step_shape step = {.sampled = 64,
                                           .decode = {.count = 64,
                                                      .sum_context = 64 * 1024,
                                                      .sum_windowed = 64 * 1024,
                                                      .below_window = 64,
                                                      .max_context = 1024}};
        double step_s;
        km_cost_profile.step(cost, &step, &step_s);
        /* weights and KV cache cannot be read faster than the memory allows, nor ten times slower */
        double least_s = (15.0e9 + 8.6e9) / w.device.bandwidth_bytes_per_s;
        if (!(step_s > 0.8 * least_s && step_s < 10.0 * least_s))
            fail_msg("%s: %g s, at least %g expected", names[i][0], step_s, least_s);
        FILE *stream = fopen(path, "rb");
        assert_non_null(stream);
        fseek(stream, 0, SEEK_END);
        assert_true(ftell(stream) <= 1000000);
        fclose(stream);
        km_cost_profile.destroy(cost);
        km_arena_release(&w.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_takes_measured_times),
        cmocka_unit_test(mixed_steps_are_sane),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(refuses),
        cmocka_unit_test(skew),
        cmocka_unit_test(stand_ins),
        cmocka_unit_test(collectives),
        cmocka_unit_test(shipped_collectives),
        cmocka_unit_test(shipped_profiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
