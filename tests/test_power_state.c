#include "executor/executor.h"
#include "support/check.h"
#include "support/shipped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define OWN   KM_SOURCE_DIR "/configs/profiles/h200-sxm.json"
#define OTHER KM_SOURCE_DIR "/configs/profiles/h200-sxm-aiconfigurator.json"

static struct km_step_time run(struct km_cost_config config, enum km_power_state state,
                               const struct km_step_shape *shape)
{
    const struct km_executor *executor = km_executor_find("simulated");
    struct km_step_time time = {0};
    struct km_error error;
    void *executor_state;
    config.power_state = state;
    const struct km_executor_config asked = {.model = config.model,
                                             .engine = config.engine,
                                             .layout = config.layout,
                                             .cost = km_cost_find("profile"),
                                             .cost_config = &config};
    must(executor->create(&asked, &executor_state, &error), &error);
    must(executor->run(executor_state, &(struct km_step){.shape = *shape}, &time, &error), &error);
    executor->destroy(executor_state);
    return time;
}

static const struct km_chunk prompt = {.tokens = 4096};
static const struct km_step_shape prefill = {
    .chunks = &prompt, .chunk_count = 1, .prefill_tokens = 4096, .sampled = 1};

/* The H200's own profile knows rested and sustained products: their rates differ by its rise. */
static void profile_says(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    const struct km_cost_config config = shipped_config(&w, OWN);
    struct km_step_time burst = run(config, KM_POWER_BURST, &prefill),
                        recent = run(config, KM_POWER_AUTO, &prefill),
                        sustained = run(config, KM_POWER_SUSTAINED, &prefill);
    assert_true(burst.power.share == 0.0 && sustained.power.share == 0.0);
    assert_int_equal(recent.stage_ps[0], burst.stage_ps[0]); /* stretched when it runs */
    assert_true(recent.power.share > 0.6 && recent.power.share < 1.0);
    assert_true(recent.power.rise > 0.2 &&
                recent.power.rise < 0.26); /* of these shapes; 0.18 of 8192 cubed */
    assert_near(recent.power.stream, (592.21 - 80.0) / (708.98 - 80.0), 1e-9);
    assert_true(recent.power.time_s > 0.01 && recent.power.time_s < 1.0);
    assert_near((double)sustained.stage_ps[0],
                (double)burst.stage_ps[0] * (1.0 + recent.power.share * recent.power.rise), 1e-9);
    km_arena_release(&w.arena);
}

static void engine_counts_first(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    w.engine.gemm_power_rise = 0.05;
    w.engine.gemm_power_time_s = 2.0;
    const struct km_cost_config config = shipped_config(&w, OWN);
    struct km_step_time recent = run(config, KM_POWER_AUTO, &prefill);
    assert_true(recent.power.rise == 0.05 && recent.power.time_s == 2.0);
    assert_true(recent.power.stream == 0.0); /* not the profile's beside the engine's */
    assert_true(run(config, KM_POWER_BURST, &prefill).power.share == 0.0);
    km_arena_release(&w.arena);
}

/* Without measured rates nothing is stretched, and no state changes a step without such products. */
static void nothing_to_stretch(void **state)
{
    (void)state;
    struct shipped w;
    open_shipped("h200-sxm", "llama-3.1-8b", "vllm-0.26", &w);
    struct km_cost_config config = shipped_config(&w, OTHER);
    assert_true(run(config, KM_POWER_AUTO, &prefill).power.share == 0.0);
    assert_int_equal(run(config, KM_POWER_SUSTAINED, &prefill).stage_ps[0],
                     run(config, KM_POWER_BURST, &prefill).stage_ps[0]);
    const struct km_step_shape decode = {.sampled = 4,
                                         .decode = {.count = 4, .sum_context = 4000, .max_context = 1000}};
    config.profile = OWN;
    assert_int_equal(run(config, KM_POWER_SUSTAINED, &decode).stage_ps[0],
                     run(config, KM_POWER_BURST, &decode).stage_ps[0]);
    km_arena_release(&w.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profile_says),
        cmocka_unit_test(engine_counts_first),
        cmocka_unit_test(nothing_to_stretch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
