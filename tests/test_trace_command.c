/* kingman trace, called as the command line does: exit code, error and what it wrote. */
#include "cli/trace_commands.h"

#include "base/file.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/kingman-trace-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

/* Run "trace" and these words, ended by NULL. */
static int run(struct km_error *error, const char *const *words)
{
    char *argv[40] = {(char *)(uintptr_t) "trace"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    *error = (struct km_error){0};
    return km_trace_main(argc, argv, error);
}
#define RUN(error, ...) run(error, (const char *const[]){__VA_ARGS__, NULL})

static char *slurp(const char *path)
{
    char *text;
    size_t bytes;
    struct km_error error = {0};
    if (km_file_read(path, 64 << 20, &text, &bytes, &error) != KM_OK)
        fail_msg("%s: %s", path, error.message);
    return text;
}

static void path_in(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", folder, name);
}

/* The shipped traces come from the commands in traces/README.md, byte for byte: they are read from there. */
static void test_shipped_traces(void **state)
{
    (void)state;
    char *readme = slurp(KM_SOURCE_DIR "/traces/README.md"), path[600];
    int commands = 0;
    path_in("again.csv", path, sizeof path);
    for (char *at = readme; (at = strstr(at, "\nkingman trace generate ")) != NULL;) {
        const char *words[40] = {0};
        char *end = strstr(at, "```"), *rest, shipped[600];
        int count = 0;
        assert_non_null(end);
        *end = '\0';
        for (char *word = strtok_r(at, " \\\n", &rest); word; word = strtok_r(NULL, " \\\n", &rest))
            words[count++] = word;
        at = end + 1;
        snprintf(shipped, sizeof shipped, KM_SOURCE_DIR "/%s", words[3]);
        words[3] = path;
        struct km_error error;
        assert_int_equal(run(&error, words + 2), 0);
        char *expected = slurp(shipped), *made = slurp(path);
        assert_true(strcmp(expected, made) == 0);
        free(expected);
        free(made);
        commands++;
    }
    assert_int_equal(commands, 2);
    unlink(path);
    free(readme);
}

static void test_convert(void **state)
{
    (void)state;
    static const char source[] = KM_SOURCE_DIR "/traces/sessions-synthetic.csv";
    char there[600], back[600];
    struct km_error error;
    path_in("there", there, sizeof there);
    path_in("back", back, sizeof back);
    assert_int_equal(RUN(&error, "convert", source, there, "--to", "kingman"), 0);
    char *a = slurp(source), *b = slurp(there);
    assert_true(strcmp(a, b) == 0);
    free(a);
    free(b);
    assert_int_equal(RUN(&error, "convert", source, there, "--to=mooncake"), 0);
    assert_int_equal(RUN(&error, "convert", there, back, "--to", "mooncake"), 0);
    a = slurp(there);
    b = slurp(back);
    assert_true(strcmp(a, b) == 0 && strstr(a, "\"hash_ids\": [0, 1, 2]"));
    free(a);
    free(b);
    unlink(there);
    unlink(back);
}

static void test_inspect_json(void **state)
{
    (void)state;
    char path[600];
    struct km_error error;
    path_in("summary.json", path, sizeof path);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_non_null(freopen("/dev/null", "w", stdout));
    int code = RUN(&error, "inspect", KM_SOURCE_DIR "/traces/sessions-synthetic.csv", "--json", path);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    assert_int_equal(code, 0);
    char *text = slurp(path);
    cJSON *root = cJSON_Parse(text);
    assert_non_null(root);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(root, "requests")) == 400);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(root, "format")), "kingman");
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "prefix"), "hit_rate")) >
                0.5);
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(root, "rates_per_s")) > 10);
    cJSON_Delete(root);
    free(text);
    unlink(path);
}

/* main.c's, which the test stands in for. */
int km_exit_code(enum km_status status)
{
    return status == KM_OK ? 0 : 2;
}

#define ARRIVALS "--arrivals", "process=poisson,rate_per_s=6"
#define LENGTHS  "--prompt-tokens", "10", "--output-tokens", "10"

static void test_bad_flags(void **state)
{
    (void)state;
    static const struct {
        const char *words[20];
        const char *message;
    } bad[] = {
        {{"inspct"}, "trace: unknown part \"inspct\"; did you mean inspect?"},
        {{"inspect"}, "missing argument; usage: kingman trace inspect FILE [--json FILE|-]"},
        {{"inspect", "a", "b"},
         "unexpected argument \"b\"; usage: kingman trace inspect FILE [--json FILE|-]"},
        {{"inspect", "a", "--jsn", "-"}, "unknown option --jsn; did you mean --json?"},
        {{"inspect", "a", "--json"}, "--json: expected FILE|- after it"},
        {{"inspect", "a", "--json", "-", "--json", "-"}, "--json: given twice"},
        {{"convert", "a", "b"}, "--to is missing: kingman, azure or mooncake"},
        {{"convert", "a", "b", "--to", "mooncak"},
         "--to: unknown trace format \"mooncak\"; did you mean mooncake?"},
        {{"generate", "-", ARRIVALS, LENGTHS}, "--requests is missing"},
        {{"generate", "-", "--requests", "5", LENGTHS}, "--arrivals is missing"},
        {{"generate", "-", "--requests", "5", "--arrivals", "process=poisson,rate", LENGTHS},
         "--arrivals: expected key=value,..., got \"rate\""},
        {{"generate", "-", "--requests", "5", ARRIVALS, LENGTHS, "--seed", "-1"},
         "--seed: expected a whole number, got \"-1\""},
        {{"generate", "-", "--requests", "5", ARRIVALS, LENGTHS, "--turn-gap-s", "5"},
         "--turn-gap-s, --think-s, --system-prompt-tokens and --max-prompt-tokens need --turns"},
        {{"generate", "-", "--requests", "5", ARRIVALS, LENGTHS, "--turns", "5"}, "--turn-gap-s is missing"},
        {{"generate", "-", "--requests", "5", ARRIVALS, LENGTHS, "--turns", "5", "--turn-gap-s", "5",
          "--end-s", "9"},
         "--end-s: not with --turns"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct km_error error;
        assert_int_equal(run(&error, bad[i].words), 2);
        assert_string_equal(error.message, bad[i].message);
    }
}

/* Values are checked by the scenario's own reader: one grammar, one set of messages, led by the flag. */
static void test_bad_values(void **state)
{
    (void)state;
    static const struct {
        const char *words[20];
        const char *text;
    } bad[] = {
        {{"generate", "-", "--requests", "5", "--arrivals", "process=poison,rate_per_s=6", LENGTHS},
         "--arrivals: arrivals.process: unknown name \"poison\"; did you mean \"poisson\"?"},
        {{"generate", "-", "--requests", "5", ARRIVALS, "--prompt-tokens", "distribution=gamma,mean=5",
          "--output-tokens", "5"},
         "--prompt-tokens: prompt_tokens.cv: missing"},
        {{"generate", "-", "--requests", "5", "--arrivals", "process=closed_loop,clients=6", LENGTHS},
         "--arrivals: a trace needs times of its own: poisson, gamma, weibull or constant"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct km_error error;
        char text[1200];
        assert_int_equal(run(&error, bad[i].words), 2);
        km_error_format(&error, text, sizeof text);
        assert_string_equal(text, bad[i].text);
    }
}

/* A failure leaves neither the output nor its temporary file. */
static void test_nothing_left(void **state)
{
    (void)state;
    char path[600];
    struct km_error error;
    path_in("none", path, sizeof path);
    assert_int_equal(
        RUN(&error, "convert", KM_SOURCE_DIR "/tests/data/traces/zero-output.csv", path, "--to", "azure"), 2);
    assert_int_equal(error.line, 3);
    assert_false(km_file_exists(path)); /* the folder is removed empty at the end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_traces), cmocka_unit_test(test_convert),
        cmocka_unit_test(test_inspect_json),   cmocka_unit_test(test_bad_flags),
        cmocka_unit_test(test_bad_values),     cmocka_unit_test(test_nothing_left),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
