/* The batching advisor: knees that follow from a known law, limits by SLO and memory, and what is published
 * of real models. */
#include "advisor/advisor.h"

#include "cli/command.h"
#include "report/advice_report.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUICKSTART KM_SOURCE_DIR "/configs/quickstart.yaml"
#define BASE       KM_SOURCE_DIR "/tests/data/good-scenarios/weibull-constant.yaml"

extern const struct km_command km_command_advise;

int km_exit_code(enum km_status status) /* as in main.c, which is no part of the library */
{
    return status == KM_OK ? 0 : status == KM_NO ? 1 : 2;
}

/* A token takes 10 ms + 0.5 ms a sequence, prompts nothing more. */
#define LAW                                                                                                  \
    {"cost", "{model: linear, k3: 0.0005, k4: 0.01}"},                                                       \
        {"engine", "{name: ideal, batching: {policy: continuous, async_scheduling: false}}"},                \
    {                                                                                                        \
        "workload", "{arrivals: {process: poisson, rate_per_s: 2}, prompt_tokens: 10, output_tokens: "       \
                    "{distribution: uniform, min: 50, max: 150}, requests: 300}"                             \
    }
#define LAW_COUNT 3

static enum km_status ask(const struct km_override *overrides, size_t count,
                          const struct km_advice_options *options, struct km_advice *out,
                          struct km_error *error)
{
    struct km_scenario scenario;
    if (km_scenario_read(BASE, overrides, count, &scenario, error) != KM_OK)
        fail_msg("%s", error->message);
    enum km_status status = km_advise(&scenario, options, out, error);
    km_scenario_release(&scenario);
    return status;
}

/* T(B) = B / (k3 B + k4), so T(B) / (B T(1)) = (k3 + k4) / (k3 B + k4) >= epsilon up to
 * B = ((k3 + k4) / epsilon - k4) / k3; and the mean gap is k3 B + k4. */
static void knee_of_a_known_law(void **state)
{
    (void)state;
    static const struct {
        struct km_advice_options options;
        const char *slo, *blocks;
        double batch;
        enum km_advice_bound bound;
    } cases[] = {
        {{.epsilon = 0.2}, "{}", "null", 85, KM_ADVICE_EFFICIENCY},
        {{.epsilon = 0.5}, "{}", "null", 22, KM_ADVICE_EFFICIENCY},
        {{.epsilon = 0.1, .itl_slo_s = 0.040}, "{}", "null", 60, KM_ADVICE_SLO},
        {{.epsilon = 0.1}, "{tpot_p50_s: 0.030}", "null", 40, KM_ADVICE_SLO},
        {{.epsilon = 0.1}, "{ttft_p50_s: 0.000001}", "null", 190, KM_ADVICE_EFFICIENCY},
        {{.epsilon = 0.01, .max_batch = 64}, "{}", "null", 64, KM_ADVICE_AT_MOST},
        {{.epsilon = 0.01}, "{}", "350", 50, KM_ADVICE_MEMORY}, /* 7 blocks of 16 for 110 tokens */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct km_override overrides[] = {
            LAW, {"slo", cases[i].slo}, {"engine.kv.num_gpu_blocks_override", cases[i].blocks}};
        struct km_advice advice;
        struct km_error error = {0};
        if (ask(overrides, LAW_COUNT + 2, &cases[i].options, &advice, &error) != KM_OK)
            fail_msg("case %zu: %s", i, error.message);
        const struct km_advice_point *p = &advice.points[advice.advised];
        if (fabs(p->batch - cases[i].batch) > 0.08 * cases[i].batch || advice.bound != cases[i].bound)
            fail_msg("case %zu: batch %u, bound %d", i, p->batch, advice.bound);
        double want = p->batch / (0.0005 * p->batch + 0.01);
        if (fabs(p->output_tokens_per_s - want) > 0.05 * want)
            fail_msg("case %zu: %g tokens/s at %u, expected %g", i, p->output_tokens_per_s, p->batch, want);
        for (uint32_t j = 1; j < advice.point_count; j++) {
            assert_true(advice.points[j].batch > advice.points[j - 1].batch);
            assert_true(advice.points[j].efficiency < advice.points[j - 1].efficiency + 0.01);
        }
        /* Without a breakdown all device time counts, and the law leaves no gap: replicas add nothing. */
        assert_int_equal(advice.advised_replicas, 1);
        assert_int_equal(advice.run_count, 2);
        assert_int_equal(advice.runs[1].max_num_seqs, p->batch);
        assert_true(advice.needed_blocks <= advice.blocks);
        assert_true(fabs(advice.kv_freed_bytes + advice.kv_needed_bytes - advice.kv_bytes) <=
                    1e-9 * advice.kv_bytes);
    }
}

/* Workers change nothing, to the bit. */
static void workers_do_not_matter(void **state)
{
    (void)state;
    static const struct km_override overrides[] = {LAW};
    static struct km_advice advice[2];
    struct km_error error = {0};
    for (uint32_t i = 0; i < 2; i++) {
        const struct km_advice_options options = {.epsilon = 0.1, .workers = i ? 5 : 1};
        assert_int_equal(ask(overrides, LAW_COUNT, &options, &advice[i], &error), KM_OK);
    }
    struct km_text text[2] = {0};
    for (int i = 0; i < 2; i++)
        km_advice_report_json(&(struct km_advice_report){.advice = &advice[i]}, &text[i]);
    assert_string_equal(km_text_c(&text[0]), km_text_c(&text[1]));
    km_text_release(&text[0]);
    km_text_release(&text[1]);
}

/* Mind the Memory Gap (arXiv 2503.08311) on an H100 with prompts of 161 and outputs of 338 tokens: decode of
 * models with one KV head a head stays bound by memory at the largest batch; throughput flattens long before;
 * models of 7 billion parameters leave no room for a second replica at it, small ones at their knee do, and
 * gain from one. */
static void published_observations(void **state)
{
    (void)state;
    const struct km_override workload = {
        "workload", "{arrivals: {process: poisson, rate_per_s: 20}, prompt_tokens: 161, output_tokens: 338, "
                    "requests: 100}"};
    struct km_error error = {0};
    static struct km_advice big, small;
    const struct km_override seven[] = {
        {"model", "llama-2-7b"}, {"cluster.device", "h100-sxm"}, {"engine.max_model_len", "2048"}, workload};
    assert_int_equal(ask(seven, 4, &(struct km_advice_options){.epsilon = 0.1}, &big, &error), KM_OK);
    assert_true(big.memory_share > 0.5 && big.compute_share < 0.3);
    assert_true(big.points[big.advised].efficiency < 0.4);
    assert_false(big.shares[1].fits);
    assert_int_equal(big.advised_replicas, 1);
    const struct km_override one[] = {{"model", "llama-3.2-1b"},
                                      {"cluster.device", "h100-sxm"},
                                      {"engine.max_model_len", "2048"},
                                      workload};
    /* Twice the gap of 32 sequences, a strict SLO. */
    assert_int_equal(
        ask(one, 4, &(struct km_advice_options){.epsilon = 0.1, .max_batch = 96}, &small, &error), KM_OK);
    assert_true(small.points[small.advised].batch == 96);
    assert_true(small.kv_freed_bytes > 0.8 * small.kv_bytes);
    /* Two would fit and gain, yet 20 requests a second need no more than one, and are slower on two. */
    assert_true(small.shares[1].fits && small.run_count == 3);
    assert_int_equal(small.runs[2].harm, KM_ADVICE_SLOWER);
    assert_int_equal(small.advised_replicas, 1);
    double gain = small.shares[1].output_tokens_per_s[KM_SHARING_ADDING] /
                  small.shares[0].output_tokens_per_s[KM_SHARING_ADDING];
    assert_true(gain > 1.1 && gain < 2);
    for (uint32_t i = 0; i < small.share_count; i++) {
        const struct km_advice_share *s = &small.shares[i];
        assert_true(s->output_tokens_per_s[KM_SHARING_SLICED] <= s->output_tokens_per_s[KM_SHARING_ADDING]);
        assert_true(s->output_tokens_per_s[KM_SHARING_ADDING] <= s->output_tokens_per_s[KM_SHARING_OVERLAP]);
        assert_true(s->output_tokens_per_s[KM_SHARING_OVERLAP] <=
                    s->replicas * small.shares[0].output_tokens_per_s[0] * (1 + 1e-12));
    }
}

/* What counts as harm, at its limits. */
static void harm(void **state)
{
    (void)state;
    static const struct {
        enum km_verdict verdict[2]; /* as it is, with the advice */
        bool met[2];
        double e2e_p99_s[2];
        enum km_advice_harm harm;
    } cases[] = {
        {{KM_STABLE, KM_STABLE}, {false, false}, {10, 11}, KM_ADVICE_HARMLESS},
        {{KM_STABLE, KM_STABLE}, {false, false}, {10, 11.01}, KM_ADVICE_SLOWER},
        {{KM_STABLE, KM_STABLE}, {true, true}, {10, 20}, KM_ADVICE_HARMLESS}, /* the SLO says what counts */
        {{KM_STABLE, KM_STABLE}, {false, true}, {10, 20}, KM_ADVICE_HARMLESS},
        {{KM_STABLE, KM_STABLE}, {true, false}, {10, 5}, KM_ADVICE_MISSES_SLO},
        {{KM_STABLE, KM_SATURATED}, {true, true}, {10, 5}, KM_ADVICE_SATURATES},
        {{KM_UNKNOWN, KM_SATURATED}, {false, false}, {10, 5}, KM_ADVICE_SATURATES},
        {{KM_SATURATED, KM_SATURATED}, {false, false}, {10, 10}, KM_ADVICE_HARMLESS},
        {{KM_SATURATED, KM_STABLE}, {false, false}, {10, 10}, KM_ADVICE_HARMLESS},
    };
    static struct km_advice_run runs[2];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int j = 0; j < 2; j++) {
            runs[j].summary.verdict = cases[i].verdict[j];
            runs[j].summary.slo_attained = cases[i].met[j];
            runs[j].summary.latency[KM_E2E].p99_s = cases[i].e2e_p99_s[j];
        }
        assert_int_equal(km_advice_harms(&runs[0], &runs[1]), cases[i].harm);
    }
}

/* Advice that would saturate is withdrawn; what is named instead is what a run of it says. */
static void withdrawn(void **state)
{
    (void)state;
    const struct km_override overrides[] = {{"model", "qwen3-32b"}};
    static struct km_advice advice;
    struct km_error error = {0};
    struct km_scenario scenario;
    const struct km_advice_options how = {.epsilon = 0.1};
    assert_int_equal(km_scenario_read(QUICKSTART, overrides, 1, &scenario, &error), KM_OK);
    assert_int_equal(km_advise(&scenario, &how, &advice, &error), KM_OK);
    km_scenario_release(&scenario);
    assert_true(km_advice_is_withdrawn(&advice));
    assert_int_equal(advice.runs[1].harm, KM_ADVICE_SATURATES);
    const struct km_advice_run *instead = km_advice_instead(&advice);
    assert_non_null(instead);
    assert_true(instead->helps && instead->summary.slo_attained);
    char key[96];
    snprintf(key, sizeof key, "%s", instead->setting);
    char *equals = strchr(key, '=');
    assert_non_null(equals);
    *equals = '\0';
    struct km_fleet fleet;
    static struct km_run_result result;
    const struct km_override with[] = {overrides[0], {key, equals + 1}};
    const struct km_run_options options = {.fast_forward = true};
    assert_int_equal(km_scenario_read(QUICKSTART, with, 2, &scenario, &error), KM_OK);
    assert_int_equal(km_fleet_create(&scenario, &fleet, &error), KM_OK);
    assert_int_equal(km_fleet_run(&fleet, &scenario.workload, scenario.seed, &options, &result, &error),
                     KM_OK);
    assert_true(result.summary.latency[KM_E2E].p99_s == instead->summary.latency[KM_E2E].p99_s);
    assert_true(result.summary.slo_attained);
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        struct km_override overrides[4];
        enum km_status status;
        const char *message;
    } cases[] = {
        {{{"slo", "{tpot_p50_s: 0.0001}"}},
         KM_NO,
         "no batch size meets the SLO: one sequence at a time has TPOT"},
        {{{"engine.batching.policy", "fixed"}, {"engine.batching.batch_size", "8"}},
         KM_BAD_INPUT,
         "engine.batching.policy: fixed waits for batches of one size; advice is for those that max_num_seqs "
         "limits"},
        {{{"cluster", "{groups: [{device: l40s}, {device: h200-sxm}]}"}},
         KM_BAD_INPUT,
         "cluster.groups: advice is for replicas of one kind; ask for each by itself"},
        {{{"model", "llama-3.1-70b"}}, KM_NO, "llama-3.1-70b does not fit on 1 x l40s"},
        {{{"engine.max_model_len", "600"}}, KM_NO, "none of the workload's requests can be served"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t count = 0;
        while (cases[i].overrides[count].key)
            count++;
        struct km_advice advice;
        struct km_error error = {0};
        assert_int_equal(
            ask(cases[i].overrides, count, &(struct km_advice_options){.epsilon = 0.1}, &advice, &error),
            cases[i].status);
        if (strncmp(error.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s", error.message);
    }
}

static void bad_flags(void **state)
{
    (void)state;
    static const struct {
        const char *argv[5];
        const char *message;
    } cases[] = {
        {{"advise", BASE, "--epsilon", "0"}, "--epsilon: expected a number > 0 and ≤ 1, got 0"},
        {{"advise", BASE, "--epsilon", "1.5"}, "--epsilon: expected a number > 0 and ≤ 1, got 1.5"},
        {{"advise", BASE, "--itl-slo", "-1"}, "--itl-slo: expected a number ≥ 0, got -1"},
        {{"advise", BASE, "--max-batch", "70000"}, "--max-batch: at most 65536"},
        {{"advise", BASE, "--jobs", "5000"}, "--jobs: at most 4096"},
        {{"advise", BASE, "--workers", "5000"}, "--jobs: at most 4096"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct km_error error = {0};
        char *argv[5];
        for (int j = 0; j < 4; j++)
            argv[j] = (char *)(void *)(uintptr_t)cases[i].argv[j];
        argv[4] = NULL;
        assert_int_equal(km_command_advise.run(4, argv, &error), 2);
        assert_string_equal(error.message, cases[i].message);
    }
}

/* Table and JSON say the same, and neither has a number that is none. */
static void reports(void **state)
{
    (void)state;
    static const struct km_override overrides[] = {LAW, {"slo", "{tpot_p50_s: 0.030}"}};
    static struct km_advice advice;
    struct km_error error = {0};
    assert_int_equal(
        ask(overrides, LAW_COUNT + 1, &(struct km_advice_options){.epsilon = 0.1}, &advice, &error), KM_OK);
    const struct km_advice_report report = {.advice = &advice, .model = "m", .device = "d", .version = "1"};
    struct km_text text = {0}, json = {0};
    km_advice_report_text(&report, &text);
    km_advice_report_json(&report, &json);
    assert_null(strstr(km_text_c(&text), "nan"));
    char line[80];
    snprintf(line, sizeof line, "advice      max_num_seqs: %u, ", advice.points[advice.advised].batch);
    assert_non_null(strstr(km_text_c(&text), line));
    assert_non_null(strstr(km_text_c(&text), "beyond it the SLO is missed"));
    cJSON *root = cJSON_ParseWithOpts(km_text_c(&json), NULL, 1);
    assert_non_null(root);
    const cJSON *advised = cJSON_GetObjectItem(root, "advice");
    assert_int_equal(cJSON_GetObjectItem(advised, "max_num_seqs")->valueint,
                     advice.points[advice.advised].batch);
    assert_string_equal(cJSON_GetObjectItem(advised, "bound_by")->valuestring, "slo");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "points")), advice.point_count);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "runs")), 2);
    cJSON_Delete(root);
    km_text_release(&text);
    km_text_release(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knee_of_a_known_law),
        cmocka_unit_test(workers_do_not_matter),
        cmocka_unit_test(published_observations),
        cmocka_unit_test(harm),
        cmocka_unit_test(withdrawn),
        cmocka_unit_test(refusals),
        cmocka_unit_test(bad_flags),
        cmocka_unit_test(reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
