/* The capacity of a plan: what a trial decides, against whole runs; thresholds against scans of all rates and
 * against queueing theory; what must be monotone; determinism. */
#include "base/memory.h"
#include "base/simtime.h"
#include "capacity/capacity.h"
#include "capacity/order.h"
#include "capacity/vary.h"
#include "support/check.h"

#include <gsl/gsl_rng.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUICKSTART KM_SOURCE_DIR "/configs/quickstart.yaml"

struct plan {
    struct km_scenario scenario;
    struct km_fleet fleet;
};

/* The quickstart's plan on the first minutes of its trace, with "key=value" changes up to NULL. */
static struct plan *make(const char *const *changes)
{
    struct plan *plan = km_alloc(sizeof *plan);
    struct km_override overrides[24];
    char *copies[24];
    struct km_error error = {0};
    size_t count = 0;
    for (; changes[count]; count++) {
        copies[count] = km_strdup(changes[count]);
        char *equals = strchr(copies[count], '=');
        *equals = '\0';
        overrides[count] = (struct km_override){copies[count], equals + 1};
    }
    if (km_scenario_read(QUICKSTART, overrides, count, &plan->scenario, &error) != KM_OK ||
        km_fleet_create(&plan->scenario, &plan->fleet, &error) != KM_OK)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < count; i++)
        free(copies[i]);
    return plan;
}
#define MAKE(...) make((const char *const[]){__VA_ARGS__, NULL})

static void drop(struct plan *plan)
{
    km_fleet_release(&plan->fleet);
    km_scenario_release(&plan->scenario);
    free(plan);
}

static struct km_capacity find(const struct plan *plan, struct km_demand *demand,
                               const struct km_capacity_options *options)
{
    struct km_capacity capacity;
    struct km_error error = {0};
    if (km_capacity_find(&plan->fleet, demand, options, &capacity, &error) != KM_OK)
        fail_msg("%s", error.message);
    return capacity;
}

/* A trial at a rate of replication `index`. */
static struct km_trial try(const struct plan *plan, struct km_demand *demand, uint32_t index, double scale,
                           bool whole)
{
    struct km_workload_settings workload = {.process = KM_ARRIVAL_TRACE,
                                            .rate_scale = scale * plan->scenario.workload.rate_scale,
                                            .patience_s = plan->scenario.workload.patience_s};
    struct km_trial trial;
    struct km_error error = {0};
    assert_int_equal(km_demand_get(demand, index, &workload.recording, &error), KM_OK);
    if (km_trial_run(&plan->fleet, &workload, plan->scenario.seed + index, whole, &trial, &error) != KM_OK)
        fail_msg("%s", error.message);
    return trial;
}

static struct km_demand *demand_of(const struct plan *plan)
{
    const struct km_demand_config config = {&plan->scenario.workload, plan->scenario.seed, 60, 1};
    struct km_demand *demand;
    struct km_error error = {0};
    if (km_demand_create(&config, &demand, &error) != KM_OK)
        fail_msg("%s", error.message);
    return demand;
}

#define SHORT "workload.end_s=60"

/* --- order statistics ------------------------------------------------------------------------------------
 */

static void test_order(void **state)
{
    (void)state;
    /* Half-widths by hand: t(0.975, 5) = 2.570582, t(0.975, 19) = 2.093024. */
    static const int32_t six[] = {4, 1, 6, 3, 2, 5}, same[] = {7, 7, 7, 7, 7, 7};
    int32_t twenty[20];
    struct km_order order;
    for (int32_t i = 0; i < 20; i++)
        twenty[i] = 19 - i;
    km_order_of(six, 6, &order);
    assert_within(order.mean, 3.5, 1e-12);
    assert_within(order.median, 3.5, 1e-12);
    assert_within(order.deviation, 1.870829, 1e-6);
    assert_within(order.half_width, 2.570582 * 1.870829 / sqrt(6), 1e-5);
    assert_false(order.has_twentieth);
    km_order_of(same, 6, &order);
    assert_within(order.half_width, 0.5, 1e-12);
    km_order_of(six, 5, &order);
    assert_true(isnan(order.half_width));
    assert_within(order.median, 3, 1e-12);
    km_order_of(twenty, 20, &order);
    assert_within(order.half_width, 2.093024 * 5.916080 / sqrt(20), 1e-5);
    assert_true(order.has_twentieth);
    assert_int_equal(order.twentieth, 1); /* 19 of the 20 are at least 1 */
    km_order_of(six, 1, &order);
    assert_true(isnan(order.deviation));
}

/* --- trials ----------------------------------------------------------------------------------------------
 */

/* 300 requests in three classes, bursts and lulls. */
static struct km_recording *random_recording(gsl_rng *rng)
{
    struct km_recording *recording = km_recording_create();
    uint64_t at_ps = 0;
    for (int i = 0; i < 300; i++) {
        const struct km_request request = {
            .id = (uint64_t)i,
            .arrival_ps = at_ps,
            .prompt_tokens = 1 + (uint32_t)gsl_rng_uniform_int(rng, 3000),
            .output_tokens = 1 + (uint32_t)gsl_rng_uniform_int(rng, 300),
            .class_index = (uint32_t)gsl_rng_uniform_int(rng, 3),
            .session = -1,
        };
        km_recording_append(recording, &request);
        at_ps += km_ps_from_s(-log(gsl_rng_uniform_pos(rng)) * (gsl_rng_uniform(rng) < 0.1 ? 2 : 0.1));
    }
    return recording;
}

static const char *class_name(const void *context, uint32_t index)
{
    return ((const char *const *)context)[index];
}

/* On random SLOs and rates, a trial that ends early says what the whole run says, and names a term that the
 * whole run misses, too. */
static void test_early_end_is_exact(void **state)
{
    (void)state;
    static const char *const names[] = {"", "chat", "batch"};
    static const int metrics[] = {KM_TTFT,
                                  KM_TPOT,
                                  KM_ITL,
                                  KM_E2E,
                                  KM_QUEUEING_DELAY,
                                  KM_NORMALIZED,
                                  KM_SLO_DEADLINE,
                                  KM_SLO_GOODPUT,
                                  KM_SLO_REJECTED_SHARE,
                                  KM_SLO_ABANDONED_SHARE};
    static const double quantiles[] = {-1, 0.5, 0.9, 0.95, 0.99, 0.999, 1};
    /* About the middle of each metric on these streams, so that both answers occur. */
    static const double middles[] = {0.2, 0.012, 0.01, 2, 0.05, 0.02, 90, 3, 0.02, 0.02};
    struct plan *plans[] = {
        MAKE("engine.batching.max_num_seqs=48"),
        MAKE("engine.batching.max_num_seqs=4", "engine.max_model_len=3000"), /* rejects, and tries patience */
    };
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    int held = 0, early = 0, failed = 0, by_share = 0;
    for (int i = 0; i < 300; i++) {
        struct plan *plan = plans[i % 2];
        struct km_recording *recording = random_recording(rng);
        km_recording_name_classes(recording, 3, class_name, names);
        plan->scenario.slo_count = 1 + (uint32_t)gsl_rng_uniform_int(rng, 3);
        for (uint32_t t = 0; t < plan->scenario.slo_count; t++) {
            const size_t m = gsl_rng_uniform_int(rng, i % 2 ? 10 : 8);
            plan->scenario.slo[t] = (struct km_slo_term){
                .metric = metrics[m],
                .quantile = metrics[m] >= KM_LATENCY_COUNT ? 0 : quantiles[gsl_rng_uniform_int(rng, 7)],
                .limit = middles[m] * exp(4 * gsl_rng_uniform(rng) - 1),
                .of_class = metrics[m] != KM_ITL && gsl_rng_uniform(rng) >= 0.6,
            };
            struct km_slo_term *term = &plan->scenario.slo[t];
            if (term->of_class)
                strcpy(term->class_name, names[gsl_rng_uniform_int(rng, 3)]);
        }
        const struct km_workload_settings workload = {.process = KM_ARRIVAL_TRACE,
                                                      .recording = recording,
                                                      .rate_scale = exp(3 * gsl_rng_uniform(rng) - 1),
                                                      .patience_s = i % 2 ? 0.02 : 0};
        struct km_trial cut, whole;
        struct km_error error = {0};
        assert_int_equal(km_trial_run(&plan->fleet, &workload, 1, false, &cut, &error), KM_OK);
        assert_int_equal(km_trial_run(&plan->fleet, &workload, 1, true, &whole, &error), KM_OK);
        assert_false(whole.early);
        assert_int_equal(cut.holds, whole.holds);
        assert_true(!cut.early || (!cut.holds && cut.failed >= 0 && cut.requests <= whole.requests));
        assert_true(cut.early || (cut.failed == whole.failed && cut.events == whole.events));
        const bool shared = cut.failed >= 0 && km_slo_is_share(plan->scenario.slo[cut.failed].metric);
        by_share += cut.early && shared;
        /* The term by itself; alone, a share of all is of the classes with one of their own, too. */
        if (cut.early && !(shared && !plan->scenario.slo[cut.failed].of_class)) {
            plan->scenario.slo[0] = plan->scenario.slo[cut.failed];
            plan->scenario.slo_count = 1;
            assert_int_equal(km_trial_run(&plan->fleet, &workload, 1, true, &whole, &error), KM_OK);
            assert_false(whole.holds);
        }
        held += cut.holds;
        early += cut.early;
        failed += !cut.holds;
        km_recording_destroy(recording);
    }
    assert_true(held > 20 && early > 20 && failed > early && by_share > 10);
    gsl_rng_free(rng);
    drop(plans[0]);
    drop(plans[1]);
}

/* Requests that nobody serves are missed, whether an SLO is stated or not, unless it allows some. */
static void test_unserved_requests(void **state)
{
    (void)state;
    static const struct {
        const char *changes[2];
        bool holds;
        int failed;
    } cases[] = {
        {{"slo={}", "engine.max_model_len=500"}, false, KM_TRIAL_UNSERVED},
        {{"slo={}", "workload.patience_s=1e-3"}, false, KM_TRIAL_UNSERVED},
        {{"slo={ttft_p99_s: 1e5}", "engine.max_model_len=500"}, false, 1},
        {{"slo={ttft_p99_s: 1e5, max_rejected_share: 1}", "engine.max_model_len=500"},
         true,
         KM_TRIAL_NO_TERM},
        {{"slo={ttft_p99_s: 1e5}", "workload.patience_s=1e-3"}, false, 2},
        {{"slo={ttft_p99_s: 1e5, max_abandoned_share: 1}", "workload.patience_s=1e-3"},
         true,
         KM_TRIAL_NO_TERM},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plan *plan = MAKE(SHORT, cases[i].changes[0], cases[i].changes[1]);
        struct km_demand *demand = demand_of(plan);
        for (int whole = 0; whole < 2; whole++) {
            const struct km_trial trial = try(plan, demand, 0, 1, whole);
            assert_int_equal(trial.holds, cases[i].holds);
            assert_int_equal(trial.early, !whole && !cases[i].holds);
            assert_int_equal(trial.failed, cases[i].failed);
        }
        km_demand_destroy(demand);
        drop(plan);
    }
}

/* Of two terms missed, a run names the one farthest beyond its limit: a microsecond is farther off than a
 * tenth of a second. */
static void test_farthest_term(void **state)
{
    (void)state;
    static const struct {
        const char *slo;
        int failed;
    } cases[] = {{"slo={e2e_mean_s: 0.1, ttft_mean_s: 1e-6}", 1},
                 {"slo={ttft_mean_s: 1e-6, e2e_mean_s: 0.1}", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plan *plan = MAKE(SHORT, cases[i].slo);
        struct km_demand *demand = demand_of(plan);
        const struct km_trial trial = try(plan, demand, 0, 1, true);
        assert_false(trial.holds);
        assert_int_equal(trial.failed, cases[i].failed);
        km_demand_destroy(demand);
        drop(plan);
    }
}

/* An SLO of shares alone bounds no load: a queue that grows fails it. */
static void test_shares_alone(void **state)
{
    (void)state;
    struct plan *plan = MAKE(SHORT, "slo={max_rejected_share: 0.5}");
    struct km_demand *demand = demand_of(plan);
    assert_true(try(plan, demand, 0, 0.1, false).holds);
    const struct km_trial trial = try(plan, demand, 0, 100, false);
    assert_false(trial.holds);
    assert_int_equal(trial.failed, KM_TRIAL_SATURATED);
    km_demand_destroy(demand);
    drop(plan);
}

/* --- thresholds ------------------------------------------------------------------------------------------
 */

/* A quick look finds what trying every rate of the grid finds. */
static void test_scan(void **state)
{
    (void)state;
    static const char *const slo[] = {"slo={ttft_p99_s: 0.15}", "slo={tpot_p90_s: 0.012}",
                                      "slo={e2e_mean_s: 2, ttft_p50_s: 0.06}"};
    struct km_capacity_options options = km_capacity_coarse();
    options.step = 0.1;
    for (size_t i = 0; i < 3; i++) {
        struct plan *plan = MAKE(SHORT, slo[i]);
        struct km_demand *demand = demand_of(plan);
        const struct km_capacity found = find(plan, demand, &options);
        assert_int_equal(found.kind, KM_CAPACITY_FOUND);
        int last = -10;
        for (int k = -10; k <= 40; k++) /* x = 0.39 .. 45 */
            if (try(plan, demand, 0, pow(1.1, k), true).holds) {
                assert_true(last == k - 1 || last == -10); /* no gap: monotone on these */
                last = k;
            }
        assert_true(last > -10 && last < 40);
        assert_within(found.scale, pow(1.1, last + 0.5), 1e-9 * found.scale);
        assert_within(found.recorded_scale, found.scale, 1e-12);
        assert_true(isnan(found.low) && !found.settled);
        assert_true(found.runs < 14);
        /* From a guess, the same answer for less. */
        options.guess = found.scale;
        const struct km_capacity guessed = find(plan, demand, &options);
        assert_within(guessed.scale, found.scale, 1e-12);
        assert_true(guessed.runs <= found.runs);
        options.guess = 0;
        km_demand_destroy(demand);
        drop(plan);
    }
}

/* One server, one request at a time, constant service S = k2 + 10 k4 = 1 s, Poisson arrivals: the mean wait
 * is rho S / (2 (1 - rho)) (Pollaczek-Khinchine, M/D/1), so a limit L on it is met up to rho = 2 L / (S + 2
 * L). */
static void test_theory(void **state)
{
    (void)state;
    struct plan *plan =
        MAKE("workload={arrivals: {process: poisson, rate_per_s: 0.5}, prompt_tokens: 10, output_tokens: 10, "
             "requests: 4000}",
             "engine={name: ideal, batching: {policy: dynamic, batch_cap: 1, async_scheduling: false}}",
             "cost={model: linear, k2: 0.1, k4: 0.09}", "slo={queueing_delay_mean_s: 1}");
    struct km_capacity_options options = km_capacity_exact();
    options.max_requests = 20000;
    const struct km_capacity found = find(plan, NULL, &options);
    const double truth = (2.0 / 3.0) / 0.5;
    assert_int_equal(found.kind, KM_CAPACITY_FOUND);
    assert_true(found.settled);
    assert_true(found.length > 1 && found.requests > 4000); /* a wait near saturation needs longer runs */
    assert_true(found.low <= truth && truth <= found.high);
    assert_within(found.rate_per_s, 0.5 * found.scale, 1e-9);
    assert_true(found.holds && found.failed == 0 && !found.saturated);
    drop(plan);
}

/* The same queue, of a workload stated at half the rate and played twice as fast: the greatest rate is the
 * server's, 2/3 a second. */
static void test_rate_scale(void **state)
{
    (void)state;
    struct plan *plan = MAKE(
        "workload={arrivals: {process: poisson, rate_per_s: 0.25}, prompt_tokens: 10, output_tokens: 10, "
        "requests: 8000, rate_scale: 2}",
        "engine={name: ideal, batching: {policy: dynamic, batch_cap: 1, async_scheduling: false}}",
        "cost={model: linear, k2: 0.1, k4: 0.09}", "slo={queueing_delay_mean_s: 1}");
    struct km_capacity_options options = km_capacity_coarse();
    const struct km_capacity found = find(plan, NULL, &options);
    assert_int_equal(found.kind, KM_CAPACITY_FOUND);
    assert_within(found.rate_per_s, 2.0 / 3.0, 0.1);
    assert_within(found.rate_per_s, 0.5 * found.scale, 1e-9);
    drop(plan);
}

/* With every time of the system twice as long and limits, too, everything happens at half the pace. */
static void test_time_scale(void **state)
{
    (void)state;
    const char *const ideal = "engine={name: ideal}";
    struct plan *plan = MAKE(SHORT, ideal, "slo={ttft_p99_s: 0.1, tpot_p99_s: 0.008}"),
                *slow = MAKE(SHORT, ideal, "slo={ttft_p99_s: 0.2, tpot_p99_s: 0.016}", "cost.time_scale=2");
    struct km_capacity_options options = km_capacity_coarse();
    options.step = 0.01;
    const struct km_capacity a = find(plan, NULL, &options), b = find(slow, NULL, &options);
    assert_int_equal(a.kind, KM_CAPACITY_FOUND);
    assert_true(fabs(log(a.scale / b.scale / 2)) < 0.0101);
    drop(plan);
    drop(slow);
}

static void test_monotone(void **state)
{
    (void)state;
    static const char *const rising[][4] = {
        {"cluster.replicas=1", "cluster.replicas=2", "cluster.replicas=3", NULL},
        {"slo={ttft_p99_s: 0.08}", "slo={ttft_p99_s: 0.2}", "slo={ttft_p99_s: 1}", "slo={ttft_p99_s: 5}"},
        {"slo={tpot_p99_s: 0.007}", "slo={tpot_p99_s: 0.01}", "slo={tpot_p90_s: 0.01}",
         "slo={tpot_p50_s: 0.01}"},
        {"cost.time_scale=2", "cost.time_scale=1.2", "cost.time_scale=1", "cost.time_scale=0.5"},
        /* Not below 1: a TPOT over fewer tokens is the more disturbed by a single prompt. */
        {"workload.output_tokens_scale=3", "workload.output_tokens_scale=1.2",
         "workload.output_tokens_scale=1", NULL},
    };
    const struct km_capacity_options options = km_capacity_coarse();
    for (size_t i = 0; i < sizeof rising / sizeof *rising; i++) {
        double before = 0;
        for (size_t j = 0; j < 4 && rising[i][j]; j++) {
            struct plan *plan =
                MAKE("workload.end_s=100", "slo={tpot_p99_s: 0.02, ttft_p99_s: 0.5}", rising[i][j]);
            const struct km_capacity found = find(plan, NULL, &options);
            assert_int_equal(found.kind, KM_CAPACITY_FOUND);
            if (found.scale <= before)
                fail_msg("%s: %g after %g", rising[i][j], found.scale, before);
            before = found.scale;
            drop(plan);
        }
    }
}

/* --- answers ---------------------------------------------------------------------------------------------
 */

static void assert_same(const struct km_capacity *a, const struct km_capacity *b)
{
    assert_true(a->kind == b->kind && a->scale == b->scale && a->low == b->low && a->high == b->high &&
                a->spread == b->spread && a->replications == b->replications &&
                a->recorded_scale == b->recorded_scale && a->failed == b->failed && a->runs == b->runs &&
                a->events == b->events);
}

/* The same answer again, from a fleet that has run other things, on more threads, from a shared demand. */
static void test_deterministic(void **state)
{
    (void)state;
    struct plan *plan = MAKE(SHORT, "slo={ttft_p99_s: 0.3, tpot_p99_s: 0.015}");
    struct km_demand *demand = demand_of(plan);
    struct km_capacity_options options = km_capacity_exact();
    options.step = 0.02;
    options.max_replications = 9;
    const struct km_capacity first = find(plan, NULL, &options);
    assert_int_equal(first.kind, KM_CAPACITY_FOUND);
    assert_int_equal(first.replications, 9);
    assert_true(first.low < first.scale && first.scale < first.high && first.spread > 0);
    assert_true(first.requests > 100 && first.length == 1);
    assert_true(first.runs_cut > 0 && first.runs_cut < first.runs);
    const struct km_capacity again = find(plan, NULL, &options);
    assert_same(&first, &again);
    options.workers = 3;
    const struct km_capacity threads = find(plan, demand, &options);
    assert_same(&first, &threads);
    km_demand_destroy(demand);
    drop(plan);
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *changes[3];
        enum km_capacity_kind kind;
        bool holds;
        int failed;
    } cases[] = {
        {{"slo={tpot_p99_s: 1e-6}"}, KM_CAPACITY_NONE, false, 0},
        {{"slo={e2e_p99_s: 1e6}"}, KM_CAPACITY_UNBOUNDED, true, KM_TRIAL_NO_TERM},
        {{"slo={deadline_s: 1000}"}, KM_CAPACITY_AS_IT_IS, true, KM_TRIAL_NO_TERM},
        {{"slo={deadline_s: 5}"}, KM_CAPACITY_AS_IT_IS, false, 0},
        {{"workload={arrivals: {process: closed_loop, clients: 4}, prompt_tokens: 100, output_tokens: 50, "
          "requests: 100}",
          "slo={tpot_p99_s: 0.02}"},
         KM_CAPACITY_AS_IT_IS,
         true,
         KM_TRIAL_NO_TERM},
        {{"workload={arrivals: {process: at_once}, prompt_tokens: 100, output_tokens: 50, requests: 100}",
          "slo={deadline_s: 60}"},
         KM_CAPACITY_AS_IT_IS,
         true,
         KM_TRIAL_NO_TERM},
        {{"slo={ttft_p99_s: 0.5}", "engine.max_model_len=500"}, KM_CAPACITY_NONE, false, 1},
        {{"slo={ttft_p99_s: 0.5, min_goodput_per_s: 1e5}"}, KM_CAPACITY_NONE, false, 1},
    };
    struct km_capacity_options options = km_capacity_exact();
    options.step = 0.05;
    options.max_replications = 6;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const *c = cases[i].changes;
        struct plan *plan = c[0][0] == 'w' ? MAKE(c[0], c[1])
                            : c[1]         ? MAKE(SHORT, c[0], c[1])
                                           : MAKE(SHORT, c[0]);
        const struct km_capacity found = find(plan, NULL, &options);
        assert_int_equal(found.kind, cases[i].kind);
        assert_int_equal(found.holds, cases[i].holds);
        assert_int_equal(found.failed, cases[i].failed);
        drop(plan);
    }
}

/* Goodput asks for a least rate: between it and the greatest the plan does what is asked. */
static void test_goodput(void **state)
{
    (void)state;
    struct plan *plan = MAKE(SHORT, "slo={ttft_p99_s: 0.5, min_goodput_per_s: 8}");
    struct km_capacity_options options = km_capacity_exact();
    options.step = 0.03;
    options.max_replications = 6;
    const struct km_capacity found = find(plan, NULL, &options);
    struct km_demand *demand = demand_of(plan);
    assert_int_equal(found.kind, KM_CAPACITY_FOUND);
    assert_true(found.least_scale < found.scale && found.goodput_per_s > 8);
    const uint32_t first = km_demand_first_drawn(demand);
    assert_true(try(plan, demand, first, found.least_scale, true).goodput_met);
    assert_false(try(plan, demand, first, found.least_scale / 1.03, true).goodput_met);
    km_demand_destroy(demand);
    drop(plan);
}

static void test_decision(void **state)
{
    (void)state;
    struct plan *plan = MAKE(SHORT, "slo={ttft_p99_s: 0.3, tpot_p99_s: 0.015}");
    struct km_capacity_options options = km_capacity_exact();
    options.step = 0.02;
    options.max_replications = 12;
    const struct km_capacity found = find(plan, NULL, &options);
    static const double factors[] = {0.5, 2};
    for (size_t i = 0; i < 2; i++) {
        struct km_decision decision;
        struct km_error error = {0};
        assert_int_equal(
            km_capacity_decide(&plan->fleet, NULL, factors[i] * found.scale, &options, &decision, &error),
            KM_OK);
        assert_true(decision.settled && decision.replications == 5);
        assert_int_equal(decision.holds, i == 0);
        assert_int_equal(decision.held, i == 0 ? 5 : 0);
        assert_int_equal(decision.recorded_holds, i == 0);
        assert_true(i == 0 ? decision.failed == KM_TRIAL_NO_TERM : decision.failed >= 0);
    }
    drop(plan);
}

static void test_sensitivity(void **state)
{
    (void)state;
    struct plan *plan = MAKE(SHORT, "slo={ttft_p99_s: 0.3, tpot_p99_s: 0.015}", "seed=1");
    const struct km_time_error off = {.fast = 0.9, .slow = 1.1, .source = "this test"};
    const struct km_time_error unknown = {.fast = (double)NAN, .slow = (double)NAN, .source = "nothing"};
    struct km_capacity_options options = km_capacity_exact();
    options.step = 0.01;
    options.max_replications = 6;
    const struct km_capacity found = find(plan, NULL, &options);
    struct km_sensitivity one, two;
    struct km_error error = {0};
    assert_int_equal(km_capacity_sensitivity(&plan->scenario, NULL, &found, &off, &options, &one, &error),
                     KM_OK);
    assert_within(one.time_error.slow, 1.1, 1e-12);
    assert_true(one.low < found.scale && found.scale < one.high);
    assert_true(one.slower_scale < one.low && one.longer_scale < found.scale && one.slower_scale > 0);
    assert_within(one.headroom, found.scale - 1, 1e-12);
    assert_true(one.less_load.holds && one.more_load.holds);
    options.workers = 2;
    assert_int_equal(km_capacity_sensitivity(&plan->scenario, NULL, &found, &off, &options, &two, &error),
                     KM_OK);
    assert_true(one.low == two.low && one.high == two.high && one.longer_scale == two.longer_scale);
    options.workers = 1; /* nothing to compare with: no interval, and all else the same */
    assert_int_equal(km_capacity_sensitivity(&plan->scenario, NULL, &found, &unknown, &options, &two, &error),
                     KM_OK);
    assert_true(isnan(two.low) && isnan(two.high) && two.slower_scale == one.slower_scale);
    drop(plan);
}

/* What is stated counts before what was measured. */
static void test_time_error(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        double fast, slow;
        bool measured;
    } cases[] = {
        {"seed=1", 0.8, 1.3, true},
        {"cost={model: profile}", 0.8, 1.3, true},
        {"cost.time_error=0", 1, 1, false},
        {"cost.time_error=0.1", 0.9, 1.1, false},
        {"engine.step_time_error=0.02", 0.98, 1.02, false},
        {"cost={model: linear, k4: 0.01}", 1, 1, false},
    };
    const struct km_accuracy_answer closest = {.row = {.points = 9, .p10 = 0.8, .p90 = 1.3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plan *plan = MAKE(SHORT, cases[i].change);
        const struct km_time_error error = km_time_error_of(&plan->scenario, &closest);
        assert_within(error.fast, cases[i].fast, 1e-12);
        assert_within(error.slow, cases[i].slow, 1e-12);
        assert_true(error.measured == cases[i].measured && error.source[0]);
        drop(plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_early_end_is_exact),
        cmocka_unit_test(test_unserved_requests),
        cmocka_unit_test(test_farthest_term),
        cmocka_unit_test(test_shares_alone),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_theory),
        cmocka_unit_test(test_rate_scale),
        cmocka_unit_test(test_time_scale),
        cmocka_unit_test(test_monotone),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_goodput),
        cmocka_unit_test(test_decision),
        cmocka_unit_test(test_sensitivity),
        cmocka_unit_test(test_time_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
