/* The scripted executor, and what becomes of a run whose executor fails. */
#include "base/simtime.h"
#include "executor/executor.h"
#include "sim/simulation.h"
#include "support/program.h"
#include "support/synthetic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#define CROWDED "run " KM_SOURCE_DIR "/tests/golden/crowded.yaml "
/* Three requests at once, one at a time: two prompts of 8 tokens, answers of 1, 3 and 2. */
#define SCENARIO                                                                                             \
    "model: llama-3.2-1b\ncluster: {device: h200-sxm}\n"                                                     \
    "engine: {name: ideal, batching: {max_num_seqs: 1, async_scheduling: false}}\n"                          \
    "workload: {trace: three.csv}\n"
#define THREE "arrival_s,prompt_tokens,output_tokens\n0,8,1\n0,8,3\n0,8,2\n"

static struct outcome run(const char *arguments, int code)
{
    struct outcome outcome = kingman(arguments);
    if (outcome.code != code)
        fail_msg("%s: exit %d, %s", arguments, outcome.code, outcome.err);
    return outcome;
}

static double number(const cJSON *json, const char *section, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(cJSON_GetObjectItem(json, section), key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

/* Steps of 1, 2, 3, 4, 4, 4 s: first tokens at 1, 1 + 2 and 3 + 3 + 4 + 4, last tokens at 1, 10 and 18. */
static void given_times(void **state)
{
    (void)state;
    put("three.csv", THREE);
    put("three.yaml", SCENARIO "executor: {name: scripted, step_s: [1, 2, 3, 4]}\n");
    struct outcome outcome = run("run three.yaml --output results", 0);
    release(&outcome);
    char *rows = slurp("results/requests.csv");
    assert_string_equal(rows, "id,arrival_s,prompt_tokens,output_tokens,scheduled_s,started_s,first_token_s,"
                              "last_token_s,preemptions,replica,queued_s,client_first_s,client_last_s\n"
                              "0,0,8,1,0,0,1,1,0,0,0,1,1\n1,0,8,3,1,1,3,10,0,0,0,3,10\n"
                              "2,0,8,2,10,10,14,18,0,0,0,14,18\n");
    free(rows);
    /* The fifth step stalls by half a second: the last request has its first token then. */
    outcome =
        run("run three.yaml --output results --set executor.stall_at_step=5 --set executor.stall_s=0.5", 0);
    release(&outcome);
    rows = slurp("results/requests.csv");
    assert_non_null(strstr(rows, "\n2,0,8,2,10,10,14.5,18.5,0,0,0,14.5,18.5\n"));
    free(rows);
    /* Another replica's stall is none of this one's. */
    outcome = run("run three.yaml --output results --set executor.stall_at_step=5 --set executor.stall_s=0.5 "
                  "--set executor.replica=1",
                  0);
    release(&outcome);
    rows = slurp("results/requests.csv");
    assert_non_null(strstr(rows, "\n2,0,8,2,10,10,14,18,0,0,0,14,18\n"));
    free(rows);
}

/* One line, an exit code of its own, and the results so far, which say that they are partial. */
static void fails_in_the_middle(void **state)
{
    (void)state;
    struct outcome outcome =
        run("run three.yaml --json - --output results --set executor.fail_at_step=5 --set "
            "'executor.fail_message=device lost'",
            3);
    assert_string_equal(outcome.err, "executor scripted: replica 0, step 5: device lost\n");
    cJSON *json = cJSON_Parse(outcome.out);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "partial")));
    assert_true(number(json, "requests", "completed") == 2);
    cJSON_Delete(json);
    char *result = slurp("results/result.json"), *rows = slurp("results/requests.csv");
    assert_string_equal(result, outcome.out);
    assert_int_equal(count_lines(rows), 3);
    free(result);
    free(rows);
    release(&outcome);
    outcome = run("run three.yaml --set executor.fail_at_step=5", 3);
    assert_non_null(strstr(outcome.out, "2 completed of 3 (partial: stopped early)"));
    release(&outcome);
    /* At the first step nothing is done; beyond the last there is nothing to fail. */
    outcome = run("run three.yaml --set executor.fail_at_step=1", 3);
    assert_non_null(strstr(outcome.out, "0 completed of 3 (partial: stopped early)"));
    assert_null(strstr(outcome.out, "nan"));
    release(&outcome);
    outcome = run("run three.yaml --set executor.fail_at_step=7", 0);
    release(&outcome);
}

/* Who wants whole runs says so and gives no answer; a sweep goes on with its other runs. */
static void others_refuse(void **state)
{
    (void)state;
    struct outcome outcome = run("advise three.yaml --set executor.fail_at_step=3", 3);
    assert_string_equal(outcome.err, "executor scripted: replica 0, step 3: fails as scripted\n");
    release(&outcome);
    outcome = run("sweep three.yaml --output rows.csv --set 'sweep.executor.fail_at_step=[3, 7]'", 2);
    assert_non_null(strstr(outcome.err, "1 of 2 runs could not be made"));
    char *rows = slurp("rows.csv");
    assert_non_null(strstr(rows, "executor scripted: replica 0, step 3: fails as scripted"));
    assert_non_null(strstr(rows, ",ok,"));
    free(rows);
    release(&outcome);
    /* explain asks about steps that nobody runs. */
    outcome = run("explain three.yaml --set executor.fail_at_step=1", 0);
    release(&outcome);
}

/* Under preemption, shared prefixes, every policy and every KV manager, rows continue where their slots stand,
 * or the executor fails; and it serves everybody. */
static void follows_every_slot(void **state)
{
    (void)state;
    static const char *const policies[] = {"continuous",
                                           "orca",
                                           "request_level",
                                           "dynamic",
                                           "elastic",
                                           "fixed --set engine.batching.batch_size=4",
                                           "priority",
                                           "rank --set prediction.output_tokens.kind=oracle",
                                           "srpt --set prediction.output_tokens.kind=oracle"};
    static const char *const managers[] = {"paged", "prefix", "reserve_max"};
    size_t preempted = 0;
    for (size_t p = 0; p < sizeof policies / sizeof *policies; p++)
        for (size_t m = 0; m < sizeof managers / sizeof *managers; m++) {
            char arguments[1000];
            snprintf(arguments, sizeof arguments,
                     CROWDED "--json - --set slo={} --set executor=scripted --set workload.end_s=20 "
                             "--set engine.kv.num_gpu_blocks_override=1500 --set engine.max_model_len=16000 "
                             "--set engine.kv.manager=%s --set engine.batching.policy=%s",
                     managers[m], policies[p]);
            struct outcome outcome = run(arguments, 0);
            cJSON *json = cJSON_Parse(outcome.out);
            assert_true(number(json, "requests", "completed") == number(json, "requests", "submitted"));
            preempted += number(json, "requests", "preemptions") > 0;
            cJSON_Delete(json);
            release(&outcome);
        }
    assert_true(preempted >= 2);
    struct outcome outcome =
        run("run " KM_SOURCE_DIR "/configs/quickstart.yaml --set executor=scripted --set workload.end_s=60 "
            "--set workload.trace=" KM_SOURCE_DIR "/traces/sessions-synthetic.csv --set cluster.replicas=2 "
            "--set model=llama-3.1-8b --set cluster.pipeline_parallel_size=2",
            0);
    release(&outcome);
}

/* Without a script it says what the cost model says: so do the results, to a billionth. */
static void asks_the_cost_model(void **state)
{
    (void)state;
    cJSON *json[2];
    for (int i = 0; i < 2; i++) {
        struct outcome outcome =
            run(i ? CROWDED "--json - --set slo={} --set engine.max_model_len=16000 --set executor=scripted"
                  : CROWDED "--json - --set slo={} --set engine.max_model_len=16000 --no-fast-forward",
                0);
        json[i] = cJSON_Parse(outcome.out);
        release(&outcome);
    }
    static const char *const latencies[] = {"ttft_s", "tpot_s", "e2e_s"};
    for (size_t i = 0; i < sizeof latencies / sizeof *latencies; i++) {
        double left = number(json[0], latencies[i], "mean"), right = number(json[1], latencies[i], "mean");
        assert_true(left > 0 && right > left * (1 - 1e-9) && right < left * (1 + 1e-9));
    }
    cJSON_Delete(json[0]);
    cJSON_Delete(json[1]);
}

static void mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *set, *message;
    } cases[] = {
        {"executor=scriptd", "executor: unknown name \"scriptd\"; did you mean \"scripted\"?"},
        {"executor={step_s: 1}", "executor.name: missing"},
        {"executor={name: simulated, step_s: 1}", "executor.step_s: unknown key"},
        {"executor={name: scripted, stall: 1}",
         "executor.stall: unknown key; did you mean \"stall_at_step\"?"},
        {"executor={name: scripted, step_s: []}", "executor.step_s: expected from 1 to 1000000 times"},
        {"executor={name: scripted, step_s: [1, -1]}",
         "executor.step_s[1]: expected a number from 0 to 4600000, got \"-1\""},
        {"executor={name: scripted, fail_at_step: 0}",
         "executor.fail_at_step: expected an integer ≥ 1, got \"0\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char arguments[300];
        snprintf(arguments, sizeof arguments, "run three.yaml --set '%s'", cases[i].set);
        struct outcome outcome = run(arguments, 2);
        assert_string_equal(outcome.out, "");
        assert_int_equal(count_lines(outcome.err), 1);
        if (!strstr(outcome.err, cases[i].message))
            fail_msg("%s: %s", cases[i].set, outcome.err);
        release(&outcome);
    }
    /* What was resolved can be read again. */
    struct outcome outcome = run("run three.yaml --json - --set executor.replica=2", 0);
    cJSON *json = cJSON_Parse(outcome.out);
    char *scenario = cJSON_Print(cJSON_GetObjectItem(json, "scenario"));
    assert_non_null(strstr(scenario, "\"scripted\""));
    put("again.yaml", scenario);
    free(scenario);
    cJSON_Delete(json);
    struct outcome again = run("run again.yaml --json -", 0);
    json = cJSON_Parse(again.out);
    assert_true(number(cJSON_GetObjectItem(json, "scenario"), "executor", "replica") == 2);
    cJSON_Delete(json);
    release(&again);
    release(&outcome);
}

/* ---- an executor that counts its replicas, and cannot open the second ---- */

struct counted {
    uint32_t opened, closed, refuses;
    struct synthetic synthetic;
};

static enum km_status counted_open(void *shared, uint32_t replica, void **state, struct km_error *error)
{
    struct counted *counted = shared;
    if (replica == counted->refuses)
        return km_fail(error, KM_FAILED, NULL, 0, 0, "no device for replica %u", replica);
    struct synthetic *own = malloc(sizeof *own);
    assert_non_null(own);
    *own = counted->synthetic;
    counted->opened++;
    *state = own;
    return KM_OK;
}

static struct counted *closing;

static void counted_close(void *state)
{
    closing->closed++;
    free(state);
}

static void one_state_a_replica(void **state)
{
    (void)state;
    struct km_executor executor = synthetic_single;
    executor.open = counted_open;
    executor.close = counted_close;
    for (uint32_t refuses = 1; refuses <= 9; refuses += 8) {
        struct counted counted = {.refuses = refuses, .synthetic = {.step_ps = 1000}};
        struct km_metrics *metrics = km_metrics_create(&(struct km_metrics_settings){0});
        closing = &counted;
        const struct km_simulation_group group = {
            .replica = {.policy = km_batching_find("continuous"),
                        .batching = {.max_num_seqs = 4,
                                     .max_num_batched_tokens = 64,
                                     .enable_chunked_prefill = true},
                        .kv_manager = km_kv_find("paged"),
                        .kv = {.capacity_blocks = 64, .block_size = 16, .max_model_len = 512},
                        .executor = &executor,
                        .executor_state = &counted,
                        .pace.stages = 1,
                        .patience_ps = KM_PS_NEVER},
            .replicas = 3,
        };
        const struct km_workload_settings workload = {
            .process = KM_ARRIVAL_AT_ONCE,
            .has_prompt_tokens = true,
            .prompt_tokens = {.kind = KM_DIST_CONSTANT, .value = 4},
            .has_output_tokens = true,
            .output_tokens = {.kind = KM_DIST_CONSTANT, .value = 2},
            .requests = 6,
            .rate_scale = 1,
        };
        const struct km_simulation_config config = {.workload = &workload,
                                                    .seed = 1,
                                                    .groups = &group,
                                                    .group_count = 1,
                                                    .router = km_routing_find("round_robin"),
                                                    .metrics = metrics};
        struct km_simulation_result result;
        struct km_error error = {0};
        enum km_status status = km_simulation_run(&config, &result, &error);
        assert_int_equal(status, refuses == 1 ? KM_FAILED : KM_OK);
        if (refuses == 1)
            assert_string_equal(error.message, "no device for replica 1");
        assert_true(result.stopped == (refuses == 1));
        assert_int_equal(counted.opened, refuses == 1 ? 2 : 3);
        assert_int_equal(counted.closed, counted.opened);
        km_metrics_destroy(metrics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(given_times),         cmocka_unit_test(fails_in_the_middle),
        cmocka_unit_test(others_refuse),       cmocka_unit_test(follows_every_slot),
        cmocka_unit_test(asks_the_cost_model), cmocka_unit_test(mistakes),
        cmocka_unit_test(one_state_a_replica),
    };
    return cmocka_run_group_tests(tests, open_program_folder, close_program_folder);
}
