/* Several servers and Erlang's formulas, against closed forms and published values. */
#include "queueing/numeric/erlang.h"
#include "queueing/servers.h"
#include "queueing/single/mg1.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
            assert_near(km_erlang_b(a, (uint32_t)c), plain_erlang_b(a, c), 1e-12);
    /* One server: B = a / (1 + a), C = a. Two: C = a^2 / (2 + a). */
    assert_near(km_erlang_b(0.7, 1), 0.7 / 1.7, 1e-15);
    assert_near(km_erlang_c(0.7, 1), 0.7, 1e-15);
    assert_near(km_erlang_c(1.2, 2), 1.44 / 3.2, 1e-14);
    assert_near(km_erlang_c(5, 5), 1, 0);
    /* Where a^c / c! itself is far beyond doubles; large a: B ~ (1 - c/a) when overloaded. */
    assert_near(km_erlang_b(1e6, 1000), 1 - 1000 / 1e6, 1e-5);
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

/* What tables print: offered load that loses 1 % (5 %) at so many servers (Erlang B, as in every handbook of
 * telephone traffic), and M/M/3 with lambda = 6, mu = 3 an hour (Gross and Harris, Fundamentals of Queueing
 * Theory): P(nobody there) = 1/9, Lq = 8/9, Wq = 4/27 h. */
static void test_tables(void **state)
{
    (void)state;
    static const struct {
        uint32_t servers;
        double one_percent, five_percent;
    } rows[] = {{1, 0.0101, 0.0526}, {2, 0.153, 0.381}, {5, 1.36, 2.22},  {10, 4.46, 6.22},
                {20, 12.0, 15.2},    {50, 37.9, 44.5},  {100, 84.1, 95.2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_near(km_erlang_b(rows[i].one_percent, rows[i].servers), 0.01, 0.05);
        assert_near(km_erlang_b(rows[i].five_percent, rows[i].servers), 0.05, 0.02);
    }
    struct km_queue_answer answer;
    struct km_servers three = {6.0 / 3600, 1200, 3, 1, 1};
    assert_int_equal(km_servers_solve(&three, NULL, &answer, NULL), KM_OK);
    assert_near(answer.idle, 1.0 / 9, 1e-12);
    assert_near(answer.mean_wait_s, 3600 * 4.0 / 27, 1e-12);
    assert_near(answer.mean_wait_s * three.rate_per_s, 8.0 / 9, 1e-12);
}

static void test_mmc(void **state)
{
    (void)state;
    struct km_queue_answer answer;
    static const double t_s[] = {0, 2};
    double p[2];
    struct km_wait_tail tail = {2, t_s, p};
    /* M/M/1: W = rho / (mu - lambda), its variance (2 - rho) rho / (mu - lambda)^2. */
    assert_int_equal(km_servers_solve(&(struct km_servers){0.8, 1, 1, 1, 1}, &tail, &answer, NULL), KM_OK);
    assert_near(answer.mean_wait_s, 4, 1e-13);
    assert_near(answer.var_wait_s, 0.8 * 1.2 / 0.04, 1e-12);
    assert_near(answer.mean_response_s, 5, 1e-13);
    assert_near(answer.idle, 0.2, 1e-13);
    assert_near(p[0], 0.8, 1e-14);
    assert_near(p[1], 0.8 * exp(-0.4), 1e-13);
    /* M/M/2: W = rho^2 / (1 - rho^2) / mu, nobody there (1 - rho) / (1 + rho). */
    assert_int_equal(km_servers_solve(&(struct km_servers){1.2, 1, 2, 1, 1}, &tail, &answer, NULL), KM_OK);
    assert_near(answer.mean_wait_s, 0.36 / 0.64, 1e-13);
    assert_near(answer.idle, 0.4 / 1.6, 1e-12);
    assert_near(p[0], km_erlang_c(1.2, 2), 0);
    /* Extremes answer in numbers: next to no load, nearly full, more servers than GSL's tables. */
    static const struct km_servers extremes[] = {{1e-300, 1, 7, 1, 1},
                                                 {1e-9, 1, 1u << 20, 1, 1},
                                                 {(1u << 20) - 1e-3, 1, 1u << 20, 1, 1},
                                                 {999.999, 1, 1000, 1, 1}};
    for (size_t i = 0; i < sizeof extremes / sizeof extremes[0]; i++) {
        assert_int_equal(km_servers_solve(&extremes[i], &tail, &answer, NULL), KM_OK);
        assert_true(answer.mean_wait_s >= 0 && isfinite(answer.mean_wait_s));
        assert_true(answer.idle >= 0 && answer.idle <= 1 && p[0] >= 0 && p[0] <= 1);
    }
}

static double wait_of(struct km_servers queue)
{
    struct km_queue_answer answer;
    assert_int_equal(km_servers_solve(&queue, NULL, &answer, NULL), KM_OK);
    return answer.mean_wait_s;
}

/* Limits: M/G/1 is exact, nothing that varies waits, M/M/c is 1 and 1, a queue nearly full waits as Kingman's
 * bound says, and no wait is beyond it. */
static void test_approximations(void **state)
{
    (void)state;
    struct km_queue_answer exact;
    struct km_distribution d = {.kind = KM_DIST_UNIFORM, .min = 1, .max = 400};
    struct km_token_law law;
    assert_int_equal(km_token_law_init(&law, &d, NULL), KM_OK);
    struct km_mg1 queue = {0.15, 0.02, 0.1, &law};
    struct km_mg1_moments m = km_mg1_moments(&queue);
    double cv = sqrt(m.m2 / (m.m1 * m.m1) - 1);
    struct km_servers one = {0.15, m.m1, 1, 1, cv};
    assert_int_equal(km_mg1_solve(&queue, NULL, &exact, NULL), KM_OK);
    assert_near(wait_of(one), exact.mean_wait_s, 1e-12);
    assert_int_equal(km_servers_formula(&one), KM_POLLACZEK_KHINCHINE);
    /* Kingman's bound of one server, lambda (Var[gap] + Var[S]) / (2 (1 - rho)), above the exact wait. */
    double rho = 0.15 * m.m1, gap = 1 / 0.15;
    assert_near(km_servers_wait_bound_s(&one), 0.15 * (gap * gap + cv * cv * m.m1 * m.m1) / (2 * (1 - rho)),
                1e-12);
    assert_true(km_servers_wait_bound_s(&one) > exact.mean_wait_s);
    km_token_law_release(&law);

    assert_true(wait_of((struct km_servers){7, 1, 8, 0, 0}) == 0);
    struct km_servers eight = {7, 1, 8, 1, 1}, general = {7, 1, 8, 0.5, 2};
    assert_near(wait_of(general), wait_of(eight) * (0.25 + 4) / 2, 1e-14);
    assert_int_equal(km_servers_formula(&eight), KM_ERLANG_C);
    assert_int_equal(km_servers_formula(&general), KM_ALLEN_CUNNEEN);
    assert_int_equal(km_servers_formula(&(struct km_servers){0.5, 1, 1, 0.5, 2}), KM_KINGMAN);
    for (uint32_t c = 1; c <= 64; c *= 4)
        for (double ca = 0; ca <= 3; ca += 0.5)
            for (double cs = 0; cs <= 3; cs += 0.5)
                for (double load = 0.1; load < 1; load += 0.2) {
                    struct km_servers any = {load * c, 1, c, ca, cs};
                    /* The bound is of the wait; the approximation may pass it where gaps are regular. */
                    if (ca >= 1)
                        assert_true(wait_of(any) <= km_servers_wait_bound_s(&any) * (1 + 1e-12));
                    if (ca + cs > 0 && c == 1) {
                        struct km_servers full = {0.99999 * c, 1, c, ca, cs};
                        assert_near(wait_of(full), km_servers_wait_bound_s(&full), 1e-4);
                    }
                }
}

static void test_refusals(void **state)
{
    (void)state;
    const struct {
        struct km_servers queue;
        enum km_status status;
        const char *message;
    } cases[] = {
        {{9, 1, 8, 1, 1}, KM_NO, "unstable: rho = 1.125; stable below lambda = 8 per s"},
        {{1, 1, 0, 1, 1}, KM_BAD_INPUT, "servers: must be from 1 to 1048576, got 0"},
        {{1, 0, 1, 1, 1}, KM_BAD_INPUT, "service: must be finite and > 0, got 0"},
        {{-1, 1, 1, 1, 1}, KM_BAD_INPUT, "arrival rate: must be finite and > 0, got -1"},
        {{1e-200, 1e-200, 1, 1, 1}, KM_BAD_INPUT, "arrival rate times service: too small to tell from 0"},
        {{0.5, 1, 1, 1, -1},
         KM_BAD_INPUT,
         "coefficients of variation must be 0, or finite and at least 1e-100"},
        {{0.5, 1, 1, (double)NAN, 1},
         KM_BAD_INPUT,
         "coefficients of variation must be 0, or finite and at least 1e-100"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct km_queue_answer answer;
        struct km_error error = {0};
        assert_int_equal(km_servers_solve(&cases[i].queue, NULL, &answer, &error), cases[i].status);
        assert_string_equal(error.message, cases[i].message);
        assert_true(isnan(answer.mean_wait_s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_erlang),         cmocka_unit_test(test_tables),   cmocka_unit_test(test_mmc),
        cmocka_unit_test(test_approximations), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
