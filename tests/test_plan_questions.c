/* Questions that a buyer may ask, drawn at random: no answer contradicts itself, and none depends on how many
 * requests the scenario happens to state, nor on longer runs. */
#include "planner/length.h"
#include "planner/plan.h"
#include "support/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <gsl/gsl_rng.h>

static char path[] = "/tmp/kingman-questions-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int descriptor = mkstemp(path);
    return descriptor < 0 ? 1 : close(descriptor);
}

static int remove_file(void **state)
{
    (void)state;
    return remove(path);
}

static void write_question(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void ask(uint64_t requests, double lengthen, bool quick, struct km_plan *out)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)requests);
    const struct km_override overrides[] = {{"workload.requests", digits}};
    const struct km_plan_options options = {.workers = 2, .quick = quick, .lengthen = lengthen};
    struct km_error error = {0};
    if (km_plan_create(path, overrides, requests ? 1 : 0, &options, out, &error) != KM_OK)
        fail_msg("%s", error.message);
}

/* Sustains what was asked, and up to no less; the margin is not negative; what it costs is what it says. */
static void expect_no_contradiction(const struct km_plan *plan)
{
    for (uint64_t i = 0; i < plan->holding && i < plan->search.top; i++) {
        const struct km_plan_entry *entry = &plan->entries[i];
        const double most_per_s = km_plan_max_rate_per_s(entry);
        assert_true(entry->candidate->probe->holds);
        if (!isnan(most_per_s))
            assert_true(most_per_s >= plan->load.rate_per_s * (1 - 1e-9));
        const double tokens = plan->load.prompt_tokens + plan->load.output_tokens;
        const double usd = entry->usd_per_hour * (double)plan->load.count / plan->load.rate_per_s / 3600.0;
        assert_true(fabs(entry->usd_per_million_tokens - usd / tokens * 1e6) <
                    1e-6 * entry->usd_per_million_tokens);
        if (i > 0)
            assert_true(entry->cost >= plan->entries[i - 1].cost);
    }
    if (plan->holding && plan->sensitivity) {
        assert_true(plan->sensitivity->headroom >= 0.0);
        assert_true(plan->sensitivity->more_load.replications > 0);
    }
}

/* A question of some shape: one device or two, one layout or two, chat or long prompts. */
static void draw_question(gsl_rng *rng)
{
    static const char *const models[] = {"llama-3.1-8b", "llama-3.1-70b", "qwen2.5-7b", "mixtral-8x7b"};
    static const char *const slos[] = {
        "{ttft_p99_s: 2.0, tpot_p99_s: 0.05}",
        "{ttft_p95_s: 0.8}",
        "{e2e_p95_s: 12}",
        "{tpot_p90_s: 0.03, ttft_mean_s: 0.5}",
        "{ttft_p99_s: 5, tpot_p99_s: 0.08}",
    };
    static const char *const devices[] = {"[h100-sxm]", "[h200-sxm, a100-80g-sxm]", "[l40s, h100-sxm]"};
    static const char *const sizes[] = {"[4]", "[2, 4]", "[1, 2]"};
    char text[1024];
    snprintf(
        text, sizeof text,
        "model: %s\n"
        "cluster: {device: h100-sxm}\n"
        "workload:\n"
        "  arrivals: {process: %s, rate_per_s: 5}\n"
        "  prompt_tokens: {distribution: lognormal, mean: %.0f, sd: %.0f, min: 1, max: 14000}\n"
        "  output_tokens: {distribution: geometric, mean: %.0f}\n"
        "  requests: 500\n"
        "slo: %s\n"
        "search: {rate_per_s: %.3g, max_gpus: 200, cluster.device: %s, cluster.tensor_parallel_size: %s}\n"
        "seed: %lu\n",
        models[gsl_rng_uniform_int(rng, COUNT(models))],
        gsl_rng_uniform_int(rng, 3) ? "poisson" : "gamma, cv: 2", 200 + 2000 * gsl_rng_uniform(rng),
        200 + 1500 * gsl_rng_uniform(rng), 30 + 300 * gsl_rng_uniform(rng),
        slos[gsl_rng_uniform_int(rng, COUNT(slos))], 2 + 50 * gsl_rng_uniform(rng),
        devices[gsl_rng_uniform_int(rng, COUNT(devices))], sizes[gsl_rng_uniform_int(rng, COUNT(sizes))],
        1 + gsl_rng_uniform_int(rng, 1000));
    write_question(text);
}

static void expect_same_answer(const struct km_plan *a, const struct km_plan *b)
{
    assert_int_equal(a->holding, b->holding);
    assert_int_equal(a->load.count, b->load.count);
    for (uint64_t i = 0; i < a->holding; i++) {
        const double rate = km_plan_max_rate_per_s(&a->entries[i]),
                     other = km_plan_max_rate_per_s(&b->entries[i]);
        assert_int_equal(a->entries[i].candidate->point, b->entries[i].candidate->point);
        assert_int_equal(a->entries[i].candidate->replicas, b->entries[i].candidate->replicas);
        assert_true((isnan(rate) && isnan(other)) || (rate >= other && rate <= other));
        assert_true(a->entries[i].usd_per_million_tokens <= b->entries[i].usd_per_million_tokens &&
                    a->entries[i].usd_per_million_tokens >= b->entries[i].usd_per_million_tokens);
    }
}

/* Questions whose answer from 500 requests was another than that from 20,000 while runs were as long as the
 * scenario said (by the planner of commit bc34bdf). In all it was so with 13 of the first 40: 1, 6, 8, 12,
 * 13, 19, 29, 30 and 33 to 37. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const unsigned changed[] = {8}; /* these take ten times as long */
#else
static const unsigned changed[] = {8, 13};
#endif
#define ALL_QUESTIONS 40u  /* where KM_LONG_TESTS is set */
#define TIE           0.03 /* the width to which maximum rates are found for a ranking; of a limit */

/* Is the other answer no more than chance away? Its winner takes a replica less or more of the same plan, and
 * the smaller of the two just sustains the load, or just meets the SLO. (The latter where a latency hardly
 * depends on the load, a p95 of E2E that long outputs decide, say: then a per cent of it is ten of the rate.) */
static bool is_tie(const struct km_plan *a, const struct km_plan *b)
{
    const struct km_plan_entry *x = &a->entries[0], *y = &b->entries[0];
    const struct km_plan *smaller = x->cost <= y->cost ? a : b;
    return km_plan_max_rate_per_s(&smaller->entries[0]) <= smaller->load.rate_per_s * (1 + 2 * TIE) ||
           smaller->entries[0].candidate->probe->worst_ratio >= 1 - TIE;
}

/* Runs so many times as long as they are made name the same winner, but for ties. True: a tie. */
static bool expect_same_winner_of_longer_runs(unsigned question, const struct km_plan *once, double lengthen)
{
    struct km_plan longer;
    bool tie = false;
    ask(0, lengthen, true, &longer);
    expect_no_contradiction(&longer);
    assert_true((double)longer.load.count >= lengthen * (double)once->load.count);
    assert_int_equal(once->holding > 0, longer.holding > 0);
    if (once->holding) {
        const struct km_candidate *a = once->entries[0].candidate, *b = longer.entries[0].candidate;
        tie = a->point != b->point || a->replicas != b->replicas;
        if (tie && !is_tie(once, &longer))
            fail_msg("question %u: %s x %u, of longer runs %s x %u", question, a->label, a->replicas,
                     b->label, b->replicas);
    }
    km_plan_release(&longer);
    return tie;
}

static void test_length_does_not_matter(void **state)
{
    (void)state;
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    const bool all = getenv("KM_LONG_TESTS") != NULL;
    const unsigned questions = all ? ALL_QUESTIONS : (unsigned)COUNT(changed);
    static const uint64_t stated[] = {2000, 10000}; /* requests, over 500 */
    unsigned answered = 0, ties = 0;
    for (unsigned n = 0; n < questions; n++) {
        const unsigned i = all ? n : changed[n];
        struct km_plan once;
        gsl_rng_set(rng, 4000 + i);
        draw_question(rng);
        ask(0, 1, true, &once);
        expect_no_contradiction(&once);
        for (size_t k = all ? 0 : 1; k < COUNT(stated); k++) {
            struct km_plan again;
            ask(stated[k], 1, true, &again);
            expect_same_answer(&once, &again);
            km_plan_release(&again);
        }
        answered += once.holding > 0;
        ties += expect_same_winner_of_longer_runs(i, &once, all ? 4 : 2);
        km_plan_release(&once);
    }
    gsl_rng_free(rng);
    print_message("%u of %u questions answered, %u of them ties\n", answered, questions, ties);
    assert_true(4 * answered >= 3 * questions);
    assert_true(10 * ties < 3 * answered);
}

/* What 500 requests said at first: 9 replicas, or others; 20,000 said 10. The whole answer, with the
 * interval, on a model of a closed form, so that it is quick. */
static void test_winner_sustains_what_was_asked(void **state)
{
    (void)state;
    for (unsigned rate = 1; rate <= (getenv("KM_LONG_TESTS") ? 3 : 1); rate += 2) {
        struct km_plan plan;
        char text[1024];
        snprintf(text, sizeof text,
                 "model: llama-3.1-8b\n"
                 "cluster: {device: l40s}\n"
                 "cost: {model: linear, k1: 0.002, k2: 0.01, k3: 0.0003, k4: 0.02}\n"
                 "workload:\n"
                 "  arrivals: {process: poisson, rate_per_s: 1}\n"
                 "  prompt_tokens: 100\n"
                 "  output_tokens: {distribution: geometric, mean: 20}\n"
                 "  requests: 500\n"
                 "engine: {batching: {max_num_seqs: 8}}\n"
                 "slo: {ttft_p95_s: 0.5}\n"
                 "search: {rate_per_s: %u, max_gpus: 64}\n",
                 10 * rate);
        write_question(text);
        ask(0, 1, false, &plan);
        assert_true(plan.holding > 0);
        assert_non_null(plan.sensitivity);
        expect_no_contradiction(&plan);
        km_plan_release(&plan);
    }
}

/* --- how long a run is ---------------------------------------------------------------------------------- */

static void test_run_length(void **state)
{
    (void)state;
    static const struct {
        const char *arrivals, *slo;
        uint64_t requests;
    } cases[] = {
        /* 5,000 at least */
        {"{process: poisson, rate_per_s: 1}", "{ttft_p90_s: 2}", 5000},
        /* 400 / (1 - 0.99) */
        {"{process: poisson, rate_per_s: 1}", "{ttft_p99_s: 2}", 40000},
        /* 100,000, not 400 / (1 - 0.999); 20 / (1 - 0.9999) */
        {"{process: poisson, rate_per_s: 1}", "{ttft_p99.9_s: 2}", 100000},
        {"{process: poisson, rate_per_s: 1}", "{ttft_p99.99_s: 2}", 200000},
        /* 40 limits of 4 s, or 20 stays of 30 s, at 40/s */
        {"{process: poisson, rate_per_s: 40}", "{ttft_p90_s: 4}", 24000},
        /* 40 limits of 30 s */
        {"{process: poisson, rate_per_s: 40}", "{ttft_p90_s: 30}", 48000},
        /* 20 stays of 100 tokens of 0.2 s */
        {"{process: poisson, rate_per_s: 40}", "{ttft_p90_s: 4, tpot_p90_s: 0.2}", 16000},
        /* never more than 100,000 for time's sake */
        {"{process: poisson, rate_per_s: 4000}", "{ttft_p90_s: 4}", 100000},
        /* ten days */
        {"{process: poisson, rate_per_s: 1e-3}", "{ttft_p90_s: 4}", 864},
        /* 20 a client */
        {"{process: closed_loop, clients: 400}", "{ttft_p90_s: 4}", 8000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_scenario scenario;
        struct km_error error = {0};
        char text[512];
        snprintf(text, sizeof text,
                 "model: llama-3.1-8b\ncluster: {device: h200-sxm}\nworkload:\n  arrivals: %s\n"
                 "  prompt_tokens: 100\n  output_tokens: 100\n  requests: 300\nslo: %s\n",
                 cases[i].arrivals, cases[i].slo);
        write_question(text);
        if (km_scenario_read(path, NULL, 0, &scenario, &error) != KM_OK)
            fail_msg("%s: %s", cases[i].slo, error.message);
        assert_true(km_length_is_free(&scenario));
        assert_int_equal(km_length_requests(&scenario, scenario.workload.rate_per_s), cases[i].requests);
        km_scenario_release(&scenario);
    }
}

static void test_what_has_its_own_length(void **state)
{
    (void)state;
    static const struct {
        const char *arrivals, *slo;
    } cases[] = {
        {"{process: poisson, rate_per_s: 1}", "{deadline_s: 1000}"},
        {"{process: at_once}", "{e2e_p90_s: 100}"},
        {"{process: poisson, rate_per_s: 1, swing: 0.5}", "{ttft_p90_s: 2}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_plan plan;
        char text[512];
        snprintf(text, sizeof text,
                 "model: llama-3.1-8b\ncluster: {device: h200-sxm}\nworkload:\n  arrivals: %s\n"
                 "  prompt_tokens: 100\n  output_tokens: 100\n  requests: 300\nslo: %s\nsearch: {}\n",
                 cases[i].arrivals, cases[i].slo);
        write_question(text);
        ask(0, 4, true, &plan);
        assert_int_equal(plan.load.count, 300);
        assert_false(plan.load.drawn_to_tell);
        assert_int_equal(plan.search.objective, KM_OBJECTIVE_USD_PER_HOUR);
        km_plan_release(&plan);
    }
}

/* Ten of 999 requests do not lie beyond their p99. */
static void test_short_recording_cannot_tell(void **state)
{
    (void)state;
    static const struct {
        unsigned requests;
        const char *slo;
        int thin_term;
    } cases[] = {
        {999, "{ttft_p99_s: 2}", 0},
        {1000, "{ttft_p99_s: 2}", -1},
        {199, "{ttft_mean_s: 1, ttft_p90_s: 2, e2e_p95_s: 60}", 2},
        {200, "{ttft_mean_s: 1, ttft_p90_s: 2, e2e_p95_s: 60}", -1},
    };
    char trace[] = "/tmp/kingman-questions-trace-XXXXXX";
    int descriptor = mkstemp(trace);
    assert_true(descriptor >= 0);
    close(descriptor);
    for (size_t i = 0; i < COUNT(cases); i++) {
        FILE *file = fopen(trace, "w");
        assert_non_null(file);
        fputs("arrival_s,prompt_tokens,output_tokens\n", file);
        for (unsigned k = 0; k < cases[i].requests; k++)
            fprintf(file, "%u,100,10\n", k);
        fclose(file);
        char text[512];
        struct km_plan plan;
        snprintf(
            text, sizeof text,
            "model: llama-3.1-8b\ncluster: {device: h200-sxm}\nworkload: {trace: %s}\nslo: %s\nsearch: {}\n",
            trace, cases[i].slo);
        write_question(text);
        ask(0, 1, true, &plan);
        assert_int_equal(plan.thin_term, cases[i].thin_term);
        assert_int_equal(plan.holding, cases[i].thin_term < 0 ? 1 : 0);
        km_plan_release(&plan);
    }
    remove(trace);
}

/* --- what is rented ------------------------------------------------------------------------------------- */

static void test_rented_gpus(void **state)
{
    (void)state;
    static const struct {
        uint32_t gpus_per_replica, gpus_per_node, replicas;
        uint32_t rented; /* whole nodes */
    } cases[] = {
        {1, 8, 1, 8},  {1, 8, 8, 8},   {1, 8, 9, 16},
        {4, 8, 3, 16}, {8, 8, 2, 16},  {3, 8, 2, 8}, /* two of three fit into a node */
        {3, 8, 3, 16}, {16, 8, 2, 32}, {12, 8, 1, 16},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct km_candidate candidate = {.gpus_per_replica = cases[i].gpus_per_replica,
                                               .gpus_per_node = cases[i].gpus_per_node};
        const struct km_search nodes = {.rent_nodes = true}, gpus = {.rent_nodes = false};
        assert_int_equal(km_candidate_rented_gpus(&nodes, &candidate, cases[i].replicas), cases[i].rented);
        assert_int_equal(km_candidate_rented_gpus(&gpus, &candidate, cases[i].replicas),
                         cases[i].replicas * cases[i].gpus_per_replica);
    }
}

static void test_nodes_are_paid_for(void **state)
{
    (void)state;
    struct km_plan plan;
    write_question("model: llama-3.1-8b\n"
                   "cluster: {device: h200-sxm}\n"
                   "workload:\n"
                   "  arrivals: {process: poisson, rate_per_s: 2}\n"
                   "  prompt_tokens: 100\n"
                   "  output_tokens: 20\n"
                   "  requests: 300\n"
                   "slo: {ttft_p95_s: 1}\n"
                   "economics: {price_usd_per_gpu_hour: 3}\n"
                   "search: {rent: node, max_gpus: 15, cluster.tensor_parallel_size: [1, 16]}\n");
    ask(0, 1, true, &plan);
    assert_int_equal(plan.holding, 1);
    assert_int_equal(plan.entries[0].gpus, 1);
    assert_int_equal(plan.entries[0].rented_gpus, 8);
    assert_true(fabs(plan.entries[0].usd_per_hour - 24.0) < 1e-9);
    assert_int_equal(plan.entries[0].candidate->most_replicas, 8); /* 15 GPUs are one node */
    assert_int_equal(plan.statistics.fates[KM_FATE_BUDGET] + plan.statistics.fates[KM_FATE_LAYOUT], 1);
    km_plan_release(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_length),
        cmocka_unit_test(test_what_has_its_own_length),
        cmocka_unit_test(test_short_recording_cannot_tell),
        cmocka_unit_test(test_rented_gpus),
        cmocka_unit_test(test_nodes_are_paid_for),
        cmocka_unit_test(test_winner_sustains_what_was_asked),
        cmocka_unit_test(test_length_does_not_matter),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
