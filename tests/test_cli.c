/* The program as its users meet it: exit codes, what goes to stdout and what to stderr, the files it writes.
 */
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SCENARIO "run " KM_SOURCE_DIR "/configs/quickstart.yaml --set workload.requests=60 "

static char folder[] = "/tmp/kingman-cli-XXXXXX";

struct outcome {
    int code;
    char *out, *err; /* owned */
};

static char *slurp(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    size_t length = 0, capacity = 1 << 20;
    char *text = malloc(capacity);
    assert_non_null(text);
    length = fread(text, 1, capacity - 1, file);
    assert_true(length < capacity - 1);
    text[length] = '\0';
    fclose(file);
    return text;
}

/* A failed sanitizer exits 1 by itself, which would pass for an answer: let it abort instead. */
static struct outcome kingman(const char *arguments)
{
    char command[3000];
    int length = snprintf(command, sizeof command, "cd %s && ASAN_OPTIONS=exitcode=99 %s %s > out 2> err",
                          folder, KM_BINARY, arguments);
    assert_true(length > 0 && (size_t)length < sizeof command);
    int status = system(command);
    assert_true(WIFEXITED(status));
    return (struct outcome){WEXITSTATUS(status), slurp("out"), slurp("err")};
}

static void release(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

static size_t lines(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

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
                         "last_token_s,preemptions,replica\n";
    assert_int_equal(strncmp(fast, header, strlen(header)), 0);
    assert_int_equal(lines(fast), 61);
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
        {"run no-such-file.yaml", 2, "no-such-file.yaml"},
        {"run .", 2, ""},
        {"list nonsense", 2, "batching|kv|routing"},
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
    char path[200];
    snprintf(path, sizeof path, "%s/empty.csv", folder);
    FILE *empty = fopen(path, "w");
    assert_non_null(empty);
    fputs("arrival_s,prompt_tokens,output_tokens\n", empty);
    fclose(empty);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome outcome = kingman(rows[i].arguments);
        if (outcome.code != rows[i].code || lines(outcome.err) != 1 || outcome.out[0] ||
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
    char path[200];
    snprintf(path, sizeof path, "%s/broken.csv", folder);
    FILE *broken = fopen(path, "w");
    assert_non_null(broken);
    fputs("arrival_s,prompt_tokens,output_tokens\n0,10,10\n1,10,ten\n", broken);
    fclose(broken);
    outcome = kingman(SCENARIO "--output kept --set workload.trace=broken.csv");
    assert_int_equal(outcome.code, 2);
    assert_non_null(strstr(outcome.err, "broken.csv:3"));
    release(&outcome);
    char *after = slurp("kept/requests.csv");
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_repeat), cmocka_unit_test(seeds),
        cmocka_unit_test(output_folder),  cmocka_unit_test(answers),
        cmocka_unit_test(refusals),       cmocka_unit_test(failures_leave_old_results),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
