/* Batches: the service laws against enumeration, the queues against each other; and the places where the
 * usual methods fail. */
#include "base/complex.h"
#include "queueing/bulk/batch_arrivals.h"
#include "queueing/bulk/bulk_bound.h"
#include "queueing/bulk/dynamic.h"
#include "queueing/bulk/fixed.h"
#include "queueing/queue_model.h"
#include "queueing/single/mg1.h"
#include "support/bulk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

#include <cmocka.h>

/* --- the law of a batch -------------------------------------------------------------------------------- */

/* Time of a batch with these tokens, and of its member 0, straight from the definition: step l is paid for
 * every member (padded) or for those still active (elastic). */
static double batch_time(const struct km_batch_law *law, const int *tokens, int b, double *own)
{
    int longest = 0;
    for (int i = 0; i < b; i++)
        longest = tokens[i] > longest ? tokens[i] : longest;
    double time = law->k1_s * b + law->k2_s;
    for (int l = 1; l <= longest; l++) {
        int active = 0;
        for (int i = 0; i < b; i++)
            active += !law->elastic || tokens[i] >= l;
        time += law->k3_s * active + law->k4_s;
        if (l == tokens[0])
            *own = time;
    }
    if (!law->elastic)
        *own = time;
    return time;
}

static void test_batch_law_by_enumeration(void **state)
{
    (void)state;
    static const double values[] = {1, 2, 5, 9}, weights[] = {0.4, 0.3, 0.2, 0.1};
    struct km_distribution d = {.kind = KM_DIST_EMPIRICAL, .values = values, .weights = weights, .count = 4};
    struct km_token_law tokens = law_of(&d);
    for (int elastic = 0; elastic < 2; elastic++) {
        struct km_batch_law law = {0.3, 0.2, 0.05, 0.4, elastic, &tokens};
        struct km_batch_moments all[5];
        double complex s = CMPLX(0.11, 0.7), transforms[5];
        km_batch_moments(&law, 1, 5, all);
        km_batch_transforms(&law, s, 1, 5, transforms);
        for (int b = 1; b <= 5; b++) {
            double m1 = 0, m2 = 0, m3 = 0, own_sum = 0, excess = 0;
            double complex transform = 0;
            for (int code = 0; code < 1 << (2 * b); code++) {
                int drawn[5];
                double p = 1, own = 0;
                for (int i = 0; i < b; i++) {
                    drawn[i] = (int)values[(code >> (2 * i)) & 3];
                    p *= weights[(code >> (2 * i)) & 3];
                }
                double time = batch_time(&law, drawn, b, &own);
                m1 += p * time;
                m2 += p * time * time;
                m3 += p * time * time * time;
                own_sum += p * own;
                excess += p * fmax(time - 4, 0);
                transform += p * cexp(-s * time);
            }
            struct km_batch_moments one;
            km_batch_moments(&law, (uint32_t)b, (uint32_t)b, &one);
            near(all[b - 1].m1, m1, 1e-12);
            near(all[b - 1].m2, m2, 1e-12);
            near(all[b - 1].m3, m3, 1e-12);
            near(all[b - 1].own_s, own_sum, 1e-12);
            near(one.m3, m3, 1e-12);
            near(one.own_s, own_sum, 1e-12);
            near(km_batch_mean_s(&law, (uint32_t)b), m1, 1e-12);
            assert_true(cabs(transforms[b - 1] - transform) < 1e-12);
            double complex single;
            km_batch_transforms(&law, s, (uint32_t)b, (uint32_t)b, &single);
            assert_true(cabs(single - transform) < 1e-12);
            if (!elastic)
                near(km_batch_excess_s(&law, (uint32_t)b, 4), excess, 1e-12);
        }
    }
    km_token_law_release(&tokens);
}

static void test_arrivals(void **state)
{
    (void)state;
    static const struct km_distribution *const laws[] = {&lattice, &uniform, &skewed};
    for (size_t d = 0; d < 3; d++) {
        struct km_token_law tokens = law_of(laws[d]);
        for (int elastic = 0; elastic < 2; elastic++) {
            struct km_batch_law law = {0.005, 0.02, 0.002, 0.02, elastic, &tokens};
            for (double rate = 0.01; rate < 10; rate *= 9) {
                struct km_batch_arrivals arrivals;
                struct km_batch_moments m[12];
                assert_int_equal(km_batch_arrivals_init(&arrivals, &law, rate, 1, 12, NULL), KM_OK);
                km_batch_moments(&law, 1, 12, m);
                for (uint32_t b = 1; b <= 12; b++) {
                    const double *row = km_batch_arrivals_row(&arrivals, b);
                    double sum = 0, mean = 0, pairs = 0;
                    for (size_t j = 0; j < arrivals.columns; j++) {
                        assert_true(row[j] >= 0);
                        sum += row[j];
                        mean += (double)j * row[j];
                        pairs += (double)j * ((double)j - 1) * row[j];
                    }
                    near(sum, 1, 1e-11);
                    near(mean, rate * m[b - 1].m1, 1e-9);
                    near(pairs, rate * rate * m[b - 1].m2, 1e-7);
                    if (elastic)
                        continue;
                    double direct = 0, before = 0; /* one mass, summed over every l */
                    unsigned j = (unsigned)(rate * m[b - 1].m1);
                    for (size_t i = 0; i < tokens.support_count; i++) {
                        uint32_t l = tokens.support[i];
                        double power = pow(tokens.cdf[l], b);
                        direct += (power - before) *
                                  gsl_ran_poisson_pdf(j, rate * (0.005 * b + 0.02 + (0.002 * b + 0.02) * l));
                        before = power;
                    }
                    near(row[j], direct, 1e-11);
                }
                km_batch_arrivals_release(&arrivals);
            }
        }
        km_token_law_release(&tokens);
    }
}

/* Random laws: the simple bound holds, more load means more waiting, elastic is no slower than padded. */
/* --- bounds and refusals ------------------------------------------------------------------------------- */

static void test_order(void **state)
{
    (void)state;
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    for (int round = 0; round < 25; round++) {
        struct km_distribution d = {.kind = KM_DIST_GAMMA,
                                    .mean = 5 + 100 * gsl_rng_uniform(rng),
                                    .cv = 1.2 * gsl_rng_uniform(rng),
                                    .max = 200};
        struct km_token_law tokens = law_of(&d);
        struct km_batch_law law = {0.01 * gsl_rng_uniform(rng),
                                   0.1 * gsl_rng_uniform(rng),
                                   0.002 * gsl_rng_uniform(rng),
                                   0.03 * gsl_rng_uniform(rng),
                                   false,
                                   &tokens};
        struct km_batch_law elastic = law;
        elastic.elastic = true;
        double alpha = law.k1_s + law.k3_s * tokens.max, tau0 = law.k2_s + law.k4_s * tokens.max, before = 0;
        for (double load = 0.2; load < 0.7; load += 0.2) {
            double rate = fmin(load / alpha, 40 * load / tau0), bound;
            struct km_queue_answer padded, faster;
            assert_int_equal(km_bulk_bound(rate, alpha, tau0, &bound, NULL), KM_OK);
            assert_int_equal(km_dynamic_solve(&law, rate, KM_NO_CAP, NULL, &padded, NULL), KM_OK);
            assert_int_equal(km_dynamic_solve(&elastic, rate, KM_NO_CAP, NULL, &faster, NULL), KM_OK);
            assert_true(padded.mean_response_s <= bound * (1 + 1e-9));
            assert_true(padded.mean_wait_s > before);
            assert_true(faster.mean_wait_s <= padded.mean_wait_s * (1 + 1e-9));
            assert_true(faster.mean_response_s <= padded.mean_response_s * (1 + 1e-9));
            before = padded.mean_wait_s;
        }
        km_token_law_release(&tokens);
    }
    gsl_rng_free(rng);
}

#define BATCHES(kind, rate, k1, k2, k3, k4, cap, size, patience)                                             \
    {                                                                                                        \
        .discipline = KM_DISCIPLINE_##kind, .rate_per_s = (rate), .k1_s = (k1), .k2_s = (k2), .k3_s = (k3),  \
        .k4_s = (k4), .batch_cap = (cap), .batch_size = (size), .patience_s = (patience)                     \
    }

static void test_refusals(void **state)
{
    (void)state;
    static const struct km_distribution ten = {.kind = KM_DIST_CONSTANT, .value = 10};
    static const struct km_distribution endless = {.kind = KM_DIST_GEOMETRIC, .mean = 10};
    const struct {
        const struct km_distribution *tokens;
        struct km_queue_model model;
        enum km_status status;
        const char *message;
    } cases[] = {
        /* H(b, 10) = 0.1 b + 1: at most 1 / 0.1 a second without a cap, 5 / 1.5 in fives. */
        {&ten, BATCHES(DYNAMIC, 20, 0, 0, 0.01, 0.1, KM_NO_CAP, 0, HUGE_VAL), KM_NO,
         "unstable: rho = 2; stable below lambda = 10 per s"},
        {&ten, BATCHES(DYNAMIC, 5, 0, 0, 0.01, 0.1, 5, 0, HUGE_VAL), KM_NO,
         "unstable: rho = 1.5; stable below lambda = 3.33333 per s"},
        {&ten, BATCHES(ELASTIC_FIXED, 5, 0, 0, 0.01, 0.1, KM_NO_CAP, 5, HUGE_VAL), KM_NO,
         "unstable: rho = 1.5; stable below lambda = 3.33333 per s"},
        {&endless, BATCHES(DYNAMIC, 1e-6, 0, 0, 0.01, 0.1, KM_NO_CAP, 0, HUGE_VAL), KM_NO,
         "unstable: with k3 > 0 and no limit on the tokens ever larger batches take ever longer at any rate; "
         "give a token limit or a batch cap"},
        {&endless, BATCHES(ELASTIC_DYNAMIC, 1, 0, 0, 0.01, 0.1, KM_NO_CAP, 0, HUGE_VAL), KM_OK, ""},
        {&endless, BATCHES(DYNAMIC, 1, 0, 0, 0, 0.1, KM_NO_CAP, 0, HUGE_VAL), KM_OK, ""},
        {&ten, BATCHES(DYNAMIC, 9.999, 0, 0, 0.01, 0.1, KM_NO_CAP, 0, HUGE_VAL), KM_BAD_INPUT,
         "rho = 0.9999: batches would pass 1024 requests, the largest that are solved for; give a batch cap"},
        {&ten, BATCHES(DYNAMIC, 1, 0, 0, 0.01, 0.1, 0, 0, HUGE_VAL), KM_BAD_INPUT,
         "batch cap: must be from 1 to 1024, got 0"},
        {&ten, BATCHES(FIXED, 1, 0, 0, 0.01, 0.1, KM_NO_CAP, 0, HUGE_VAL), KM_BAD_INPUT,
         "batch size: must be from 1 to 1024, got 0"},
        {&ten, BATCHES(FIXED, 1, 0, 0, 0, 0, KM_NO_CAP, 4, HUGE_VAL), KM_BAD_INPUT,
         "service: takes no time: k1 .. k4 are all 0"},
        {&ten, BATCHES(FIXED, 1, 0, -1, 0, 1, KM_NO_CAP, 4, HUGE_VAL), KM_BAD_INPUT,
         "service: k2 must be finite and >= 0, got -1"},
        {&ten, BATCHES(FIXED, 1, 0, 0, 0, 1, KM_NO_CAP, 4, 5), KM_BAD_INPUT,
         "patience: known for discipline mg1 only"},
        {&ten, BATCHES(DYNAMIC, 0, 0, 0, 0, 1, KM_NO_CAP, 0, HUGE_VAL), KM_BAD_INPUT,
         "arrival rate: must be finite and > 0, got 0"},
        {&ten, BATCHES(DYNAMIC, 1e8, 0, 0, 0, 1, KM_NO_CAP, 0, HUGE_VAL), KM_BAD_INPUT,
         "rho = 0: batches would pass 1024 requests, the largest that are solved for; give a batch cap"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct km_token_law tokens = law_of(cases[i].tokens);
        struct km_queue_model model = cases[i].model;
        struct km_queue_answer answer;
        struct km_error error = {0};
        static const double t_s[] = {1};
        double p[1];
        struct km_wait_tail tail = {1, t_s, p};
        model.tokens = &tokens;
        assert_int_equal(km_queue_model_solve(&model, &tail, &answer, &error), cases[i].status);
        assert_string_equal(error.message, cases[i].message);
        assert_true(isnan(answer.mean_wait_s) == (cases[i].status != KM_OK));
        assert_true(isnan(p[0]) == (cases[i].status != KM_OK));
        if (cases[i].status == KM_NO)
            assert_true(!answer.stable && answer.utilization >= 1);
        km_token_law_release(&tokens);
    }
    double bound;
    assert_int_equal(km_bulk_bound(2, 0.5, 1, &bound, NULL), KM_NO);
    assert_int_equal(km_bulk_bound(2, 0, 0, &bound, NULL), KM_BAD_INPUT);
    assert_true(isnan(bound));
}

/* Thousands of token counts are gathered on fewer: the same queue to six digits. */
static void test_coarse_law(void **state)
{
    (void)state;
    struct km_distribution wide = {.kind = KM_DIST_LOGNORMAL, .mu = 7, .sigma = 0.7};
    struct km_token_law fine = law_of(&wide), coarse;
    km_token_law_coarsen(&coarse, &fine);
    assert_true(fine.support_count > 100000 && coarse.support_count < 12000);
    assert_int_equal(coarse.max, fine.max);
    near(coarse.mean, fine.mean, 1e-13);
    near(coarse.limited_square[coarse.max], fine.limited_square[fine.max], 3e-7);
    for (int elastic = 0; elastic < 2; elastic++) {
        struct km_batch_law law = {0.005, 0.02, 0.0003, 0.0222, elastic, &fine};
        struct km_batch_law other = law;
        other.tokens = &coarse;
        struct km_batch_moments a[8], b[8];
        km_batch_moments(&law, 1, 8, a);
        km_batch_moments(&other, 1, 8, b);
        for (int k = 0; k < 8; k++) {
            near(b[k].m1, a[k].m1, 1e-6);
            near(b[k].m2, a[k].m2, 1e-6);
            near(b[k].m3, a[k].m3, 1e-5);
            near(b[k].own_s, a[k].own_s, 1e-6);
        }
        /* ... and the solver, given the fine law, says what M/G/1 says of it. */
        struct km_mg1 single = {0.6 / a[0].m1, 0.0225, 0.025, &fine};
        struct km_queue_answer got, want, fixed;
        assert_int_equal(km_mg1_solve(&single, NULL, &want, NULL), KM_OK);
        assert_int_equal(km_dynamic_solve(&law, single.rate_per_s, 1, NULL, &got, NULL), KM_OK);
        assert_int_equal(km_fixed_solve(&law, single.rate_per_s, 1, NULL, &fixed, NULL, NULL), KM_OK);
        near(got.mean_wait_s, want.mean_wait_s, 1e-6);
        near(got.var_wait_s, want.var_wait_s, 1e-5);
        near(fixed.mean_wait_s, want.mean_wait_s, 1e-6);
    }
    km_token_law_release(&fine);
    km_token_law_release(&coarse);
}

/* Extremes: nearly no load, and loads next to saturation; every number finite, waits falling with the rate.
 */
static void test_extremes(void **state)
{
    (void)state;
    struct km_token_law tokens = law_of(&uniform);
    for (int elastic = 0; elastic < 2; elastic++) {
        struct km_batch_law law = {0.005, 0.02, 0.0003, 0.0222, elastic, &tokens};
        static const double loads[] = {1e-9, 1e-6, 1e-3, 0.5, 0.99, 0.9999, 0.999999};
        double before = -1;
        for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
            struct km_queue_answer a, f;
            double rate = loads[i] * 4 / km_batch_mean_s(&law, 4);
            assert_int_equal(km_dynamic_solve(&law, rate, 4, NULL, &a, NULL), KM_OK);
            assert_int_equal(km_fixed_solve(&law, rate, 4, NULL, &f, NULL, NULL), KM_OK);
            assert_true(a.mean_wait_s > before && isfinite(a.mean_wait_s) && a.var_wait_s >= 0);
            assert_true(isfinite(f.mean_wait_s) && f.mean_wait_s >= 1.5 / rate * (1 - 1e-9));
            assert_true(a.idle >= 0 && a.idle <= 1 && a.mean_batch >= 1 && a.mean_batch <= 4);
            if (loads[i] < 1e-5) { /* nobody meets more than one batch, of one */
                struct km_batch_moments m;
                km_batch_moments(&law, 1, 1, &m);
                near(a.mean_wait_s, rate * m.m2 / 2, 1e-5);
                near(a.var_wait_s, rate * m.m3 / 3, 1e-2);
            }
            before = a.mean_wait_s;
        }
    }
    km_token_law_release(&tokens);
}

/* Batches of any size take T, so each is of those who came during the last, Poisson with mean m = lambda T =
 * 2, or of the one who is waited for: E[B] = m + e^-m, E[B^2] = m + m^2 + e^-m, and a request finds itself in
 * one of E[B^2] / E[B]. */
static void test_batches_of_constant_time(void **state)
{
    (void)state;
    struct km_token_law tokens = law_of(&lattice);
    const struct km_batch_law law = {0, 0.5, 0, 0, false, &tokens};
    struct km_queue_answer answer;
    const double m = 2, one = exp(-m);
    assert_int_equal(km_dynamic_solve(&law, 4, KM_NO_CAP, NULL, &answer, NULL), KM_OK);
    near(answer.mean_batch, m + one, 1e-9);
    near(answer.mean_batch_seen, (m + m * m + one) / (m + one), 1e-9);
    near(answer.mean_response_s, answer.mean_wait_s + 0.5, 1e-9);
    km_token_law_release(&tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_law_by_enumeration),
        cmocka_unit_test(test_arrivals),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_coarse_law),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_batches_of_constant_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
