/* The service laws fitted to engines whose law is known, to engines that follow none, and to a real model;
 * and the lengths the fit rests on. */
#include "queueing/continuous/fit.h"
#include "scenario/queue_question.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void mix_of(struct km_length_mix *mix, double prompt_mean, double output_mean)
{
    const struct km_distribution prompt = {.kind = KM_DIST_GEOMETRIC, .mean = prompt_mean};
    const struct km_distribution output = {.kind = KM_DIST_GEOMETRIC, .mean = output_mean};
    assert_int_equal(km_length_mix_independent(mix, &prompt, &output, NULL), KM_OK);
}

/* --- lengths ------------------------------------------------------------------------------------------- */

static void test_recorded_lengths(void **state)
{
    (void)state;
    const uint32_t prompts[] = {10, 20, 30, 40}, outputs[] = {1, 3, 5, 7};
    struct km_length_mix mix;
    assert_int_equal(km_length_mix_recorded(&mix, prompts, outputs, 4, NULL), KM_OK);
    assert_near(mix.prompt_mean, 25, 1e-12);
    assert_near(mix.prompt_square, 750, 1e-12);
    assert_near(mix.output_mean, 4, 1e-12);
    assert_near(mix.decode_mean, 3, 1e-12);
    assert_near(mix.decode_square, 14, 1e-12);                         /* (0 + 4 + 16 + 36) / 4 */
    assert_near(mix.prompt_decode_mean, 100, 1e-12);                   /* (0 + 40 + 120 + 240) / 4 */
    assert_near(km_length_mix_context(&mix), 36.1666666666667, 1e-12); /* (100 + (14 + 3) / 2) / 3 */
    assert_near(mix.prompt_class[0], 10, 1e-12);
    assert_near(mix.prompt_top[KM_LENGTH_TOP - 1], 40, 1e-12);
}

static void test_classes_keep_the_mean(void **state)
{
    (void)state;
    const struct km_distribution tokens = {.kind = KM_DIST_LOGNORMAL, .mu = 5, .sigma = 1.2};
    const struct km_distribution one = {.kind = KM_DIST_CONSTANT, .value = 1};
    struct km_length_mix mix;
    assert_int_equal(km_length_mix_independent(&mix, &tokens, &one, NULL), KM_OK);
    double sum = 0, top = 0;
    for (size_t i = 0; i < KM_LENGTH_CLASSES; i++) {
        sum += mix.prompt_class[i] / KM_LENGTH_CLASSES;
        assert_true(i == 0 || mix.prompt_class[i] > mix.prompt_class[i - 1]);
    }
    for (unsigned i = 0; i < KM_LENGTH_TOP; i++)
        top += mix.prompt_top[i] * km_length_top_share(i);
    assert_near(sum, mix.prompt_mean, 1e-7); /* what lies beyond the cut */
    assert_near(top, mix.prompt_class[KM_LENGTH_CLASSES - 1], 1e-9);
    assert_true(km_length_mix_context(&mix) == 0); /* nobody decodes */
    assert_true(mix.decode_mean == 0);
}

static void test_pieces(void **state)
{
    (void)state;
    const uint32_t prompts[] = {100, 350}, outputs[] = {5, 5};
    struct km_length_mix mix, pieces;
    assert_int_equal(km_length_mix_recorded(&mix, prompts, outputs, 2, NULL), KM_OK);
    assert_near(km_length_mix_pieces(&mix, 150, &pieces), 2, 1e-12); /* 100; 150, 150, 50 */
    assert_near(pieces.prompt_mean, 112.5, 1e-12);
    assert_near(pieces.prompt_square, (10000 + 2 * 22500 + 2500) / 4.0, 1e-12);
    assert_near(pieces.prompt_class[0], 50, 1e-12);
    assert_near(pieces.prompt_class[KM_LENGTH_CLASSES - 1], 150, 1e-12);
    assert_true(pieces.decode_mean == mix.decode_mean);
    assert_near(km_length_mix_pieces(&mix, 350, &pieces), 1, 1e-12);
    assert_near(pieces.prompt_mean, mix.prompt_mean, 1e-12);
}

static void test_window_cuts_contexts(void **state)
{
    (void)state;
    const uint32_t prompts[] = {100}, outputs[] = {101};
    struct km_length_mix mix;
    assert_int_equal(km_length_mix_recorded(&mix, prompts, outputs, 1, NULL), KM_OK);
    assert_near(km_length_mix_context(&mix), 150.5, 1e-12);
    assert_near(km_length_mix_windowed(&mix, 0), 150.5, 1e-12);
    assert_near(km_length_mix_windowed(&mix, 64), 64, 1e-12);
    assert_near(km_length_mix_windowed(&mix, 150), (50 * 125.5 + 50 * 150) / 100, 1e-12);
    assert_near(km_length_mix_context_variance(&mix), (100.0 * 100.0 - 1.0) / 12.0, 1e-9);
}

/* --- an engine with the paper's law --------------------------------------------------------------------- */

static const struct km_cost_model *linear_model(void)
{
    return (const struct km_cost_model *)(const void *)km_registry_find(km_cost_registry, "linear");
}

/* A cost model by itself, without a host. */
struct cost_clock {
    const struct km_cost_model *cost;
    const void *state;
};

static void cost_time(void *context, const struct km_step_shape *shape, struct km_step_seconds *out)
{
    const struct cost_clock *clock = context;
    *out = (struct km_step_seconds){.captured = true};
    clock->cost->step(clock->state, shape, &out->device_s);
    out->slowest_s = out->device_s;
}

static void test_linear_is_found_again(void **state)
{
    (void)state;
    static const struct km_linear_law laws[] = {
        {0.01, 0.02, 1e-4, 5e-3}, {0, 0.02, 1e-4, 5e-3}, {0.01, 0, 0, 5e-3}, {0, 0, 3e-3, 0}, {0, 0, 0, 1}};
    struct km_length_mix mix;
    mix_of(&mix, 300, 120);
    for (size_t i = 0; i < COUNT(laws); i++) {
        const struct km_cost_config config = {.layout = {.tensor_parallel = 1, .pipeline_parallel = 1},
                                              .linear = laws[i]};
        void *model = NULL;
        assert_int_equal(linear_model()->create(&config, &model, NULL), KM_OK);
        struct cost_clock source = {linear_model(), model};
        const struct km_step_clock clock = {.context = &source, .time = cost_time, .pace.stages = 1};
        const struct km_law_question question = {&clock, &mix, 64, UINT32_MAX};
        struct km_law_fit law;
        struct km_service_fit service;
        assert_int_equal(km_law_fit_find(&question, &law, NULL), KM_OK);
        assert_near(law.law.k1 + 1, laws[i].k1 + 1, 1e-7);
        assert_near(law.law.k2 + 1, laws[i].k2 + 1, 1e-7);
        assert_near(law.law.k3 + 1, laws[i].k3 + 1, 1e-7);
        assert_near(law.law.k4 + 1, laws[i].k4 + 1, 1e-7);
        assert_true(law.quality.max_relative < 1e-4 && !law.quality.poor);
        assert_int_equal(km_service_fit_find(&question, &service, NULL), KM_OK);
        assert_near(service.a_s, laws[i].k3 + laws[i].k4, 1e-6);
        assert_near(service.c_s + 1, laws[i].k1 + laws[i].k2 + 1, 1e-6);
        linear_model()->destroy(model);
    }
}

/* --- engines that follow no law ------------------------------------------------------------------------- */

struct shaped {
    double host_s, power;
};

static void shaped_time(void *context, const struct km_step_shape *shape, struct km_step_seconds *out)
{
    const struct shaped *shaped = context;
    double rows = (double)km_step_tokens(shape);
    *out = (struct km_step_seconds){.form_s = shaped->host_s, .captured = true};
    out->device_s = out->slowest_s = 1e-3 * pow(rows, shaped->power);
}

static void test_estimates_are_never_negative(void **state)
{
    (void)state;
    struct km_length_mix mix;
    mix_of(&mix, 300, 120);
    for (double power = -0.5; power <= 3.0; power += 0.25) {
        struct shaped shaped = {.power = power};
        const struct km_step_clock clock = {.context = &shaped, .time = shaped_time, .pace.stages = 1};
        const struct km_law_question question = {&clock, &mix, 64, UINT32_MAX};
        struct km_law_fit fit;
        assert_int_equal(km_law_fit_find(&question, &fit, NULL), KM_OK);
        assert_true(fit.law.k1 >= 0 && fit.law.k2 >= 0 && fit.law.k3 >= 0 && fit.law.k4 >= 0);
        assert_true(fit.law.k1 + fit.law.k2 + fit.law.k3 + fit.law.k4 > 0);
        assert_true(fit.quality.rms_relative <= fit.quality.max_relative);
        assert_true(fit.quality.worst_batch >= 1 && fit.quality.worst_batch <= 64);
        assert_true(fit.quality.poor ==
                    (power != 0.0 && power != 1.0)); /* constant and proportional steps are laws */
    }
}

static void test_host_time_is_part_of_a_serial_engine(void **state)
{
    (void)state;
    struct km_length_mix mix;
    mix_of(&mix, 300, 120);
    double a_s[2][2]; /* [overlapped][with host] */
    for (int overlapped = 0; overlapped < 2; overlapped++)
        for (int host = 0; host < 2; host++) {
            struct shaped shaped = {.host_s = host ? 4e-4 : 0, .power = 0};
            const struct km_step_clock clock = {
                .context = &shaped, .time = shaped_time, .pace.stages = 1, .pace.overlapped = overlapped};
            const struct km_law_question question = {&clock, &mix, 1, UINT32_MAX};
            struct km_service_fit fit;
            assert_int_equal(km_service_fit_find(&question, &fit, NULL), KM_OK);
            a_s[overlapped][host] = fit.a_s;
        }
    assert_near(a_s[0][1] - a_s[0][0], 4e-4, 1e-6);
    assert_near(a_s[1][1], a_s[1][0], 1e-12); /* hidden behind a longer step */
}

static void test_a_batch_of_one_leaves_no_batch_terms(void **state)
{
    (void)state;
    struct km_length_mix mix;
    mix_of(&mix, 50, 120);
    struct shaped shaped = {.power = 0.5};
    const struct km_step_clock clock = {.context = &shaped, .time = shaped_time, .pace.stages = 1};
    const struct km_law_question question = {&clock, &mix, 1, UINT32_MAX};
    struct km_law_fit law;
    struct km_service_fit service;
    assert_int_equal(km_law_fit_find(&question, &law, NULL), KM_OK);
    assert_int_equal(km_service_fit_find(&question, &service, NULL), KM_OK);
    assert_near(law.law.k3 + law.law.k4, 1e-3, 1e-3);
    assert_near(law.law.k1 + law.law.k2, 1e-3 * (sqrt(50) - 1), 0.02);
    assert_near(service.a_s, 1e-3, 1e-6);
}

static void test_prompts_beyond_the_budget_take_more_steps(void **state)
{
    (void)state;
    const uint32_t prompts[] = {1000}, outputs[] = {1};
    struct km_length_mix mix;
    assert_int_equal(km_length_mix_recorded(&mix, prompts, outputs, 1, NULL), KM_OK);
    struct shaped shaped = {.power = 0}; /* 1 ms a step */
    const struct km_step_clock clock = {.context = &shaped, .time = shaped_time, .pace.stages = 1};
    static const struct {
        uint32_t budget;
        double seconds;
    } cases[] = {{1000, 1e-3}, {999, 2e-3}, {300, 4e-3}, {1, 1.0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_law_question question = {&clock, &mix, 1, cases[i].budget};
        struct km_service_fit fit;
        assert_int_equal(km_service_fit_find(&question, &fit, NULL), KM_OK);
        assert_near(fit.a_s + fit.c_s, cases[i].seconds, 1e-9);
    }
}

/* --- a real model ----------------------------------------------------------------------------------------
 */

static void test_roofline(void **state)
{
    (void)state;
    const struct km_override overrides[] = {{"workload.trace", "../traces/conversation-synthetic.csv"}};
    struct km_scenario scenario;
    struct km_setup setup;
    struct km_queue_question question;
    struct km_law_fit law;
    struct km_service_fit service;
    assert_int_equal(km_scenario_read("configs/quickstart.yaml", overrides, 1, &scenario, NULL), KM_OK);
    assert_int_equal(km_setup_create(&scenario, &setup, NULL), KM_OK);
    assert_int_equal(km_queue_question_init(&question, &setup, NULL), KM_OK);
    assert_int_equal(km_law_fit_find(&question.fit, &law, NULL), KM_OK);
    assert_int_equal(km_service_fit_find(&question.fit, &service, NULL), KM_OK);
    assert_true(law.quality.points == 9 * (KM_LENGTH_CLASSES + 1)); /* b = 1, 2, 4 .. 256 */
    assert_true(law.quality.rms_relative < 0.03 && law.quality.max_relative < 0.2 && !law.quality.poor);
    assert_true(service.quality.rms_relative < 2e-3);
    /* The recorded engine's clean decode step at batch 1 takes 4.97 ms; contexts here are a few times longer.
     */
    assert_near(service.a_s, 5.0e-3, 0.03);
    km_queue_question_release(&question);
    km_setup_release(&setup);
    km_scenario_release(&scenario);
}

/* Even when every request is as long, the fit tells a token's time from a request's. */
static void test_constant_lengths(void **state)
{
    (void)state;
    const uint32_t prompts[] = {200}, outputs[] = {50};
    struct km_length_mix mix;
    assert_int_equal(km_length_mix_recorded(&mix, prompts, outputs, 1, NULL), KM_OK);
    const struct km_cost_config config = {.layout = {.tensor_parallel = 1, .pipeline_parallel = 1},
                                          .linear = {0.01, 0.02, 1e-4, 5e-3}};
    void *model = NULL;
    assert_int_equal(linear_model()->create(&config, &model, NULL), KM_OK);
    struct cost_clock source = {linear_model(), model};
    const struct km_step_clock clock = {.context = &source, .time = cost_time, .pace.stages = 1};
    const struct km_law_question question = {&clock, &mix, 8, UINT32_MAX};
    struct km_service_fit service;
    assert_int_equal(km_service_fit_find(&question, &service, NULL), KM_OK);
    assert_near(service.a_s, 5.1e-3, 1e-6);
    assert_near(service.c_s, 0.03, 1e-6);
    linear_model()->destroy(model);
}

/* --- bad input -------------------------------------------------------------------------------------------
 */

static void zero_time(void *context, const struct km_step_shape *shape, struct km_step_seconds *out)
{
    (void)context, (void)shape;
    *out = (struct km_step_seconds){.captured = true};
}

static void test_bad_input(void **state)
{
    (void)state;
    struct km_length_mix mix;
    mix_of(&mix, 30, 12);
    struct shaped shaped = {.power = 1};
    const struct km_step_clock clock = {.context = &shaped, .time = shaped_time, .pace.stages = 1};
    const struct km_step_clock nothing = {.time = zero_time, .pace.stages = 1};
    const struct km_law_question questions[] = {
        {&clock, &mix, 0, 100}, {&clock, &mix, 1, 0}, {&nothing, &mix, 4, 100}};
    for (size_t i = 0; i < COUNT(questions); i++) {
        struct km_error error = {0};
        struct km_law_fit law;
        struct km_service_fit service;
        assert_int_equal(km_law_fit_find(&questions[i], &law, &error), KM_BAD_INPUT);
        assert_true(error.message[0] != '\0');
        assert_int_equal(km_service_fit_find(&questions[i], &service, NULL), KM_BAD_INPUT);
    }
    const struct km_distribution good = {.kind = KM_DIST_CONSTANT, .value = 5},
                                 bad = {.kind = KM_DIST_GEOMETRIC};
    assert_int_equal(km_length_mix_independent(&mix, &bad, &good, NULL), KM_BAD_INPUT);
    assert_int_equal(km_length_mix_independent(&mix, &good, &bad, NULL), KM_BAD_INPUT);
    const uint32_t zero = 0, one = 1;
    assert_int_equal(km_length_mix_recorded(&mix, &one, &one, 0, NULL), KM_BAD_INPUT);
    assert_int_equal(km_length_mix_recorded(&mix, &zero, &one, 1, NULL), KM_BAD_INPUT);
    assert_int_equal(km_length_mix_recorded(&mix, &one, &zero, 1, NULL), KM_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_lengths),
        cmocka_unit_test(test_classes_keep_the_mean),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_window_cuts_contexts),
        cmocka_unit_test(test_linear_is_found_again),
        cmocka_unit_test(test_estimates_are_never_negative),
        cmocka_unit_test(test_host_time_is_part_of_a_serial_engine),
        cmocka_unit_test(test_a_batch_of_one_leaves_no_batch_terms),
        cmocka_unit_test(test_prompts_beyond_the_budget_take_more_steps),
        cmocka_unit_test(test_roofline),
        cmocka_unit_test(test_constant_lengths),
        cmocka_unit_test(test_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
