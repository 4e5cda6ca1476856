/* Autoscaling policies without a simulation: the contract of scaling/scaling.h, and worked examples. */
#include "scaling/scaling.h"

#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct km_schedule_entry day[] = {{100, 4}, {200, 2}, {300, 6}};

static struct km_scaling_settings settings_of(const char *policy)
{
    return (struct km_scaling_settings){
        .policy = policy,
        .min_replicas = 2,
        .max_replicas = 9,
        .interval_s = 15,
        .startup_s = 60,
        .scale_down_delay_s = 300,
        .tolerance = 0.1,
        .target_requests = 10,
        .target_utilization = 0.5,
        .target_tokens_per_s = 1000,
        .level_smoothing = 0.5,
        .trend_smoothing = 0.3,
        .schedule = day,
        .schedule_count = 3,
    };
}

/* Whatever it sees, a scaler stays within its bounds and decides the same again; and it looks again. */
static void contract(void **state)
{
    (void)state;
    for (size_t p = 0; km_scaling_registry[p]; p++)
        for (uint64_t seed = 1; seed <= 50; seed++) {
            struct km_scaling_settings settings = settings_of(km_scaling_registry[p]->name);
            settings.metric = (enum km_scaling_metric)(seed % 3);
            settings.waiting_only = seed % 2;
            settings.period_s = seed % 5 ? 400 : 0;
            struct km_scaler *a = km_scaler_create(&settings), *b = km_scaler_create(&settings);
            gsl_rng *rng = km_random_stream(seed, KM_RANDOM_THINK);
            double now_s = 0, last_s = 0;
            uint32_t current = 2 + (uint32_t)gsl_rng_uniform_int(rng, 8);
            for (int i = 0; i < 200; i++) {
                uint32_t starting = (uint32_t)gsl_rng_uniform_int(rng, current);
                double load = exp(12 * gsl_rng_uniform(rng) - 4);
                const struct km_scaling_view view = {
                    .now_s = now_s,
                    .since_last_s = now_s - last_s,
                    .serving = current - starting,
                    .starting = starting,
                    .waiting = (uint64_t)load,
                    .running = (uint64_t)gsl_rng_uniform_int(rng, 1000),
                    .sequences = gsl_rng_uniform(rng),
                    .kv_cache = gsl_rng_uniform(rng),
                    .busy = gsl_rng_uniform(rng),
                    .arrived_tokens = 1000 * load,
                };
                uint32_t wanted = km_scaler_look(a, &view);
                if (wanted < 2 || wanted > 9)
                    fail_msg("%s wants %u replicas", settings.policy, wanted);
                assert_int_equal(km_scaler_look(b, &view), wanted);
                last_s = now_s;
                now_s = km_scaler_next_s(a, now_s);
                assert_true(now_s > last_s);
                if (isinf(now_s)) /* the schedule is over */
                    break;
                current = wanted;
            }
            gsl_rng_free(rng);
            km_scaler_destroy(a);
            km_scaler_destroy(b);
        }
}

static uint32_t look(struct km_scaler *scaler, double now_s, uint32_t serving, uint32_t starting,
                     uint64_t waiting, uint64_t running)
{
    const struct km_scaling_view view = {.now_s = now_s,
                                         .since_last_s = now_s > 0 ? 15 : 0,
                                         .serving = serving,
                                         .starting = starting,
                                         .waiting = waiting,
                                         .running = running,
                                         .sequences = (double)running / 100 / serving};
    return km_scaler_look(scaler, &view);
}

/* Ten requests a replica. */
static void queue_target(void **state)
{
    (void)state;
    struct km_scaling_settings settings = settings_of("target_queue");
    struct km_scaler *s = km_scaler_create(&settings);
    assert_int_equal(look(s, 0, 4, 0, 0, 41), 4);    /* within a tenth */
    assert_int_equal(look(s, 15, 4, 0, 0, 37), 4);   /* so is this */
    assert_int_equal(look(s, 30, 4, 0, 1, 44), 5);   /* ceil(4.5) */
    assert_int_equal(look(s, 45, 4, 1, 30, 44), 8);  /* 74 requests; one more is coming already */
    assert_int_equal(look(s, 60, 5, 3, 500, 60), 9); /* at most nine */
    assert_int_equal(look(s, 75, 9, 0, 0, 10), 9);   /* nine were wanted a moment ago */
    assert_int_equal(look(s, 360, 9, 0, 0, 10), 9);  /* 300 s ago */
    assert_int_equal(look(s, 361, 9, 0, 0, 50), 5);  /* no longer; five now */
    assert_int_equal(look(s, 660, 5, 0, 0, 0), 5);
    assert_int_equal(look(s, 662, 5, 0, 0, 0), 2); /* at least two */
    km_scaler_destroy(s);
    settings.waiting_only = true;
    s = km_scaler_create(&settings);
    assert_int_equal(look(s, 0, 4, 0, 45, 1000), 5);
    km_scaler_destroy(s);
}

/* As many as there were count as wanted before the first look: a fleet is not cut down before it was seen. */
static void begins_gently(void **state)
{
    (void)state;
    struct km_scaling_settings settings = settings_of("target_queue");
    struct km_scaler *s = km_scaler_create(&settings);
    assert_int_equal(look(s, 0, 7, 0, 0, 0), 7);
    assert_int_equal(look(s, 299, 7, 0, 0, 0), 7);
    assert_int_equal(look(s, 301, 7, 0, 0, 0), 2);
    km_scaler_destroy(s);
}

static void utilization_target(void **state)
{
    (void)state;
    struct km_scaling_settings settings = settings_of("target_utilization");
    struct km_scaler *s = km_scaler_create(&settings);
    assert_int_equal(look(s, 0, 4, 0, 0, 300), 6);  /* 0.75 of 4 in use, 0.5 wanted */
    assert_int_equal(look(s, 15, 4, 2, 0, 320), 6); /* 3.2 / 0.5 = 6.4, within a tenth of 6 */
    assert_int_equal(look(s, 30, 6, 0, 0, 402), 9); /* 0.67 of 6 */
    km_scaler_destroy(s);
}

static void scheduled(void **state)
{
    (void)state;
    struct km_scaling_settings settings = settings_of("schedule");
    struct km_scaler *s = km_scaler_create(&settings);
    assert_int_equal(look(s, 0, 3, 0, 0, 0), 3); /* before the first entry: as it is */
    assert_true(fabs(km_scaler_next_s(s, 0) - 100) < 1e-9);
    assert_int_equal(look(s, 100, 3, 0, 0, 0), 4);
    assert_true(fabs(km_scaler_next_s(s, 100) - 200) < 1e-9);
    assert_int_equal(look(s, 200, 4, 0, 99, 99), 2); /* whatever the load, and without delay */
    assert_int_equal(look(s, 300, 2, 0, 0, 0), 6);
    assert_true(isinf(km_scaler_next_s(s, 300)));
    km_scaler_destroy(s);
    settings.period_s = 400;
    s = km_scaler_create(&settings);
    assert_int_equal(look(s, 0, 3, 0, 0, 0), 6); /* the last of the period before */
    assert_true(fabs(km_scaler_next_s(s, 300) - 500) < 1e-9);
    assert_int_equal(look(s, 500, 6, 0, 0, 0), 4);
    assert_int_equal(look(s, 1250, 4, 0, 0, 0), 6); /* 50 s into the fourth period */
    km_scaler_destroy(s);
}

static uint32_t rate(struct km_scaler *scaler, double now_s, double tokens_per_s)
{
    const struct km_scaling_view view = {.now_s = now_s,
                                         .since_last_s = now_s > 0 ? 15 : 0,
                                         .serving = 3,
                                         .arrived_tokens = 15 * tokens_per_s};
    return km_scaler_look(scaler, &view);
}

/* A steady rate is expected to stay, a ramp to go on: 1000 tokens/s a replica, ready 60 s and one look later.
 */
static void predictive(void **state)
{
    (void)state;
    struct km_scaling_settings settings = settings_of("predictive");
    settings.tolerance = 0;
    struct km_scaler *s = km_scaler_create(&settings);
    assert_int_equal(rate(s, 0, 0), 3); /* nothing seen yet */
    for (int i = 1; i < 100; i++)
        assert_int_equal(rate(s, 15 * i, 4500), 5);
    km_scaler_destroy(s);
    s = km_scaler_create(&settings);
    uint32_t wanted = 0;
    for (int i = 0; i <= 100; i++) /* 50 tokens/s more at every look: 5000, and 5 looks ahead 5250 */
        wanted = rate(s, 15 * i, 50.0 * i);
    assert_int_equal(wanted, 6);
    km_scaler_destroy(s);
    settings.trend_smoothing = 0; /* blind to the ramp, and behind it: about 4950 */
    s = km_scaler_create(&settings);
    for (int i = 0; i <= 100; i++)
        wanted = rate(s, 15 * i, 50.0 * i);
    assert_int_equal(wanted, 5);
    km_scaler_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract),           cmocka_unit_test(queue_target), cmocka_unit_test(begins_gently),
        cmocka_unit_test(utilization_target), cmocka_unit_test(scheduled),    cmocka_unit_test(predictive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
