/* The program as its users meet it: exit codes, what goes to stdout and what to stderr, the files it writes.
 */
#include "support/program.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SCENARIO "run " KM_SOURCE_DIR "/configs/quickstart.yaml --set workload.requests=60 "

/* The result, printed as text again, without the one object that may differ between runs. */
static char *result_of(const char *text)
{
    const char *end;
    cJSON *json = cJSON_ParseWithOpts(text, &end, 0);
    assert_non_null(json);
    assert_string_equal(end + strspn(end, "\n"), "");
    cJSON *simulator = cJSON_DetachItemFromObject(json, "simulator");
    assert_non_null(cJSON_GetObjectItem(simulator, "wall_s"));
    assert_non_null(cJSON_GetObjectItem(simulator, "events"));
    assert_non_null(cJSON_GetObjectItem(simulator, "version"));
    cJSON_Delete(simulator);
    char *rest = cJSON_Print(json);
    cJSON_Delete(json);
    return rest;
}

static char *run_json(const char *more)
{
    char arguments[1000];
    snprintf(arguments, sizeof arguments, SCENARIO "%s --json -", more);
    struct outcome outcome = kingman(arguments);
    assert_int_equal(outcome.code, 0);
    assert_string_equal(outcome.err, "");
    char *result = result_of(outcome.out);
    release(&outcome);
    return result;
}

static void results_repeat(void **state)
{
    (void)state;
    char *first = run_json(""), *again = run_json(""), *single = run_json("--no-fast-forward");
    assert_string_equal(first, again);
    assert_string_equal(first, single);
    assert_null(strstr(first, "simulator"));
    free(first);
    free(again);
    free(single);
}

/* A trace holds no chance; drawn arrivals do. */
static void seeds(void **state)
{
    (void)state;
    const char *drawn = "--set 'workload={arrivals: {process: poisson, rate_per_s: 3}, requests: 60, "
                        "prompt_tokens: 100, output_tokens: 20}' --seed ";
    char text[500];
    char *results[3];
    const char *seed[] = {"1", "2", "1"};
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%s%s", drawn, seed[i]);
        results[i] = run_json(text);
    }
    assert_string_equal(results[0], results[2]);
    assert_string_not_equal(results[0], results[1]);
    for (int i = 0; i < 3; i++)
        free(results[i]);
}

static void output_folder(void **state)
{
    (void)state;
    struct outcome outcome = kingman(SCENARIO "--output fast");
    assert_int_equal(outcome.code, 0);
    assert_true(strlen(outcome.out) > 0); /* the table */
    release(&outcome);
    outcome = kingman(SCENARIO "--output single --no-fast-forward");
    assert_int_equal(outcome.code, 0);
    release(&outcome);
    char *fast = slurp("fast/requests.csv"), *single = slurp("single/requests.csv");
    assert_non_null(fast);
    assert_non_null(single);
    const char *header = "id,arrival_s,prompt_tokens,output_tokens,scheduled_s,started_s,first_token_s,"
                         "last_token_s,preemptions,replica,queued_s,client_first_s,client_last_s\n";
    assert_int_equal(strncmp(fast, header, strlen(header)), 0);
    assert_int_equal(count_lines(fast), 61);
    assert_string_equal(fast, single);
    free(fast);
    free(single);
    fast = slurp("fast/result.json");
    assert_non_null(fast);
    free(result_of(fast));
    free(fast);
}

static void answers(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        int code;
    } rows[] = {
        {"--version", 0},
        {"--help", 0},
        {"run --help", 0},
        {"list batching", 0},
        {"list kv", 0},
        {"list engines", 0},
        {"list engines --verbose", 0},
        {SCENARIO, 0},
        {SCENARIO "--set slo.ttft_p99_s=0.0001", 1}, /* missed */
        {SCENARIO "--set workload.rate_scale=50 --set slo.ttft_p99_s=1000 --set slo.tpot_p99_s=1000", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome outcome = kingman(rows[i].arguments);
        if (outcome.code != rows[i].code || outcome.err[0] || !outcome.out[0])
            fail_msg("kingman %s: exit %d, expected %d; stderr: %s", rows[i].arguments, outcome.code,
                     rows[i].code, outcome.err);
        release(&outcome);
    }
}

/* One line on stderr that says what is wrong, nothing on stdout. */
static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        int code;
        const char *says;
    } rows[] = {
        {"runn", 2, "did you mean run?"},
        {"list", 2, "usage: kingman list"},
        {"run", 2, "SCENARIO"},
        {"plan s.yaml --jobs 5000", 2, "--jobs: at most 4096"},
        {"plan s.yaml --workers 5000", 2, "--jobs: at most 4096"},
        {"plan s.yaml --jobs 2 --workers 2", 2, "--jobs: given twice"},
        {"advise s.yaml --jobs x", 2, "--jobs: expected a whole number"},
        {"sweep s.yaml --workers 5000", 2, "--jobs: at most 4096"},
        {"sweep s.yaml --jbos 2", 2, "did you mean --jobs?"},
        {"run no-such-file.yaml", 2, "no-such-file.yaml"},
        {"run .", 2, ""},
        {"list nonsense", 2, "batching|kv|routing"},
        {"list devices --verbose", 2, "only models and engines have --verbose"},
        {SCENARIO "--sett x=1", 2, "--set"},
        {SCENARIO "--set", 2, "--set"},
        {SCENARIO "--set nokey", 2, "KEY=VALUE"},
        {SCENARIO "--set =1", 2, "KEY=VALUE"},
        {SCENARIO "--set engine.batching.max_num_sequences=8", 2, "max_num_seqs"},
        {SCENARIO "--set engine.batching.max_num_seqs=8k", 2, "engine.batching.max_num_seqs"},
        {SCENARIO "--seed -1", 2, "seed"},
        {SCENARIO "--seed 1e3x", 2, "seed"},
        {SCENARIO "surplus.yaml", 2, "surplus.yaml"},
        {SCENARIO "--json no/such/folder/x.json", 2, "no/such/folder/x.json"},
        {SCENARIO "--output out", 2, "out"}, /* a file of that name is in the way */
        {SCENARIO "--set workload.trace=empty.csv", 2, "empty.csv"},
        {SCENARIO "--set model=llama-3.1-405b", 1, "does not fit"},
        {SCENARIO "--set cluster.tensor_parallel_size=7", 2, "tensor_parallel_size"},
    };
    put("empty.csv", "arrival_s,prompt_tokens,output_tokens\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome outcome = kingman(rows[i].arguments);
        if (outcome.code != rows[i].code || count_lines(outcome.err) != 1 || outcome.out[0] ||
            !strstr(outcome.err, rows[i].says))
            fail_msg(
                "kingman %s: exit %d, expected %d; stdout %zu bytes; stderr should be one line with %s: %s",
                rows[i].arguments, outcome.code, rows[i].code, strlen(outcome.out), rows[i].says,
                outcome.err);
        release(&outcome);
    }
}

/* What was there before stays when a run fails. */
static void failures_leave_old_results(void **state)
{
    (void)state;
    struct outcome outcome = kingman(SCENARIO "--output kept");
    assert_int_equal(outcome.code, 0);
    release(&outcome);
    char *before = slurp("kept/requests.csv");
    outcome = kingman(SCENARIO "--output kept --set workload.trace=broken.csv");
    assert_int_equal(outcome.code, 2);
    release(&outcome);
    put("broken.csv", "arrival_s,prompt_tokens,output_tokens\n0,10,10\n1,10,ten\n");
    outcome = kingman(SCENARIO "--output kept --set workload.trace=broken.csv");
    assert_int_equal(outcome.code, 2);
    assert_non_null(strstr(outcome.err, "broken.csv:3"));
    release(&outcome);
    char *after = slurp("kept/requests.csv");
    assert_string_equal(before, after);
    free(before);
    free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_repeat), cmocka_unit_test(seeds),
        cmocka_unit_test(output_folder),  cmocka_unit_test(answers),
        cmocka_unit_test(refusals),       cmocka_unit_test(failures_leave_old_results),
    };
    return cmocka_run_group_tests(tests, open_program_folder, close_program_folder);
}
