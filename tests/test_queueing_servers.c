/* Several servers and Erlang's formulas, against closed forms and published values. */
#include "queueing/erlang.h"
#include "queueing/mg1.h"
#include "queueing/servers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * fmax(fabs(want), 1e-300)))
        fail_msg("%.12g is not %.12g within %g", got, want, tolerance);
}

/* a^c / c! over the sum of a^n / n!, as Erlang wrote it. */
static double plain_erlang_b(double a, int c)
{
    double term = 1, sum = 1;
    for (int n = 1; n <= c; n++) {
        term *= a / n;
        sum += term;
    }
    return term / sum;
}

static void test_erlang(void **state)
{
    (void)state;
    for (int c = 0; c <= 60; c += 4)
        for (double a = 0.1; a < 100; a *= 3)
            near(km_erlang_b(a, (uint32_t)c), plain_erlang_b(a, c), 1e-12);
    /* One server: B = a / (1 + a), C = a. Two: C = a^2 / (2 + a). */
    near(km_erlang_b(0.7, 1), 0.7 / 1.7, 1e-15);
    near(km_erlang_c(0.7, 1), 0.7, 1e-15);
    near(km_erlang_c(1.2, 2), 1.44 / 3.2, 1e-14);
    near(km_erlang_c(5, 5), 1, 0);
    /* Where a^c / c! itself is far beyond doubles; large a: B ~ (1 - c/a) when overloaded. */
    near(km_erlang_b(1e6, 1000), 1 - 1000 / 1e6, 1e-5);
    assert_true(km_erlang_b(1, 1000000) == 0);

    uint32_t servers;
    struct km_error error;
    for (double a = 0.5; a < 1e4; a *= 2.7) {
        assert_int_equal(km_erlang_b_servers(a, 0.01, &servers, NULL), KM_OK);
        assert_true(km_erlang_b(a, servers) <= 0.01 && km_erlang_b(a, servers - 1) > 0.01);
    }
    assert_int_equal(km_erlang_b_servers(1e8, 0.01, &servers, &error), KM_NO);
    assert_int_equal(km_erlang_b_servers(0, 0.01, &servers, &error), KM_BAD_INPUT);
    assert_int_equal(km_erlang_b_servers(1, 0, &servers, &error), KM_BAD_INPUT);
    assert_int_equal(km_erlang_b_servers(1, 1, &servers, &error), KM_BAD_INPUT);
}

static void test_mmc(void **state)
{
    (void)state;
    struct km_queue_answer answer;
    static const double t_s[] = {0, 2};
    double p[2];
    struct km_wait_tail tail = {2, t_s, p};
    /* M/M/1: W = rho / (mu - lambda), its variance (2 - rho) rho / (mu - lambda)^2. */
    assert_int_equal(km_mmc_solve(&(struct km_servers){0.8, 1, 1}, &tail, &answer, NULL), KM_OK);
    near(answer.mean_wait_s, 4, 1e-13);
    near(answer.var_wait_s, 0.8 * 1.2 / 0.04, 1e-12);
    near(answer.mean_response_s, 5, 1e-13);
    near(answer.idle, 0.2, 1e-13);
    near(p[0], 0.8, 1e-14);
    near(p[1], 0.8 * exp(-0.4), 1e-13);
    /* M/M/2: W = rho^2 / (1 - rho^2) / mu. */
    assert_int_equal(km_mmc_solve(&(struct km_servers){1.2, 1, 2}, NULL, &answer, NULL), KM_OK);
    near(answer.mean_wait_s, 0.36 / 0.64, 1e-13);
    assert_true(isnan(answer.idle));
}

static void test_approximations(void **state)
{
    (void)state;
    struct km_queue_answer answer, exact, bound;
    struct km_distribution d = {.kind = KM_DIST_UNIFORM, .min = 1, .max = 400};
    struct km_token_law law;
    assert_int_equal(km_token_law_init(&law, &d, NULL), KM_OK);
    struct km_mg1 queue = {0.15, 0.02, 0.1, &law};
    struct km_mg1_moments m = km_mg1_moments(&queue);
    double cv = sqrt(m.m2 / (m.m1 * m.m1) - 1);
    struct km_servers one = {0.15, m.m1, 1};
    /* Exact for M/G/1, and there below Kingman's bound, which adds the variance of the gaps. */
    assert_int_equal(km_mg1_solve(&queue, NULL, &exact, NULL), KM_OK);
    assert_int_equal(km_mgc_solve(&one, cv, &answer, NULL), KM_OK);
    near(answer.mean_wait_s, exact.mean_wait_s, 1e-12);
    assert_int_equal(km_gg1_solve(&one, 1, cv, &answer, NULL), KM_OK);
    near(answer.mean_wait_s, exact.mean_wait_s, 1e-12);
    assert_int_equal(km_gg1_bound(&one, 1, cv, &bound, NULL), KM_OK);
    assert_true(bound.mean_wait_s > exact.mean_wait_s);
    /* Kingman 1961: the bound is tight in heavy traffic. */
    struct km_servers busy = {0.9999 / m.m1, m.m1, 1};
    assert_int_equal(km_gg1_bound(&busy, 1, cv, &bound, NULL), KM_OK);
    assert_int_equal(km_gg1_solve(&busy, 1, cv, &answer, NULL), KM_OK);
    near(bound.mean_wait_s, answer.mean_wait_s, 1e-3);
    /* Nothing varies, nobody waits; M/M/c is ca = cs = 1. */
    assert_int_equal(km_ggc_solve(&(struct km_servers){7, 1, 8}, 0, 0, &answer, NULL), KM_OK);
    assert_true(answer.mean_wait_s == 0 && isnan(answer.var_wait_s));
    assert_int_equal(km_ggc_solve(&(struct km_servers){7, 1, 8}, 1, 1, &answer, NULL), KM_OK);
    assert_int_equal(km_mmc_solve(&(struct km_servers){7, 1, 8}, NULL, &exact, NULL), KM_OK);
    near(answer.mean_wait_s, exact.mean_wait_s, 1e-14);
    km_token_law_release(&law);
}

static void test_refusals(void **state)
{
    (void)state;
    const struct {
        struct km_servers queue;
        double cv;
        enum km_status status;
        const char *message;
    } cases[] = {
        {{9, 1, 8}, 1, KM_NO, "unstable: rho = 1.125; stable below lambda = 8 per s"},
        {{1, 1, 0}, 1, KM_BAD_INPUT, "servers: must be from 1 to 1048576, got 0"},
        {{1, 0, 1}, 1, KM_BAD_INPUT, "service: must be finite and > 0, got 0"},
        {{-1, 1, 1}, 1, KM_BAD_INPUT, "arrival rate: must be finite and > 0, got -1"},
        {{0.5, 1, 1}, -1, KM_BAD_INPUT, "coefficients of variation must be finite and >= 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct km_queue_answer answer;
        struct km_error error = {0};
        assert_int_equal(km_mgc_solve(&cases[i].queue, cases[i].cv, &answer, &error), cases[i].status);
        assert_string_equal(error.message, cases[i].message);
        assert_true(isnan(answer.mean_wait_s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_erlang),
        cmocka_unit_test(test_mmc),
        cmocka_unit_test(test_approximations),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
