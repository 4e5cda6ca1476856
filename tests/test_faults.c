/* Small inputs that once broke the program, each for its kind: what must be answered or refused, and how. */
#include "support/finite.h"
#include "support/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Freed memory that is read shows: glibc fills it. */
#define PERTURBED "MALLOC_PERTURB_=165"

#define RUN "run " KM_SOURCE_DIR "/configs/quickstart.yaml --set workload.requests=50 "

struct fault {
    const char *arguments;
    int code;
    const char *out, *err; /* what stdout and stderr hold; NULL = anything */
};

static void check(const struct fault *fault)
{
    struct outcome outcome = kingman_in(PERTURBED, fault->arguments);
    if (outcome.code != fault->code)
        fail_msg("%s: exit %d, not %d; %s", fault->arguments, outcome.code, fault->code, outcome.err);
    if (fault->out && !strstr(outcome.out, fault->out))
        fail_msg("%s: no \"%s\" in\n%s", fault->arguments, fault->out, outcome.out);
    if (fault->err && !strstr(outcome.err, fault->err))
        fail_msg("%s: no \"%s\" in\n%s", fault->arguments, fault->err, outcome.err);
    if (fault->code == 2)
        assert_int_equal(count_lines(outcome.err), 1);
    assert_finite_text(fault->arguments, outcome.out);
    assert_finite_text(fault->arguments, outcome.err);
    release(&outcome);
}

#define CHECK(faults)                                                                                        \
    for (size_t i = 0; i < sizeof(faults) / sizeof *(faults); i++)                                           \
    check(&(faults)[i])

/* --- names that outlive who stated them ------------------------------------------------------------------
 */

/* The median of a class rests on at least 20 samples; here are as many, all at once. */
#define EIGHT                                                                                                \
    "0,500,50,batch\n0,500,50,chat\n0,500,50,batch\n0,500,50,chat\n0,500,50,batch\n0,500,50,chat\n"          \
    "0,500,50,batch\n0,500,50,chat\n"

static void classes_are_named(void **state)
{
    (void)state;
    put("classes.csv", "arrival_s,prompt_tokens,output_tokens,class\n" EIGHT EIGHT EIGHT EIGHT EIGHT);
    put("classes.yaml", "model: llama-3.1-8b\n"
                        "cluster: {device: h200-sxm}\n"
                        "workload: {trace: classes.csv}\n"
                        "slo: {classes: {chat: {ttft_p50_s: 0.001}}}\n"
                        "search: {max_gpus: 1, engine.batching.max_num_seqs: [4, 64]}\n");
    static const struct fault faults[] = {
        {"plan classes.yaml --quick", 1, "classes.chat.ttft_p50_s 0.3", ""},
        {"plan classes.yaml --quick --json -", 1, "classes.chat.ttft_p50_s 0.3", ""},
        {"run classes.yaml", 1, "chat ttft p50", ""},
    };
    CHECK(faults);
}

/* --- the clock -------------------------------------------------------------------------------------------
 */

#define BEYOND "simulated time runs beyond the clock, which ends after 213 days"
#define LINEAR                                                                                               \
    "model: llama-3.1-8b\ncluster: {device: h200-sxm}\nengine: {name: ideal, batching: {max_num_seqs: 1}}\n" \
    "cost: {model: linear, k1: 0, k2: 0, k3: 0, k4: 1000}\n"

/* One client, a request of 200 steps of 1000 s after the other: 2e5 s each, and 92 of them 1.84e7 s; the
 * clock ends at 18,446,744 s. */
static void clock_ends(void **state)
{
    (void)state;
    put("long.yaml", LINEAR "workload: {arrivals: {process: closed_loop, clients: 1}, requests: 92, "
                            "prompt_tokens: 10, output_tokens: 200}\n");
    put("overload.yaml", LINEAR "workload: {arrivals: {process: at_once}, requests: 93, prompt_tokens: 10, "
                                "output_tokens: 200}\n");
    put("one.csv", "arrival_s,prompt_tokens,output_tokens\n0,10,1\n0,10,1\n");
    put("step.yaml", LINEAR "workload: {trace: one.csv}\n");
    static const struct fault faults[] = {
        {"run long.yaml --json -", 0, "\"duration_s\": 18400000", ""},
        {"run long.yaml --json - --no-fast-forward", 0, "\"duration_s\": 18400000", ""},
        {"run long.yaml --set workload.requests=93", 2, "", BEYOND},
        {"run long.yaml --set workload.requests=93 --no-fast-forward", 2, "", BEYOND},
        {"run long.yaml --set workload.requests=2000", 2, "", BEYOND},
        {"run overload.yaml", 2, "", BEYOND},
        {"run overload.yaml --set cluster.replicas=2 --json -", 0, "\"duration_s\": 9400000", ""},
        {"run overload.yaml --set cluster.pipeline_parallel_size=2", 2, "", BEYOND},
        {"run overload.yaml --set cost.time_scale=1e-3 --json -", 0, "\"duration_s\": 18600", ""},
        /* A step longer than the clock lasts to its end, and is no short one. */
        {"run step.yaml --set cost.k4=4.6e6 --json -", 0, "\"duration_s\": 9200000", ""},
        {"run step.yaml --set cost.k4=4.6e6 --set cost.time_scale=1000", 2, "", BEYOND},
        {"run step.yaml --set cost.k4=4.6e6 --set cost.time_scale=1000 --set cluster.replicas=2", 2, "",
         BEYOND},
        {"run long.yaml --set workload.arrivals.think_s='{distribution: constant, value: 4e6}'", 2, "",
         BEYOND},
    };
    CHECK(faults);
}

/* --- what no device has ----------------------------------------------------------------------------------
 */

/* Every number of a device at once far too small and far too large: refused, or answered with numbers. */
static void device_fields(void **state)
{
    (void)state;
    static const char *const values[] = {"1e-300", "1e300", "5e-324", "0", "1"};
    FILE *shipped = fopen(KM_SOURCE_DIR "/configs/devices/h200-sxm.yaml", "rb");
    assert_non_null(shipped);
    char text[8192];
    size_t length = fread(text, 1, sizeof text - 1, shipped);
    text[length] = '\0';
    fclose(shipped);
    int fields = 0;
    for (const char *at = text; (at = strstr(at, ": ")); at += 2) {
        if (strspn(at + 2, "0123456789") == 0)
            continue;
        const char *line = at;
        while (line > text && line[-1] != '\n')
            line--;
        if (memchr(line, '#', (size_t)(at - line)))
            continue;
        fields++;
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            char changed[9000];
            size_t old = strspn(at + 2, "0123456789.e-_");
            snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at + 2 - text), text, values[i],
                     at + 2 + old);
            put("odd.yaml", changed);
            struct outcome outcome =
                kingman("explain " KM_SOURCE_DIR "/configs/quickstart.yaml --set cluster.device=odd.yaml");
            if (outcome.code != 0 && outcome.code != 1 &&
                (outcome.code != 2 || count_lines(outcome.err) != 1))
                fail_msg("%.*s%s: exit %d", (int)(at + 2 - line), line, values[i], outcome.code);
            assert_finite_text(line, outcome.out);
            assert_finite_text(line, outcome.err);
            release(&outcome);
        }
    }
    assert_true(fields >= 20);
}

static void units_left_out(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        {RUN "--set cluster.tensor_parallel_size=2 --set cluster.node.link.bandwidth_bytes_per_s=1e-3", 2, "",
         "cluster.node.link.bandwidth_bytes_per_s: expected a number from 1e7 to 1e14, got \"1e-3\""},
        {RUN "--set cluster.node.network.bandwidth_bytes_per_s=50", 2, "", "did you mean 50e9?"},
        {RUN "--set engine.host.form_step_s=620", 2, "", "did you mean 620e-6?"},
        {RUN "--set engine.memory.reserve_bytes=1e20", 2, "", "expected a number from 0 to 1e14"},
        {RUN "--set cost.model=linear --set cost.k2=1e9", 2, "", "expected a number from 0 to 4600000"},
    };
    CHECK(faults);
}

/* --- patience --------------------------------------------------------------------------------------------
 */

/* Batches of two, three requests: the third waits for company that never comes. It is served at once when no
 * more can arrive, however long it would have waited. */
static void patience_serves_the_same(void **state)
{
    (void)state;
    put("three.csv", "arrival_s,prompt_tokens,output_tokens\n0,100,10\n0,100,10\n0,100,10\n");
    put("fixed.yaml", "model: llama-3.1-8b\ncluster: {device: h200-sxm}\n"
                      "engine: {batching: {policy: fixed, batch_size: 2}}\nworkload: {trace: three.csv}\n");
    struct outcome without = kingman("run fixed.yaml --output without");
    assert_int_equal(without.code, 0);
    release(&without);
    struct outcome with = kingman("run fixed.yaml --set workload.patience_s=100 --output with");
    assert_int_equal(with.code, 0);
    release(&with);
    char *without_rows = slurp("without/requests.csv"), *with_rows = slurp("with/requests.csv");
    assert_string_equal(without_rows, with_rows);
    assert_null(strstr(with_rows, ",,"));
    free(without_rows);
    free(with_rows);
}

static double number(const char *json, const char *key)
{
    const char *at = strstr(json, key);
    if (!at)
        fail_msg("no %s", key);
    return strtod(at + strlen(key), NULL);
}

/* Batches of two. Two requests are served within 0.1 s; the third waits for company from 100 s on and leaves
 * at 105 s, since another is to come, which is too long for the engine and rejected. Then nothing is left:
 * the run has lasted 105 s, and so long the GPU is paid for. */
static void a_run_ends_with_its_last_request(void **state)
{
    (void)state;
    put("leave.csv", "arrival_s,prompt_tokens,output_tokens\n0,10,1\n0,10,1\n100,10,1\n1000,1000,1\n");
    put("leave.yaml", "model: llama-3.1-8b\ncluster: {device: h200-sxm}\n"
                      "engine: {name: ideal, max_model_len: 64, batching: {policy: fixed, batch_size: 2}}\n"
                      "cost: {model: linear, k1: 0, k2: 0, k3: 0, k4: 0.1}\n"
                      "workload: {trace: leave.csv, patience_s: 5}\n");
    static const struct {
        const char *key;
        double value;
    } rows[] = {
        {"\"completed\": ", 2},       {"\"rejected\": ", 1},
        {"\"abandoned\": ", 1},       {"\"duration_s\": ", 0.1},
        {"\"requests_per_s\": ", 20}, {"\"mean_in_system\": ", (2 * 0.1 + 5) / 105},
        {"\"peak_in_system\": ", 2},  {"\"gpu_hours\": ", 105.0 / 3600},
        {"\"busy\": ", 0.1 / 105},
    };
    struct outcome outcome = kingman("run leave.yaml --json -");
    assert_int_equal(outcome.code, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double ratio = number(outcome.out, rows[i].key) / rows[i].value;
        if (!(ratio > 1 - 1e-9 && ratio < 1 + 1e-9))
            fail_msg("%s is not %g", rows[i].key, rows[i].value);
    }
    release(&outcome);
}

/* --- numbers that are none -------------------------------------------------------------------------------
 */

static void no_number_is_printed(void **state)
{
    (void)state;
    put("fleet.yaml", "model: llama-3.1-8b\n"
                      "cluster: {device: h200-sxm, groups: [{replicas: 1}, {device: h100-sxm}]}\n"
                      "engine: {max_model_len: 64}\n"
                      "workload: {arrivals: {process: at_once}, requests: 3, prompt_tokens: 100, "
                      "output_tokens: 1}\n");
    put("short.yaml",
        "model: llama-3.1-8b\ncluster: {device: h200-sxm}\nengine: {max_model_len: 64}\n"
        "workload: {arrivals: {process: poisson, rate_per_s: 1}, requests: 3, prompt_tokens: 100, "
        "output_tokens: 10}\nslo: {ttft_p99_s: 1}\n"
        "search: {max_gpus: 1, engine.batching.max_num_seqs: [4, 64]}\n");
    static const struct fault faults[] = {
        {"run fleet.yaml", 0, "- x h200-sxm", ""},
        {"run fleet.yaml --json - --output none", 0, "\"mean_replicas\": null", ""},
        {"plan short.yaml --quick", 1, "ttft_p99_s -, limit 1: no request of it was served", ""},
        {"plan short.yaml --quick --json -", 1, "", ""},
        {"run short.yaml", 1, "", ""},
        {"sweep short.yaml --set 'sweep={engine.batching.max_num_seqs: [4, 64]}'", 0, "", ""},
    };
    CHECK(faults);
}

/* --- answers that must be refused ------------------------------------------------------------------------
 */

static void words_and_seeds(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        {RUN "--output \"\"", 2, "", "--output: expected DIR, got nothing"},
        {RUN "--json=", 2, "", "--json: expected"},
        {RUN "--seed \"\"", 2, "", "--seed: expected N, got nothing"},
        {RUN "--seed 18446744073709551615", 0, "seed 18446744073709551615", ""},
        {RUN "--seed 18446744073709551616", 2, "", "too large"},
        {RUN "--seed 99999999999999999999999", 2, "", "too large"},
        {RUN "--set seed=99999999999999999999999", 2, "", "too large"},
        {RUN "--set workload.requests=99999999999999999999999", 2, "", "expected an integer"},
        {RUN "--set workload.bootstrap_block_s=1e-9", 2, "", "expected 0 or a number from 0.001"},
        {RUN "--set workload.bootstrap_block_s=1e-3 --set workload.bootstrap_length=1e5", 2, "",
         "blocks of the trace; at most 1e+07 are laid"},
    };
    CHECK(faults);
}

static void full_device(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "--help",
        "--version",
        "run --help",
        "list models",
        "list --help",
        "explain " KM_SOURCE_DIR "/configs/quickstart.yaml",
        RUN,
        RUN "--json -",
        "trace --help",
        "list devices",
        "accuracy",
        "accuracy --json -",
        "queue --help",
        "plan --help",
        "sweep --help",
        "trace inspect " KM_SOURCE_DIR "/traces/conversation-synthetic.csv",
        "trace fit " KM_SOURCE_DIR "/traces/conversation-synthetic.csv",
        "queue --discipline mg1 --arrival-rate-per-s 0.02 --service a=0.02,c=1 --output-tokens 5 "
        "--theory-only",
        "advise " KM_SOURCE_DIR "/configs/quickstart.yaml --set workload.end_s=20",
        "sweep " KM_SOURCE_DIR
        "/configs/quickstart.yaml --set workload.end_s=20 --set 'sweep={seed: [1, 2]}'",
        "plan " KM_SOURCE_DIR
        "/configs/quickstart.yaml --set workload.end_s=20 --quick --set slo.ttft_p50_s=1 "
        "--set 'search={max_gpus: 1}'"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char command[600];
        snprintf(command, sizeof command, "%s > /dev/full 2> full.err; echo $?", commands[i]);
        struct outcome outcome = kingman(command);
        assert_int_equal(outcome.code, 0);
        char *said = slurp("full.err");
        if (strcmp(outcome.out, "2\n") != 0 || count_lines(said) != 1)
            fail_msg("%s: exit %s%s", commands[i], outcome.out, said);
        free(said);
        release(&outcome);
    }
}

/* The H200 has 139.80 GiB, and graphs take 0.59 of them outside the budget: 1 - 0.634e9 / 150109880320. */
static void graphs_beside_the_budget(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        {RUN "--set engine.kv.gpu_memory_utilization=1", 1, "",
         "gpu_memory_utilization may be at most 0.995, not 1"},
        {RUN "--set engine.kv.gpu_memory_utilization=0.996", 1, "", "may be at most 0.995, not 0.996"},
        {RUN "--set engine.kv.gpu_memory_utilization=0.995", 0, "50 completed of 50", ""},
        {RUN "--set engine.kv.gpu_memory_utilization=1 --set engine.cudagraph_capture_sizes=none", 0,
         "50 completed of 50", ""},
    };
    CHECK(faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_named),
        cmocka_unit_test(clock_ends),
        cmocka_unit_test(device_fields),
        cmocka_unit_test(no_number_is_printed),
        cmocka_unit_test(words_and_seeds),
        cmocka_unit_test(full_device),
        cmocka_unit_test(graphs_beside_the_budget),
        cmocka_unit_test(patience_serves_the_same),
        cmocka_unit_test(a_run_ends_with_its_last_request),
        cmocka_unit_test(units_left_out),
    };
    return cmocka_run_group_tests_name("faults", tests, open_program_folder, close_program_folder);
}
