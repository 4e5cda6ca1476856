/* The `search:` section: what it means, and one message for every way of getting it wrong. */
#include "planner/plan.h"
#include "report/plan_report.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/kingman-search-XXXXXX";

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

#define HEAD                                                                                                 \
    "model: llama-3.1-8b\n"                                                                                  \
    "cluster: {device: h200-sxm}\n"
#define LOAD                                                                                                 \
    "workload:\n"                                                                                            \
    "  arrivals: {process: poisson, rate_per_s: 4}\n"                                                        \
    "  prompt_tokens: {distribution: uniform, min: 10, max: 900}\n"                                          \
    "  output_tokens: {distribution: uniform, min: 1, max: 200}\n"                                           \
    "  requests: 300\n"
#define SLO "slo: {ttft_p95_s: 1, tpot_p95_s: 0.05}\n"

static enum km_status plan_of(const char *text, bool exhaustive, uint32_t workers, struct km_plan *out,
                              struct km_error *error)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    const struct km_plan_options options = {.exhaustive = exhaustive, .workers = workers, .quick = true};
    *error = (struct km_error){0};
    return km_plan_create(path, NULL, 0, &options, out, error);
}

static void plan_well(const char *text, struct km_plan *out)
{
    struct km_error error;
    if (plan_of(text, false, 2, out, &error) != KM_OK)
        fail_msg("%s", error.message);
}

/* --- refusals ------------------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line, column;
        const char *message;
    } cases[] = {
        {HEAD LOAD SLO, 0, 0, "no section \"search\": which plans are to be compared?"},
        {HEAD LOAD "search: {objective: gpu}\n", 8, 21,
         "search.objective: unknown name \"gpu\"; did you mean \"gpus\"?"},
        {HEAD LOAD "search: {max_gpus: 0}\n", 8, 20,
         "search.max_gpus: expected an integer from 1 to 65536, got "
         "\"0\""},
        {HEAD LOAD "search: {rate_scale: 2, rate_per_s: 3}\n", 8, 25,
         "search.rate_per_s: rate_scale already says what must be sustained"},
        {HEAD LOAD "search: {rate_per_s: -3}\n", 8, 22,
         "search.rate_per_s: expected a number from 1e-09 to 1e9, got \"-3\""},
        {HEAD LOAD "search:\n  workload.rate_scale: [1, 2]\n", 9, 3,
         "search.workload.rate_scale: part of the question, not of a plan; kingman sweep varies it"},
        {HEAD LOAD "search:\n  cluster.data_parallel_size: divisors\n", 9, 31,
         "search.cluster.data_parallel_size: divisors are those of tensor_parallel_size or "
         "pipeline_parallel_size"},
        {HEAD LOAD "search:\n  cluster.device: [h200-sxm, h100-smx]\n", 9, 30,
         "search: cluster.device: unknown device \"h100-smx\"; did you mean \"h100-sxm\"?"},
        {HEAD LOAD "search:\n  engine.batching.max_seqs: [16, 32]\n", 9, 30,
         "search: engine.batching.max_seqs: unknown key; did you mean \"max_num_seqs\"?"},
        {HEAD LOAD "search:\n  cluster.tensor_parallel_size: [1, two]\n", 9, 37,
         "search: cluster.tensor_parallel_size: expected an integer from 1 to 1024, got \"two\""},
        {HEAD LOAD "search:\n  precision.weights: [bf16, fp9]\n", 9, 29,
         "search: precision.weights: unknown name \"fp9\"; did you mean \"fp8\"?"},
        {HEAD "workload:\n"
              "  arrivals: {process: closed_loop, clients: 4, think_s: 1}\n"
              "  prompt_tokens: 100\n"
              "  output_tokens: 10\n"
              "  requests: 100\n"
              "search: {rate_per_s: 3}\n",
         8, 10,
         "search.rate_per_s: a load that waits for its answers has no rate; change its clients, or "
         "workload.rate_scale"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct km_plan plan;
        struct km_error error;
        assert_int_equal(plan_of(cases[i].text, false, 1, &plan, &error), KM_BAD_INPUT);
        assert_string_equal(error.message, cases[i].message);
        assert_int_equal(error.line, cases[i].line);
        assert_int_equal(error.column, cases[i].column);
        assert_string_equal(error.file, path);
    }
}

/* --- what became of candidates -------------------------------------------------------------------------- */

static const struct km_candidate *candidate_of(const struct km_plan *plan, const char *label)
{
    for (uint64_t i = 0; i < plan->candidates.count; i++)
        if (strcmp(plan->candidates.items[i].label, label) == 0)
            return &plan->candidates.items[i];
    fail_msg("no candidate %s", label);
    return NULL;
}

static void test_fates(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        enum km_fate fate;
        const char *reason; /* part of it */
    } expected[] = {
        {"llama-3.1-70b, TP 1", KM_FATE_MEMORY, "weights 131.4 GiB + "},
        {"llama-3.1-70b, TP 3", KM_FATE_LAYOUT, "cluster.tensor_parallel_size"},
        {"llama-3.1-70b, TP 16", KM_FATE_BUDGET, "takes 16 GPUs; max_gpus is 8"},
        {"llama-3.1-8b, TP 1", KM_FATE_HOLDS, ""},
    };
    struct km_plan plan;
    plan_well(HEAD LOAD SLO "search:\n"
                            "  max_gpus: 8\n"
                            "  model: [llama-3.1-70b, llama-3.1-8b]\n"
                            "  cluster.tensor_parallel_size: [1, 3, 16]\n",
              &plan);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct km_candidate *c = candidate_of(&plan, expected[i].label);
        assert_string_equal(km_fate_name(c->fate), km_fate_name(expected[i].fate));
        assert_non_null(strstr(c->reason, expected[i].reason));
    }
    assert_int_equal(plan.holding, 1);
    assert_int_equal(plan.entries[0].gpus, 1);
    km_plan_release(&plan);
}

static void test_divisors(void **state)
{
    (void)state;
    struct km_plan plan; /* 32 heads, 8 KV heads: 1, 2, 4, 8 of a node of eight */
    plan_well(HEAD LOAD SLO "search: {cluster.tensor_parallel_size: divisors}\n", &plan);
    assert_int_equal(plan.candidates.count, 4);
    assert_int_equal(plan.statistics.fates[KM_FATE_LAYOUT], 0);
    km_plan_release(&plan);
}

static void test_no_plan_holds(void **state)
{
    (void)state;
    struct km_plan plan;
    plan_well(HEAD LOAD "slo: {ttft_p50_s: 1e-4}\n"
                        "search: {cluster.tensor_parallel_size: [1, 2]}\n",
              &plan);
    assert_int_equal(plan.holding, 0);
    assert_int_equal(plan.statistics.fates[KM_FATE_LATENCY], 2);
    /* The nearest were simulated whole all the same, to say by how much they miss. */
    for (int i = 0; i < 2; i++) {
        assert_non_null(plan.entries[i].candidate->probe);
        assert_false(plan.entries[i].candidate->probe->cut);
        assert_int_equal(plan.entries[i].candidate->probe->completed, plan.load.count);
    }
    km_plan_release(&plan);
}

static void test_rate_asked_for(void **state)
{
    (void)state;
    struct km_plan plan;
    plan_well(HEAD LOAD SLO "search: {rate_per_s: 9}\n", &plan);
    assert_true(fabs(plan.load.rate_per_s - 9.0) < 1e-6);
    km_plan_release(&plan);
    plan_well(HEAD LOAD SLO "search: {rate_scale: 2}\n", &plan);
    double doubled = plan.load.span_s;
    km_plan_release(&plan);
    plan_well(HEAD LOAD SLO "search: {rate_scale: 1}\n", &plan);
    assert_true(fabs(plan.load.span_s - 2.0 * doubled) < 1e-6);
    km_plan_release(&plan);
}

static void test_closed_loop(void **state)
{
    (void)state;
    struct km_plan plan;
    plan_well(HEAD "workload:\n"
                   "  arrivals: {process: closed_loop, clients: 16, think_s: 1}\n"
                   "  prompt_tokens: 200\n"
                   "  output_tokens: 50\n"
                   "  requests: 400\n" SLO "search: {cluster.tensor_parallel_size: [1, 2]}\n",
              &plan);
    assert_int_equal(plan.holding, 2);
    assert_true(isnan(km_plan_max_rate_per_s(&plan.entries[0])));
    assert_int_equal(plan.entries[0].gpus, 1);
    km_plan_release(&plan);
}

/* --- reports -------------------------------------------------------------------------------------------- */

/* Some 500 requests of a recording: a synthetic load would be drawn ten times as long. */
#define RECORDED "workload: {trace: " KM_SOURCE_DIR "/traces/conversation-synthetic.csv, end_s: 100}\n"
#define SOME_SEARCH                                                                                          \
    HEAD RECORDED SLO "search:\n"                                                                            \
                      "  cluster.device: [h200-sxm, a100-80g-sxm, l40s]\n"                                   \
                      "  cluster.tensor_parallel_size: [1, 2]\n"                                             \
                      "  engine.batching.max_num_batched_tokens: [1024, 8192]\n"

static void report_of(const struct km_plan *plan, bool json, struct km_text *out)
{
    const struct km_plan_report report = {.plan = plan, .version = "0", .all = true};
    if (json)
        km_plan_report_json(&report, out);
    else
        km_plan_report_text(&report, out);
}

/* Without the wall times of the search, which are nobody's business here. */
static char *stable_json(const struct km_plan *plan)
{
    struct km_text text = {0};
    report_of(plan, true, &text);
    cJSON *root = cJSON_Parse(km_text_c(&text));
    assert_non_null(root);
    cJSON *search = cJSON_GetObjectItem(root, "search");
    static const char *const walls[] = {"read_wall_s", "bound_wall_s", "search_wall_s", "rate_wall_s"};
    for (size_t i = 0; i < sizeof walls / sizeof *walls; i++) {
        assert_true(cJSON_IsNumber(cJSON_GetObjectItem(search, walls[i])));
        cJSON_DeleteItemFromObject(search, walls[i]);
    }
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "plans")), plan->candidates.count);
    char *printed = cJSON_Print(root);
    cJSON_Delete(root);
    km_text_release(&text);
    return printed;
}

static void test_workers_do_not_matter(void **state)
{
    (void)state;
    struct km_plan one, three;
    struct km_error error;
    assert_int_equal(plan_of(SOME_SEARCH, false, 1, &one, &error), KM_OK);
    assert_int_equal(plan_of(SOME_SEARCH, false, 3, &three, &error), KM_OK);
    char *a = stable_json(&one), *b = stable_json(&three);
    assert_string_equal(a, b);
    free(a);
    free(b);
    km_plan_release(&one);
    km_plan_release(&three);
}

static void test_table_is_narrow(void **state)
{
    (void)state;
    struct km_plan plan;
    struct km_text text = {0};
    plan_well(SOME_SEARCH, &plan);
    report_of(&plan, false, &text);
    assert_true(plan.holding > 1);
    for (const char *line = km_text_c(&text); *line; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > 120)
            fail_msg("a line of %zu columns: %.140s", strcspn(line, "\n"), line);
    km_text_release(&text);
    km_plan_release(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_fates),
        cmocka_unit_test(test_divisors),        cmocka_unit_test(test_no_plan_holds),
        cmocka_unit_test(test_rate_asked_for),  cmocka_unit_test(test_closed_loop),
        cmocka_unit_test(test_table_is_narrow), cmocka_unit_test(test_workers_do_not_matter),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
