/* Bulk queues against a plain truncated chain, against the equation with roots and against iteration. */
#include "base/complex.h"
#include "queueing/bulk/batch_arrivals.h"
#include "queueing/bulk/dynamic.h"
#include "queueing/bulk/fixed.h"
#include "queueing/queue_model.h"
#include "queueing/single/mg1.h"
#include "support/bulk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_linalg.h>

#include <cmocka.h>

/* --- a plain truncated chain --------------------------------------------------------------------------- */

struct chain_answer {
    double mean_wait_s, mean_square_wait_s, mean_response_s, mean_batch, idle;
};

/* The chain of dynamic batching cut at `states`, its equations solved by LU; waits by counting who is behind
 * whom as a batch starts. With `fixed`, the server waits for `cap` requests, and the mean wait comes from
 * Little's law applied to the buffer. */
static struct chain_answer solve_chain(const struct km_batch_law *law, double rate, uint32_t cap,
                                       size_t states)
{
    struct km_batch_arrivals arrivals;
    struct km_batch_moments *m = calloc(cap, sizeof *m);
    assert_int_equal(km_batch_arrivals_init(&arrivals, law, rate, 1, cap, NULL), KM_OK);
    km_batch_moments(law, 1, cap, m);
    gsl_matrix *a = gsl_matrix_calloc(states, states); /* transposed balance, first row: sum = 1 */
    gsl_vector *rhs = gsl_vector_calloc(states), *pi = gsl_vector_calloc(states);
    for (size_t i = 0; i < states; i++) {
        size_t b = i == 0 ? 1 : i < cap ? i : cap, left = i > b ? i - b : 0;
        const double *row = km_batch_arrivals_row(&arrivals, (uint32_t)b);
        for (size_t j = 0; j < arrivals.columns; j++) {
            size_t to = left + j < states ? left + j : states - 1;
            *gsl_matrix_ptr(a, to, i) += row[j];
        }
        *gsl_matrix_ptr(a, i, i) -= 1;
    }
    for (size_t i = 0; i < states; i++)
        gsl_matrix_set(a, 0, i, 1);
    gsl_vector_set(rhs, 0, 1);
    gsl_permutation *order = gsl_permutation_alloc(states);
    int sign;
    gsl_linalg_LU_decomp(a, order, &sign);
    gsl_linalg_LU_solve(a, order, rhs, pi);
    assert_true(fabs(gsl_vector_get(pi, states - 1)) < 1e-12);

    struct chain_answer out = {0};
    double cycle = gsl_vector_get(pi, 0) / rate, behind = 0, pairs = 0, own = 0;
    for (size_t i = 0; i < states; i++) {
        double p = gsl_vector_get(pi, i);
        size_t b = i == 0 ? 1 : i < cap ? i : cap;
        cycle += p * m[b - 1].m1;
        out.mean_batch += p * (double)b;
        own += p * (double)b * m[b - 1].own_s;
        for (size_t place = 1; i > 0 && place <= b; place++) {
            double n = (double)(i - place);
            behind += p * n;
            pairs += p * n * (n - 1);
        }
    }
    out.mean_wait_s = behind / (rate * out.mean_batch);
    out.mean_square_wait_s = pairs / (rate * rate * out.mean_batch);
    out.mean_response_s = out.mean_wait_s + own / out.mean_batch;
    out.idle = gsl_vector_get(pi, 0) / (rate * cycle);
    gsl_permutation_free(order);
    gsl_matrix_free(a);
    gsl_vector_free(rhs);
    gsl_vector_free(pi);
    km_batch_arrivals_release(&arrivals);
    free(m);
    return out;
}

static void compare_with_chain(const struct km_batch_law *law, double load, uint32_t cap, size_t states,
                               double tolerance)
{
    double rate = load * cap / km_batch_mean_s(law, cap);
    struct chain_answer want = solve_chain(law, rate, cap, states);
    struct km_queue_answer got;
    assert_int_equal(km_dynamic_solve(law, rate, cap, NULL, &got, NULL), KM_OK);
    near(got.utilization, load, 1e-12);
    near(got.mean_wait_s, want.mean_wait_s, tolerance);
    near(got.var_wait_s + got.mean_wait_s * got.mean_wait_s, want.mean_square_wait_s, 10 * tolerance);
    near(got.mean_response_s, want.mean_response_s, tolerance);
    near(got.mean_batch, want.mean_batch, tolerance);
    near(got.idle, want.idle, 10 * tolerance);
}

static void test_capped_against_chain(void **state)
{
    (void)state;
    static const struct km_distribution *const laws[] = {&lattice, &uniform, &skewed};
    for (size_t d = 0; d < 3; d++) {
        struct km_token_law tokens = law_of(laws[d]);
        for (int elastic = 0; elastic < 2; elastic++) {
            struct km_batch_law law = {0.005, 0.02, 0.0003, 0.0222, elastic, &tokens};
            static const uint32_t caps[] = {1, 2, 5, 16};
            for (size_t c = 0; c < 4; c++) {
                compare_with_chain(&law, 0.3, caps[c], 120, 1e-8);
                compare_with_chain(&law, 0.7, caps[c], 320, 1e-8);
            }
        }
        km_token_law_release(&tokens);
    }
}

/* A cap of 64, where solving for the boundary of the generating function in doubles is 22 % off. */
static void test_cap_of_64(void **state)
{
    (void)state;
    struct km_token_law tokens = law_of(&lattice);
    struct km_batch_law law = {0.005, 0.02, 0.0003, 0.0222, false, &tokens};
    compare_with_chain(&law, 0.6, 64, 420, 1e-8);
    compare_with_chain(&law, 0.9, 64, 900, 1e-7);
    law.elastic = true;
    compare_with_chain(&law, 0.8, 64, 600, 1e-7);
    km_token_law_release(&tokens);
}

/* At rho = 0.98 the chain is long; the answer must not be. */
static void test_load_of_98_percent(void **state)
{
    (void)state;
    struct km_token_law tokens = law_of(&uniform);
    struct km_batch_law law = {0.005, 0.02, 0.0003, 0.0222, false, &tokens};
    compare_with_chain(&law, 0.98, 8, 1100, 1e-6);

    /* A batch of one, however near saturation, is M/G/1. */
    static const double loads[] = {0.5, 0.98, 0.999};
    static const double t_s[] = {1, 10, 40};
    for (size_t i = 0; i < 3; i++) {
        struct km_mg1 single = {1, 0.0225, 0.025, &tokens};
        double got_p[3], want_p[3];
        struct km_wait_tail got_tail = {3, t_s, got_p}, want_tail = {3, t_s, want_p};
        single.rate_per_s = loads[i] / km_mg1_moments(&single).m1;
        struct km_queue_answer got, want, fixed;
        assert_int_equal(km_mg1_solve(&single, &want_tail, &want, NULL), KM_OK);
        assert_int_equal(km_dynamic_solve(&law, single.rate_per_s, 1, &got_tail, &got, NULL), KM_OK);
        assert_int_equal(km_fixed_solve(&law, single.rate_per_s, 1, NULL, &fixed, NULL, NULL), KM_OK);
        near(got.mean_wait_s, want.mean_wait_s, 1e-8);
        near(got.var_wait_s, want.var_wait_s, 1e-7);
        near(got.mean_response_s, want.mean_response_s, 1e-8);
        near(got.idle, want.idle, 1e-8);
        near(fixed.mean_wait_s, want.mean_wait_s, 1e-6);
        for (int k = 0; k < 3; k++)
            near(got_p[k], want_p[k], 1e-4);
    }
    km_token_law_release(&tokens);
}

/* A cap that is never reached changes nothing, on whichever side of the method's choice it lies. */
static void test_high_cap_is_no_cap(void **state)
{
    (void)state;
    struct km_token_law tokens = law_of(&uniform);
    for (int elastic = 0; elastic < 2; elastic++) {
        struct km_batch_law law = {0.005, 0.02, 0.002, 0.02, elastic, &tokens};
        static const double t_s[] = {0, 2, 6};
        double p[3], q[3];
        struct km_wait_tail tail = {3, t_s, p}, other = {3, t_s, q};
        struct km_queue_answer unlimited, capped;
        assert_int_equal(km_dynamic_solve(&law, 0.4, KM_NO_CAP, &tail, &unlimited, NULL), KM_OK);
        static const uint64_t caps[] = {40, 60, 1024};
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(km_dynamic_solve(&law, 0.4, caps[i], &other, &capped, NULL), KM_OK);
            near(capped.mean_wait_s, unlimited.mean_wait_s, 1e-8);
            near(capped.var_wait_s, unlimited.var_wait_s, 1e-7);
            near(capped.mean_response_s, unlimited.mean_response_s, 1e-8);
            near(capped.mean_batch, unlimited.mean_batch, 1e-8);
            for (int k = 0; k < 3; k++)
                near(q[k], p[k], 1e-4);
        }
    }
    km_token_law_release(&tokens);
}

/* Without k3 an elastic batch takes as long as a padded one: two ways to the same arrivals and waits. */
static void test_elastic_without_k3_is_padded(void **state)
{
    (void)state;
    struct km_token_law tokens = law_of(&skewed);
    struct km_batch_law padded = {0.005, 0.02, 0, 0.02, false, &tokens};
    struct km_batch_law elastic = padded;
    elastic.elastic = true;
    static const uint64_t caps[] = {3, 20, KM_NO_CAP};
    static const double t_s[] = {1, 4};
    double p[2], q[2];
    struct km_wait_tail tail = {2, t_s, p}, other = {2, t_s, q};
    struct km_queue_answer a, b;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(km_dynamic_solve(&padded, 0.5, caps[i], &tail, &a, NULL), KM_OK);
        assert_int_equal(km_dynamic_solve(&elastic, 0.5, caps[i], &other, &b, NULL), KM_OK);
        near(b.mean_wait_s, a.mean_wait_s, 1e-9);
        near(b.var_wait_s, a.var_wait_s, 1e-8);
        near(b.mean_batch, a.mean_batch, 1e-9);
        assert_true(b.mean_response_s < a.mean_response_s);
        for (int k = 0; k < 2; k++)
            near(q[k], p[k], 1e-4);
    }
    assert_int_equal(km_fixed_solve(&padded, 0.5, 6, NULL, &a, NULL, NULL), KM_OK);
    assert_int_equal(km_fixed_solve(&elastic, 0.5, 6, NULL, &b, NULL, NULL), KM_OK);
    near(b.mean_wait_s, a.mean_wait_s, 1e-9);
    km_token_law_release(&tokens);
}

/* The tail of every kind falls, starts where nobody waits, and integrates to the mean. */
static void test_tails_integrate_to_means(void **state)
{
    (void)state;
    enum { POINTS = 120 };
    static double t_s[POINTS], p[POINTS];
    struct km_token_law tokens = law_of(&uniform);
    static const struct {
        bool elastic;
        uint64_t cap;
        double load;
    } cases[] = {{false, 4, 0.6}, {true, 4, 0.8}, {false, KM_NO_CAP, 0.5}, {true, KM_NO_CAP, 0.5}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct km_batch_law law = {0.005, 0.02, 0.002, 0.02, cases[c].elastic, &tokens};
        struct km_queue_answer answer;
        struct km_wait_tail tail = {POINTS, t_s, p};
        double rate = cases[c].load * 4 / km_batch_mean_s(&law, 4), mean = 0;
        assert_int_equal(km_dynamic_solve(&law, rate, cases[c].cap, NULL, &answer, NULL), KM_OK);
        double end = answer.mean_wait_s + 12 * sqrt(answer.var_wait_s);
        for (int i = 0; i < POINTS; i++)
            t_s[i] = end * pow((double)i / (POINTS - 1), 1.5);
        assert_int_equal(km_dynamic_solve(&law, rate, cases[c].cap, &tail, &answer, NULL), KM_OK);
        near(p[0], 1 - answer.idle, 1e-9); /* arrivals see time averages */
        for (int i = 1; i < POINTS; i++) {
            assert_true(p[i] >= 0 && p[i] < p[i - 1] + 1e-5);
            mean += (t_s[i] - t_s[i - 1]) * (p[i] + p[i - 1]) / 2;
        }
        near(mean, answer.mean_wait_s, 3e-3);
    }
    km_token_law_release(&tokens);
}

/* --- fixed batches ------------------------------------------------------------------------------------- */

/* K(z) - z^b and its derivative, padded. */
static double complex boundary(const struct km_batch_law *law, double rate, uint32_t b, double complex z,
                               double complex *slope)
{
    double before = 0;
    double complex k = 0, dk = 0;
    for (size_t i = 0; i < law->tokens->support_count; i++) {
        uint32_t l = law->tokens->support[i];
        double power = pow(law->tokens->cdf[l], b);
        double h = law->k1_s * b + law->k2_s + (law->k3_s * b + law->k4_s) * l;
        double complex e = (power - before) * cexp(-rate * (1 - z) * h);
        k += e;
        dk += rate * h * e;
        before = power;
    }
    *slope = dk - b * cpow(z, b - 1);
    return k - cpow(z, b);
}

/* Bailey and Downton: the mean wait of a complete batch from the b - 1 zeros within the unit circle, found by
 * Newton's method along z = omega_k K^{1/b}; every zero is checked and must be another. */
static double wait_by_roots(const struct km_batch_law *law, double rate, uint32_t b)
{
    struct km_batch_moments m;
    double complex roots[16], slope;
    double complex sum = 0;
    km_batch_moments(law, b, b, &m);
    for (uint32_t k = 1; k < b; k++) {
        double complex omega = cexp(CMPLX(0, 2 * acos(-1) * k / b)), z = 0.3 * omega;
        for (int i = 0; i < 300; i++) { /* the contraction brings it near, Newton finishes */
            double complex f = boundary(law, rate, b, z, &slope);
            double complex value = f + cpow(z, b);
            double complex next = i < 200 ? omega * cpow(value, 1.0 / b) : z - f / slope;
            if (i >= 200 && cabs(next - z) < 1e-15)
                break;
            z = next;
        }
        assert_true(cabs(z) < 1 && cabs(boundary(law, rate, b, z, &slope)) < 1e-12);
        for (uint32_t other = 1; other < k; other++)
            assert_true(cabs(roots[other] - z) > 1e-6);
        roots[k] = z;
        sum += 1 / (1 - z);
    }
    double load = rate * m.m1;
    return (creal(sum) - ((double)b * (b - 1) - rate * rate * m.m2) / (2 * (b - load))) / rate;
}

static void test_fixed_by_roots(void **state)
{
    (void)state;
    static const struct km_distribution *const laws[] = {&uniform, &skewed};
    static const uint32_t sizes[] = {1, 2, 4, 8};
    for (size_t d = 0; d < 2; d++) {
        struct km_token_law tokens = law_of(laws[d]);
        struct km_batch_law law = {0.005, 0.02, 0.0003, 0.0222, false, &tokens};
        for (size_t s = 0; s < 4; s++)
            for (double load = 0.3; load < 0.95; load += 0.3) {
                uint32_t b = sizes[s];
                double rate = load * b / km_batch_mean_s(&law, b);
                struct km_queue_answer answer;
                struct km_fixed_batch_wait wait;
                assert_int_equal(km_fixed_solve(&law, rate, b, NULL, &answer, &wait, NULL), KM_OK);
                near(wait.mean_s, wait_by_roots(&law, rate, b), 1e-7);
                near(answer.mean_wait_s - wait.mean_s, (b - 1) / (2 * rate), 1e-9);
                near(answer.mean_response_s - answer.mean_wait_s, km_batch_mean_s(&law, b), 1e-12);
            }
        km_token_law_release(&tokens);
    }
}

/* The stationary X' = (X + A - b)^+ by plain iteration, far past convergence. */
static double wait_by_iteration(const struct km_batch_law *law, double rate, uint32_t b, size_t states)
{
    struct km_batch_arrivals arrivals;
    assert_int_equal(km_batch_arrivals_init(&arrivals, law, rate, b, b, NULL), KM_OK);
    double *now = calloc(states, sizeof *now), *next = calloc(states, sizeof *next), change = 1, mean = 0;
    now[0] = 1;
    for (int round = 0; round < 20000 && change > 1e-14; round++) {
        memset(next, 0, states * sizeof *next);
        for (size_t i = 0; i < states; i++)
            for (size_t j = 0; now[i] > 1e-18 && j < arrivals.columns; j++) {
                size_t to = i + j > b ? i + j - b : 0;
                next[to < states ? to : states - 1] += now[i] * arrivals.mass[j];
            }
        change = 0;
        for (size_t i = 0; i < states; i++)
            change += fabs(next[i] - now[i]);
        double *swap = now;
        now = next;
        next = swap;
    }
    for (size_t i = 0; i < states; i++)
        mean += (double)i * now[i];
    free(now);
    free(next);
    km_batch_arrivals_release(&arrivals);
    return mean / rate;
}

/* A lattice of token counts at b = 16, where the iteration for the roots goes astray. */
static void test_fixed_lattice_of_16(void **state)
{
    (void)state;
    struct km_token_law tokens = law_of(&lattice);
    static const double loads[] = {0.3, 0.6, 0.85};
    for (int elastic = 0; elastic < 2; elastic++) {
        struct km_batch_law law = {0.005, 0.02, 0.0003, 0.0222, elastic, &tokens};
        for (size_t i = 0; i < 3; i++) {
            struct km_queue_answer answer;
            struct km_fixed_batch_wait wait;
            double rate = loads[i] * 16 / km_batch_mean_s(&law, 16);
            assert_int_equal(km_fixed_solve(&law, rate, 16, NULL, &answer, &wait, NULL), KM_OK);
            near(wait.mean_s, wait_by_iteration(&law, rate, 16, 400), 1e-8);
        }
    }
    km_token_law_release(&tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capped_against_chain),
        cmocka_unit_test(test_cap_of_64),
        cmocka_unit_test(test_load_of_98_percent),
        cmocka_unit_test(test_high_cap_is_no_cap),
        cmocka_unit_test(test_elastic_without_k3_is_padded),
        cmocka_unit_test(test_tails_integrate_to_means),
        cmocka_unit_test(test_fixed_by_roots),
        cmocka_unit_test(test_fixed_lattice_of_16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
