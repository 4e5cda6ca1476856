/* Continuous batching approximated: where the approximation is exact, its limits, random questions, and the
 * event core. */
#include "queueing/continuous/continuous.h"
#include "scenario/fleet.h"
#include "scenario/queue_question.h"
#include "support/check.h"

#include <gsl/gsl_rng.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A step takes step_s + decode_s a decode + prompt_s a prompt token. */
struct affine {
    double step_s, decode_s, prompt_s;
};

static void affine_time(void *context, const struct km_step_shape *shape, struct km_step_seconds *out)
{
    const struct affine *affine = context;
    *out = (struct km_step_seconds){.captured = true};
    out->device_s =
        affine->step_s + affine->decode_s * shape->decode.count + affine->prompt_s * shape->prefill_tokens;
    out->slowest_s = out->device_s;
}

static void mix_of(struct km_length_mix *mix, double prompt_tokens, double output_mean)
{
    const struct km_distribution prompt = {.kind = KM_DIST_CONSTANT, .value = prompt_tokens};
    const struct km_distribution output = {.kind = KM_DIST_GEOMETRIC, .mean = output_mean};
    assert_int_equal(km_length_mix_independent(mix, &prompt, &output, NULL), KM_OK);
}

static struct km_continuous_question question_of(const struct km_step_clock *clock,
                                                 const struct km_length_mix *mix, double rate_per_s)
{
    return (struct km_continuous_question){.clock = clock,
                                           .mix = mix,
                                           .arrival_rate_per_s = rate_per_s,
                                           .max_num_seqs = 1000,
                                           .max_num_batched_tokens = 100000,
                                           .block_size = 16};
}

/* Steps whose time depends on nothing: every request decodes at its own pace, M/G/infinity. */
static void test_constant_steps(void **state)
{
    (void)state;
    struct affine affine = {.step_s = 0.01};
    const struct km_step_clock clock = {.context = &affine, .time = affine_time, .pace.stages = 1};
    struct km_length_mix mix;
    struct km_continuous_answer answer;
    mix_of(&mix, 10, 101);
    const struct km_continuous_question question = question_of(&clock, &mix, 50);
    assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
    assert_near(answer.mean_tpot_s, 0.01, 1e-9);
    assert_near(answer.mean_wait_s, 0.005, 1e-6); /* half a step */
    assert_near(answer.mean_ttft_s, 0.015, 1e-6);
    assert_near(answer.mean_e2e_s, 1.015, 1e-6);
    assert_near(answer.mean_running, 50 * 1.01, 1e-6);
    assert_near(answer.stable_below_per_s, 1000 / 1.01, 1e-9); /* 1000 slots, each 101 steps a request */
}

/* What the frontend takes before the scheduler sees a request is waited for by everyone, and by nothing else.
 */
static void test_ingest(void **state)
{
    (void)state;
    struct affine affine = {.step_s = 0.01};
    const struct km_step_clock clock = {.context = &affine, .time = affine_time, .pace.stages = 1};
    struct km_length_mix mix;
    struct km_continuous_answer answer;
    mix_of(&mix, 10, 101);
    struct km_continuous_question question = question_of(&clock, &mix, 50);
    question.ingest_s = 0.02;
    assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
    assert_near(answer.mean_tpot_s, 0.01, 1e-9);
    assert_near(answer.mean_wait_s, 0.025, 1e-6);
    assert_near(answer.mean_ttft_s, 0.035, 1e-6);
    assert_near(answer.mean_e2e_s, 1.035, 1e-6);

    /* A server on the way, busy for 10 ms with each: M/D/1 at half its load, 50 * 1e-4 / (2 * 0.5) = 5 ms of waiting. It takes in a
     * hundred a second, fewer than the engine could serve. */
    question.ingest_busy_mean_s = 0.01;
    question.ingest_busy_square_s2 = 1e-4;
    question.delivery_s = 0.001;
    assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
    assert_near(answer.mean_wait_s, 0.030, 1e-6);
    assert_near(answer.mean_ttft_s, 0.041, 1e-6);
    assert_near(answer.mean_e2e_s, 1.041, 1e-6);
    assert_near(answer.stable_below_per_s, 100, 1e-9);
    question.arrival_rate_per_s = 100;
    assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_NO);
}

/* Steps that grow with the batch: processor sharing with rate m / (a + b m), a negative binomial number of
 * decodes. */
static void test_growing_steps(void **state)
{
    (void)state;
    struct affine affine = {.step_s = 0.01, .decode_s = 1e-4};
    const struct km_step_clock clock = {.context = &affine, .time = affine_time, .pace.stages = 1};
    struct km_length_mix mix;
    mix_of(&mix, 10, 101);
    static const double rates[] = {1, 10, 50, 80};
    for (size_t i = 0; i < COUNT(rates); i++) {
        struct km_continuous_answer answer;
        const struct km_continuous_question question = question_of(&clock, &mix, rates[i]);
        assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
        double a = rates[i] * 100 * 0.01, b = rates[i] * 100 * 1e-4, mean = (a + b) / (1 - b);
        assert_near(answer.mean_tpot_s, mean / rates[i] / 100, 1e-6);
    }
}

/* A pool of M slots and exponential-like work is M/M/c: the wait follows Erlang's C formula within a few
 * percent (the slots are not whole, the work is geometric). */
static void test_slots_make_a_queue(void **state)
{
    (void)state;
    struct affine affine = {.step_s = 1e-3};
    const struct km_step_clock clock = {.context = &affine, .time = affine_time, .pace.stages = 1};
    struct km_length_mix mix;
    mix_of(&mix, 10, 2001);
    struct km_continuous_question question = question_of(&clock, &mix, 0);
    question.max_num_seqs = 10;
    for (double load = 0.5; load < 0.96; load += 0.15) {
        question.arrival_rate_per_s = load * 10 / 2.001;
        struct km_continuous_answer answer;
        assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
        assert_near(answer.utilization, load, 1e-6);
        double offered = load * 10, term = 1, sum = 0;
        for (int k = 0; k < 10; k++) {
            sum += term;
            term *= offered / (k + 1);
        }
        double erlang_c = term / (1 - load) / (sum + term / (1 - load)),
               wait_s = erlang_c * 2.001 / (10 * (1 - load));
        assert_near(answer.mean_wait_s, wait_s + 0.5e-3, 0.05);
    }
}

static void test_unstable_says_where_it_is_stable(void **state)
{
    (void)state;
    struct affine affine = {.step_s = 0.01, .decode_s = 1e-4, .prompt_s = 1e-5};
    const struct km_step_clock clock = {.context = &affine, .time = affine_time, .pace.stages = 1};
    struct km_length_mix mix;
    struct km_continuous_answer answer;
    struct km_error error;
    mix_of(&mix, 500, 101);
    struct km_continuous_question question = question_of(&clock, &mix, 1e4);
    assert_int_equal(km_continuous_solve(&question, &answer, &error), KM_NO);
    assert_non_null(strstr(error.message, "stable below"));
    assert_true(!answer.stable && answer.utilization > 1 && isnan(answer.mean_e2e_s));
    question.arrival_rate_per_s = 0.98 * answer.stable_below_per_s;
    assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
    assert_near(answer.utilization, 0.98, 1e-9);
}

static void test_what_limits_the_slots(void **state)
{
    (void)state;
    struct affine affine = {.step_s = 0.01, .prompt_s = 1e-6};
    const struct km_step_clock clock = {.context = &affine, .time = affine_time, .pace.stages = 1};
    struct km_length_mix mix;
    struct km_continuous_answer answer;
    mix_of(&mix, 500, 101);
    struct km_continuous_question question = question_of(&clock, &mix, 1);
    assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
    assert_int_equal(answer.slots_by, KM_SLOTS_BY_SEQUENCES);
    question.max_num_batched_tokens = 512;
    assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
    assert_int_equal(answer.slots_by, KM_SLOTS_BY_TOKENS);
    assert_near(answer.slots, 512.0 * 100 / 600, 1e-9);
    question.kv_blocks = 400;
    assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
    assert_int_equal(answer.slots_by, KM_SLOTS_BY_KV);
    assert_true(answer.slots > 5 && answer.slots < 400 / (550 / 16.0));
}

static void test_bad_input(void **state)
{
    (void)state;
    struct affine affine = {.step_s = 0.01};
    const struct km_step_clock clock = {.context = &affine, .time = affine_time, .pace.stages = 1};
    struct km_length_mix mix, empty = {0};
    mix_of(&mix, 10, 11);
    const struct km_continuous_question good = question_of(&clock, &mix, 1);
    struct km_continuous_question bad[7];
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = good;
    bad[0].arrival_rate_per_s = 0;
    bad[1].arrival_rate_per_s = (double)NAN;
    bad[2].arrival_rate_per_s = HUGE_VAL;
    bad[3].max_num_seqs = 0;
    bad[4].max_num_batched_tokens = 0;
    bad[5].block_size = 0;
    bad[6].mix = &empty;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct km_continuous_answer answer;
        struct km_error error = {0};
        assert_int_equal(km_continuous_solve(&bad[i], &answer, &error), KM_BAD_INPUT);
        assert_true(error.message[0] != '\0');
    }
}

/* Any engine and any lengths: an answer or a clear no; never a NaN, never less than a request takes alone. */
static void test_random_questions(void **state)
{
    (void)state;
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    for (int round = 0; round < 150; round++) {
        struct affine affine = {.step_s = pow(10, -4 + 2 * gsl_rng_uniform(rng)),
                                .decode_s = pow(10, -7 + 3 * gsl_rng_uniform(rng)),
                                .prompt_s = pow(10, -7 + 3 * gsl_rng_uniform(rng))};
        const struct km_step_clock clock = {.context = &affine,
                                            .time = affine_time,
                                            .pace.stages = 1 + (uint32_t)gsl_rng_uniform_int(rng, 3),
                                            .pace.overlapped = gsl_rng_uniform_int(rng, 2) == 1};
        struct km_length_mix mix;
        mix_of(&mix, ceil(pow(10, 4 * gsl_rng_uniform(rng))), pow(10, 3 * gsl_rng_uniform(rng)));
        struct km_continuous_question question = question_of(&clock, &mix, 1e-9);
        question.max_num_seqs = 1 + (uint32_t)gsl_rng_uniform_int(rng, 512);
        question.max_num_batched_tokens = 16 + (uint32_t)gsl_rng_uniform_int(rng, 8192);
        question.kv_blocks = gsl_rng_uniform_int(rng, 2) ? 2000 + gsl_rng_uniform_int(rng, 50000) : 0;
        question.long_prefill_token_threshold = gsl_rng_uniform_int(rng, 4) == 0 ? 256 : 0;
        struct km_continuous_answer idle, answer;
        assert_int_equal(km_continuous_solve(&question, &idle, NULL), KM_OK);
        double alone_s = affine.step_s + affine.prompt_s * mix.prompt_mean +
                         mix.decode_mean * (affine.step_s + affine.decode_s),
               before_s = 0;
        if (clock.pace.stages == 1 && mix.prompt_mean <= 16)
            assert_near(idle.mean_e2e_s, alone_s, 0.02);
        static const double loads[] = {0.05, 0.4, 0.8, 0.97};
        for (size_t i = 0; i < COUNT(loads); i++) {
            question.arrival_rate_per_s = loads[i] * idle.stable_below_per_s;
            assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_OK);
            assert_true(isfinite(answer.mean_e2e_s) && isfinite(answer.mean_wait_s) &&
                        isfinite(answer.mean_running));
            assert_true(answer.mean_e2e_s >= answer.mean_ttft_s && answer.mean_ttft_s >= answer.mean_wait_s);
            assert_true(answer.mean_wait_s >= 0 && answer.mean_waiting >= 0 && answer.mean_running > 0);
            assert_true(answer.prefill_share >= 0 && answer.prefill_share <= 1);
            assert_true(clock.pace.stages > 1 || answer.mean_e2e_s > 0.99 * before_s);
            before_s = answer.mean_e2e_s;
        }
        question.arrival_rate_per_s = 1.01 * idle.stable_below_per_s;
        assert_int_equal(km_continuous_solve(&question, &answer, NULL), KM_NO);
    }
    gsl_rng_free(rng);
}

/* --- against the event core -------------------------------------------------------------------------------
 */

struct real_case {
    const char *name;
    double load, tolerance;
    struct km_override overrides[3];
};

static void against_simulation(const struct real_case *c)
{
    struct km_override overrides[8] = {
        {"workload", "{arrivals: {process: poisson, rate_per_s: 1}, prompt_tokens: {distribution: lognormal, "
                     "mean: 600, sd: 500, "
                     "max: 8000}, output_tokens: {distribution: geometric, mean: 80}, requests: 30000}"},
        {"slo", "{}"}};
    size_t count = 2;
    for (size_t i = 0; i < COUNT(c->overrides) && c->overrides[i].key; i++)
        overrides[count++] = c->overrides[i];
    struct km_scenario scenario;
    struct km_fleet fleet;
    struct km_queue_question question;
    struct km_continuous_answer answer;
    struct km_run_result result;
    assert_int_equal(km_scenario_read("configs/quickstart.yaml", overrides, count, &scenario, NULL), KM_OK);
    assert_int_equal(km_fleet_create(&scenario, &fleet, NULL), KM_OK);
    assert_int_equal(km_queue_question_init(&question, fleet.groups, NULL), KM_OK);
    assert_true(question.poisson && question.arrival_rate_per_s == 1);
    assert_int_equal(km_continuous_solve(&question.continuous, &answer, NULL), KM_OK);
    double rate = c->load * answer.stable_below_per_s;
    question.continuous.arrival_rate_per_s = scenario.workload.rate_per_s = rate;
    assert_int_equal(km_continuous_solve(&question.continuous, &answer, NULL), KM_OK);
    const struct km_run_options options = {.fast_forward = true};
    assert_int_equal(km_fleet_run(&fleet, &scenario.workload, 3, &options, &result, NULL), KM_OK);
    const struct km_latency_summary *e2e = &result.summary.latency[KM_E2E];
    double error = answer.mean_e2e_s / e2e->mean_s - 1;
    if (!(fabs(error) <= c->tolerance))
        fail_msg("%s at load %g: E2E %g s, simulated %g +- %g s", c->name, c->load, answer.mean_e2e_s,
                 e2e->mean_s, e2e->ci95_s);
    km_queue_question_release(&question);
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

static void test_against_simulation(void **state)
{
    (void)state;
    static const struct real_case cases[] = {
        {"vllm", 0.3, 0.03, {{0}}},
        {"vllm", 0.8, 0.05, {{0}}},
        {"ideal", 0.7, 0.05, {{"engine", "{name: ideal}"}}},
        {"serial", 0.7, 0.05, {{"engine.batching.async_scheduling", "false"}}},
        {"few slots", 0.8, 0.05, {{"engine.batching.max_num_seqs", "16"}}},
        {"small budget", 0.7, 0.05, {{"engine.batching.max_num_batched_tokens", "512"}}},
        {"short pieces", 0.7, 0.05, {{"engine.batching.long_prefill_token_threshold", "256"}}},
        {"small pool", 0.8, 0.05, {{"engine.kv.num_gpu_blocks_override", "2000"}}},
        {"two stages", 0.7, 0.10, {{"cluster.pipeline_parallel_size", "2"}}},
        {"first token only", 0.5, 0.10, {{"workload.output_tokens", "1"}}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        against_simulation(&cases[i]);
}

/* --- the question of a scenario
 * ----------------------------------------------------------------------------- */

static enum km_status ask(const char *workload, const char *replicas, struct km_queue_question *out,
                          double *rate, struct km_error *error)
{
    const struct km_override overrides[] = {{"workload", workload}, {"cluster.replicas", replicas}};
    struct km_scenario scenario;
    struct km_setup setup;
    assert_int_equal(km_scenario_read("configs/quickstart.yaml", overrides, 2, &scenario, NULL), KM_OK);
    assert_int_equal(km_setup_create(&scenario, &setup, NULL), KM_OK);
    enum km_status status = km_queue_question_init(out, &setup, error);
    *rate = out->arrival_rate_per_s;
    km_setup_release(&setup);
    km_scenario_release(&scenario);
    return status;
}

static void test_question_of_a_trace(void **state)
{
    (void)state;
    struct km_queue_question question, half;
    double rate, half_rate;
    assert_int_equal(ask("{trace: ../traces/conversation-synthetic.csv}", "1", &question, &rate, NULL),
                     KM_OK);
    assert_true(!question.poisson);
    assert_near(rate, 5.4, 0.05); /* drawn at that rate */
    assert_near(question.mix.prompt_mean, 1155, 0.05);
    assert_int_equal(question.output_tokens.kind, KM_DIST_EMPIRICAL);
    assert_near(km_distribution_mean_tokens(&question.output_tokens), question.mix.output_mean, 1e-12);
    assert_int_equal(
        ask("{trace: ../traces/conversation-synthetic.csv, rate_scale: 3}", "2", &half, &half_rate, NULL),
        KM_OK);
    assert_near(half_rate, 1.5 * rate, 1e-6);
    km_queue_question_release(&question);
    km_queue_question_release(&half);
}

static void test_questions_without_a_rate(void **state)
{
    (void)state;
    static const char *const workloads[] = {
        "{arrivals: {process: closed_loop, clients: 3}, prompt_tokens: 5, output_tokens: 5, requests: 10}",
        "{trace: ../traces/conversation-synthetic.csv, requests: 1}",
    };
    for (size_t i = 0; i < COUNT(workloads); i++) {
        struct km_queue_question question;
        struct km_error error = {0};
        double rate;
        assert_int_equal(ask(workloads[i], "1", &question, &rate, &error), KM_BAD_INPUT);
        assert_non_null(strstr(error.message, "arrival rate"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant_steps),
        cmocka_unit_test(test_ingest),
        cmocka_unit_test(test_growing_steps),
        cmocka_unit_test(test_slots_make_a_queue),
        cmocka_unit_test(test_unstable_says_where_it_is_stable),
        cmocka_unit_test(test_what_limits_the_slots),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_random_questions),
        cmocka_unit_test(test_against_simulation),
        cmocka_unit_test(test_question_of_a_trace),
        cmocka_unit_test(test_questions_without_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
