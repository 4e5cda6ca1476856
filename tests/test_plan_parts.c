/* The parts of the planner one by one, by hand: load, bounds, prices, probe, round, rank, front. */
#include "base/simtime.h"
#include "planner/bounds.h"
#include "planner/pareto.h"
#include "planner/round.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct km_search plain = {.rate_scale = 1.0};

static void expect_close(double got, double want, double relative)
{
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("got %.12g, expected %.12g", got, want);
}

static void read_scenario(const struct km_override *overrides, size_t count, struct km_scenario *out)
{
    struct km_error error = {0};
    if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, count, out, &error) != KM_OK)
        fail_msg("%s", error.message);
}

static void read_load(const struct km_scenario *scenario, struct km_load *out)
{
    struct km_error error = {0};
    if (km_load_create(scenario, &plain, 1, out, &error) != KM_OK)
        fail_msg("%s", error.message);
}

static void bounds_of(const struct km_scenario *scenario, const struct km_load *load,
                      struct km_candidate *out)
{
    struct km_setup setup;
    struct km_error error = {0};
    char *reason = NULL;
    *out = (struct km_candidate){
        .fate = KM_FATE_OPEN, .gpus_per_replica = 1, .least_replicas = 1, .most_replicas = 64};
    if (km_setup_create(scenario, &setup, &error) != KM_OK ||
        km_bounds_find(&setup, load, out, &reason, &error) != KM_OK)
        fail_msg("%s", error.message);
    free(reason);
    km_setup_release(&setup);
}

#define LINEAR                                                                                               \
    {                                                                                                        \
        "cost", "{model: linear, k3: 0.004, k4: 0.006}"                                                      \
    } /* a step of one row takes 10 ms, whatever the prompt */
#define EVERY_S(requests)                                                                                    \
    {                                                                                                        \
        "workload", "{arrivals: {process: constant, rate_per_s: 1}, prompt_tokens: 100, output_tokens: 10, " \
                    "requests: " requests "}"                                                                \
    }

/* A deadline that nobody misses: then the workload is as long as it says. */
#define AS_STATED(terms) "{" terms ", deadline_s: 1e6}"

/* --- the load ------------------------------------------------------------------------------------------- */

/* Eleven requests, one a second, span ten seconds. */
static void load_of_a_clock(void **state)
{
    (void)state;
    const struct km_override overrides[] = {EVERY_S("11"), {"slo", AS_STATED("ttft_p50_s: 1")}};
    struct km_scenario scenario;
    struct km_load load;
    read_scenario(overrides, COUNT(overrides), &scenario);
    read_load(&scenario, &load);
    assert_int_equal(load.count, 11);
    expect_close(load.span_s, 10, 1e-12);
    expect_close(load.rate_per_s, 1, 1e-12);
    assert_true(load.prompt_tokens == 1100 && load.output_tokens == 110);
    km_load_release(&load);
    km_scenario_release(&scenario);
}

/* --- bounds --------------------------------------------------------------------------------------------- */

/* Alone, a request has its first token after the engine's ingest and a step of one row, the others a step
 * each. */
static void alone_by_the_linear_law(void **state)
{
    (void)state;
    const struct km_override overrides[] = {EVERY_S("11"),
                                            LINEAR,
                                            {"engine", "{name: ideal, host: {ingest_s: 0.003}}"},
                                            {"slo", "{ttft_p50_s: 0.02}"}};
    struct km_scenario scenario;
    struct km_load load;
    struct km_candidate candidate;
    read_scenario(overrides, COUNT(overrides), &scenario);
    read_load(&scenario, &load);
    bounds_of(&scenario, &load, &candidate);
    expect_close(candidate.bounds.ttft_s, 0.013, 1e-5);
    expect_close(candidate.bounds.tpot_s, 0.010, 1e-5);
    km_load_release(&load);
    km_scenario_release(&scenario);
}

/* A long answer decodes over half its tokens' cache on average: the bound is no more than what it takes
 * alone, and not far from it. */
static void alone_with_a_long_answer(void **state)
{
    (void)state;
    const struct km_override overrides[] = {
        {"workload", "{arrivals: {process: constant, rate_per_s: 1e-4}, prompt_tokens: 100, output_tokens: "
                     "60000, requests: 1}"},
        {"engine", "{name: ideal, max_model_len: 100000}"},
        {"slo", AS_STATED("tpot_mean_s: 1")}};
    struct km_scenario scenario;
    struct km_load load;
    struct km_candidate candidate;
    struct km_fleet fleet;
    struct km_run_result result;
    struct km_error error = {0};
    const struct km_run_options options = {.fast_forward = true};
    read_scenario(overrides, COUNT(overrides), &scenario);
    read_load(&scenario, &load);
    bounds_of(&scenario, &load, &candidate);
    if (km_fleet_create(&scenario, &fleet, &error) != KM_OK ||
        km_fleet_run(&fleet, &load.asked, 1, &options, &result, &error) != KM_OK)
        fail_msg("%s", error.message);
    double alone_s = result.summary.latency[KM_TPOT].mean_s;
    if (!(candidate.bounds.tpot_s <= alone_s && candidate.bounds.tpot_s > 0.98 * alone_s))
        fail_msg("bound %.9g s, alone %.9g s", candidate.bounds.tpot_s, alone_s);
    km_fleet_release(&fleet);
    km_load_release(&load);
    km_scenario_release(&scenario);
}

/* A hundred requests within 0.99 s, of nine decodes of 10 ms each that nobody shares: 9 s of work. Half of
 * them may be late, and 4.5 s must be done within the span and the limit of 0.51 s: three replicas. */
static void half_may_be_late(void **state)
{
    (void)state;
    const struct km_override overrides[] = {
        {"workload", "{arrivals: {process: constant, rate_per_s: 100}, prompt_tokens: 100, output_tokens: "
                     "10, requests: 100}"},
        LINEAR,
        {"engine", "{name: ideal, batching: {max_num_seqs: 1}}"},
        {"slo", AS_STATED("e2e_p50_s: 0.51")}};
    struct km_scenario scenario;
    struct km_load load;
    struct km_candidate candidate;
    read_scenario(overrides, COUNT(overrides), &scenario);
    read_load(&scenario, &load);
    bounds_of(&scenario, &load, &candidate);
    assert_int_equal(candidate.bounds.least_replicas, 3);
    expect_close(candidate.bounds.busy_s, 9, 1e-5);
    km_load_release(&load);
    km_scenario_release(&scenario);
}

/* Every step twice as long: every bound of it is. */
static void time_scale(void **state)
{
    (void)state;
    struct km_step_bound bounds[2];
    static const char *const scales[] = {"1", "2"};
    for (int i = 0; i < 2; i++) {
        const struct km_override overrides[] = {{"cost.time_scale", scales[i]}};
        struct km_scenario scenario;
        struct km_setup setup;
        struct km_error error = {0};
        read_scenario(overrides, 1, &scenario);
        if (km_setup_create(&scenario, &setup, &error) != KM_OK ||
            km_step_bound_create(&setup, &bounds[i], &error) != KM_OK)
            fail_msg("%s", error.message);
        km_setup_release(&setup);
        km_scenario_release(&scenario);
    }
    for (double tokens = 1; tokens < 1e5; tokens *= 7) {
        assert_true(km_step_bound_tokens_s(&bounds[0], tokens) > 0);
        expect_close(km_step_bound_tokens_s(&bounds[1], tokens),
                     2 * km_step_bound_tokens_s(&bounds[0], tokens), 1e-12);
    }
    expect_close(km_step_bound_sample_s(&bounds[1]), 2 * km_step_bound_sample_s(&bounds[0]), 1e-12);
    expect_close(km_step_bound_context_s(&bounds[1]), 2 * km_step_bound_context_s(&bounds[0]), 1e-12);
    expect_close(km_step_bound_pair_s(&bounds[1]), 2 * km_step_bound_pair_s(&bounds[0]), 1e-12);
    km_step_bound_release(&bounds[0]);
    km_step_bound_release(&bounds[1]);
}

/* Steps that take max(10 s, 1 s a row), of at most two sequences: two decodes at a time take 5 s each. No
 * price may be above. */
static void no_price_above_a_schedule(void **state)
{
    (void)state;
    struct km_step_stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    struct km_step_bound bound = {
        .stages = stage, .stage_count = 1, .token_points = 2, .sampled_points = 2, .time_scale = 1};
    stage->tokens[0] = (struct km_step_point){.size = 1, .ops_s = 10};
    stage->tokens[1] = (struct km_step_point){.size = 100, .ops_s = 100};
    stage->sampled[0].size = 1;
    stage->sampled[1].size = 2;
    const struct km_work_limits limits = {.sequences = 2};
    const struct km_work_amount load = {.decodes = 1000};
    struct km_work_prices prices;
    km_work_prices_find(&bound, &limits, &load, &prices);
    double price_s = km_work_price(&prices, &load);
    if (!(price_s > 0 && price_s <= 500 * 10 * (1 + 1e-12)))
        fail_msg("1000 decodes are priced %.9g s, and can be done in 5000", price_s);
    free(stage);
}

/* --- runs ----------------------------------------------------------------------------------------------- */

static void probe_of(const struct km_override *overrides, size_t count, struct km_probe *out)
{
    struct km_scenario scenario;
    struct km_load load;
    struct km_fleet fleet;
    struct km_error error = {0};
    read_scenario(overrides, count, &scenario);
    read_load(&scenario, &load);
    if (km_fleet_create(&scenario, &fleet, &error) != KM_OK ||
        km_probe_run(&fleet, &load, false, out, &error) != KM_OK)
        fail_msg("%s", error.message);
    km_fleet_release(&fleet);
    km_load_release(&load);
    km_scenario_release(&scenario);
}

/* Twenty at once, served one after another in 100 ms each: two are later than 1.81 s, and a p90 bears two.
 * Goodput, 18 / 2 s = 9 a second, is twice what is asked for; the last term is nearer to its limit. */
static void probe_by_hand(void **state)
{
    (void)state;
    struct km_override overrides[] = {
        {"workload", "{arrivals: {process: at_once}, prompt_tokens: 100, output_tokens: 10, requests: 20}"},
        LINEAR,
        {"engine", "{name: ideal, batching: {policy: dynamic, batch_cap: 1}}"},
        {"slo", "{e2e_p90_s: 1.81}"}};
    struct km_probe probe;
    probe_of(overrides, COUNT(overrides), &probe);
    assert_true(probe.holds && !probe.cut);
    assert_int_equal(probe.completed, 20);
    overrides[3].value = "{e2e_p90_s: 1.79}";
    probe_of(overrides, COUNT(overrides), &probe);
    assert_true(!probe.holds && probe.cut);
    overrides[3].value = "{e2e_p99_s: 10, min_goodput_per_s: 5}";
    probe_of(overrides, COUNT(overrides), &probe);
    assert_true(probe.holds);
    expect_close(probe.worst_ratio, 0.5, 1e-9); /* 5 of 20 / 2 s; e2e 0.2 */
}

/* --- order ---------------------------------------------------------------------------------------------- */

static void round_keeps_the_best(void **state)
{
    (void)state;
    struct km_round *round = calloc(1, sizeof *round);
    struct km_candidate candidates[40];
    assert_non_null(round);
    for (uint32_t i = 0; i < 40; i++) {
        const struct km_rank key = {{(i * 17) % 40}, i}; /* 0 .. 39 in another order */
        candidates[i] = (struct km_candidate){.point = i};
        km_round_offer(round, &candidates[i], i, &key);
    }
    assert_int_equal(round->count, KM_ROUND_SIZE);
    for (uint32_t i = 0; i < KM_ROUND_SIZE; i++) {
        assert_true(round->runs[i].key.parts[0] == i);
        assert_int_equal(round->runs[i].replicas * 17 % 40, i);
    }
    free(round);
}

/* Two replicas of a GPU at 3 USD an hour, 100 s, a million tokens: 6 * 100 / 3600 USD. */
static void least_cost_by_hand(void **state)
{
    (void)state;
    const struct km_search search = {.objective = KM_OBJECTIVE_USD_PER_MILLION_TOKENS};
    const struct km_load load = {.open = true, .span_s = 100, .prompt_tokens = 7.5e5, .output_tokens = 2.5e5};
    const struct km_candidate candidate = {
        .gpus_per_replica = 1, .usd_per_gpu_hour = 3, .bounds = {.busy_s = 50}};
    const struct km_rank least = km_rank_least(&search, &load, &candidate, 2);
    expect_close(least.parts[0], 6.0 * 100 / 3600, 1e-8);
    expect_close(least.parts[1], 6, 1e-12);
    expect_close(least.parts[2], 2, 1e-12);
    const struct km_probe probe = {.total_tokens_per_s = 1e4, .duration_s = 100, .holds = true};
    expect_close(km_plan_usd_per_million_tokens(&search, &load, &candidate, 2, &probe),
                 6.0 / (1e4 * 3600) * 1e6, 1e-12);
    /* An open load goes on: of the 100 s, 80 are its own. Who does not hold pays for all of them. */
    const struct km_load open = {.open = true, .span_s = 79, .paid_s = 80, .prompt_tokens = 1e6};
    const struct km_probe late = {.total_tokens_per_s = 1e4, .duration_s = 100};
    expect_close(km_rank_least(&search, &open, &candidate, 2).parts[0], 6.0 * 80 / 3600, 1e-8);
    expect_close(km_plan_usd_per_million_tokens(&search, &open, &candidate, 2, &probe), 6.0 * 80 / 3600,
                 1e-12);
    expect_close(km_plan_usd_per_million_tokens(&search, &open, &candidate, 2, &late), 6.0 * 100 / 3600,
                 1e-12);
}

/* Price, worst ratio, maximum rate; who is as good in all and better in one leaves the other off the front.
 */
static void front_by_hand(void **state)
{
    (void)state;
    static const struct {
        double usd, ratio, rate;
        bool on_front;
    } rows[] = {
        {4, 0.5, 10, true},  {4, 0.6, 10, false}, /* nearer to its limit at the same price */
        {5, 0.4, 10, true},  {4, 0.5, 9, false},  /* bears less */
        {3, 0.9, 20, true},  {5, 0.9, 20, false}, /* dearer */
        {3, 0.9, NAN, true}, /* of whom the rate is not known, it is not known to be worse */
    };
    struct km_candidate candidates[COUNT(rows)];
    struct km_probe probes[COUNT(rows)];
    struct km_capacity capacities[COUNT(rows)];
    struct km_plan_entry entries[COUNT(rows)];
    for (size_t i = 0; i < COUNT(rows); i++) {
        probes[i] = (struct km_probe){.worst_ratio = rows[i].ratio};
        candidates[i] = (struct km_candidate){.probe = &probes[i], .capacity = &capacities[i]};
        capacities[i] =
            (struct km_capacity){.kind = isnan(rows[i].rate) ? KM_CAPACITY_UNBOUNDED : KM_CAPACITY_FOUND,
                                 .rate_per_s = rows[i].rate};
        entries[i] = (struct km_plan_entry){.candidate = &candidates[i], .usd_per_hour = rows[i].usd};
    }
    km_pareto_mark(entries, COUNT(rows));
    for (size_t i = 0; i < COUNT(rows); i++)
        if (entries[i].on_front != rows[i].on_front)
            fail_msg("row %zu is%s on the front", i, entries[i].on_front ? "" : " not");
}

/* --- several loads -------------------------------------------------------------------------------------- */

static void loads_of_a_search(void **state)
{
    (void)state;
    static const struct {
        const char *search, *key;
        uint32_t count;
        const char *first, *last, *error; /* the message has this in it */
    } cases[] = {
        {"{rate_per_s: 5}", NULL, 0, NULL, NULL, NULL},
        {"{cluster.device: [h100-sxm]}", NULL, 0, NULL, NULL, NULL},
        {"{rate_per_s: [5]}", "search.rate_per_s", 1, "5", "5", NULL},
        {"{rate_per_s: [5, 2.5e1, 40]}", "search.rate_per_s", 3, "5", "40", NULL},
        {"{rate_scale: [0.5, 2]}", "search.rate_scale", 2, "0.5", "2", NULL},
        {"{rate_per_s: []}", NULL, 0, NULL, NULL, "search.rate_per_s: expected 1 to 1000 loads"},
        {"{rate_per_s: [5, fast]}", NULL, 0, NULL, NULL, "search.rate_per_s[1]: expected a number"},
        {"{rate_per_s: [0]}", NULL, 0, NULL, NULL, "search.rate_per_s[0]: expected a number"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_override overrides[] = {{"search", cases[i].search}};
        struct km_arena arena = {0};
        struct km_scenario scenario;
        struct km_error error = {0};
        const char *key = NULL, *const *values = NULL;
        uint32_t count = 0;
        read_scenario(overrides, 1, &scenario);
        enum km_status status = km_search_loads(&scenario, &arena, &key, &values, &count, &error);
        assert_int_equal(status, cases[i].error ? KM_BAD_INPUT : KM_OK);
        if (cases[i].error)
            assert_non_null(strstr(error.message, cases[i].error));
        assert_int_equal(count, cases[i].error ? 0 : cases[i].count);
        if (count) {
            assert_string_equal(key, cases[i].key);
            assert_string_equal(values[0], cases[i].first);
            assert_string_equal(values[count - 1], cases[i].last);
        }
        km_arena_release(&arena);
        km_scenario_release(&scenario);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_of_a_clock),
        cmocka_unit_test(alone_by_the_linear_law),
        cmocka_unit_test(alone_with_a_long_answer),
        cmocka_unit_test(half_may_be_late),
        cmocka_unit_test(time_scale),
        cmocka_unit_test(no_price_above_a_schedule),
        cmocka_unit_test(probe_by_hand),
        cmocka_unit_test(round_keeps_the_best),
        cmocka_unit_test(least_cost_by_hand),
        cmocka_unit_test(front_by_hand),
        cmocka_unit_test(loads_of_a_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
