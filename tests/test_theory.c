/* Simulations against queueing theory where it is exact. The engine serves one request at a time
 * (max_num_seqs 1), costs nothing itself and does not overlap, and a step's time does not depend on the
 * context: so a request of N output tokens is served for exactly S = prefill + (N - 1) * decode. */
#include "base/simtime.h"
#include "sim/simulation.h"
#include "support/synthetic.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* 1 ms a step and 10 us a token. */
static const struct synthetic engine = {.step_ps = 1000000000, .token_ps = 10000000};

#define PROMPT 100u /* tokens: a prefill takes 2 ms */

static double prefill_s(void)
{
    return km_s_from_ps(engine.step_ps + engine.token_ps * PROMPT);
}

static double decode_s(void)
{
    return km_s_from_ps(engine.step_ps + engine.token_ps);
}

static void simulate(const struct km_workload_settings *workload, uint64_t seed, uint32_t max_num_seqs,
                     struct km_summary *summary)
{
    struct synthetic synthetic = engine;
    const struct km_metrics_settings settings = {0};
    struct km_metrics *metrics = km_metrics_create(&settings);
    const struct km_simulation_group group = {
        .replica =
            {
                .policy = (const struct km_batching_policy *)(const void *)km_registry_find(
                    km_batching_registry, "continuous"),
                .batching = {.max_num_seqs = max_num_seqs,
                             .max_num_batched_tokens = 8192,
                             .enable_chunked_prefill = true},
                .kv_manager =
                    (const struct km_kv_manager *)(const void *)km_registry_find(km_kv_registry, "paged"),
                .kv = {.capacity_blocks = 1 << 20, .block_size = 16, .max_model_len = 1 << 20},
                .executor = &synthetic_lines,
                .executor_state = &synthetic,
                .pace.stages = 1,
                .pace.overlapped = false,
                .fast_forward = true,
                .patience_ps = KM_PS_NEVER,
            },
        .replicas = 1,
    };
    const struct km_simulation_config config = {
        .workload = workload,
        .seed = seed,
        .groups = &group,
        .group_count = 1,
        .router = (const struct km_router *)(const void *)km_routing_registry[0],
        .metrics = metrics,
    };
    struct km_simulation_result result;
    struct km_error error;
    if (km_simulation_run(&config, &result, &error) != KM_OK)
        fail_msg("%s", error.message);
    km_metrics_summarize(metrics, summary);
    km_metrics_destroy(metrics);
    assert_int_equal(summary->completed, workload->requests);
    assert_int_equal(result.used_blocks, 0);
}

static struct km_workload_settings poisson(double rate_per_s, uint64_t requests)
{
    return (struct km_workload_settings){
        .process = KM_ARRIVAL_POISSON,
        .rate_per_s = rate_per_s,
        .prompt_tokens = {.kind = KM_DIST_CONSTANT, .value = PROMPT},
        .output_tokens = {.kind = KM_DIST_CONSTANT, .value = 9},
        .has_prompt_tokens = true,
        .has_output_tokens = true,
        .requests = requests,
        .rate_scale = 1.0,
    };
}

/* Pollaczek-Khinchine: the mean queueing delay of an M/G/1 queue, from the first two moments of the service
 * time. (Kleinrock 1975, Queueing Systems I, equation 5.77 and around.) M/D/1: square = mean^2. */
static double mean_wait_s(double rate_per_s, double mean_s, double square_s2)
{
    return rate_per_s * square_s2 / (2.0 * (1.0 - rate_per_s * mean_s));
}

/* The theory lies inside the interval, and the interval is worth having. */
static void assert_inside(const char *what, const struct km_latency_summary *delay, double theory_s,
                          double widest)
{
    if (!(delay->ci95_s > 0.0 && delay->ci95_s <= widest * theory_s))
        fail_msg("%s: half-width %g s of a mean of %g s", what, delay->ci95_s, theory_s);
    if (fabs(delay->mean_s - theory_s) > delay->ci95_s)
        fail_msg("%s: mean delay %g s +- %g s, theory %g s", what, delay->mean_s, delay->ci95_s, theory_s);
}

/* Little's law, which no run may break: the area under the number in the system is the sum of the times spent
 * there. */
static void assert_little(const struct km_summary *summary)
{
    double area = summary->mean_in_system * summary->duration_s;
    double spent = summary->latency[KM_E2E].mean_s * (double)summary->completed;
    assert_true(fabs(area - spent) <= 1e-9 * spent);
}

static void md1(void **state)
{
    (void)state;
    static const struct {
        double load;
        uint64_t requests;
        double widest;
    } rows[] = {{0.5, 60000, 0.03}, {0.8, 120000, 0.06}, {0.95, 400000, 0.08}};
    double service_s = prefill_s() + 8 * decode_s();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double rate_per_s = rows[i].load / service_s;
        const struct km_workload_settings workload = poisson(rate_per_s, rows[i].requests);
        struct km_summary summary;
        char what[40];
        simulate(&workload, 1, 1, &summary);
        snprintf(what, sizeof what, "M/D/1 at %g", rows[i].load);
        assert_inside(what, &summary.latency[KM_QUEUEING_DELAY],
                      mean_wait_s(rate_per_s, service_s, service_s * service_s), rows[i].widest);
        assert_little(&summary);
        /* Everybody is served for the same time, whoever waits how long. */
        assert_true(fabs(summary.latency[KM_E2E].mean_s - summary.latency[KM_QUEUEING_DELAY].mean_s -
                         service_s) < 1e-9);
        assert_true(fabs(summary.latency[KM_TTFT].mean_s - summary.latency[KM_QUEUEING_DELAY].mean_s -
                         prefill_s()) < 1e-9);
        assert_int_equal(summary.verdict, KM_STABLE);
    }
}

/* Outputs of 1, 2, ... tokens with probability p (1 - p)^(n-1): mean m = 1/p, variance m (m - 1). */
static void mg1_geometric(void **state)
{
    (void)state;
    static const struct {
        double load, mean_tokens;
        uint64_t requests;
        double widest;
    } rows[] = {
        {0.5, 20, 80000, 0.05}, {0.8, 20, 250000, 0.06}, {0.7, 2, 80000, 0.06}, {0.9, 100, 300000, 0.09}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double m = rows[i].mean_tokens;
        double mean_s = prefill_s() + (m - 1.0) * decode_s();
        double square_s2 = mean_s * mean_s + decode_s() * decode_s() * m * (m - 1.0);
        double rate_per_s = rows[i].load / mean_s;
        struct km_workload_settings workload = poisson(rate_per_s, rows[i].requests);
        workload.output_tokens = (struct km_distribution){.kind = KM_DIST_GEOMETRIC, .mean = m};
        struct km_summary summary;
        char what[60];
        simulate(&workload, 1, 1, &summary);
        snprintf(what, sizeof what, "M/G/1 at %g, %g tokens", rows[i].load, m);
        assert_inside(what, &summary.latency[KM_QUEUEING_DELAY], mean_wait_s(rate_per_s, mean_s, square_s2),
                      rows[i].widest);
        assert_little(&summary);
    }
}

/* An honest 95 % interval covers the truth 95 times in 100: of 60 short runs fewer than 50 once in 5800. */
static void intervals_cover(void **state)
{
    (void)state;
    double service_s = prefill_s() + 8 * decode_s(), rate_per_s = 0.7 / service_s;
    double theory_s = mean_wait_s(rate_per_s, service_s, service_s * service_s);
    uint32_t stated = 0, covered = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        const struct km_workload_settings workload = poisson(rate_per_s, 8000);
        struct km_summary summary;
        simulate(&workload, seed, 1, &summary);
        const struct km_latency_summary *delay = &summary.latency[KM_QUEUEING_DELAY];
        if (isnan(delay->ci95_s))
            continue;
        stated++;
        covered += fabs(delay->mean_s - theory_s) <= delay->ci95_s;
    }
    if (stated < 50 || covered * 60 < stated * 50)
        fail_msg("%u intervals of 60 runs, %u cover the truth", stated, covered);
}

/* Regular arrivals, regular service: nobody waits below full load, and above it everybody a little longer
 * than the one before, so that the k-th (from 0) waits k times the difference. */
static void dd1(void **state)
{
    (void)state;
    double service_s = prefill_s() + 8 * decode_s();
    struct km_workload_settings workload = poisson(0.99 / service_s, 1000);
    workload.process = KM_ARRIVAL_CONSTANT;
    struct km_summary summary;
    simulate(&workload, 1, 1, &summary);
    assert_true(summary.latency[KM_QUEUEING_DELAY].max_s < 1e-9);
    workload.rate_per_s = 1.25 / service_s;
    simulate(&workload, 1, 1, &summary);
    assert_true(fabs(summary.latency[KM_QUEUEING_DELAY].max_s - 999 * 0.2 * service_s) < 1e-6);
    assert_true(fabs(summary.latency[KM_QUEUEING_DELAY].mean_s - 999 * 0.1 * service_s) < 1e-6);
    assert_int_equal(summary.verdict, KM_SATURATED);
}

/* A closed loop of as many clients as there are slots, without thinking: nobody ever waits for another, and
 * throughput is clients over the time of a service (Little). Outputs of one length keep them in step. */
static void closed_loop(void **state)
{
    (void)state;
    const uint32_t clients = 10;
    struct km_workload_settings workload = poisson(1, 5000);
    workload.process = KM_ARRIVAL_CLOSED_LOOP;
    workload.clients = clients;
    workload.think_s = (struct km_distribution){.kind = KM_DIST_CONSTANT, .value = 0.0};
    double service_s = km_s_from_ps(engine.step_ps + engine.token_ps * PROMPT * clients) +
                       8 * km_s_from_ps(engine.step_ps + engine.token_ps * clients);
    struct km_summary summary;
    simulate(&workload, 1, clients, &summary);
    assert_true(summary.latency[KM_QUEUEING_DELAY].max_s < 1e-9);
    assert_true(fabs(summary.latency[KM_E2E].mean_s - service_s) < 1e-9);
    assert_true(fabs(summary.requests_per_s - clients / service_s) < 1e-6 * summary.requests_per_s);
    assert_little(&summary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(md1), cmocka_unit_test(mg1_geometric), cmocka_unit_test(intervals_cover),
        cmocka_unit_test(dd1), cmocka_unit_test(closed_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
