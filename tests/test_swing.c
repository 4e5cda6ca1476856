/* Arrivals whose rate swings. */
#include "base/simtime.h"
#include "workload/arrival.h"
#include "workload/workload.h"

#include <gsl/gsl_math.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The inverse of the integrated rate, to the last digits, and increasing. */
static void inverse(void **state)
{
    (void)state;
    static const double swings[] = {0.0, 0.3, 0.9, 0.999, 1.0};
    for (size_t i = 0; i < sizeof swings / sizeof *swings; i++) {
        double before = -1;
        for (double u = 0; u < 250; u += 0.37) {
            double t = km_arrival_swung_s(u, swings[i], 100);
            double back = t - swings[i] * 100 / (2 * M_PI) * sin(2 * M_PI * t / 100);
            if (fabs(back - u) > 1e-9 || !(t > before))
                fail_msg("swing %g: %g is carried to %g, which counts %.15g", swings[i], u, t, back);
            before = t;
        }
    }
}

/* Requests in each eighth of the period are as many as the integral of the rate says, within five standard
 * deviations of a Poisson count; and all arrive in order. */
static void counts(void **state)
{
    (void)state;
    const struct km_workload_settings settings = {
        .process = KM_ARRIVAL_POISSON,
        .rate_per_s = 50,
        .swing = 0.8,
        .swing_period_s = 1000,
        .has_prompt_tokens = true,
        .has_output_tokens = true,
        .prompt_tokens = {.kind = KM_DIST_CONSTANT, .value = 1},
        .output_tokens = {.kind = KM_DIST_CONSTANT, .value = 1},
        .end_s = 2000,
        .rate_scale = 1,
    };
    struct km_workload *workload;
    double seen[8] = {0};
    uint64_t at_ps, before_ps = 0;
    assert_int_equal(km_workload_create(&settings, 3, &workload, NULL), KM_OK);
    while (km_workload_peek(workload, &at_ps, NULL) == KM_OK && at_ps != KM_PS_NEVER) {
        struct km_request request;
        km_workload_take(workload, &request);
        assert_true(at_ps >= before_ps);
        before_ps = at_ps;
        seen[(int)(fmod(km_s_from_ps(at_ps), 1000) / 125) % 8]++;
        km_request_release(&request);
    }
    km_workload_destroy(workload);
    for (int i = 0; i < 8; i++) {
        double from = 2 * M_PI * i / 8, to = 2 * M_PI * (i + 1) / 8;
        double want = 2 * 50 * (125 - 0.8 * 1000 / (2 * M_PI) * (sin(to) - sin(from)));
        if (fabs(seen[i] - want) > 5 * sqrt(want))
            fail_msg("eighth %d: %g requests, expected %g", i, seen[i], want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(inverse), cmocka_unit_test(counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
