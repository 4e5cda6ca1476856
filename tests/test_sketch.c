#include "metrics/sketch.h"

#include "base/random.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Two sketches agree in everything that can be asked of them. */
static void assert_same(const struct km_sketch *a, const struct km_sketch *b)
{
    assert_int_equal(km_sketch_count(a), km_sketch_count(b));
    assert_int_equal(km_sketch_min_ps(a), km_sketch_min_ps(b));
    assert_int_equal(km_sketch_max_ps(a), km_sketch_max_ps(b));
    if (km_sketch_count(a) == 0)
        return;
    assert_true(km_sketch_mean_ps(a) == km_sketch_mean_ps(b));
    for (int i = 0; i <= 200; i++)
        assert_true(km_sketch_quantile_ps(a, i / 200.0) == km_sketch_quantile_ps(b, i / 200.0));
    uint64_t low = km_sketch_min_ps(a), span = km_sketch_max_ps(a) - low;
    for (uint64_t i = 0; i <= 50; i++) {
        uint64_t limit = low + span / 50 * i;
        assert_int_equal(km_sketch_count_below(a, limit), km_sketch_count_below(b, limit));
    }
}

static void empty(void **state)
{
    (void)state;
    struct km_sketch *sketch = km_sketch_create();
    assert_int_equal(km_sketch_count(sketch), 0);
    assert_true(isnan(km_sketch_mean_ps(sketch)));
    assert_true(isnan(km_sketch_quantile_ps(sketch, 0.5)));
    assert_int_equal(km_sketch_min_ps(sketch), 0);
    assert_int_equal(km_sketch_max_ps(sketch), 0);
    assert_int_equal(km_sketch_count_below(sketch, 10), 0);
    km_sketch_add(sketch, 7, 0);
    km_sketch_add_progression(sketch, 7, -7, 2, 0);
    km_sketch_add_progression(sketch, 7, -7, 0, 2);
    assert_int_equal(km_sketch_count(sketch), 0);
    km_sketch_destroy(sketch);
}

/* Small values are exact, and a quantile is the smallest value with the asked share at or below it. */
static void small_values_are_exact(void **state)
{
    (void)state;
    struct km_sketch *sketch = km_sketch_create();
    for (uint64_t v = 1; v <= 100; v++)
        km_sketch_add(sketch, v, 1);
    for (int p = 1; p <= 100; p++)
        assert_true(km_sketch_quantile_ps(sketch, p / 100.0) == (double)p);
    assert_true(km_sketch_quantile_ps(sketch, 0) == 1);
    assert_true(km_sketch_mean_ps(sketch) == 50.5);
    assert_int_equal(km_sketch_count_below(sketch, 37), 37);
    assert_int_equal(km_sketch_count_below(sketch, 0), 0);
    assert_int_equal(km_sketch_count_below(sketch, 1000), 100);
    km_sketch_destroy(sketch);
}

static void extremes(void **state)
{
    (void)state;
    struct km_sketch *sketch = km_sketch_create();
    km_sketch_add(sketch, 0, 3);
    km_sketch_add(sketch, UINT64_MAX, 1);
    assert_int_equal(km_sketch_count(sketch), 4);
    assert_true(km_sketch_quantile_ps(sketch, 0.75) == 0);
    assert_true(km_sketch_quantile_ps(sketch, 0.76) >= (double)UINT64_MAX * 0.999);
    /* A sum far beyond 64 bits. */
    km_sketch_add(sketch, UINT64_MAX, 1000000000);
    assert_true(fabs(km_sketch_mean_ps(sketch) / (double)UINT64_MAX - 1) < 1e-8);
    km_sketch_destroy(sketch);
}

static void progression_equals_singles(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(3, KM_RANDOM_ARRIVALS);
    struct km_sketch *all_once = km_sketch_create(), *all_singly = km_sketch_create();
    for (int trial = 0; trial < 400; trial++) {
        struct km_sketch *once = km_sketch_create(), *singly = km_sketch_create();
        uint64_t count = 1 + gsl_rng_uniform_int(rng, 1u << gsl_rng_uniform_int(rng, 14));
        uint64_t first = (uint64_t)exp(gsl_ran_flat(rng, 0, 40));
        int64_t slope = 0;
        if (trial % 3 == 1)
            slope = (int64_t)exp(gsl_ran_flat(rng, 0, 30));
        else if (trial % 3 == 2 && count > 1)
            slope = -(int64_t)(gsl_rng_uniform(rng) * (double)(first / (count - 1)));
        uint64_t weight = gsl_rng_uniform_int(rng, 300);
        km_sketch_add_progression(once, first, slope, count, weight);
        km_sketch_add_progression(all_once, first, slope, count, weight);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t value = (uint64_t)((int64_t)first + (int64_t)i * slope);
            km_sketch_add(singly, value, weight);
            km_sketch_add(all_singly, value, weight);
        }
        assert_same(once, singly);
        km_sketch_destroy(once);
        km_sketch_destroy(singly);
    }
    assert_same(all_once, all_singly);
    km_sketch_destroy(all_once);
    km_sketch_destroy(all_singly);
    gsl_rng_free(rng);
}

/* A progression of a billion steps is a matter of the buckets it crosses. */
static void long_progression(void **state)
{
    (void)state;
    struct km_sketch *sketch = km_sketch_create();
    uint64_t n = 1000000000;
    km_sketch_add_progression(sketch, 1000000, 1000, n, 256);
    assert_int_equal(km_sketch_count(sketch), n * 256);
    assert_int_equal(km_sketch_max_ps(sketch), 1000000 + 1000 * (n - 1));
    double median = km_sketch_quantile_ps(sketch, 0.5);
    assert_true(fabs(median / (1e6 + 1000 * 5e8) - 1) <= 0.001);
    km_sketch_destroy(sketch);
}

static void quantiles_are_within_a_thousandth(void **state)
{
    (void)state;
    enum { N = 20000 };
    static uint64_t values[N];
    gsl_rng *rng = km_random_stream(5, KM_RANDOM_ARRIVALS);
    for (int kind = 0; kind < 4; kind++) {
        struct km_sketch *sketch = km_sketch_create();
        for (int i = 0; i < N; i++) {
            double v = kind == 0   ? gsl_ran_lognormal(rng, 25, 2)
                       : kind == 1 ? gsl_ran_exponential(rng, 1e9)
                       : kind == 2 ? gsl_ran_flat(rng, 0, 5000)
                                   : 1e10 + gsl_ran_flat(rng, 0, 1e6);
            values[i] = (uint64_t)v;
            km_sketch_add(sketch, values[i], 1);
        }
        qsort(values, N, sizeof values[0], compare);
        for (int p = 1; p <= 1000; p++) {
            double exact = (double)values[(p * N + 999) / 1000 - 1];
            double got = km_sketch_quantile_ps(sketch, p / 1000.0);
            assert_true(fabs(got - exact) <= exact * 0.001);
        }
        /* Every value surely below the limit is counted, none surely above. */
        for (int p = 1; p < 100; p++) {
            double limit = (double)values[p * N / 100];
            uint64_t low = 0, high = 0;
            for (int i = 0; i < N; i++) {
                low += (double)values[i] < limit * 0.998;
                high += (double)values[i] <= limit * 1.002;
            }
            uint64_t got = km_sketch_count_below(sketch, (uint64_t)limit);
            assert_true(low <= got && got <= high);
        }
        km_sketch_destroy(sketch);
    }
    gsl_rng_free(rng);
}

static void merge_equals_one(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(7, KM_RANDOM_ARRIVALS);
    struct km_sketch *parts[3], *all = km_sketch_create(), *merged = km_sketch_create();
    for (int i = 0; i < 3; i++)
        parts[i] = km_sketch_create();
    for (int i = 0; i < 5000; i++) {
        uint64_t value = (uint64_t)gsl_ran_lognormal(rng, 20, 3), weight = gsl_rng_uniform_int(rng, 5);
        km_sketch_add(all, value, weight);
        km_sketch_add(parts[gsl_rng_uniform_int(rng, 2)], value, weight); /* the third stays empty */
    }
    for (int i = 0; i < 3; i++)
        km_sketch_merge(merged, parts[i]);
    assert_same(merged, all);
    for (int i = 0; i < 3; i++)
        km_sketch_destroy(parts[i]);
    km_sketch_destroy(all);
    km_sketch_destroy(merged);
    gsl_rng_free(rng);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(extremes),
        cmocka_unit_test(progression_equals_singles),
        cmocka_unit_test(long_progression),
        cmocka_unit_test(quantiles_are_within_a_thousandth),
        cmocka_unit_test(merge_equals_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
