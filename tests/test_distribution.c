#include "workload/distribution.h"

#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double values[] = {3, 1.2, 700, 3};
static const double weights[] = {1, 2, 0.5, 0};

/* Every kind, with and without clipping, and the edges of its parameters. */
static const struct km_distribution cases[] = {
    {.kind = KM_DIST_CONSTANT, .value = 17},
    {.kind = KM_DIST_CONSTANT, .value = 17, .min = 20, .max = 30},
    {.kind = KM_DIST_UNIFORM, .min = 1, .max = 6},
    {.kind = KM_DIST_UNIFORM, .min = 0, .max = 2.5},
    {.kind = KM_DIST_UNIFORM, .min = 100, .max = 100},
    {.kind = KM_DIST_GEOMETRIC, .mean = 1},
    {.kind = KM_DIST_GEOMETRIC, .mean = 1.5},
    {.kind = KM_DIST_GEOMETRIC, .mean = 200},
    {.kind = KM_DIST_GEOMETRIC, .mean = 200, .min = 10, .max = 300},
    {.kind = KM_DIST_LOGNORMAL, .mu = 6.5, .sigma = 0.8},
    {.kind = KM_DIST_LOGNORMAL, .mu = 6.5, .sigma = 0.8, .min = 64, .max = 4096},
    {.kind = KM_DIST_LOGNORMAL, .mu = 3, .sigma = 0},
    {.kind = KM_DIST_LOGNORMAL, .mu = 3, .sigma = 1e-9},
    {.kind = KM_DIST_LOGNORMAL, .mu = -5, .sigma = 0.1},
    {.kind = KM_DIST_LOGNORMAL, .mu = 2, .sigma = 2, .max = 500},
    {.kind = KM_DIST_GAMMA, .mean = 300, .cv = 0.7},
    {.kind = KM_DIST_GAMMA, .mean = 300, .cv = 2, .max = 1000},
    {.kind = KM_DIST_GAMMA, .mean = 300, .cv = 0},
    {.kind = KM_DIST_GAMMA, .mean = 5000, .cv = 1e-3},
    {.kind = KM_DIST_GAMMA, .mean = 5000.5, .cv = 1e-12},
    {.kind = KM_DIST_GAMMA, .mean = 0.01, .cv = 1},
    {.kind = KM_DIST_ZIPF, .exponent = 1.1, .limit = 1000},
    {.kind = KM_DIST_ZIPF, .exponent = 0, .limit = 6},
    {.kind = KM_DIST_ZIPF, .exponent = 50, .limit = 1000, .min = 2},
    {.kind = KM_DIST_EMPIRICAL, .values = values, .count = 4},
    {.kind = KM_DIST_EMPIRICAL, .values = values, .weights = weights, .count = 4, .max = 500},
};
#define CASES (sizeof cases / sizeof cases[0])

static void test_pmf(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        uint32_t last;
        double sum = 0, mean = 0;
        assert_null(km_distribution_problem(&cases[i], true));
        double *pmf = km_distribution_pmf(&cases[i], 0, &last);
        for (uint32_t n = 0; n <= last; n++) {
            assert_true(pmf[n] >= 0 && pmf[n] <= 1 + 1e-12);
            sum += pmf[n];
            mean += n * pmf[n];
        }
        assert_true(pmf[0] == 0);
        assert_true(fabs(sum - 1) < 1e-11);
        assert_true(fabs(mean - km_distribution_mean_tokens(&cases[i])) < 1e-8 * mean);
        free(pmf);
    }
}

/* Draws agree with the mass function: chi-square over cells of at least 50 expected draws, and the mean. */
static void test_draws_follow_pmf(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    for (size_t i = 0; i < CASES; i++) {
        uint32_t last;
        double *pmf = km_distribution_pmf(&cases[i], 0, &last);
        double *seen = calloc((size_t)last + 1, sizeof *seen);
        struct km_sampler *sampler = km_sampler_create(&cases[i]);
        gsl_rng *rng = km_random_stream(11 + i, KM_RANDOM_PROMPT_TOKENS);
        for (int k = 0; k < DRAWS; k++) {
            uint32_t n = km_sampler_draw_tokens(sampler, rng);
            assert_in_range(n, 1, UINT32_MAX / 4);
            seen[n < last ? n : last]++;
        }
        double chi_square = 0, expected = 0, got = 0;
        int cells = 0;
        for (uint32_t n = 1; n <= last; n++) {
            expected += pmf[n] * DRAWS;
            got += seen[n];
            if (expected < 50 && n < last)
                continue;
            if (expected > 1) {
                chi_square += (got - expected) * (got - expected) / expected;
                cells++;
            } else {
                assert_true(got < 20);
            }
            expected = got = 0;
        }
        double freedom = cells - 1;
        assert_true(chi_square < freedom + 5 * sqrt(2 * freedom) + 20);
        gsl_rng_free(rng);
        km_sampler_destroy(sampler);
        free(seen);
        free(pmf);
    }
}

static void test_known_masses(void **state)
{
    (void)state;
    uint32_t last;
    struct km_distribution geometric = {.kind = KM_DIST_GEOMETRIC, .mean = 4};
    double *pmf = km_distribution_pmf(&geometric, 3, &last); /* P(N >= 3) is piled on 3 */
    assert_int_equal(last, 3);
    assert_true(fabs(pmf[1] - 0.25) < 1e-15);
    assert_true(fabs(pmf[2] - 0.1875) < 1e-15);
    assert_true(fabs(pmf[3] - 0.5625) < 1e-15);
    free(pmf);

    struct km_distribution die = {.kind = KM_DIST_UNIFORM, .min = 1, .max = 6};
    pmf = km_distribution_pmf(&die, 4, &last);
    assert_true(fabs(pmf[1] - 1.0 / 6) < 1e-15);
    assert_true(fabs(pmf[4] - 0.5) < 1e-15);
    free(pmf);
    struct km_distribution high = {.kind = KM_DIST_UNIFORM, .min = 10, .max = 12};
    pmf = km_distribution_pmf(&high, 4, &last);
    assert_true(pmf[4] == 1);
    free(pmf);

    /* P(ceil(X) = n) of an exponential of mean 2: e^(-(n-1)/2) - e^(-n/2). */
    struct km_distribution exponential = {.kind = KM_DIST_GAMMA, .mean = 2, .cv = 1};
    pmf = km_distribution_pmf(&exponential, 0, &last);
    for (uint32_t n = 1; n < last; n++)
        assert_true(fabs(pmf[n] - exp(-(n - 1.0) / 2) * -expm1(-0.5)) < 1e-14);
    assert_true(exp(-(last / 2.0)) < 1e-13 && exp(-(last - 1.0) / 2) >= 1e-13);
    free(pmf);

    double zipf_sum = 1 + 1 / 4.0 + 1 / 9.0;
    struct km_distribution zipf = {.kind = KM_DIST_ZIPF, .exponent = 2, .limit = 3};
    pmf = km_distribution_pmf(&zipf, 0, &last);
    assert_int_equal(last, 3);
    assert_true(fabs(pmf[2] - 0.25 / zipf_sum) < 1e-15);
    free(pmf);

    struct km_distribution clipped = {.kind = KM_DIST_LOGNORMAL, .mu = 5, .sigma = 1, .min = 100, .max = 200};
    pmf = km_distribution_pmf(&clipped, 0, &last);
    assert_int_equal(last, 200);
    assert_true(pmf[99] == 0);
    assert_true(fabs(pmf[100] - km_distribution_cdf(&clipped, 100)) < 1e-14);
    assert_true(fabs(pmf[200] - km_distribution_survival(&clipped, 199)) < 1e-14);
    free(pmf);
}

static void test_lognormal_moments(void **state)
{
    (void)state;
    static const double moments[][2] = {{1020, 980}, {5, 1e-6},  {1, 0},
                                        {1e-3, 1e3}, {1e9, 1e9}, {1e-200, 1e100}};
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        double mean = moments[i][0], sd = moments[i][1], mu, sigma;
        km_lognormal_from_moments(mean, sd, &mu, &sigma);
        assert_true(isfinite(mu) && isfinite(sigma));
        assert_true(fabs(mu + sigma * sigma / 2 - log(mean)) < 1e-9);
        if (sd < 1e50)
            assert_true(fabs(sqrt(expm1(sigma * sigma)) * mean - sd) <= 1e-9 * sd);
    }
}

/* Wide distributions, whose mean is not summed term by term, against a plain sum over a large mass function.
 */
static void test_mean_of_wide(void **state)
{
    (void)state;
    static const struct km_distribution wide[] = {
        {.kind = KM_DIST_LOGNORMAL, .mu = 12, .sigma = 0.5, .max = 700000},
        {.kind = KM_DIST_LOGNORMAL, .mu = 8, .sigma = 3, .max = 700000},
        {.kind = KM_DIST_GAMMA, .mean = 100000, .cv = 0.5, .max = 700000},
        {.kind = KM_DIST_GAMMA, .mean = 350000, .cv = 0.02, .max = 700000},
        {.kind = KM_DIST_GAMMA, .mean = 350000, .cv = 3, .min = 500, .max = 700000},
        {.kind = KM_DIST_GEOMETRIC, .mean = 300000, .min = 500, .max = 700000},
    };
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        uint32_t last;
        double mean = 0, *pmf = km_distribution_pmf(&wide[i], 0, &last);
        for (uint32_t n = last; n > 0; n--)
            mean += n * pmf[n];
        assert_true(fabs(km_distribution_mean_tokens(&wide[i]) - mean) < 1e-9 * mean);
        free(pmf);
    }
}

/* No valid parameters give NaN, a mass outside [0, 1] or a draw out of range. */
static void test_any_parameters(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(3, KM_RANDOM_OUTPUT_TOKENS);
    for (int i = 0; i < 3000; i++) {
        struct km_distribution d = {.kind = (enum km_distribution_kind)(KM_DIST_GEOMETRIC + i % 3)};
        d.mean = pow(10, gsl_rng_uniform(rng) * 14 - 5);
        d.cv = gsl_rng_uniform(rng) < 0.1 ? 0 : pow(10, gsl_rng_uniform(rng) * 18 - 15);
        d.mu = gsl_rng_uniform(rng) * 1400 - 700;
        d.sigma = gsl_rng_uniform(rng) < 0.1 ? 0 : pow(10, gsl_rng_uniform(rng) * 20 - 17);
        d.min = i % 2 ? floor(gsl_rng_uniform(rng) * 100) : 0;
        d.max = i % 5 ? 0 : d.min + 1 + floor(gsl_rng_uniform(rng) * 1e6);
        if (km_distribution_problem(&d, true))
            continue;
        double mean = km_distribution_mean_tokens(&d);
        assert_true(mean >= 1 && mean <= KM_TOKENS_LIMIT + 1.0);
        uint32_t last;
        double sum = 0, *pmf = km_distribution_pmf(&d, 2000, &last);
        for (uint32_t n = 0; n <= last; n++) {
            assert_true(pmf[n] >= 0 && pmf[n] <= 1);
            sum += pmf[n];
        }
        assert_true(fabs(sum - 1) < 1e-9);
        free(pmf);
        struct km_sampler *sampler = km_sampler_create(&d);
        for (int k = 0; k < 20; k++) {
            uint32_t n = km_sampler_draw_tokens(sampler, rng);
            assert_true(n >= 1 && n <= KM_TOKENS_LIMIT && n >= d.min && (d.max == 0 || n <= d.max));
            assert_true(km_sampler_draw(sampler, rng) >= d.min);
        }
        km_sampler_destroy(sampler);
    }
    gsl_rng_free(rng);
}

/* The two sides of the switch between GSL and the normal approximation of the gamma agree. */
static void test_gamma_approximation(void **state)
{
    (void)state;
    struct km_distribution below = {.kind = KM_DIST_GAMMA, .mean = 1000, .cv = 1 / sqrt(0.999999e5)};
    struct km_distribution above = {.kind = KM_DIST_GAMMA, .mean = 1000, .cv = 1 / sqrt(1.000001e5)};
    for (double x = 980; x <= 1020; x += 0.25) {
        assert_true(fabs(km_distribution_cdf(&below, x) - km_distribution_cdf(&above, x)) < 1e-6);
        assert_true(fabs(km_distribution_cdf(&above, x) + km_distribution_survival(&above, x) - 1) < 1e-15);
    }
}

static void test_times(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(5, KM_RANDOM_THINK);
    static const struct {
        struct km_distribution d;
        double mean, sd;
    } times[] = {
        {{.kind = KM_DIST_CONSTANT, .value = 0.25}, 0.25, 0},
        {{.kind = KM_DIST_UNIFORM, .min = 1, .max = 3}, 2, 0.5773502692},
        {{.kind = KM_DIST_UNIFORM, .min = 0, .max = 0}, 0, 0},
        {{.kind = KM_DIST_GAMMA, .mean = 2, .cv = 0.5}, 2, 1},
        {{.kind = KM_DIST_GEOMETRIC, .mean = 3}, 3, 2.449489743},
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        double sum = 0, squares = 0, n = 100000;
        struct km_sampler *sampler = km_sampler_create(&times[i].d);
        assert_null(km_distribution_problem(&times[i].d, false));
        for (int k = 0; k < n; k++) {
            double x = km_sampler_draw(sampler, rng);
            sum += x;
            squares += (x - times[i].mean) * (x - times[i].mean);
        }
        assert_true(fabs(sum / n - times[i].mean) <= 5 * times[i].sd / sqrt(n) + 1e-12);
        assert_true(fabs(sqrt(squares / n) - times[i].sd) <= 0.05 * times[i].sd + 1e-12);
        km_sampler_destroy(sampler);
    }
    gsl_rng_free(rng);
}

static void test_problems(void **state)
{
    (void)state;
    static const double zero = 0, two = 2;
    static const struct {
        struct km_distribution d;
        bool tokens;
        const char *problem;
    } bad[] = {
        {{.kind = KM_DIST_CONSTANT, .value = 0}, true, "value must be from 1 to 1073741823"},
        {{.kind = KM_DIST_CONSTANT, .value = -1}, false, "value must be finite and >= 0"},
        {{.kind = KM_DIST_UNIFORM}, true, "max must be given and > 0"},
        {{.kind = KM_DIST_UNIFORM, .min = 5, .max = 4}, true, "max must not be below min"},
        {{.kind = KM_DIST_UNIFORM, .min = 2.2, .max = 2.8},
         true,
         "no whole number from 1 lies between min and max"},
        {{.kind = KM_DIST_GEOMETRIC, .mean = 0.5}, true, "mean must be finite and >= 1"},
        {{.kind = KM_DIST_LOGNORMAL, .sigma = NAN}, true, "sigma must be 0, or from 1e-100 to 1000"},
        {{.kind = KM_DIST_LOGNORMAL, .mu = INFINITY}, true, "mu must be from -700 to 700"},
        {{.kind = KM_DIST_GAMMA, .cv = 1}, true, "mean must be finite and > 0"},
        {{.kind = KM_DIST_GAMMA, .mean = 1, .cv = -1}, true, "cv must be 0, or from 1e-100 to 1000"},
        {{.kind = KM_DIST_GAMMA, .mean = 1, .cv = 1e-200}, true, "cv must be 0, or from 1e-100 to 1000"},
        {{.kind = KM_DIST_ZIPF, .exponent = -1, .limit = 5}, true, "exponent must be from 0 to 1000"},
        {{.kind = KM_DIST_ZIPF, .exponent = 1}, true, "max must be from 1 to 4194304"},
        {{.kind = KM_DIST_EMPIRICAL}, true, "values must not be empty"},
        {{.kind = KM_DIST_EMPIRICAL, .values = &zero, .count = 1},
         true,
         "values must be token counts from 1 to 1073741823"},
        {{.kind = KM_DIST_EMPIRICAL, .values = &two, .weights = &zero, .count = 1},
         true,
         "weights must have a positive, finite sum"},
        {{.kind = KM_DIST_CONSTANT, .value = 1, .min = -1}, true, "min must be from 0 to 1073741823"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *problem = km_distribution_problem(&bad[i].d, bad[i].tokens);
        assert_non_null(problem);
        assert_string_equal(problem, bad[i].problem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pmf),
        cmocka_unit_test(test_draws_follow_pmf),
        cmocka_unit_test(test_known_masses),
        cmocka_unit_test(test_lognormal_moments),
        cmocka_unit_test(test_mean_of_wide),
        cmocka_unit_test(test_any_parameters),
        cmocka_unit_test(test_gamma_approximation),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
