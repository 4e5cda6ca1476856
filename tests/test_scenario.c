#include "scenario/scenario.h"

#include "base/registry.h"
#include "executor/executor.h"
#include "scenario/lookup.h"
#include "support/check.h"

#include <dirent.h>
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

#define GOOD "tests/data/good-scenarios/"
#define BAD  "tests/data/bad-scenarios/"

static void read_good(const char *path, const struct km_override *overrides, size_t count,
                      struct km_scenario *out)
{
    struct km_error error;
    if (km_scenario_read(path, overrides, count, out, &error) != KM_OK) {
        char line[1200];
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
}

/* Calls `check` for every .yaml file of a folder; at least `least` there must be. */
static void for_each(const char *folder, int least, void (*check)(const char *path))
{
    int count = 0;
    DIR *stream = opendir(folder);
    assert_non_null(stream);
    for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
        char path[512];
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".yaml") != 0)
            continue;
        snprintf(path, sizeof path, "%s%s", folder, entry->d_name);
        check(path);
        count++;
    }
    closedir(stream);
    assert_true(count >= least);
}

/* --- bad input ----------------------------------------------------------------------------------------- */

/* A bad scenario's first line is a comment with the message it must give, "@" for its own path. */
static void check_bad(const char *path)
{
    char first[1024], expected[2048], got[1200];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_non_null(fgets(first, sizeof first, file));
    fclose(file);
    first[strcspn(first, "\n")] = '\0';
    assert_memory_equal(first, "# ", 2);
    if (first[2] == '@')
        snprintf(expected, sizeof expected, "%s%s", path, first + 3);
    else
        snprintf(expected, sizeof expected, "%s", first + 2);
    struct km_scenario scenario;
    struct km_error error = {0};
    enum km_status status = km_scenario_read(path, NULL, 0, &scenario, &error);
    if (status != KM_BAD_INPUT)
        fail_msg("%s: status %d", path, status);
    km_error_format(&error, got, sizeof got);
    assert_string_equal(got, expected);
    assert_null(scenario.arena.blocks);
}

static void bad_scenarios(void **state)
{
    (void)state;
    for_each(BAD, 83, check_bad);
}

static void bad_overrides(void **state)
{
    (void)state;
    static const struct {
        struct km_override override;
        const char *message;
    } cases[] = {
        {{"engine.batching.max_num_seqs", "8k"},
         "--set engine.batching.max_num_seqs=8k: engine.batching.max_num_seqs: expected an integer ≥ 1, got "
         "\"8k\""},
        {{"engine.batchin.policy", "continuous"},
         "--set engine.batchin.policy=continuous: engine.batchin: unknown key; did you mean \"batching\"?"},
        {{"engine.batching.policy", "srpt"},
         "--set engine.batching.policy=srpt: engine.batching.policy: srpt needs prediction.output_tokens"},
        {{"engine.batching.policy_settings", "{starvation_threshold_steps: 8}"},
         "--set engine.batching.policy_settings={starvation_threshold_steps: 8}: "
         "engine.batching.policy_settings: "
         "continuous has no settings of its own"},
        {{"prediction.output_tokens", "oracle"},
         "--set prediction.output_tokens=oracle: prediction.output_tokens: expected {kind: ...} or null"},
        {{"prediction.output_tokens", "{sigma: 1}"},
         "--set prediction.output_tokens={sigma: 1}: prediction.output_tokens.kind: missing"},
        {{"prediction.output_tokens.kind", "orcle"},
         "--set prediction.output_tokens.kind=orcle: prediction.output_tokens.kind: unknown name \"orcle\"; "
         "did you "
         "mean \"oracle\"?"},
        {{"prediction.output_tokens", "{kind: rank, kendall_tau: 0}"},
         "--set prediction.output_tokens={kind: rank, kendall_tau: 0}: prediction.output_tokens.kendall_tau: "
         "expected "
         "a number > 0 and ≤ 1, got \"0\""},
        {{"seed", "[1"}, "--set seed=[1: did not find expected ',' or ']' while parsing a flow sequence"},
        {{"seed", ""}, "--set seed=: seed: expected an integer ≥ 0, got nothing"},
        {{"model", "no-such-model-anywhere.json"},
         "--set model=no-such-model-anywhere.json: model: no such file \"no-such-model-anywhere.json\""},
        {{"model.x", "1"}, "--set model.x=1: model: not a mapping, cannot hold \"x\""},
        {{".seed", "1"}, "--set .seed=1: empty part in the key \".seed\""},
        {{"cluster.tensor_parallel_size", "5"},
         "--set cluster.tensor_parallel_size=5: cluster.tensor_parallel_size: 5 does not divide the 32 "
         "attention "
         "heads of llama-3.1-8b; nearest: 4 or 8"},
        {{"slo.ttft_p99.9_s", "0"},
         "--set slo.ttft_p99.9_s=0: slo.ttft_p99.9_s: expected a number > 0 and ≤ 4600000, got \"0\""},
        {{"workload.arrivals.process", "closed_loop"},
         GOOD "weibull-constant.yaml:2:50: workload.arrivals.rate_per_s: not a parameter of closed_loop"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct km_scenario scenario;
        struct km_error error = {0};
        char got[1200];
        assert_int_equal(
            km_scenario_read(GOOD "weibull-constant.yaml", &cases[i].override, 1, &scenario, &error),
            KM_BAD_INPUT);
        km_error_format(&error, got, sizeof got);
        assert_string_equal(got, cases[i].message);
    }
}

static void no_such_scenario(void **state)
{
    (void)state;
    struct km_scenario scenario;
    struct km_error error = {0};
    assert_int_equal(km_scenario_read("no/such.yaml", NULL, 0, &scenario, &error), KM_BAD_INPUT);
    assert_string_equal(error.file, "no/such.yaml");
    assert_int_equal(km_scenario_read("tests", NULL, 0, &scenario, &error), KM_BAD_INPUT);
}

static void cuda_needs_its_build(void **state)
{
    (void)state;
    if (km_registry_find(km_executor_registry, "cuda"))
        skip();
    struct km_scenario scenario;
    struct km_error error = {0};
    const struct km_override override = {"executor", "cuda"};
    assert_int_equal(km_scenario_read(GOOD "weibull-constant.yaml", &override, 1, &scenario, &error),
                     KM_BAD_INPUT);
    assert_string_equal(error.message,
                        "executor: this build has no CUDA executor; use simulated, or build with CUDA");
}

/* --- good input ---------------------------------------------------------------------------------------- */

static void everything_is_read(void **state)
{
    (void)state;
    struct km_scenario s;
    read_good(GOOD "poisson-lognormal.yaml", NULL, 0, &s);
    assert_string_equal(s.model_name, "llama-3.1-8b");
    assert_int_equal(s.model.layer_count, 32);
    assert_string_equal(s.device_name, "h200-sxm");
    assert_int_equal(s.cluster.replicas, 2);
    assert_int_equal(s.cluster.tensor_parallel_size, 4);
    assert_int_equal(s.cluster.pipeline_parallel_size, 2);
    assert_int_equal(s.precision.weights, KM_FP8);
    assert_int_equal(s.precision.kv_cache, KM_FP8);
    assert_int_equal(s.precision.activations, KM_BF16); /* the checkpoint's */
    assert_string_equal(s.engine.name, "ideal");
    assert_int_equal(s.engine.max_model_len, 32768);
    assert_int_equal(s.engine.max_num_seqs, 64);
    assert_int_equal(s.engine.max_num_batched_tokens, 8192);
    assert_int_equal(s.engine.long_prefill_token_threshold, 2048);
    assert_true(s.engine.async_scheduling);
    assert_true(s.engine.enable_chunked_prefill); /* the engine description's */
    assert_int_equal(s.engine.block_size, 32);
    assert_true(s.engine.gpu_memory_utilization == 0.85);
    assert_int_equal(s.engine.num_gpu_blocks_override, 1000);
    assert_false(s.engine.enable_prefix_caching);
    assert_int_equal(s.engine.graph_size_count, 3);
    assert_int_equal(s.engine.graph_sizes[2], 4);
    assert_true(s.engine.form_step_s == 1e-3);
    assert_true(s.engine.process_step_s == 0);
    assert_string_equal(s.cost_model, "roofline");
    assert_null(s.profile);
    assert_string_equal(s.executor, "simulated");
    assert_int_equal(s.workload.process, KM_ARRIVAL_POISSON);
    assert_true(s.workload.rate_per_s == 6);
    assert_true(s.workload.requests == 10000);
    assert_true(s.workload.rate_scale == 1.5);
    assert_true(s.workload.patience_s == 30);
    assert_null(s.workload.trace);
    assert_int_equal(s.workload.output_tokens.kind, KM_DIST_LOGNORMAL);
    assert_true(s.workload.output_tokens.mu == 4.5 && s.workload.output_tokens.sigma == 0.75);
    /* Moments of the lognormal: E = exp(mu + sigma^2/2), Var = (exp(sigma^2) - 1) E^2. */
    const struct km_distribution *d = &s.workload.prompt_tokens;
    double mean = exp(d->mu + d->sigma * d->sigma / 2);
    assert_within(mean, 1020, 1e-9 * 1020);
    assert_within(sqrt(expm1(d->sigma * d->sigma)) * mean, 980, 1e-9 * 980);
    assert_true(d->min == 1 && d->max == 14000);
    static const struct km_slo_term terms[] = {{KM_TTFT, 0.99, 2, false, ""},
                                               {KM_TPOT, -1, 0.05, false, ""},
                                               {KM_ITL, 0.999, 0.2, false, ""},
                                               {KM_E2E, 0.5, 30, false, ""},
                                               {KM_QUEUEING_DELAY, 0.95, 1, false, ""},
                                               {KM_NORMALIZED, 0.9, 0.1, false, ""},
                                               {KM_SLO_REJECTED_SHARE, 0, 0, false, ""},
                                               {KM_SLO_ABANDONED_SHARE, 0, 0, false, ""}}; /* not stated */
    assert_int_equal(s.slo_count, COUNT(terms));
    for (size_t i = 0; i < COUNT(terms); i++) {
        assert_int_equal(s.slo[i].metric, terms[i].metric);
        assert_within(s.slo[i].quantile, terms[i].quantile, 1e-12);
        assert_true(s.slo[i].limit == terms[i].limit);
    }
    assert_true(s.seed == UINT64_MAX);
    km_scenario_release(&s);
}

static void defaults_and_nodes(void **state)
{
    (void)state;
    struct km_scenario s;
    read_good(GOOD "closed-loop.yaml", NULL, 0, &s);
    assert_string_equal(s.engine.name, "vllm-0.26");
    assert_int_equal(s.engine.max_model_len, s.model.max_position_embeddings);
    assert_int_equal(s.engine.graph_size_count, 0);
    assert_int_equal(s.device.node.gpus_per_node, 4);
    assert_true(s.device.node.network.bandwidth_bytes_per_s == 12.5e9);
    assert_true(s.device.node.link.bandwidth_bytes_per_s == 300e9); /* the device's */
    assert_int_equal(s.workload.process, KM_ARRIVAL_CLOSED_LOOP);
    assert_true(s.workload.clients == 32);
    assert_int_equal(s.workload.think_s.kind, KM_DIST_GAMMA);
    assert_true(s.workload.think_s.max == 60);
    assert_int_equal(s.workload.prompt_tokens.count, 3);
    assert_true(s.workload.prompt_tokens.weights[2] == 0.5);
    assert_int_equal(s.workload.output_tokens.kind, KM_DIST_ZIPF);
    assert_true(s.workload.output_tokens.limit == 1000 && s.workload.output_tokens.min == 4);
    assert_true(s.workload.requests == 0 && s.workload.end_s == 600);
    assert_int_equal(s.slo_count, 0);
    assert_true(s.seed == 1);
    km_scenario_release(&s);
}

static void lengths_from_a_file(void **state)
{
    (void)state;
    struct km_scenario s;
    read_good(GOOD "file-lengths.yaml", NULL, 0, &s);
    const struct km_distribution *d = &s.workload.prompt_tokens;
    static const double values[] = {100, 200, 300}, weights[] = {0.5, 1, 20};
    assert_int_equal(d->count, COUNT(values));
    assert_memory_equal(d->values, values, sizeof values);
    assert_memory_equal(d->weights, weights, sizeof weights);
    assert_int_equal(s.workload.output_tokens.kind, KM_DIST_CONSTANT);
    assert_true(s.workload.output_tokens.value == 16);
    km_scenario_release(&s);
}

static void overrides_win(void **state)
{
    (void)state;
    static const struct km_override overrides[] = {
        {"engine.batching.max_num_seqs", "32"},
        {"cluster.replicas", "7"},
        {"workload.arrivals", "{process: poisson, rate_per_s: 9}"},
        {"slo.ttft_p99.9_s", "1.5"},
        {"cluster.replicas", "8"},
        {"engine.name", "sglang"},
    };
    struct km_scenario s;
    read_good(GOOD "weibull-constant.yaml", overrides, COUNT(overrides), &s);
    assert_string_equal(s.engine.name, "sglang");
    assert_int_equal(s.engine.block_size, 1);
    assert_int_equal(s.engine.max_num_seqs, 32);
    assert_int_equal(s.cluster.replicas, 8);
    assert_int_equal(s.workload.process, KM_ARRIVAL_POISSON);
    assert_true(s.workload.rate_per_s == 9);
    assert_int_equal(s.slo_count, 3); /* with the shares that it need not state */
    assert_within(s.slo[0].quantile, 0.999, 1e-12);
    km_scenario_release(&s);
}

/* Relative paths start at the scenario's folder, then at the current one. */
static void relative_paths(void **state)
{
    (void)state;
    char folder[] = "/tmp/km_scenario_XXXXXX", scenario[64], trace[64];
    assert_non_null(mkdtemp(folder));
    snprintf(scenario, sizeof scenario, "%s/s.yaml", folder);
    snprintf(trace, sizeof trace, "%s/t.csv", folder);
    FILE *file = fopen(scenario, "w");
    assert_non_null(file);
    fputs("model: llama-3.1-8b\ncluster: {device: h200-sxm}\nworkload: {trace: t.csv}\n", file);
    fclose(file);
    file = fopen(trace, "w");
    assert_non_null(file);
    fputs("arrival_s,prompt_tokens,output_tokens\n0,1,1\n", file);
    fclose(file);
    struct km_scenario s;
    read_good(scenario, NULL, 0, &s);
    assert_string_equal(s.workload.trace, trace);
    assert_int_equal(s.workload.process, KM_ARRIVAL_TRACE);
    km_scenario_release(&s);
    const struct km_override here = {"workload.trace", "tests/CMakeLists.txt"};
    read_good(scenario, &here, 1, &s);
    assert_string_equal(s.workload.trace, "tests/CMakeLists.txt");
    km_scenario_release(&s);
    const struct km_override model = {"model", "models/llama-3.1-8b.json"};
    read_good(scenario, &model, 1, &s);
    assert_string_equal(s.model.name, "llama-3.1-8b");
    km_scenario_release(&s);
    unlink(scenario);
    unlink(trace);
    rmdir(folder);
}

/* The resolved scenario is itself a scenario, and resolves to itself. */
static void check_round_trip(const char *path)
{
    if (strstr(path, "/queue-")) /* a queueing question with no model in it */
        return;
    struct km_scenario first, second;
    struct km_text a = {0}, b = {0};
    char copy[] = "/tmp/km_resolved_XXXXXX";
    read_good(path, NULL, 0, &first);
    km_scenario_write_json(&first, &a);
    int fd = mkstemp(copy);
    assert_true(fd >= 0);
    assert_true(write(fd, a.bytes, a.length) == (ssize_t)a.length);
    close(fd);
    read_good(copy, NULL, 0, &second);
    unlink(copy);
    km_scenario_write_json(&second, &b);
    assert_string_equal(km_text_c(&a), km_text_c(&b));
    km_text_release(&a);
    km_text_release(&b);
    km_scenario_release(&first);
    km_scenario_release(&second);
}

static void json_round_trip(void **state)
{
    (void)state;
    for_each(GOOD, 5, check_round_trip);
    for_each("configs/", 1, check_round_trip);
}

static void names_are_listed(void **state)
{
    (void)state;
    struct km_arena arena = {0};
    static const struct {
        enum km_lookup_kind kind;
        const char *name;
    } cases[] = {
        {KM_LOOKUP_MODEL, "llama-3.1-8b"}, {KM_LOOKUP_DEVICE, "h200-sxm"}, {KM_LOOKUP_ENGINE, "ideal"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *const *names;
        size_t count = km_lookup_names(cases[i].kind, &arena, &names), found = 0;
        for (size_t n = 0; n < count; n++) {
            found += strcmp(names[n], cases[i].name) == 0;
            assert_true(n == 0 || strcmp(names[n - 1], names[n]) < 0);
            assert_non_null(km_lookup_find(cases[i].kind, names[n], "", &arena));
        }
        assert_int_equal(found, 1);
    }
    assert_null(km_lookup_find(KM_LOOKUP_DEVICE, "no-such-device", "", &arena));
    assert_string_equal(km_lookup_folder("a/b/c.yaml", &arena), "a/b");
    assert_string_equal(km_lookup_folder("c.yaml", &arena), "");
    assert_string_equal(km_lookup_folder("/c.yaml", &arena), "/");
    km_arena_release(&arena);
}

/* Every key of a resolved scenario is documented. */
static void settings_are_listed(void **state)
{
    (void)state;
    struct km_text list = {0};
    km_scenario_list_settings(&list);
    static const char *const lines[] = {
        "model  text  ",
        "cluster.node.link.bandwidth_bytes_per_s  a number from 1e7 to 1e14  ",
        "engine.batching.max_num_seqs  an integer ≥ 1  ",
        "workload.arrivals.process  one of trace, poisson, gamma, weibull, constant, closed_loop, at_once  ",
        "workload.prompt_tokens.distribution  one of constant, uniform, ",
        "seed  an integer ≥ 0  ",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        const char *at = strstr(km_text_c(&list), lines[i]);
        if (!at || (at > km_text_c(&list) && at[-1] != '\n'))
            fail_msg("not listed: %s", lines[i]);
    }
    assert_null(strstr(km_text_c(&list), "  \n")); /* a line without its meaning */
    km_text_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_scenarios),       cmocka_unit_test(bad_overrides),
        cmocka_unit_test(no_such_scenario),    cmocka_unit_test(cuda_needs_its_build),
        cmocka_unit_test(everything_is_read),  cmocka_unit_test(defaults_and_nodes),
        cmocka_unit_test(lengths_from_a_file), cmocka_unit_test(overrides_win),
        cmocka_unit_test(relative_paths),      cmocka_unit_test(json_round_trip),
        cmocka_unit_test(names_are_listed),    cmocka_unit_test(settings_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
