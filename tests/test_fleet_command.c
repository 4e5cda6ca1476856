/* Fleets as users of the program meet them: kingman run, explain, queue and list with groups, routers and
 * autoscaling. */
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

#define QUICK  KM_SOURCE_DIR "/configs/quickstart.yaml "
#define GROUPS "--set 'cluster.groups=[{device: h100-sxm, replicas: 2}, {tensor_parallel_size: 2}]' "
#define ELASTIC                                                                                              \
    "--set 'autoscaling={policy: schedule, schedule: [{at_s: 20, replicas: 3}, {at_s: 60, replicas: 1}], "   \
    "max_replicas: 3, startup_s: 10}' "

static cJSON *json_of(const char *arguments)
{
    struct outcome outcome = kingman(arguments);
    if (outcome.code != 0 || outcome.err[0])
        fail_msg("kingman %s: exit %d: %s", arguments, outcome.code, outcome.err);
    cJSON *json = cJSON_Parse(outcome.out);
    assert_non_null(json);
    release(&outcome);
    return json;
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItem(object, key);
    if (!cJSON_IsNumber(value))
        fail_msg("no number at %s", key);
    return value->valuedouble;
}

static void says(const char *arguments, int code, const char *const *out)
{
    struct outcome outcome = kingman(arguments);
    if (outcome.code != code)
        fail_msg("kingman %s: exit %d: %s", arguments, outcome.code, outcome.err);
    for (; *out; out++)
        if (!strstr(outcome.out, *out))
            fail_msg("kingman %s does not say \"%s\": %s", arguments, *out, outcome.out);
    release(&outcome);
}

static void groups_in_json(void **state)
{
    (void)state;
    cJSON *json =
        json_of("run " QUICK GROUPS "--set workload.requests=200 --set cluster.router=power_of_two --json -");
    const cJSON *fleet = cJSON_GetObjectItem(json, "fleet"), *groups = cJSON_GetObjectItem(fleet, "groups");
    const cJSON *replicas = cJSON_GetObjectItem(fleet, "replicas");
    assert_string_equal(cJSON_GetObjectItem(fleet, "router")->valuestring, "power_of_two");
    assert_int_equal(cJSON_GetArraySize(groups), 2);
    assert_int_equal(cJSON_GetArraySize(replicas), 3);
    double requests = 0.0, gpu_seconds = 0.0;
    for (int i = 0; i < 2; i++) {
        const cJSON *group = cJSON_GetArrayItem(groups, i);
        requests += number(group, "requests");
        gpu_seconds += number(group, "gpu_seconds");
        assert_true(number(group, "gpus_per_replica") == i + 1);
        assert_true(number(cJSON_GetObjectItem(group, "ttft_s"), "p99") >
                    number(cJSON_GetObjectItem(group, "ttft_s"), "p50"));
    }
    assert_true(requests == 200);
    double duration_s = number(json, "duration_s");
    assert_true(gpu_seconds > 3.999 * duration_s && gpu_seconds < 4.001 * duration_s);
    const cJSON *resolved =
        cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "scenario"), "cluster"), "groups");
    assert_int_equal(cJSON_GetArraySize(resolved), 2);
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(resolved, 1), "device")->valuestring,
                        "h200-sxm");
    cJSON_Delete(json);
    /* One replica: a group, but no word of it in the table. */
    json = json_of("run " QUICK "--set workload.requests=20 --json -");
    fleet = cJSON_GetObjectItem(json, "fleet");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(fleet, "groups")), 1);
    cJSON_Delete(json);
    struct outcome outcome = kingman("run " QUICK "--set workload.requests=20");
    assert_null(strstr(outcome.out, "\nrouter"));
    release(&outcome);
    /* More replicas than a report lists. */
    json = json_of("run " QUICK "--set workload.requests=200 --set cluster.replicas=65 --json -");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "fleet"), "replicas")));
    cJSON_Delete(json);
}

static void in_words(void **state)
{
    (void)state;
    says("run " QUICK GROUPS "--set workload.requests=200", 0,
         (const char *const[]){"2 replicas x TP 1 x PP 1 on h100-sxm + 1 replica x TP 2 x PP 1 on h200-sxm",
                               "router      round_robin", "   2 x h100-sxm", "   1 x h200-sxm", NULL});
    says("run " QUICK ELASTIC, 0,
         (const char *const[]){"1 to 3 replicas by schedule", "GPU-hours", "2 added and 2 removed", NULL});
    says(
        "list routing", 0,
        (const char *const[]){"round_robin", "random", "least_outstanding", "power_of_two", "session", NULL});
    says(
        "list scaling", 0,
        (const char *const[]){"fixed", "target_queue", "target_utilization", "schedule", "predictive", NULL});
    says("explain " QUICK GROUPS "--memory-only", 0,
         (const char *const[]){"group 1 of 2: 2 replicas", "on h100-sxm, TP 1", "group 2 of 2: 1 replica",
                               "on h200-sxm, TP 2", NULL});
    cJSON *json = json_of("explain " QUICK GROUPS "--json -");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "groups")), 2);
    cJSON_Delete(json);
    /* A group that does not fit is named; the other one is explained all the same. */
    says("explain " QUICK
         "--memory-only --set 'cluster.groups=[{}, {device: rtx-4090, precision: {weights: fp32}}]'",
         1, (const char *const[]){"on h200-sxm", "on rtx-4090", NULL});
}

/* Rows of replicas.csv: one each; of fleet.csv: as the schedule has it. */
static void files(void **state)
{
    (void)state;
    struct outcome outcome = kingman("run " QUICK ELASTIC "--output elastic");
    assert_int_equal(outcome.code, 0);
    release(&outcome);
    char *replicas = slurp("elastic/replicas.csv"), *fleet = slurp("elastic/fleet.csv");
    assert_non_null(replicas);
    assert_non_null(fleet);
    assert_int_equal(strncmp(replicas, "replica,group,start_s,end_s,requests,", 37), 0);
    assert_int_equal(count_lines(replicas), 1 + 3);
    const char *begin =
        "time_s,group,starting,serving,draining\n0,0,0,1,0\n20,0,1,1,0\n20,0,2,1,0\n30,0,1,2,0\n"
        "30,0,0,3,0\n60,0,0,2,1\n";
    if (strncmp(fleet, begin, strlen(begin)) != 0)
        fail_msg("fleet.csv begins %s", fleet);
    free(replicas);
    free(fleet);
    /* Every row of requests.csv names a replica of the fleet. */
    outcome = kingman("run " QUICK GROUPS "--set workload.requests=50 --output mixed");
    assert_int_equal(outcome.code, 0);
    release(&outcome);
    replicas = slurp("mixed/replicas.csv");
    assert_int_equal(count_lines(replicas), 4);
    free(replicas);
}

static void queue_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
    } rows[] = {{"queue " QUICK GROUPS, "cluster.groups"}, {"queue " QUICK ELASTIC, "autoscaling"}};
    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome = kingman(rows[i].arguments);
        assert_int_equal(outcome.code, 2);
        assert_int_equal(count_lines(outcome.err), 1);
        assert_non_null(strstr(outcome.err, rows[i].says));
        assert_string_equal(outcome.out, "");
        release(&outcome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_in_json),
        cmocka_unit_test(in_words),
        cmocka_unit_test(files),
        cmocka_unit_test(queue_refuses),
    };
    return cmocka_run_group_tests(tests, open_program_folder, close_program_folder);
}
