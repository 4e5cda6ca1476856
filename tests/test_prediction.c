/* What each kind of prediction says, and how wrong it is. */
#include "prediction/prediction.h"

#include "base/random.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A kind with settings read as a scenario's are. */
static struct km_prediction read(const char *text, struct km_arena *arena)
{
    struct km_error error;
    struct km_yaml *root;
    const struct km_settings_context context = {.arena = arena, .folder = ""};
    assert_int_equal(km_yaml_parse(text, strlen(text), "test", true, arena, &root, &error), KM_OK);
    const struct km_prediction_kind *kind = (const struct km_prediction_kind *)(const void *)km_registry_find(
        km_prediction_registry, km_yaml_get(root, "kind")->text);
    void *settings = km_arena_alloc(arena, kind->settings_bytes);
    memcpy(settings, kind->defaults, kind->settings_bytes);
    if (km_settings_read(root, kind->settings, KM_SETTINGS_WHOLE, settings, NULL, &context, &error) != KM_OK)
        fail_msg("%s", error.message);
    return (struct km_prediction){kind, settings};
}

static float ask(struct km_predictor *predictor, uint32_t output_tokens, uint32_t class_index)
{
    const struct km_request request = {
        .prompt_tokens = 10, .output_tokens = output_tokens, .class_index = class_index};
    return km_predictor_ask(predictor, &request);
}

static void none_and_oracle(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    const struct km_prediction absent = {0}, none = read("{kind: none}", &arena),
                               oracle = read("{kind: oracle}", &arena);
    assert_false(km_prediction_predicts(&absent));
    assert_false(km_prediction_predicts(&none));
    assert_true(km_prediction_predicts(&oracle));
    struct km_predictor *predictor = km_predictor_create(&none, 1);
    assert_true(ask(predictor, 7, 0) == 0);
    km_predictor_learn(predictor, 0, 7);
    km_predictor_destroy(predictor);
    predictor = km_predictor_create(&oracle, 1);
    assert_true(ask(predictor, 7, 0) == 7);
    assert_true(ask(predictor, 1, 3) == 1);
    km_predictor_destroy(predictor);
    km_arena_release(&arena);
}

static void history_is_the_mean_of_the_class(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    const struct km_prediction history = read("{kind: history, initial_tokens: 50}", &arena);
    struct km_predictor *predictor = km_predictor_create(&history, 1);
    assert_true(ask(predictor, 7, 2) == 50);
    km_predictor_learn(predictor, 0, 10);
    assert_true(ask(predictor, 7, 2) == 10); /* of all */
    km_predictor_learn(predictor, 2, 40);
    km_predictor_learn(predictor, 2, 60);
    assert_true(ask(predictor, 7, 2) == 50);
    assert_true(ask(predictor, 7, 0) == 10);
    assert_true(fabsf(ask(predictor, 7, 900) - 110.0f / 3) < 1e-4f);
    /* Never more than the client allows. */
    const struct km_request limited = {.output_tokens = 7, .class_index = 2, .max_tokens = 20};
    assert_true(km_predictor_ask(predictor, &limited) == 20);
    km_predictor_destroy(predictor);
    km_arena_release(&arena);
}

static void buckets_name_their_upper_end(void **state)
{
    (void)state;
    static const struct {
        uint32_t output_tokens;
        float predicted;
    } cases[] = {{1, 100}, {100, 100}, {101, 200}, {300, 300}, {301, 400}, {400, 400}, {4000, 400}};
    struct km_arena arena = {0};
    const struct km_prediction right = read("{kind: buckets, bucket_tokens: 100, count: 4}", &arena);
    struct km_predictor *predictor = km_predictor_create(&right, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(ask(predictor, cases[i].output_tokens, 0) == cases[i].predicted);
    km_predictor_destroy(predictor);

    /* 0.7 right, 0.15 on either side: within 5 standard deviations of 20,000 throws. */
    const struct km_prediction wrong =
        read("{kind: buckets, bucket_tokens: 100, count: 4, accuracy: 0.7}", &arena);
    uint32_t counts[5] = {0}, throws = 20000;
    predictor = km_predictor_create(&wrong, 1);
    for (uint32_t i = 0; i < throws; i++)
        counts[(uint32_t)ask(predictor, 150, 0) / 100]++;
    assert_true(fabs(counts[2] / (double)throws - 0.7) < 5 * sqrt(0.7 * 0.3 / throws));
    assert_true(fabs(counts[1] / (double)throws - 0.15) < 5 * sqrt(0.15 * 0.85 / throws));
    assert_int_equal(counts[1] + counts[2] + counts[3], throws);
    km_predictor_destroy(predictor);
    km_arena_release(&arena);
}

static void noise_is_lognormal(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    const struct km_prediction noisy = read("{kind: noisy, sigma: 0.5}", &arena);
    struct km_predictor *predictor = km_predictor_create(&noisy, 1);
    double sum = 0, squares = 0;
    uint32_t count = 20000;
    for (uint32_t i = 0; i < count; i++) {
        double error = log((double)ask(predictor, 1000, 0) / 1000);
        sum += error;
        squares += error * error;
    }
    double mean = sum / count, sd = sqrt(squares / count - mean * mean);
    assert_true(fabs(mean) < 5 * 0.5 / sqrt(count));
    assert_true(fabs(sd - 0.5) < 5 * 0.5 / sqrt(2.0 * count));
    km_predictor_destroy(predictor);
    km_arena_release(&arena);
}

/* Kendall's tau-b of scores and lengths, counted pair by pair: ties in the (whole) lengths count for neither. */
static double kendall(const float *scores, const uint32_t *lengths, size_t count)
{
    double agree = 0, pairs = 0, untied = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++) {
            pairs++;
            if (lengths[i] == lengths[j])
                continue;
            untied++;
            agree += (scores[i] < scores[j]) == (lengths[i] < lengths[j]) ? 1 : -1;
        }
    return agree / sqrt(pairs * untied);
}

static void rank_agrees_to_its_tau(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static const char *const texts[] = {"{kind: rank, kendall_tau: 0.3}", "{kind: rank, kendall_tau: 0.6}",
                                        "{kind: rank, kendall_tau: 1}"};
    static const double taus[] = {0.3, 0.6, 1.0};
    static float scores[COUNT];
    static uint32_t lengths[COUNT];
    struct km_arena arena = {0};
    for (size_t t = 0; t < sizeof taus / sizeof *taus; t++) {
        const struct km_prediction rank = read(texts[t], &arena);
        struct km_predictor *predictor = km_predictor_create(&rank, 1);
        gsl_rng *rng = km_random_stream(1, KM_RANDOM_OUTPUT_TOKENS);
        for (size_t i = 0; i < COUNT; i++) {
            lengths[i] = (uint32_t)ceil(gsl_ran_lognormal(rng, 6, 1));
            scores[i] = ask(predictor, lengths[i], 0);
        }
        gsl_rng_free(rng);
        km_predictor_destroy(predictor);
        /* The standard deviation of the estimate is below 2/3 / sqrt(n) (Kendall 1938, independence: 4/9n). */
        double tau = kendall(scores, lengths, COUNT);
        if (fabs(tau - taus[t]) > 4 * 2 / 3.0 / sqrt(COUNT))
            fail_msg("tau %g instead of %g", tau, taus[t]);
    }
    km_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_and_oracle), cmocka_unit_test(history_is_the_mean_of_the_class),
        cmocka_unit_test(buckets_name_their_upper_end), cmocka_unit_test(noise_is_lognormal),
        cmocka_unit_test(rank_agrees_to_its_tau)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
