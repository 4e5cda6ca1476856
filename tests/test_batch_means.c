#include "metrics/batch_means.h"

#include "base/random.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* One sequence of `length` samples, in units of 1e-6, whose mean in the long run is `mean`. */
struct process {
    const char *name;
    double parameter; /* AR(1): correlation; M/M/1: utilisation */
    double mean;
    int length;
    bool lindley;
    double start;                   /* AR(1): first value above the mean */
    int min_intervals, min_covered; /* of 200: intervals given; of those, per cent that hold the mean */
};

static void feed(struct km_batch_means *means, const struct process *p, gsl_rng *rng)
{
    double x = p->lindley ? 0 : p->start;
    for (int i = 0; i < p->length; i++) {
        double value = p->lindley ? x : p->mean + x;
        km_batch_means_add(means, (uint64_t)(value * 1e6 + 0.5), 1);
        if (p->lindley) /* W' = max(0, W + S - T), Lindley 1952 */
            x = fmax(0, x + gsl_ran_exponential(rng, p->parameter) - gsl_ran_exponential(rng, 1));
        else
            x = p->parameter * x + gsl_ran_gaussian(rng, 1);
    }
}

static const struct process processes[] = {
    {"independent", 0, 20, 1000, false, 0, 190, 92},
    {"AR(1) 0.5", 0.5, 20, 3000, false, 0, 190, 90},
    {"AR(1) 0.9", 0.9, 30, 20000, false, 0, 190, 90},
    {"AR(1) 0.9 warm-up", 0.9, 30, 20000, false, 300, 180, 90},
    {"AR(1) 0.99", 0.99, 100, 40000, false, 0, 180, 90},
    /* E[W] = rho^2 / (1 - rho) with arrivals at rate 1 and mean service rho */
    {"M/M/1 0.5", 0.5, 0.5, 20000, true, 0, 180, 90},
    {"M/M/1 0.8", 0.8, 3.2, 40000, true, 0, 180, 90},
    {"M/M/1 0.8 short", 0.8, 3.2, 10000, true, 0, 150, 88},
};

static void coverage_is_near_nominal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof processes / sizeof processes[0]; i++) {
        const struct process *p = &processes[i];
        gsl_rng *rng = km_random_stream(11 + i, KM_RANDOM_ARRIVALS);
        int intervals = 0, covered = 0;
        for (int run = 0; run < 200; run++) {
            struct km_batch_means *means = km_batch_means_create();
            struct km_interval interval;
            feed(means, p, rng);
            km_batch_means_interval(means, &interval);
            km_batch_means_destroy(means);
            if (isnan(interval.half_width))
                continue;
            intervals++;
            covered += fabs(interval.mean * 1e-6 - p->mean) <= interval.half_width * 1e-6;
            assert_in_range(interval.batches, 20, 40);
        }
        gsl_rng_free(rng);
        if (intervals < p->min_intervals || covered * 100 < intervals * p->min_covered)
            fail_msg("%s: %d intervals of 200, %d hold the mean", p->name, intervals, covered);
    }
}

/* The half-width of independent samples is the textbook one: 1.96 sd / sqrt(n), a little wider for t. */
static void width_is_the_textbook_one(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(2, KM_RANDOM_ARRIVALS);
    double width = 0;
    int intervals = 0;
    for (int run = 0; run < 100; run++) {
        struct km_batch_means *means = km_batch_means_create();
        struct km_interval interval;
        for (int i = 0; i < 10000; i++)
            km_batch_means_add(means, (uint64_t)(1e6 + gsl_ran_gaussian(rng, 1e5)), 1);
        km_batch_means_interval(means, &interval);
        km_batch_means_destroy(means);
        if (!isnan(interval.half_width)) {
            width += interval.half_width;
            intervals++;
        }
    }
    gsl_rng_free(rng);
    double textbook = 1.96 * 1e5 / 100;
    assert_true(width / intervals > textbook * 0.97 && width / intervals < textbook * 1.15);
}

static struct km_interval interval_of(uint64_t (*value)(int i, gsl_rng *rng), int length, int *trend)
{
    gsl_rng *rng = km_random_stream(17, KM_RANDOM_ARRIVALS);
    struct km_batch_means *means = km_batch_means_create();
    struct km_interval interval;
    for (int i = 0; i < length; i++)
        km_batch_means_add(means, value(i, rng), 1);
    km_batch_means_interval(means, &interval);
    *trend = km_batch_means_trend(means).sign;
    km_batch_means_destroy(means);
    gsl_rng_free(rng);
    return interval;
}

static uint64_t constant(int i, gsl_rng *rng)
{
    (void)i;
    (void)rng;
    return 5000000001;
}

static uint64_t noise(int i, gsl_rng *rng)
{
    (void)i;
    return (uint64_t)gsl_ran_exponential(rng, 1e9);
}

static uint64_t rising(int i, gsl_rng *rng)
{
    return (uint64_t)i * 1000000 + noise(i, rng);
}

static uint64_t falling(int i, gsl_rng *rng)
{
    return (uint64_t)(20000 - i) * 1000000 + noise(i, rng);
}

static uint64_t transient(int i, gsl_rng *rng)
{
    return noise(i, rng) + (i < 500 ? 20000000000 : 0);
}

static uint64_t wave(int i, gsl_rng *rng)
{
    (void)rng;
    return (uint64_t)(1e9 * (2 + sin(i * 0.05)));
}

static void cases(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t (*value)(int i, gsl_rng *rng);
        int length;
        bool interval;
        int trend;
        uint64_t min_warmup, max_warmup;
    } table[] = {
        {"nothing", noise, 0, false, 0, 0, 0},
        {"too few for MSER-5", noise, 99, false, 0, 0, 0},
        {"just enough", noise, 100, true, 0, 0, 50},
        {"noise", noise, 20000, true, 0, 0, 10000},
        {"constant", constant, 5000, true, 0, 0, 0},
        {"wave", wave, 20000, true, 0, 0, 10000},
        {"rising", rising, 20000, false, 1, 0, 0},
        {"rising, few", rising, 900, false, 0, 0, 0}, /* one noise mean over the run: lost in the noise */
        {"falling", falling, 20000, false, -1, 0, 0},
        {"transient", transient, 20000, true, 0, 500, 1000},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int trend;
        struct km_interval got = interval_of(table[i].value, table[i].length, &trend);
        if (table[i].interval != !isnan(got.half_width) || table[i].trend != trend ||
            got.warmup_samples < table[i].min_warmup || got.warmup_samples > table[i].max_warmup)
            fail_msg("%s: half-width %g, trend %d, warm-up %d", table[i].name, got.half_width, trend,
                     (int)got.warmup_samples);
        assert_int_equal(got.batches == 0, isnan(got.half_width) != 0);
    }
    int trend;
    assert_true(interval_of(constant, 5000, &trend).half_width == 0);
    assert_true(interval_of(constant, 5000, &trend).mean == 5000000001.0);
}

/* A sample of several values weighs by its count: the mean is total over total, and values that do not vary
 * leave no uncertainty however the counts vary. */
static void counts_weigh(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(4, KM_RANDOM_ARRIVALS);
    struct km_batch_means *same = km_batch_means_create(), *vary = km_batch_means_create();
    double sum = 0, count = 0;
    for (int i = 0; i < 3000; i++) {
        uint64_t n = 1 + gsl_rng_uniform_int(rng, 400), v = 1000000 + gsl_rng_uniform_int(rng, 1000);
        km_batch_means_add(same, 77 * n, n);
        km_batch_means_add(vary, v * n, n);
        sum += (double)(v * n);
        count += (double)n;
    }
    struct km_interval interval;
    km_batch_means_interval(same, &interval);
    assert_true(interval.mean == 77);
    assert_true(interval.half_width < 1e-9);
    km_batch_means_interval(vary, &interval);
    assert_true(fabs(interval.mean - sum / count) <= interval.half_width);
    assert_true(interval.half_width < 1000);
    km_batch_means_destroy(same);
    km_batch_means_destroy(vary);
    gsl_rng_free(rng);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coverage_is_near_nominal),
        cmocka_unit_test(width_is_the_textbook_one),
        cmocka_unit_test(cases),
        cmocka_unit_test(counts_weigh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
