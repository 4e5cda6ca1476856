/* One request at a time: closed forms that hold exactly, limits, and inputs without an answer. */
#include "queueing/single/cramer_lundberg.h"
#include "queueing/single/mg1_impatient.h"
#include "queueing/single/token_limit.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_rng.h>

#include <cmocka.h>

static struct km_token_law law_of(struct km_distribution distribution)
{
    struct km_token_law law;
    assert_int_equal(km_token_law_init(&law, &distribution, NULL), KM_OK);
    return law;
}

/* Erlang 1909: P(W <= t) of M/D/1 with service time d (Tijms, A First Course in Stochastic Models, 2003,
 * section 9.2.3). */
static double md1_cdf(double lambda, double d, double t)
{
    double sum = 0;
    for (int k = 0; k <= (int)(t / d); k++) {
        double x = lambda * (k * d - t);
        double term = exp(-x);
        for (int j = 1; j <= k; j++)
            term *= x / j;
        sum += term;
    }
    return (1 - lambda * d) * sum;
}

static void test_md1(void **state)
{
    (void)state;
    struct km_token_law law = law_of((struct km_distribution){.kind = KM_DIST_CONSTANT, .value = 40});
    static const double loads[] = {0.05, 0.5, 0.9};
    static const double t_s[] = {0, 0.3, 1, 1.7, 3, 4.2};
    double p[6];
    struct km_wait_tail tail = {6, t_s, p};
    for (size_t i = 0; i < 3; i++) { /* the kink at every multiple of d is what a grid can miss */
        struct km_mg1 queue = {loads[i], 0.02, 0.2, &law};
        struct km_queue_answer answer;
        assert_int_equal(km_mg1_solve(&queue, &tail, &answer, NULL), KM_OK);
        assert_near(answer.utilization, loads[i], 1e-14);
        assert_near(answer.mean_wait_s, loads[i] / (2 * (1 - loads[i])), 1e-13);
        for (size_t k = 0; k < 6; k++)
            if (1 - md1_cdf(loads[i], 1, t_s[k]) > 1e-6)
                assert_near(p[k], 1 - md1_cdf(loads[i], 1, t_s[k]), 1e-5);
    }
    km_token_law_release(&law);
}

/* A geometric law in small steps is exponential: M/M/1 and M/M/1+D. With mu = 1, H(x) = 1 + lambda (1 -
 * e^{-(1-rho) x}) / (1 - rho), which is 1 + x at rho = 1. */
static void test_mm1_and_impatience(void **state)
{
    (void)state;
    struct km_token_law law =
        law_of((struct km_distribution){.kind = KM_DIST_GEOMETRIC, .mean = 20000, .max = 400000});
    static const double loads[] = {0.3, 0.8, 0.98, 1, 1.3, 2};
    static const double t_s[] = {0.5, 4};
    double p[2];
    struct km_wait_tail tail = {2, t_s, p};
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        double rho = loads[i], tau = 3;
        struct km_mg1 queue = {rho, 1 / 20000.0, 0, &law};
        struct km_queue_answer answer;
        if (rho < 1) {
            assert_int_equal(km_mg1_solve(&queue, &tail, &answer, NULL), KM_OK);
            for (int k = 0; k < 2; k++)
                assert_near(p[k], rho * exp(-(1 - rho) * t_s[k]), 1e-3);
        }
        assert_int_equal(km_mg1_impatient_solve(&queue, tau, NULL, &answer, NULL), KM_OK);
        double h = fabs(rho - 1) < 1e-9 ? 1 + tau : 1 + rho * -expm1(-(1 - rho) * tau) / (1 - rho);
        assert_near(answer.loss, 1 - h / (1 + rho * h), 2e-3);
        assert_near(answer.idle, 1 / (1 + rho * h), 1e-3);
        /* What is served keeps the server busy: lambda (1 - loss) E[S] = 1 - idle. */
        assert_near(answer.utilization * (1 - answer.loss), 1 - answer.idle, 1e-9);
    }
    km_token_law_release(&law);
}

static void test_patience_limits(void **state)
{
    (void)state;
    struct km_token_law law =
        law_of((struct km_distribution){.kind = KM_DIST_LOGNORMAL, .mu = 5, .sigma = 0.9, .max = 1024});
    struct km_mg1 queue = {0.2, 0.0225, 0.1, &law};
    struct km_queue_answer answer, other;
    double service_s = km_mg1_moments(&queue).m1;

    /* No patience at all: a loss system. */
    assert_int_equal(km_mg1_impatient_solve(&queue, 0, NULL, &answer, NULL), KM_OK);
    assert_near(answer.loss, answer.utilization / (1 + answer.utilization), 1e-14);
    assert_true(answer.mean_wait_s == 0 && answer.var_wait_s == 0);

    /* Endless patience: the queue without it, or beyond saturation a server that never idles. */
    double ample[] = {1e5, 1e9};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(km_mg1_impatient_solve(&queue, ample[i], NULL, &answer, NULL), KM_OK);
        assert_int_equal(km_mg1_solve(&queue, NULL, &other, NULL), KM_OK);
        assert_near(answer.mean_wait_s, other.mean_wait_s, 1e-6);
        assert_near(answer.idle, other.idle, 1e-6);
        assert_true(answer.loss < 1e-9);
        struct km_mg1 overload = queue;
        overload.rate_per_s = 1.5 / service_s;
        assert_int_equal(km_mg1_impatient_solve(&overload, ample[i], NULL, &answer, NULL), KM_OK);
        assert_near(answer.loss, 1 - 1 / 1.5, 1e-12);
        assert_near(answer.mean_wait_s, ample[i], 1e-3);
        assert_true(answer.idle >= 0 && answer.idle < 1e-12);
    }
    km_token_law_release(&law);
}

/* Nothing jumps where the method changes: at rho = 1, and at twenty longest services. */
static void test_patience_is_smooth(void **state)
{
    (void)state;
    struct km_token_law law = law_of((struct km_distribution){.kind = KM_DIST_UNIFORM, .min = 1, .max = 100});
    struct km_mg1 queue = {1, 0.01, 0, &law};
    double critical = 1 / km_mg1_moments(&queue).m1, longest_s = 1;
    static const double patience[] = {0.7, 5, 19.9, 50, 400};
    for (size_t i = 0; i < sizeof patience / sizeof patience[0]; i++) {
        struct km_queue_answer at[3];
        for (int side = -1; side <= 1; side++) {
            queue.rate_per_s = critical * (1 + side * 1e-7);
            assert_int_equal(
                km_mg1_impatient_solve(&queue, patience[i] * longest_s, NULL, &at[side + 1], NULL), KM_OK);
        }
        assert_near(at[1].loss, (at[0].loss + at[2].loss) / 2, 1e-6);
        assert_near(at[1].mean_wait_s, (at[0].mean_wait_s + at[2].mean_wait_s) / 2, 1e-6);
        assert_near(at[1].var_wait_s, (at[0].var_wait_s + at[2].var_wait_s) / 2, 1e-5);
    }
    for (double load = 0.5; load < 1.6; load += 0.45) {
        struct km_queue_answer below, above;
        queue.rate_per_s = critical * load;
        assert_int_equal(km_mg1_impatient_solve(&queue, 20 * longest_s * (1 - 1e-6), NULL, &below, NULL),
                         KM_OK);
        assert_int_equal(km_mg1_impatient_solve(&queue, 20 * longest_s * (1 + 1e-6), NULL, &above, NULL),
                         KM_OK);
        assert_true(fabs(below.loss - above.loss) < 1e-6);
        assert_near(below.mean_wait_s, above.mean_wait_s, 1e-5);
        assert_near(below.var_wait_s, above.var_wait_s, 1e-4);
    }
    km_token_law_release(&law);
}

/* Random laws and loads up to 0.98: the tail, integrated, is the mean wait, and twice t times it E[W^2]. */
static void test_tail_integrates_to_moments(void **state)
{
    (void)state;
    enum { POINTS = 600 };
    static double t_s[POINTS], p[POINTS];
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    for (int round = 0; round < 12; round++) {
        struct km_token_law law =
            law_of((struct km_distribution){.kind = round % 2 ? KM_DIST_LOGNORMAL : KM_DIST_GAMMA,
                                            .mu = 4 + 2 * gsl_rng_uniform(rng),
                                            .sigma = gsl_rng_uniform(rng),
                                            .mean = 50 + 300 * gsl_rng_uniform(rng),
                                            .cv = 1.5 * gsl_rng_uniform(rng),
                                            .max = 1500});
        struct km_mg1 queue = {1, 0.01 + 0.02 * gsl_rng_uniform(rng), 2 * gsl_rng_uniform(rng), &law};
        double load = round == 0 ? 0.98 : 0.1 + 0.85 * gsl_rng_uniform(rng);
        queue.rate_per_s = load / km_mg1_moments(&queue).m1;
        struct km_asymptote far;
        struct km_queue_answer answer;
        assert_int_equal(km_mg1_asymptote(&queue, &far, NULL), KM_OK);
        double end = 30 / far.eta_per_s, mean = 0, square = 0;
        for (int i = 0; i < POINTS; i++) /* denser towards 0 */
            t_s[i] = end * pow((double)i / (POINTS - 1), 2);
        struct km_wait_tail tail = {POINTS, t_s, p};
        assert_int_equal(km_mg1_solve(&queue, &tail, &answer, NULL), KM_OK);
        assert_near(p[0], load, 1e-6);
        for (int i = 1; i < POINTS; i++) {
            assert_true(p[i] <= p[i - 1] + 1e-9 && p[i] >= 0);
            mean += (t_s[i] - t_s[i - 1]) * (p[i] + p[i - 1]) / 2;
            square += (t_s[i] - t_s[i - 1]) * (t_s[i] * p[i] + t_s[i - 1] * p[i - 1]);
        }
        assert_near(mean, answer.mean_wait_s, 1e-3);
        assert_near(square - mean * mean, answer.var_wait_s, 3e-3);
        km_token_law_release(&law);
    }
    gsl_rng_free(rng);
}

static void test_asymptote(void **state)
{
    (void)state;
    struct km_token_law law = law_of((struct km_distribution){.kind = KM_DIST_UNIFORM, .min = 1, .max = 500});
    for (double rho = 0.001; rho < 1; rho = 1 - (1 - rho) * 0.7) {
        struct km_mg1 queue = {1, 0.02, 0.1, &law};
        queue.rate_per_s = rho / km_mg1_moments(&queue).m1;
        struct km_asymptote far;
        assert_int_equal(km_mg1_asymptote(&queue, &far, NULL), KM_OK);
        double mgf = 0, slope = 0;
        for (int n = 1; n <= 500; n++) {
            double s = 0.02 * n + 0.1;
            mgf += expm1(far.eta_per_s * s) / 500;
            slope += s * exp(far.eta_per_s * s) / 500;
        }
        assert_near(queue.rate_per_s * mgf, far.eta_per_s, 1e-10);
        assert_near(far.coefficient, (1 - rho) / (queue.rate_per_s * slope - 1), 1e-8);
        if (1 - rho < 1e-4)
            break;
    }
    km_token_law_release(&law);
    law = law_of((struct km_distribution){.kind = KM_DIST_LOGNORMAL, .mu = 5, .sigma = 0.9});
    struct km_mg1 queue = {0.01, 0.02, 0.1, &law};
    struct km_asymptote far;
    assert_int_equal(km_mg1_asymptote(&queue, &far, NULL), KM_NO);
    assert_true(isnan(far.eta_per_s));
    km_token_law_release(&law);
}

static void test_token_limit(void **state)
{
    (void)state;
    struct km_distribution d = {.kind = KM_DIST_LOGNORMAL, .mu = 5, .sigma = 1};
    struct km_token_law law = law_of(d);
    struct km_mg1 queue = {0.3, 0.02, 0.05, &law};
    struct km_token_limit best;
    struct km_error error = {0};

    /* A limit by itself is the queue of the limited law. */
    static const uint32_t limits[] = {1, 7, 150, 160};
    for (size_t i = 0; i < 4; i++) {
        struct km_token_law limited;
        struct km_queue_answer answer;
        assert_int_equal(km_token_law_init_limited(&limited, &d, limits[i], NULL), KM_OK);
        struct km_mg1 short_queue = {0.3, 0.02, 0.05, &limited};
        assert_int_equal(km_mg1_solve(&short_queue, NULL, &answer, NULL), KM_OK);
        struct km_token_limit at = km_token_limit_at(&queue, limits[i]);
        assert_near(at.mean_wait_s, answer.mean_wait_s, 1e-12);
        assert_near(at.mean_tokens, limited.mean, 1e-12);
        assert_near(at.utilization, answer.utilization, 1e-12);
        assert_near(at.clipped, km_distribution_survival(&d, limits[i]), 1e-9);
        km_token_law_release(&limited);
    }
    /* The best by value beats its neighbours. */
    uint32_t stable = km_token_limit_stable(&queue);
    for (double kappa = 0.001; kappa < 1; kappa *= 4) {
        assert_int_equal(km_token_limit_best(&queue, KM_LIMIT_VALUE, kappa, &best, NULL), KM_OK);
        double cost = best.mean_wait_s - kappa * best.mean_tokens;
        for (uint32_t n = 1; n <= stable; n += 1 + n / 5) {
            struct km_token_limit at = km_token_limit_at(&queue, n);
            assert_true(cost <= at.mean_wait_s - kappa * at.mean_tokens);
        }
    }
    assert_int_equal(km_token_limit_best(&queue, KM_LIMIT_CLIP, 1, &best, NULL), KM_OK);
    assert_int_equal(best.max_tokens, 1);
    assert_int_equal(km_token_limit_best(&queue, KM_LIMIT_CLIP, 0.3, &best, NULL), KM_OK);
    assert_true(best.clipped <= 0.3 && law.survival[best.max_tokens - 1] > 0.3);

    /* No limit that clips this little is stable. */
    assert_true(km_token_limit_at(&queue, law.max).utilization > 1);
    assert_int_equal(km_token_limit_best(&queue, KM_LIMIT_CLIP, 0.01, &best, &error), KM_NO);
    assert_non_null(strstr(error.message, "unstable: rho = "));
    assert_non_null(strstr(error.message, "stable up to "));
    queue.rate_per_s = 20;
    assert_int_equal(km_token_limit_best(&queue, KM_LIMIT_VALUE, 1, &best, &error), KM_NO);
    assert_string_equal(error.message,
                        "unstable with any token limit: rho = 1.4 when every answer has one token");
    assert_int_equal(km_token_limit_best(&queue, KM_LIMIT_CLIP, 1.5, &best, &error), KM_BAD_INPUT);
    assert_int_equal(km_token_limit_best(&queue, KM_LIMIT_VALUE, (double)NAN, &best, &error), KM_BAD_INPUT);
    km_token_law_release(&law);
}

/* Questions without an answer get one status and one message; numbers are undefined, not wrong. */
static void test_refusals(void **state)
{
    (void)state;
    struct km_token_law law = law_of((struct km_distribution){.kind = KM_DIST_CONSTANT, .value = 100});
    static const double negative[] = {-1}, infinite[] = {HUGE_VAL};
    double p[1];
    const struct {
        struct km_mg1 queue;
        const double *t_s;
        double patience_s; /* 0: not asked */
        enum km_status status;
        const char *message;
    } cases[] = {
        {{1, 0.005, 0, NULL}, NULL, 0, KM_OK, ""},
        {{1, 0.005, 0, NULL},
         negative,
         0,
         KM_BAD_INPUT,
         "waiting time of a tail: must be finite and >= 0, got -1"},
        {{1, 0.005, 0, NULL},
         infinite,
         0,
         KM_BAD_INPUT,
         "waiting time of a tail: must be finite and >= 0, got inf"},
        {{2, 0.00565, 0, NULL}, NULL, 0, KM_NO, "unstable: rho = 1.13; stable below lambda = 1.76991 per s"},
        {{1, 0.005, 0, NULL}, NULL, -1, KM_BAD_INPUT, "patience: must be finite and >= 0, got -1"},
        {{1, 0.01, 0, NULL}, NULL, 0, KM_NO, "unstable: rho = 1; stable below lambda = 1 per s"},
        {{0, 0.01, 0, NULL}, NULL, 0, KM_BAD_INPUT, "arrival rate: must be finite and > 0, got 0"},
        {{1, 0, 0, NULL}, NULL, 0, KM_BAD_INPUT, "service: takes no time: a and c are both 0"},
        {{1, -1, 5, NULL}, NULL, 0, KM_BAD_INPUT, "service: a and c must be finite and >= 0"},
        {{1, 1, HUGE_VAL, NULL}, NULL, 0, KM_BAD_INPUT, "service: a and c must be finite and >= 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct km_mg1 queue = cases[i].queue;
        struct km_wait_tail tail = {cases[i].t_s ? 1 : 0, cases[i].t_s, p};
        struct km_queue_answer answer;
        struct km_error error = {0};
        queue.tokens = &law;
        enum km_status status = cases[i].patience_s < 0 ? km_mg1_impatient_solve(&queue, cases[i].patience_s,
                                                                                 &tail, &answer, &error)
                                                        : km_mg1_solve(&queue, &tail, &answer, &error);
        assert_int_equal(status, cases[i].status);
        assert_string_equal(error.message, cases[i].message);
        if (status != KM_OK)
            assert_true(isnan(answer.mean_wait_s) && !answer.stable);
        if (status == KM_NO)
            assert_true(answer.utilization >= 1 && answer.stable_below_per_s > 0);
    }
    km_token_law_release(&law);
}

static void test_token_laws(void **state)
{
    (void)state;
    struct km_token_law law;
    struct km_error error;
    struct km_distribution none = {.kind = KM_DIST_EMPIRICAL};
    struct km_distribution huge = {.kind = KM_DIST_CONSTANT, .value = 1e8};
    struct km_distribution die = {.kind = KM_DIST_UNIFORM, .min = 1, .max = 6};
    assert_int_equal(km_token_law_init(&law, &none, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "output tokens: values must not be empty");
    assert_int_equal(km_token_law_init(&law, &huge, &error), KM_BAD_INPUT);
    assert_int_equal(km_token_law_init_limited(&law, &die, 0, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "a token limit of 0 serves nothing; it must be at least 1");

    assert_int_equal(km_token_law_init_limited(&law, &die, 1000, NULL), KM_OK);
    assert_int_equal(law.max, 6);
    assert_near(law.mean, 3.5, 1e-15);
    assert_near(km_token_law_limited_mean(&law, 2.5), (1 + 2 * 1 + 2.5 * 4) / 6, 1e-14);
    assert_near(km_token_law_limited_square(&law, 2.5), (1 + 4 + 6.25 * 4) / 6, 1e-14);
    assert_int_equal(km_token_law_quantile_above(&law, 0.5), 3);
    assert_int_equal(km_token_law_quantile_above(&law, 0), 6);
    km_token_law_release(&law);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_md1),
        cmocka_unit_test(test_mm1_and_impatience),
        cmocka_unit_test(test_patience_limits),
        cmocka_unit_test(test_patience_is_smooth),
        cmocka_unit_test(test_tail_integrates_to_moments),
        cmocka_unit_test(test_asymptote),
        cmocka_unit_test(test_token_limit),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_token_laws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
