/* steps.csv of `kingman run --output`: by hand, the same however many steps are taken at once, and read back. */
#include "support/program.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#define QUICK KM_SOURCE_DIR "/configs/quickstart.yaml "
#define HEADER                                                                                               \
    "time_s,running,waiting,kv_usage,prefill_requests,prefill_tokens,decode_requests,decode_tokens,elapsed_" \
    "ms,"                                                                                                    \
    "preempted,replica,engine\n"

static void run(const char *arguments, int code)
{
    struct outcome outcome = kingman(arguments);
    if (outcome.code != code)
        fail_msg("%s: exit %d, %s", arguments, outcome.code, outcome.err);
    release(&outcome);
}

/* Two at a time of three requests, in steps of 1, 2, 3, 4 and 4 s, and 100 blocks of 16 tokens: the first two are
 * read (8 and 20 tokens: 3 blocks) and the first is done; the third takes its place. */
static void by_hand(void **state)
{
    (void)state;
    put("three.csv", "arrival_s,prompt_tokens,output_tokens\n0,8,1\n0,20,3\n0,8,2\n");
    put("three.yaml", "model: llama-3.2-1b\ncluster: {device: h200-sxm}\n"
                      "engine: {name: ideal, batching: {max_num_seqs: 2, async_scheduling: false}, "
                      "kv: {manager: paged, enable_prefix_caching: false, num_gpu_blocks_override: 100}, "
                      "max_model_len: 1000}\n"
                      "workload: {trace: three.csv}\n"
                      "executor: {name: scripted, step_s: [1, 2, 3, 4]}\n");
    run("run three.yaml --output results", 0);
    char *steps = slurp("results/steps.csv");
    assert_string_equal(steps, HEADER "1,1,1,0.02,2,28,0,0,1000,0,0,0\n"
                                      "3,2,0,0.03,1,8,1,1,2000,0,0,0\n"
                                      "6,0,0,0,0,0,2,2,3000,0,0,0\n");
    free(steps);
    /* What was done before a step failed. */
    run("run three.yaml --output results --set executor.fail_at_step=3", 3);
    steps = slurp("results/steps.csv");
    assert_int_equal(count_lines(steps), 3);
    free(steps);
}

/* Taken at once or singly, overlapped or not, with stages, preemptions, other policies: the same bytes. */
static void fast_forward_makes_no_difference(void **state)
{
    (void)state;
    static const char *const cases[] = {
        QUICK,
        QUICK "--set engine.batching.async_scheduling=false",
        QUICK "--set engine.name=ideal --set workload.rate_scale=0.5",
        QUICK "--set cluster.pipeline_parallel_size=2",
        QUICK "--set engine.batching.policy=elastic --set slo={}",
        KM_SOURCE_DIR "/tests/golden/crowded.yaml --set slo={} --set engine.max_model_len=16000",
    };
    bool preempted = false;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *steps[2];
        for (int singly = 0; singly < 2; singly++) {
            char arguments[600];
            snprintf(arguments, sizeof arguments, "run %s --set workload.end_s=30 --output results %s",
                     cases[i], singly ? "--no-fast-forward" : "");
            run(arguments, 0);
            steps[singly] = slurp("results/steps.csv");
        }
        assert_true(count_lines(steps[0]) > 500);
        assert_string_equal(steps[0], steps[1]);
        preempted = preempted || strstr(steps[0], ",1,0,0\n");
        free(steps[0]);
        free(steps[1]);
    }
    assert_true(preempted);
}

static double estimate(const cJSON *json, const char *name)
{
    const cJSON *all = cJSON_GetObjectItem(json, "parameters"), *one;
    cJSON_ArrayForEach(one, all) if (strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(one, "key")), name) ==
                                     0) return cJSON_GetObjectItem(one, "estimate")
        ->valuedouble;
    fail_msg("no estimate of %s", name);
    return (double)NAN;
}

/* The estimator finds the parameters that the simulation was made with: both follow the same engine. */
static void read_back(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        double value;
    } made_with[] = {
        {"host.launch_layer_s", 0.0006}, {"host.form_sequence_s", 8e-6}, {"kernels.op_overhead_scale", 4}};
    run("run " QUICK "--output results --set workload.end_s=150 --set engine.host.launch_layer_s=0.0006 "
        "--set engine.host.form_sequence_s=8e-6 "
        "--set engine.kernels.op_overhead_scale=4",
        0);
    struct outcome outcome =
        kingman("calibrate --from-steps results/steps.csv --requests results/requests.csv "
                "--scenario " QUICK "--json -");
    assert_int_equal(outcome.code, 0);
    cJSON *json = cJSON_Parse(outcome.out);
    assert_non_null(json);
    for (size_t i = 0; i < sizeof made_with / sizeof *made_with; i++) {
        double got = estimate(json, made_with[i].key);
        if (!(fabs(got / made_with[i].value - 1) < 1e-3))
            fail_msg("%s: %g is not %g", made_with[i].key, got, made_with[i].value);
    }
    cJSON_Delete(json);
    release(&outcome);
    /* Two engines at once are no log of one. */
    run("run " QUICK "--output results --set cluster.replicas=2 --set workload.end_s=10", 0);
    outcome = kingman("calibrate --from-steps results/steps.csv --scenario " QUICK);
    assert_int_equal(outcome.code, 2);
    assert_non_null(strstr(outcome.err, "take one's rows"));
    release(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(fast_forward_makes_no_difference),
        cmocka_unit_test(read_back),
    };
    return cmocka_run_group_tests(tests, open_program_folder, close_program_folder);
}
