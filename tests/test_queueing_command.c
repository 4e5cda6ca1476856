/* `kingman queue` as its users meet it: answers, exit codes, one line for every mistake. */
#include "support/check.h"
#include "support/program.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CONFIG  KM_SOURCE_DIR "/configs/queue-token-limit.yaml"
#define MG1     "--discipline mg1 --arrival-rate-per-s 0.025 --service a=0.0225,c=0 "
#define LIMITED "--output-tokens distribution=lognormal,mu=7,sigma=0.7,max=1600 "
#define BATCHES                                                                                              \
    "--service k1=0.005,k2=0.02,k3=0.002,k4=0.02 --output-tokens distribution=uniform,min=1,max=1000 "

#define GGC "--discipline ggc --arrival-rate-per-s 3 --service mean_s=1 "

static struct outcome queue(const char *arguments)
{
    char command[3000];
    int length = snprintf(command, sizeof command, "queue %s", arguments);
    assert_true(length > 0 && (size_t)length < sizeof command);
    return kingman(command);
}

static cJSON *answer(const char *arguments, int code)
{
    struct outcome outcome = queue(arguments);
    assert_int_equal(outcome.code, code);
    const char *end;
    cJSON *json = cJSON_ParseWithOpts(outcome.out, &end, 0);
    assert_non_null(json);
    assert_string_equal(end + strspn(end, "\n"), "");
    release(&outcome);
    return json;
}

/* A number at a dotted path of members; NAN for null. */
static double at(const cJSON *json, const char *path)
{
    char part[64];
    while (*path) {
        size_t length = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, path);
        json = cJSON_GetObjectItemCaseSensitive(json, part);
        if (!json)
            fail_msg("no member %s", part);
        path += length + (path[length] == '.');
    }
    return cJSON_IsNumber(json) ? json->valuedouble : (double)NAN;
}

static const char *const theory_keys[] = {"utilization",     "stable",     "mean_wait_s", "var_wait_s",
                                          "mean_response_s", "mean_batch", "idle",        "loss",
                                          "wait_tail"};

static void has_every_key(const cJSON *side)
{
    for (size_t i = 0; i < sizeof theory_keys / sizeof theory_keys[0]; i++)
        assert_true(cJSON_HasObjectItem(side, theory_keys[i]));
}

static void test_keys(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        int code;
    } cases[] = {
        {MG1 LIMITED "--wait-tail-s 10,40", 0},
        {MG1 LIMITED "--patience-s 60", 0},
        {"--discipline mg1 --arrival-rate-per-s 1 --service a=1 --output-tokens 2 --wait-tail-s 1", 1},
        {"--discipline dynamic --arrival-rate-per-s 0.15 " BATCHES, 0},
        {"--discipline dynamic --arrival-rate-per-s 5 --batch-cap 4 " BATCHES, 1},
        {"--discipline fixed --batch-size 4 --arrival-rate-per-s 0.1 --wait-tail-s 5 " BATCHES, 0},
        {"--discipline elastic_dynamic --batch-cap 8 --arrival-rate-per-s 0.2 " BATCHES, 0},
        {"--discipline elastic_fixed --batch-size 4 --arrival-rate-per-s 0.1 " BATCHES, 0},
        {"--discipline ggc --servers 4 --arrival-rate-per-s 3 --service mean_s=1,cv=0.5", 0},
        {"--discipline ggc --servers 4 --arrival-rate-per-s 5 --service mean_s=1", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char arguments[1000];
        for (int theory_only = 0; theory_only < 2; theory_only++) {
            snprintf(arguments, sizeof arguments, "%s --requests 2000 --json -%s", cases[i].arguments,
                     theory_only ? " --theory-only" : "");
            cJSON *json = answer(arguments, cases[i].code);
            has_every_key(cJSON_GetObjectItem(json, "theory"));
            const cJSON *simulation = cJSON_GetObjectItem(json, "simulation");
            assert_non_null(simulation);
            if (theory_only || cases[i].code)
                assert_true(cJSON_IsNull(simulation));
            else
                has_every_key(simulation);
            cJSON_Delete(json);
        }
    }
}

/* The headline: 22.340 s of waiting at a limit of 1600 tokens, 55.365 s at 3000. */
static void test_token_limit(void **state)
{
    (void)state;
    cJSON *json = answer(CONFIG " --sweep max_tokens=1600:3000:2 --theory-only --json -", 0);
    const cJSON *points = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "sweep"), "points");
    assert_int_equal(cJSON_GetArraySize(points), 2);
    assert_near(at(cJSON_GetArrayItem(points, 0), "theory.mean_wait_s"), 22.340, 2e-5);
    assert_near(at(cJSON_GetArrayItem(points, 1), "theory.mean_wait_s"), 55.365, 2e-5);
    cJSON_Delete(json);
    json = answer(CONFIG " --optimize max_tokens --epsilon 0.3 --theory-only --json -", 0);
    assert_near(at(json, "best_limit.max_tokens"), 1584, 0);
    assert_near(at(json, "best_limit.mean_wait_s"), at(json, "theory.mean_wait_s"), 1e-9);
    cJSON_Delete(json);
}

/* Flags replace what the file says; flags alone, a file alone and both ask the same. */
static void test_flags_and_file(void **state)
{
    (void)state;
    put("queue.yaml",
        "queue:\n  discipline: mg1\n  arrival_rate_per_s: 0.025\n  service: {a: 0.0225}\n"
        "  output_tokens: {distribution: lognormal, mu: 7, sigma: 0.7, max: 1600}\n  wait_tail_s: [10]\n");
    cJSON *from_flags = answer(MG1 LIMITED "--wait-tail-s 10 --theory-only --json -", 0);
    cJSON *from_file = answer("--theory-only queue.yaml --json -", 0);
    cJSON *from_both = answer("queue.yaml --theory-only --arrival-rate-per-s=0.03 --json -", 0);
    assert_true(cJSON_Compare(from_flags, from_file, 1));
    assert_near(at(from_both, "theory.utilization"), at(from_file, "theory.utilization") * 1.2, 1e-12);
    cJSON_Delete(from_flags);
    cJSON_Delete(from_file);
    cJSON_Delete(from_both);

    /* A trace gives the same law as its values. */
    put("trace.csv", "arrival_s,prompt_tokens,output_tokens\n0,1,5\n1,1,9\n2,1,5\n3,1,30\n");
    cJSON *traced = answer("--discipline mg1 --arrival-rate-per-s 0.1 --service a=0.1 --trace trace.csv "
                           "--theory-only --json -",
                           0);
    cJSON *listed = answer("--discipline mg1 --arrival-rate-per-s 0.1 --service a=0.1 --output-tokens "
                           "'distribution=empirical,values=[5,9,30],weights=[2,1,1]' --theory-only --json -",
                           0);
    assert_true(
        cJSON_Compare(cJSON_GetObjectItem(traced, "theory"), cJSON_GetObjectItem(listed, "theory"), 1));
    cJSON_Delete(traced);
    cJSON_Delete(listed);
}

/* Both sides of every discipline, side by side. */
static void test_simulation_agrees(void **state)
{
    (void)state;
    static const char *const cases[] = {
        MG1 LIMITED,
        MG1 LIMITED "--patience-s 30 ",
        "--discipline dynamic --arrival-rate-per-s 0.15 " BATCHES,
        "--discipline dynamic --batch-cap 4 --arrival-rate-per-s 0.1 " BATCHES,
        "--discipline fixed --batch-size 4 --arrival-rate-per-s 0.1 " BATCHES,
        "--discipline elastic_dynamic --arrival-rate-per-s 0.3 " BATCHES,
        "--discipline elastic_fixed --batch-size 3 --arrival-rate-per-s 0.1 " BATCHES,
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char arguments[1000];
        snprintf(arguments, sizeof arguments, "%s --requests 60000 --json -", cases[i]);
        cJSON *json = answer(arguments, 0);
        static const char *const means[] = {"mean_wait_s", "mean_response_s"};
        for (int k = 0; k < 2; k++) {
            char theory[64], mean[64], ci95[64];
            snprintf(theory, sizeof theory, "theory.%s", means[k]);
            snprintf(mean, sizeof mean, "simulation.%s.mean", means[k]);
            snprintf(ci95, sizeof ci95, "simulation.%s.ci95", means[k]);
            assert_true(at(json, ci95) < 0.1 * at(json, theory));
            /* Fourteen intervals of 95 %: none should miss by twice its half-width. */
            assert_true(fabs(at(json, mean) - at(json, theory)) < 2 * at(json, ci95));
        }
        assert_near(at(json, "simulation.mean_batch.mean"), at(json, "theory.mean_batch"), 0.02);
        cJSON_Delete(json);
    }
}

/* Several servers: the exact ones inside their intervals, all that varies by its mean as it should, and where
 * the formula approximates, the simulated wait below Kingman's bound. */
static void test_servers(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *formula;
        double worst; /* of the approximation, relative */
    } cases[] = {
        {"--servers 4 --arrival-rate-per-s 3 --service mean_s=1", "erlang_c", 0},
        {"--servers 30 --arrival-rate-per-s 24 --service mean_s=1", "erlang_c", 0},
        {"--arrival-rate-per-s 0.7 --service mean_s=1,cv=0", "pollaczek_khinchine", 0},
        {"--arrival-rate-per-s 0.7 --service mean_s=1,cv=2", "pollaczek_khinchine", 0},
        {"--arrival-rate-per-s 0.9 --arrival-cv 0.5 --service mean_s=1,cv=0.5", "kingman", 0.1},
        {"--servers 4 --arrival-rate-per-s 3.6 --service mean_s=1,cv=0", "allen_cunneen", 0.1},
        {"--servers 4 --arrival-rate-per-s 3.6 --arrival-cv 2 --service mean_s=1,cv=0.5", "allen_cunneen",
         0.15},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char arguments[1000];
        snprintf(arguments, sizeof arguments, "--discipline ggc %s --requests 1000000 --json -",
                 cases[i].arguments);
        cJSON *json = answer(arguments, 0);
        const cJSON *theory = cJSON_GetObjectItem(json, "theory");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(theory, "formula")), cases[i].formula);
        double wait = at(json, "theory.mean_wait_s"), simulated = at(json, "simulation.mean_wait_s.mean");
        double ci95 = at(json, "simulation.mean_wait_s.ci95"), bound = at(json, "theory.bound_wait_s");
        if (!(fabs(wait - simulated) <= 2 * ci95 + cases[i].worst * wait) || !(ci95 < 0.1 * wait))
            fail_msg("%s: %g is not %g +- %g", cases[i].arguments, wait, simulated, ci95);
        assert_true(simulated < bound + 2 * ci95);
        assert_near(at(json, "simulation.utilization.mean"), at(json, "theory.utilization"), 0.02);
        if (isfinite(at(json, "theory.idle")))
            assert_true(fabs(at(json, "simulation.idle.mean") - at(json, "theory.idle")) < 0.01);
        if (isfinite(at(json, "theory.var_wait_s")))
            assert_near(at(json, "simulation.var_wait_s.mean"), at(json, "theory.var_wait_s"), 0.15);
        cJSON_Delete(json);
    }
    /* Nothing varies: nobody waits, to the bit; the same seed says the same. */
    cJSON *json = answer(
        "--discipline ggc --servers 4 --arrival-rate-per-s 3 --arrival-cv 0 --service mean_s=1,cv=0 --json -",
        0);
    assert_true(at(json, "theory.mean_wait_s") == 0 && at(json, "simulation.mean_wait_s.mean") == 0);
    cJSON_Delete(json);
    cJSON *first = answer(GGC "--servers 4 --requests 5000 --seed 7 --json -", 0);
    cJSON *again = answer(GGC "--servers 4 --requests 5000 --seed 7 --json -", 0);
    cJSON *other = answer(GGC "--servers 4 --requests 5000 --seed 8 --json -", 0);
    assert_true(cJSON_Compare(first, again, 1) && !cJSON_Compare(first, other, 1));
    cJSON_Delete(first);
    cJSON_Delete(again);
    cJSON_Delete(other);
    /* All that is drawn rounds to no time at all: shares of it are unknown, not 0 / 0. */
    json = answer("--discipline ggc --arrival-rate-per-s 0.5 --arrival-cv 100 --service mean_s=1,cv=100 "
                  "--requests 2 --json -",
                  0);
    assert_true(isnan(at(json, "simulation.utilization.mean")) && isnan(at(json, "simulation.idle.mean")));
    cJSON_Delete(json);
    /* How many servers? Where there are too few the row says so. */
    json = answer(GGC "--sweep servers=2:6:5 --theory-only --json -", 0);
    const cJSON *points = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "sweep"), "points");
    assert_false(cJSON_IsTrue(
        cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetArrayItem(points, 1), "theory"), "stable")));
    for (int i = 2; i < 5; i++)
        assert_near(at(cJSON_GetArrayItem(points, i), "theory.utilization"), 3.0 / (2 + i), 1e-12);
    cJSON_Delete(json);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        int code;
        const char *message;
    } cases[] = {
        {"--discipline mg1 --arrival-rate-per-s 1.13 --service a=1 --output-tokens 1", 1,
         "unstable: rho = 1.13; stable below lambda = 1 per s"},
        {CONFIG " --sweep rate=1:2:2 --theory-only", 1,
         "unstable: rho = 63.0712; stable below lambda = 0.0317102 per s"},
        {CONFIG " --optimize max_tokens --epsilon 0.001 --arrival-rate-per-s 0.04 --theory-only", 1, NULL},
        {"nowhere.yaml", 2, "nowhere.yaml: cannot open: No such file or directory"},
        {"", 2, "queue.discipline: missing"},
        {"--discipline mg2", 2,
         "--discipline: queue.discipline: unknown name \"mg2\"; did you mean \"mg1\"?"},
        {MG1, 2, "queue.output_tokens: missing"},
        {MG1 LIMITED "--batch-cap 3", 2, "--batch-cap: queue.batch_cap: not a parameter of mg1"},
        {MG1 LIMITED "--patience-s -1", 2,
         "--patience-s: queue.patience_s: expected a number ≥ 0, got \"-1\""},
        {MG1 "--output-tokens 0", 2,
         "--output-tokens: queue.output_tokens: expected an integer from 1 to 1073741823, got \"0\""},
        {"--discipline fixed --arrival-rate-per-s 1 " BATCHES, 2, "queue.batch_size: missing"},
        {"--discipline fixed --batch-size 0 --arrival-rate-per-s 1 " BATCHES, 2,
         "--batch-size: queue.batch_size: expected an integer from 1 to 1024, got \"0\""},
        {"--discipline mg1 --arrival-rate-per-s 1 --service a=0,c=0 --output-tokens 1", 2,
         "service: takes no time: a and c are both 0"},
        {"--discipline mg1 --arrival-rate-per-s 1 --service k1=1 --output-tokens 1", 2,
         "--service: queue.service.k1: unknown key"},
        {"--disciplin mg1", 2, "unknown option --disciplin; did you mean --discipline?"},
        {CONFIG " --sweep rate=1:2", 2, "--sweep: expected FROM:TO:POINTS, got \"1:2\""},
        {CONFIG " --sweep load=1:2:3", 2,
         "--sweep: expected rate, max_tokens or servers, =FROM:TO:POINTS, got \"load=1:2:3\""},
        {CONFIG " --sweep servers=1:4:4", 2, "--sweep: servers is not a parameter of mg1"},
        {CONFIG " --servers 2", 2, "--servers: queue.servers: not a parameter of mg1"},
        {GGC "--sweep max_tokens=1:4:4", 2, "--sweep: max_tokens is not a parameter of ggc"},
        {GGC "--sweep servers=0.5:4:4", 2, "--sweep: servers go from 1 to 1048576"},
        {GGC "--output-tokens 3", 2, "--output-tokens: queue.output_tokens: not a parameter of ggc"},
        {GGC "--patience-s 3", 2, "--patience-s: queue.patience_s: not a parameter of ggc"},
        {GGC "--arrival-cv -1", 2,
         "--arrival-cv: queue.arrival_cv: expected a number from 0 to 100, got \"-1\""},
        {GGC "--servers 0", 2, "--servers: queue.servers: expected an integer from 1 to 1048576, got \"0\""},
        {GGC "--optimize max_tokens --kappa 1", 2,
         "--optimize max_tokens: known for discipline mg1 without patience only"},
        {GGC "--servers 2", 1, "unstable: rho = 1.5; stable below lambda = 2 per s"},
        {CONFIG " --sweep rate=2:1:3", 2, "--sweep: wants 0 < FROM <= TO, got 2 and 1"},
        {CONFIG " --sweep rate=1:2:3.5", 2, "--sweep: POINTS must be from 2 to 1000, got 3.5"},
        {CONFIG " --optimize max_tokens", 2, NULL},
        {CONFIG " --optimize batch --epsilon 0.1", 2, "--optimize: only max_tokens, not \"batch\""},
        {CONFIG " --optimize max_tokens --epsilon 2", 2, "clipped share: must be from 0 to 1, got 2"},
        {CONFIG " --epsilon 0.1", 2, "--epsilon and --kappa need --optimize max_tokens"},
        {CONFIG " --requests 0", 2, "--requests: must be from 1 to 1000000000"},
        {CONFIG " " CONFIG, 2, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct outcome outcome = queue(cases[i].arguments);
        if (outcome.code != cases[i].code)
            fail_msg("queue %s: exit %d, %s", cases[i].arguments, outcome.code, outcome.err);
        size_t length = strlen(outcome.err);
        assert_true(length > 0 && strchr(outcome.err, '\n') == outcome.err + length - 1); /* one line */
        outcome.err[length - 1] = '\0';
        if (cases[i].message)
            assert_string_equal(outcome.err, cases[i].message);
        if (outcome.code == 2)
            assert_string_equal(outcome.out, "");
        assert_null(strstr(outcome.out, "nan"));
        release(&outcome);
    }
}

#define SCENARIO KM_SOURCE_DIR "/configs/quickstart.yaml "

/* An ordinary scenario asks its own question: laws fitted to its engine, and each answer beside its
 * simulation. */
static void test_scenario(void **state)
{
    (void)state;
    static const char *const disciplines[] = {"dynamic", "elastic_dynamic", "continuous"};
    cJSON *json = answer(SCENARIO "--requests 50000 --json -", 0);
    assert_true(at(json, "fit.service.max_relative") < 0.05);
    assert_true(at(json, "mg1.theory.utilization") > 1);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "mg1"), "simulation")));
    for (size_t i = 0; i < sizeof disciplines / sizeof disciplines[0]; i++) {
        char path[80];
        snprintf(path, sizeof path, "%s.theory.mean_response_s", disciplines[i]);
        double theory = at(json, path);
        snprintf(path, sizeof path, "%s.simulation.mean_response_s.value", disciplines[i]);
        assert_true(fabs(at(json, path) / theory - 1) < 0.05);
    }
    cJSON_Delete(json);
    json = answer(SCENARIO "--set workload.rate_scale=8 --theory-only --json -", 1);
    assert_true(at(json, "continuous.theory.utilization") > 1);
    cJSON_Delete(json);
    struct outcome outcome = queue(SCENARIO "--discipline mg1");
    assert_int_equal(outcome.code, 2);
    assert_string_equal(outcome.err, "--discipline: belongs to a queue section, not to a scenario\n");
    release(&outcome);
}

/* Simulated time ends before a billion requests of a slow queue, or before the first of a slower one. */
static void test_simulated_time_ends(void **state)
{
    (void)state;
    static const char queue_of[] = "--discipline mg1 --service a=0.02,c=1 --output-tokens 5 ";
    char arguments[200];
    snprintf(arguments, sizeof arguments, "%s --arrival-rate-per-s 0.01 --requests 1000000000", queue_of);
    struct outcome outcome = queue(arguments);
    assert_int_equal(outcome.code, 0);
    assert_non_null(
        strstr(outcome.out, "\nsimulated 41505 requests of 1000000000: simulated time ends there\n"));
    release(&outcome);
    snprintf(arguments, sizeof arguments, "%s --arrival-rate-per-s 0.01 --requests 40000", queue_of);
    outcome = queue(arguments);
    assert_null(strstr(outcome.out, "simulated 4"));
    release(&outcome);
    snprintf(arguments, sizeof arguments, "%s --arrival-rate-per-s 1e-9", queue_of);
    outcome = queue(arguments);
    assert_int_equal(outcome.code, 2);
    assert_non_null(strstr(outcome.err, "arrival_rate_per_s: 1e-09 is less than a request in the 53 days"));
    assert_int_equal(count_lines(outcome.err), 1);
    release(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),           cmocka_unit_test(test_token_limit),
        cmocka_unit_test(test_flags_and_file), cmocka_unit_test(test_simulation_agrees),
        cmocka_unit_test(test_servers),        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_scenario),       cmocka_unit_test(test_simulated_time_ends),
    };
    return cmocka_run_group_tests(tests, open_program_folder, close_program_folder);
}
