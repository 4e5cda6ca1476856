/* What a replica adds up and what a fleet says of its groups, worked out by hand. */
#include "base/simtime.h"
#include "scenario/fleet.h"
#include "support/check.h"
#include "support/expect.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* --- one replica ---------------------------------------------------------------------------------------- */

/* A prompt of 100 tokens in chunks of 64 and 36: query j attends to j keys, 1 + ... + 100 = 5050 pairs; with
 * a window of 32 to min(j, 32), 32 * 33 / 2 + 68 * 32 = 2704. */
static void pairs_of_a_prompt(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000, .token_ps = 100};
    struct km_replica_config config = roomy(&synthetic, false);
    const struct scripted script = {0, 100, 1};
    struct played played;
    struct ending ending;
    config.batching.max_num_batched_tokens = 64;
    config.window = 32;
    play(&config, &script, 1, &played, &ending, NULL);
    assert_null(ending.complaint);
    assert_true(ending.work.prefill_pairs == 5050 && ending.work.prefill_pairs_windowed == 2704);
    assert_int_equal(ending.work.prompt_steps, 2);
}

/* 100 tokens are 25 blocks of 4, held through the prompt's step of 11000; then eight decodes of 1100 take the
 * last to the 108th token and the blocks to 27, linearly as totals see it: 25 * 11000 + 26 * 8800
 * block-picoseconds. */
static void blocks_over_time(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000, .token_ps = 100};
    const struct scripted script = {0, 100, 9};
    for (int fast = 0; fast < 2; fast++) {
        struct km_replica_config config = roomy(&synthetic, false);
        struct played played;
        struct ending ending;
        config.executor = &synthetic_lines;
        config.fast_forward = fast;
        play(&config, &script, 1, &played, &ending, NULL);
        assert_null(ending.complaint);
        assert_int_equal(played.record.last_token_ps, 11000 + 8800);
        assert_true(fabs(ending.work.block_seconds - (25 * 11000 + 26 * 8800) * 1e-12) < 1e-21);
    }
}

/* A device that is the faster the longer the contexts, so that a run of steps begins bound by it and ends
 * bound by the host. */
#define FALLS_BY 50u

static void falling_time(uint64_t sum_context, struct km_step_time *out)
{
    *out = (struct km_step_time){
        .host = {.form_ps = 800, .launch_ps = 600, .process_ps = 600, .captured = true}, .weight_bytes = 1};
    out->stage_ps[0] = 9000 - FALLS_BY * sum_context;
}

static enum km_status falling_run(void *state, const struct km_step *step, struct km_step_time *out,
                                  struct km_error *error)
{
    (void)state, (void)error;
    falling_time(step->shape.decode.sum_context, out);
    return KM_OK;
}

static void falling_line(void *state, const struct km_step_shape *step, struct km_step_line *out)
{
    (void)state;
    falling_time(step->decode.sum_context, &out->time);
    out->slope_ps[0] = -(int64_t)(FALLS_BY * step->decode.count);
    out->steps = UINT64_MAX;
}

static void steps_that_get_shorter(void **state)
{
    (void)state;
    static const struct km_executor falling = {.run = falling_run, .line = falling_line};
    struct synthetic unused = {0};
    const struct scripted script = {0, 10,
                                    160}; /* the last decode attends to 169 tokens: 550 < 2000 of the host */
    struct played played[2];
    for (int fast = 0; fast < 2; fast++) {
        struct km_replica_config config = roomy(&unused, true);
        struct ending ending;
        config.executor = &falling;
        config.fast_forward = fast;
        play(&config, &script, 1, &played[fast], &ending, NULL);
        assert_null(ending.complaint);
    }
    assert_true(same_record(&played[0].record, &played[1].record));
}

/* Elastic batches of at most two: the third request waits until both have left. */
static void elastic_with_a_cap(void **state)
{
    (void)state;
    struct synthetic synthetic = {.step_ps = 1000, .token_ps = 100};
    const struct scripted script[] = {{0, 4, 2}, {0, 4, 2}, {0, 4, 2}};
    const struct expected expected[] = {
        {0, 0, 1800, 3000, 0}, {0, 0, 1800, 3000, 0}, {3000, 3000, 4400, 5500, 0}};
    struct km_replica_config config = roomy(&synthetic, false);
    config.policy = km_batching_find("elastic");
    config.batching.batch_cap = 2;
    expect("elastic, at most two", &config, script, COUNT(script), expected);
}

/* --- fleets --------------------------------------------------------------------------------------------- */

struct outcome {
    uint32_t replica[16];
    size_t count;
    struct km_run_result result;
};

static void collect(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct outcome *o = context;
    assert_int_equal(outcome, KM_COMPLETED);
    if (o->count < COUNT(o->replica))
        o->replica[o->count] = record->replica;
    o->count++;
}

static void run(const struct km_override *overrides, size_t count, struct outcome *out)
{
    struct km_error error;
    struct km_scenario scenario;
    struct km_fleet fleet;
    *out = (struct outcome){0};
    const struct km_run_options options = {.fast_forward = true, .ended = collect, .context = out};
    if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, count, &scenario, &error) !=
            KM_OK ||
        km_fleet_create(&scenario, &fleet, &error) != KM_OK ||
        km_fleet_run(&fleet, &scenario.workload, scenario.seed, &options, &out->result, &error) != KM_OK)
        fail_msg("%s", error.message);
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

static void expect_close(double got, double want)
{
    if (fabs(got - want) > 0.002 * want) /* a sketch's buckets */
        fail_msg("got %.9g, expected %.9g", got, want);
}

/* Two groups of one replica that serves one request after another in k2 + 11 k4 = 1.09 s, the first token
 * after 0.19 s; 200 requests at once, by turns. The i-th of a group's hundred (from 0) has its first token
 * at 1.09 i + 0.19 s and its last at 1.09 (i + 1). */
static void groups_by_hand(void **state)
{
    (void)state;
    struct outcome o;
    const struct km_override overrides[] = {
        {"workload", "{arrivals: {process: at_once}, prompt_tokens: 10, output_tokens: 11, requests: 200}"},
        {"engine", "{name: ideal, batching: {policy: dynamic, batch_cap: 1}}"},
        {"cost", "{model: linear, k2: 0.1, k4: 0.09}"},
        {"cluster", "{device: h200-sxm, router: round_robin, groups: [{replicas: 1}, {replicas: 1}]}"},
    };
    run(overrides, COUNT(overrides), &o);
    assert_int_equal(o.result.simulation.group_count, 2);
    for (int g = 0; g < 2; g++) {
        const struct km_group_result *group = &o.result.simulation.groups[g];
        assert_int_equal(group->completed, 100);
        expect_close(group->ttft.p50_s, 49 * 1.09 + 0.19);
        expect_close(group->ttft.p99_s, 98 * 1.09 + 0.19);
        expect_close(group->ttft.mean_s, 49.5 * 1.09 + 0.19);
        expect_close(group->tpot.mean_s, 0.09);
        expect_close(group->tpot.p99_s, 0.09);
        expect_close(group->e2e.p99_s, 99 * 1.09);
    }
}

/* A request a second of 100 + 900 tokens, and a replica that is to have 250 tokens a second: four. Prompts
 * alone would be one's. */
static void scaler_sees_outputs(void **state)
{
    (void)state;
    struct outcome o;
    const struct km_override overrides[] = {
        {"workload", "{arrivals: {process: constant, rate_per_s: 1}, prompt_tokens: 100, output_tokens: 900, "
                     "requests: 100}"},
        {"engine", "{name: ideal}"},
        {"cost", "{model: linear, k2: 0.001, k4: 0.0001}"},
        {"autoscaling", "{policy: predictive, target_tokens_per_s: 250, max_replicas: 9, startup_s: 0, "
                        "interval_s: 10, level_smoothing: 1, "
                        "trend_smoothing: 0}"},
    };
    run(overrides, COUNT(overrides), &o);
    assert_int_equal(o.count, 100);
    assert_int_equal(o.result.simulation.groups[0].most_replicas, 4);
}

/* At 10 s a second replica serves and the second request comes: who is there first takes it. */
static void fleet_grows_before_who_comes(void **state)
{
    (void)state;
    struct outcome o;
    const struct km_override overrides[] = {
        {"workload", "{arrivals: {process: constant, rate_per_s: 0.1}, prompt_tokens: 100, output_tokens: "
                     "10, requests: 2}"},
        {"cluster.router", "round_robin"},
        {"autoscaling", "{policy: schedule, schedule: [{at_s: 0, replicas: 1}, {at_s: 10, replicas: 2}], "
                        "max_replicas: 2, startup_s: 0}"},
    };
    run(overrides, COUNT(overrides), &o);
    assert_int_equal(o.count, 2);
    assert_int_equal(o.replica[0], 0);
    assert_int_equal(o.replica[1], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_a_prompt),
        cmocka_unit_test(blocks_over_time),
        cmocka_unit_test(steps_that_get_shorter),
        cmocka_unit_test(elastic_with_a_cap),
        cmocka_unit_test(groups_by_hand),
        cmocka_unit_test(scaler_sees_outputs),
        cmocka_unit_test(fleet_grows_before_who_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
