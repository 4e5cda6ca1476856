/* kingman explain, called as the command line does; the roofline picture. */
#include "base/file.h"
#include "cli/command.h"
#include "report/roofline_picture.h"
#include "support/check.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

extern const struct km_command km_command_explain;

/* main.c's, which the test stands in for. */
int km_exit_code(enum km_status status)
{
    return status == KM_OK ? 0 : status == KM_NO ? 1 : 2;
}

static char folder[] = "/tmp/kingman-explain-XXXXXX";
static char scenario[64], output[64], table[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(scenario, sizeof scenario, "%s/scenario.yaml", folder);
    snprintf(output, sizeof output, "%s/out.json", folder);
    snprintf(table, sizeof table, "%s/table.txt", folder);
    FILE *file = fopen(scenario, "w");
    fputs("model: llama-3.1-8b\ncluster: {device: h200-sxm}\n"
          "workload: {arrivals: {process: poisson, rate_per_s: 1}, prompt_tokens: 9, output_tokens: 9, "
          "requests: 1}\n",
          file);
    return fclose(file);
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(scenario);
    unlink(output);
    unlink(table);
    return rmdir(folder);
}

static char *slurp(const char *path)
{
    char *text;
    size_t bytes;
    struct km_error error = {0};
    if (km_file_read(path, 64 << 20, &text, &bytes, &error) != KM_OK)
        fail_msg("%s: %s", path, error.message);
    return text;
}

/* Run "explain SCENARIO --json FILE" and these words, ended by NULL; the table goes to a file. Returns the
 * exit code. */
static int run(struct km_error *error, const char *const *words)
{
    char *argv[40] = {(char *)(uintptr_t) "explain", scenario, (char *)(uintptr_t) "--json", output};
    int argc = 4;
    for (; words[argc - 4]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 4];
    *error = (struct km_error){0};
    unlink(output);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_non_null(freopen(table, "w", stdout));
    int code = km_command_explain.run(argc, argv, error);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    return code;
}
#define RUN(error, ...) run(error, (const char *const[]){__VA_ARGS__, NULL})

static cJSON *answer(void)
{
    char *text = slurp(output);
    cJSON *root = cJSON_Parse(text);
    free(text);
    assert_non_null(root);
    return root;
}

/* The value at a dotted path; indices are numbers. */
static const cJSON *at(const cJSON *value, const char *path)
{
    char part[64];
    while (value && *path) {
        size_t length = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, path);
        value = cJSON_IsArray(value) ? cJSON_GetArrayItem(value, atoi(part))
                                     : cJSON_GetObjectItemCaseSensitive(value, part);
        path += length + (path[length] == '.');
    }
    return value;
}

static double number(const cJSON *root, const char *path)
{
    const cJSON *value = at(root, path);
    if (!cJSON_IsNumber(value))
        fail_msg("%s is no number", path);
    return cJSON_GetNumberValue(value);
}

static const char *text_of(const cJSON *root, const char *path)
{
    const cJSON *value = at(root, path);
    if (!cJSON_IsString(value))
        fail_msg("%s is no text", path);
    return value->valuestring;
}

/* The recorded vLLM 0.26 found room for 56,057 blocks on an H200; another start of it for 56,174. */
static void test_recorded_blocks(void **state)
{
    (void)state;
    struct km_error error;
    assert_int_equal(RUN(&error, "--memory-only"), 0);
    cJSON *root = answer();
    double blocks = number(root, "memory.blocks");
    assert_true(fabs(blocks - 56057) <= 0.01 * 56057);
    double gib = 1024.0 * 1024 * 1024; /* the engine's log: 15.0, 1.1, 0.22, 109.49, 0.59 GiB */
    assert_true(fabs(number(root, "memory.weights.total_bytes") / gib - 15.0) < 0.1);
    assert_true(fabs(number(root, "memory.activation_bytes") / gib - 1.1) < 0.1);
    assert_true(fabs(number(root, "memory.reserve_bytes") / gib - 0.22) < 0.01);
    assert_true(fabs(number(root, "memory.kv_bytes") / gib - 109.49) < 0.2);
    assert_true(fabs(number(root, "memory.graph_reserve_bytes") / gib - 0.59) < 0.01);
    assert_int_equal(cJSON_GetArraySize(at(root, "steps")), 0);
    assert_int_equal(cJSON_GetArraySize(at(root, "sweep.rows")), 0);
    assert_true(cJSON_IsTrue(at(root, "memory.fits")));
    cJSON_Delete(root);
}

static void test_memory_adds_up(void **state)
{
    (void)state;
    static const char *const models[] = {"model=llama-3.1-8b", "model=mixtral-8x7b", "model=jamba-v0.1",
                                         "model=gpt-oss-20b"};
    static const char *const classes[] = {"embedding",      "lm_head",        "attention", "dense_mlp",
                                          "routed_experts", "shared_experts", "router",    "norms"};
    for (size_t i = 0; i < COUNT(models); i++) {
        struct km_error error;
        assert_int_equal(RUN(&error, "--memory-only", "--set", models[i]), 0);
        cJSON *root = answer();
        double weights = 0.0;
        for (size_t c = 0; c < COUNT(classes); c++) {
            char path[64];
            snprintf(path, sizeof path, "memory.weights.%s_bytes", classes[c]);
            weights += number(root, path);
        }
        assert_true(fabs(weights - number(root, "memory.weights.total_bytes")) <= 1.0);
        double left = number(root, "memory.budget_bytes") - weights -
                      number(root, "memory.activation_bytes") - number(root, "memory.state_bytes") -
                      number(root, "memory.reserve_bytes") - number(root, "memory.padding_bytes");
        if (cJSON_IsTrue(at(root, "memory.graphs_in_budget")))
            left -= number(root, "memory.graph_reserve_bytes");
        assert_true(fabs(left - number(root, "memory.kv_bytes")) <= 1.0);
        assert_true(number(root, "memory.blocks") == floor(left / number(root, "memory.block_bytes")));
        double pages = number(root, "memory.kv_groups.full") + number(root, "memory.kv_groups.windowed");
        assert_true(number(root, "memory.fragmentation_bytes") ==
                    number(root, "memory.block_bytes") / 2 * 256 * pages);
        cJSON_Delete(root);
    }
}

static void test_concurrency(void **state)
{
    (void)state;
    static const struct {
        double context, sequences, running;
    } rows[] = {{1000, 889, 256}, {1024, 875, 256}, {4096, 218, 218}, {16384, 54, 54}, {131072, 6, 6}};
    struct km_error error;
    assert_int_equal(
        RUN(&error, "--memory-only", "--context", "1000", "--set", "engine.kv.num_gpu_blocks_override=56057"),
        0);
    cJSON *root = answer();
    assert_int_equal(cJSON_GetArraySize(at(root, "concurrency")), COUNT(rows));
    for (size_t i = 0; i < COUNT(rows); i++) {
        const cJSON *row = cJSON_GetArrayItem(at(root, "concurrency"), (int)i);
        assert_true(number(row, "context_tokens") == rows[i].context);
        assert_true(number(row, "sequences") == rows[i].sequences);
        assert_true(number(row, "running") == rows[i].running);
    }
    assert_true(cJSON_IsTrue(at(root, "memory.blocks_overridden")) && number(root, "memory.blocks") == 56057);
    cJSON_Delete(root);
}

/* The usual two steps: operators add up to the step, shares to 1, and the recorded range at batch 64, context
 * 1024. */
static void test_usual_steps(void **state)
{
    (void)state;
    struct km_error error;
    assert_int_equal(RUN(&error, "--sweep", "64:64"), 0);
    cJSON *root = answer();
    assert_int_equal(cJSON_GetArraySize(at(root, "steps")), 2);
    double step_s = number(root, "steps.0.step_s");
    assert_true(step_s >= 6.9e-3 && step_s <= 8.3e-3);
    assert_true(number(root, "steps.0.decode_sequences") == 64 &&
                number(root, "steps.0.context_tokens") == 1024);
    assert_true(number(root, "steps.1.prefill_tokens") == 8192 &&
                number(root, "steps.1.decode_sequences") == 0);
    assert_true(cJSON_IsTrue(at(root, "steps.0.captured")) && cJSON_IsFalse(at(root, "steps.1.captured")));
    assert_true(fabs(number(root, "steps.1.launch_floor_s") - 32 * 1.63 * 0.43e-3) < 1e-9);
    for (int i = 0; i < 2; i++) {
        const cJSON *step = cJSON_GetArrayItem(at(root, "steps"), i), *op;
        double time_s = 0.0, share = 0.0, flops = 0.0, bytes = 0.0;
        cJSON_ArrayForEach(op, at(step, "operators"))
        {
            time_s += number(op, "time_s");
            share += number(op, "share");
            flops += number(op, "flops");
            bytes += number(op, "bytes");
            assert_string_equal(text_of(op, "origin"), "not measured");
            assert_true(fabs(number(op, "flops_per_byte") - number(op, "flops") / number(op, "bytes")) <
                        1e-9);
        }
        assert_true(fabs(time_s - number(step, "device_s")) <= 1e-12);
        assert_true(fabs(share - 1.0) <= 1e-9);
        assert_true(fabs(flops / number(step, "flops") - 1) < 1e-12 &&
                    fabs(bytes / number(step, "bytes") - 1) < 1e-12);
        double bound = number(step, "bound_share.compute") + number(step, "bound_share.memory") +
                       number(step, "bound_share.network") + number(step, "bound_share.launch");
        assert_true(fabs(bound - 1.0) <= 1e-9);
        assert_true(number(step, "step_s") == number(step, "device_s")); /* the host is hidden */
        assert_true(cJSON_IsTrue(at(step, "host.hidden")));
    }
    assert_true(number(root, "sweep.rows.0.step_s") == step_s);
    cJSON_Delete(root);
}

/* The step as run, by hand: form 0.3 ms + 5 us a sequence, process alike, launch 0.1 ms or 1.63 x 0.43 ms
 * a layer. */
static void test_pace(void **state)
{
    (void)state;
    static const struct {
        const char *batch, *count, *async;
        double host_s;
        bool captured, hidden;
        const char *paced_by;
    } cases[] = {
        {"--decode", "65", "true", 0.7e-3 + 65 * 10e-6, true, true, "device"},
        {"--decode", "65", "false", 0.7e-3 + 65 * 10e-6, true, false, "device and host"},
        {"--prefill", "600", "true", 0.61e-3 + 32 * 1.63 * 0.43e-3, false, false, "launch"},
        {"--prefill", "600", "false", 0.61e-3 + 32 * 1.63 * 0.43e-3, false, false, "launch"},
        {"--prefill", "8000", "false", 0.61e-3 + 32 * 1.63 * 0.43e-3, false, false, "device and host"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char async[64];
        struct km_error error;
        snprintf(async, sizeof async, "engine.batching.async_scheduling=%s", cases[i].async);
        assert_int_equal(RUN(&error, cases[i].batch, cases[i].count, "--set", async, "--sweep", "1:1"), 0);
        cJSON *root = answer();
        const cJSON *step = at(root, "steps.0");
        assert_int_equal(cJSON_GetArraySize(at(root, "steps")), 1);
        double device_s = number(step, "device_s"), host_s = number(step, "host.total_s");
        double launch_s = number(step, "host.launch_s");
        assert_true(fabs(host_s - cases[i].host_s) < 1e-9);
        assert_true(cJSON_IsTrue(at(step, "captured")) == cases[i].captured);
        assert_true(cJSON_IsTrue(at(step, "host.hidden")) == cases[i].hidden);
        assert_string_equal(text_of(step, "paced_by"), cases[i].paced_by);
        double expected_s = strcmp(cases[i].async, "true") == 0 ? fmax(device_s, host_s)
                            : cases[i].captured                 ? host_s + device_s
                                                : host_s - launch_s + fmax(launch_s, device_s);
        assert_true(fabs(number(step, "step_s") - expected_s) < 1e-12);
        cJSON_Delete(root);
    }
    struct km_error error;
    assert_int_equal(RUN(&error, "--decode", "65", "--sweep", "1:1"), 0);
    cJSON *root = answer();
    assert_true(number(root, "steps.0.tokens") == 65 && number(root, "steps.0.padded_tokens") == 72);
    cJSON_Delete(root);
}

static void test_pipeline(void **state)
{
    (void)state;
    struct km_error error;
    assert_int_equal(RUN(&error, "--set", "cluster.pipeline_parallel_size=4", "--decode", "32"), 0);
    cJSON *root = answer();
    const cJSON *step = at(root, "steps.0");
    double sum_s = 0.0, slowest_s = 0.0;
    assert_int_equal(cJSON_GetArraySize(at(step, "stage_s")), 4);
    for (int s = 0; s < 4; s++) {
        double stage_s = cJSON_GetNumberValue(cJSON_GetArrayItem(at(step, "stage_s"), s));
        sum_s += stage_s;
        slowest_s = fmax(slowest_s, stage_s);
    }
    assert_true(fabs(number(step, "device_s") - sum_s) < 1e-12);
    assert_true(number(step, "batches_in_flight") == 4);
    double expected_s = fmax(fmax(4 * slowest_s, 4 * number(step, "host.total_s")), sum_s);
    assert_true(fabs(number(step, "step_s") - expected_s) < 1e-12);
    cJSON_Delete(root);
}

static void test_sweep(void **state)
{
    (void)state;
    static const double batches[] = {3, 4, 8, 16, 32, 64, 128, 200};
    struct km_error error;
    assert_int_equal(RUN(&error, "--sweep", "3:200", "--context", "4096"), 0);
    cJSON *root = answer();
    const cJSON *rows = at(root, "sweep.rows");
    assert_int_equal(cJSON_GetArraySize(rows), COUNT(batches));
    double before_s = 0.0;
    for (size_t i = 0; i < COUNT(batches); i++) {
        const cJSON *row = cJSON_GetArrayItem(rows, (int)i);
        assert_true(number(row, "decode_sequences") == batches[i]);
        assert_true(number(row, "step_s") > before_s);
        before_s = number(row, "step_s");
        assert_true(fabs(number(row, "tokens_per_s") * before_s - batches[i]) < 1e-6);
        assert_string_equal(text_of(row, "attention_bound_by"), "memory");
        assert_true(cJSON_IsTrue(at(row, "fits")));
    }
    /* Products turn where 2 * m FLOPs a value at 0.72 * 989.4e12 outlast its 2 bytes at 0.896 * 4.8e12: m =
     * 165.6, and a little more with activations to move; the captured size above is 176, reached from 169 on.
     */
    assert_true(number(root, "sweep.turns_compute_bound.matrix_products") == 169);
    assert_true(cJSON_IsNull(at(root, "sweep.turns_compute_bound.attention")));
    assert_true(cJSON_IsNull(at(root, "sweep.turns_compute_bound.step")));
    cJSON_Delete(root);
    assert_int_equal(RUN(&error, "--sweep", "6:7", "--context", "131072"), 0);
    root = answer();
    assert_true(cJSON_IsTrue(at(root, "sweep.rows.0.fits")) && cJSON_IsFalse(at(root, "sweep.rows.1.fits")));
    cJSON_Delete(root);
}

/* What does not fit: the map all the same, exit 1, and what would fit. */
static void test_too_small(void **state)
{
    (void)state;
    struct km_error error;
    assert_int_equal(RUN(&error, "--set", "model=llama-3.1-70b"), 1);
    assert_int_equal(error.status, KM_NO);
    assert_string_equal(
        error.message,
        "llama-3.1-70b does not fit on 1 x h200-sxm: weights 131.4 GiB + activations 2.0 + state 0.0 + "
        "other 0.2 "
        "leave no KV block of the budget of 125.8 GiB a GPU (139.8 x gpu_memory_utilization 0.9); "
        "tensor_parallel_size 2 would fit (weights 65.7 GiB a GPU, 23983 KV blocks), or fp8 weights (weights "
        "67.7 "
        "GiB a GPU, 11456 KV blocks)");
    cJSON *root = answer();
    assert_true(cJSON_IsFalse(at(root, "memory.fits")) && number(root, "memory.kv_bytes") < 0);
    assert_true(number(root, "memory.would_fit.tensor_parallel_size") == 2);
    assert_string_equal(text_of(root, "memory.would_fit.weights"), "fp8");
    double ranks_blocks = number(root, "memory.would_fit.tensor_parallel_blocks");
    double weights_blocks = number(root, "memory.would_fit.weights_blocks");
    assert_int_equal(cJSON_GetArraySize(at(root, "steps")), 0);
    cJSON_Delete(root);
    /* and it is so */
    assert_int_equal(RUN(&error, "--memory-only", "--set", "model=llama-3.1-70b", "--set",
                         "cluster.tensor_parallel_size=2"),
                     0);
    root = answer();
    assert_true(number(root, "memory.blocks") == ranks_blocks);
    cJSON_Delete(root);
    assert_int_equal(
        RUN(&error, "--memory-only", "--set", "model=llama-3.1-70b", "--set", "precision.weights=fp8"), 0);
    root = answer();
    assert_true(number(root, "memory.blocks") == weights_blocks);
    cJSON_Delete(root);
    assert_int_equal(RUN(&error, "--memory-only", "--set", "engine.kv.gpu_memory_utilization=0.001", "--set",
                         "cluster.device=rtx-4090"),
                     1);
    assert_non_null(strstr(error.message, "; neither more tensor-parallel ranks nor narrower weights would"));
}

static void test_bad_input(void **state)
{
    (void)state;
    static const struct {
        const char *flag, *value, *flag2, *value2, *message;
    } cases[] = {
        {"--prefill", "9000", "--past", "0", "--prefill: 9000 is more than max_num_batched_tokens, 8192"},
        {"--decode", "257", "--past", "0", "--decode: 257 is more than max_num_seqs, 256"},
        {"--prefill", "8192", "--decode", "1",
         "--prefill and --decode: 8193 is more than max_num_batched_tokens, 8192"},
        {"--prefill", "100", "--past", "131000",
         "--prefill and --past: 131100 is more than max_model_len, 131072"},
        {"--past", "131072", "--context", "5", "--past: 131072 leaves no token of max_model_len, 131072"},
        {"--past", "9", "--decode", "5", "--past: needs --prefill"},
        {"--prefill", "0", "--decode", "0", "--prefill and --decode: the step is empty"},
        {"--context", "0", "--decode", "5", "--context: expected 1 token or more, got 0"},
        {"--context", "131073", "--decode", "5", "--context: 131073 is more than max_model_len, 131072"},
        {"--prefill", "5", "--decode", "256", "--decode and the prompt: 257 is more than max_num_seqs, 256"},
        {"--sweep", "1:257", "--decode", "5", "--sweep: 257 is more than max_num_seqs, 256"},
        {"--sweep", "0:5", "--decode", "5",
         "--sweep: expected FROM:TO, two batch sizes from 1 on in this order, got \"0:5\""},
        {"--sweep", "5", "--decode", "5",
         "--sweep: expected FROM:TO, two batch sizes from 1 on in this order, got \"5\""},
        {"--sweep", "9:5", "--decode", "5",
         "--sweep: expected FROM:TO, two batch sizes from 1 on in this order, got \"9:5\""},
        {"--decode", "x", "--past", "0", "--decode: expected a whole number, got \"x\""},
        {"--set", "nothing", "--past", "0", "--set: expected KEY=VALUE, got \"nothing\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_error error;
        assert_int_equal(RUN(&error, cases[i].flag, cases[i].value, cases[i].flag2, cases[i].value2), 2);
        assert_string_equal(error.message, cases[i].message);
    }
}

/* Every shipped model explains itself, or says what would fit. */
static void test_all_models(void **state)
{
    (void)state;
    static const char *const models[] = {"deepseek-v3",   "gemma-3-27b",  "gpt2",    "hunyuan-large",
                                         "jamba-v0.1",    "mamba-2.8b",   "opt-66b", "phi-2",
                                         "qwen3-30b-a3b", "llama-4-scout"};
    for (size_t i = 0; i < COUNT(models); i++) {
        struct km_error error;
        char model[64];
        snprintf(model, sizeof model, "model=%s", models[i]);
        int code = RUN(&error, "--set", model);
        cJSON *root = answer();
        assert_int_equal(code, cJSON_IsTrue(at(root, "memory.fits")) ? 0 : 1);
        assert_int_equal(cJSON_GetArraySize(at(root, "steps")), code ? 0 : 2);
        cJSON_Delete(root);
    }
}

/* The table has what the JSON has, fits a terminal, and ends no line in a blank. */
static void test_table(void **state)
{
    (void)state;
    struct km_error error;
    assert_int_equal(RUN(&error, "--prefill", "100", "--past", "50", "--decode", "30"), 0);
    char *text = slurp(table);
    static const char *const wanted[] = {
        "memory of one GPU",
        "mixed step: 100 prompt tokens after 50 and 30 decodes at context 1,024",
        "a qkv_proj",
        "130 tokens, padded to 136",
        "decode-only steps at context 1,024",
        "they meet at 206",
        "matrix products: compute-bound from 169 sequences on"};
    for (size_t i = 0; i < COUNT(wanted); i++)
        if (!strstr(text, wanted[i]))
            fail_msg("no \"%s\" in\n%s", wanted[i], text);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        assert_true(end - line <= 80);
        assert_true(end == line || end[-1] != ' ');
    }
    free(text);
}

static void test_no_operators(void **state)
{
    (void)state;
    struct km_error error;
    assert_int_equal(
        RUN(&error, "--set", "cost.model=linear", "--set", "cost.k3=0.001", "--set", "cost.k4=0.01"), 0);
    cJSON *root = answer();
    assert_int_equal(cJSON_GetArraySize(at(root, "steps.0.operators")), 0);
    assert_true(cJSON_IsNull(at(root, "steps.0.flops")) &&
                cJSON_IsNull(at(root, "steps.0.bound_share.compute")));
    assert_true(fabs(number(root, "steps.0.device_s") - (64 * 0.001 + 0.01)) < 1e-12);
    cJSON_Delete(root);
}

/* Marks stand where their logarithms are: the ridge and the peak by hand. */
static void test_picture(void **state)
{
    (void)state;
    const struct km_roofline_mark marks[] = {
        {'a', 100, 1e14}, {'b', 1, 1e12}, {'c', 1, 1e12}, {'d', 1e4, 1e15}};
    const struct km_roofline roofline = {
        .peak_flops_per_s = 1e15, .bandwidth_bytes_per_s = 1e13, .marks = marks, .count = COUNT(marks)};
    struct km_text out = {0};
    km_roofline_picture(&roofline, &out);
    /* intensity from 10^0 to 10^4 in 63 columns, FLOP/s from 10^12 to 10^15 in 15 rows: 100 is column 32,
     * 1e14 row 5 */
    const char *line = km_text_c(&out);
    char rows[KM_ROOFLINE_ROWS][128];
    for (int i = 0; i < KM_ROOFLINE_ROWS; i++) {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        snprintf(rows[i], sizeof rows[i], "%.*s", (int)(end - line), line);
        line = end + 1;
    }
    const char *edge = strchr(rows[0], '|');
    assert_non_null(edge);
    size_t left = (size_t)(edge - rows[0]) + 1;
    assert_true(strlen(rows[0]) == left + KM_ROOFLINE_COLUMNS);
    assert_int_equal(rows[5][left + 32], 'a');
    assert_int_equal(rows[15][left], 'b');
    assert_int_equal(rows[15][left + 1], 'c'); /* beside b */
    assert_int_equal(rows[0][left + 63], 'd');
    assert_int_equal(rows[0][left + 62], '-'); /* the roof is flat there */
    assert_int_equal(rows[10][left], '/');     /* 1 FLOP a byte at 1e13 B/s: 1e13 FLOP/s, two thirds down */
    assert_true(strlen(rows[15]) == left + 2); /* no blanks at the end */
    km_text_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_blocks),
        cmocka_unit_test(test_memory_adds_up),
        cmocka_unit_test(test_concurrency),
        cmocka_unit_test(test_usual_steps),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_too_small),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_all_models),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_no_operators),
        cmocka_unit_test(test_picture),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
