/* max_model_len against the KV cache: which engines start, what a run says of one that does not, and what a
 * plan makes of it. A rank of 100 blocks of 16 tokens holds one request of 1,600. */
#include "planner/model_len.h"
#include "scenario/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define QUICKSTART KM_SOURCE_DIR "/configs/quickstart.yaml"
#define SMALL                                                                                                \
    {                                                                                                        \
        "engine.kv.num_gpu_blocks_override", "100"                                                           \
    }
#define SHORT                                                                                                \
    {                                                                                                        \
        "workload", "{arrivals: {process: constant, rate_per_s: 1}, requests: 20, prompt_tokens: 60, "       \
                    "output_tokens: 10}"                                                                     \
    }

static void read(const struct km_override *overrides, size_t count, struct km_scenario *out)
{
    struct km_error error = {0};
    if (km_scenario_read(QUICKSTART, overrides, count, out, &error) != KM_OK)
        fail_msg("%s", error.message);
}

static void run(const struct km_scenario *scenario, const km_stop *stop, struct km_summary *out)
{
    struct km_fleet fleet;
    struct km_run_result result;
    struct km_error error = {0};
    const struct km_run_options options = {.fast_forward = true, .stop = stop};
    assert_int_equal(km_fleet_create(scenario, &fleet, &error), KM_OK);
    assert_int_equal(km_fleet_run(&fleet, &scenario->workload, 1, &options, &result, &error), KM_OK);
    km_fleet_release(&fleet);
    *out = result.summary;
}

static void engines_that_start(void **state)
{
    (void)state;
    static const struct {
        struct km_override overrides[2];
        uint64_t most;
        bool starts;
    } cases[] = {
        {{{"engine.max_model_len", "1600"}, {"seed", "1"}}, 1600, true},
        {{{"engine.max_model_len", "1601"}, {"seed", "1"}}, 1600, false},
        {{{"engine.max_model_len", "null"}, {"seed", "1"}}, 1600, false}, /* the model's 131,072 */
        {{{"engine.max_model_len", "800"}, {"engine.kv.block_size", "8"}}, 800, true},
        {{{"engine.max_model_len", "801"}, {"engine.kv.block_size", "8"}}, 800, false},
        {{{"engine.max_model_len", "1601"}, {"engine.name", "vllm-0.19"}}, 1600, false},
        {{{"engine.max_model_len", "1601"}, {"engine.name", "sglang"}}, UINT64_MAX, true},
        {{{"engine.max_model_len", "1601"}, {"engine.kv.check_max_model_len", "false"}}, UINT64_MAX, true},
        {{{"engine.max_model_len", "1601"}, {"cluster.replicas", "3"}}, 1600, false}, /* each for itself */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct km_override overrides[] = {SMALL, SHORT, cases[i].overrides[0], cases[i].overrides[1]};
        struct km_scenario scenario;
        struct km_fleet fleet;
        struct km_summary summary;
        struct km_error error = {0};
        read(overrides, 4, &scenario);
        assert_int_equal(km_fleet_create(&scenario, &fleet, &error), KM_OK);
        assert_int_equal(km_fleet_starts(&fleet), cases[i].starts);
        assert_true(fleet.groups[0].most_model_len == cases[i].most);
        km_fleet_release(&fleet);
        run(&scenario, NULL, &summary);
        assert_int_equal(summary.completed, 20); /* it is simulated all the same */
        assert_int_equal(summary.refused, !cases[i].starts);
        assert_int_equal(summary.slo_attained, cases[i].starts);
        km_scenario_release(&scenario);
    }
}

/* Stopped early, no SLO is met, whatever the requests so far say. */
static void partial(void **state)
{
    (void)state;
    static const struct km_override overrides[] = {
        SHORT, {"workload.requests", "200000"}, {"workload.arrivals.rate_per_s", "0.1"}};
    struct km_scenario scenario;
    struct km_summary summary;
    km_stop stop = 1;
    read(overrides, 3, &scenario);
    run(&scenario, &stop, &summary);
    assert_true(summary.partial && !summary.slo_attained && !summary.refused);
    km_scenario_release(&scenario);
}

static void lowered(void **state)
{
    (void)state;
    static const struct {
        struct km_override overrides[2];
        uint64_t longest;
        uint32_t max_model_len;
        const char *why; /* why it does not start all the same */
    } cases[] = {
        {{{"workload.prompt_tokens", "1000"}, {"workload.output_tokens", "200"}}, 1200, 1200, ""},
        {{{"workload.prompt_tokens", "1400"}, {"workload.output_tokens", "200"}}, 1600, 1600, ""},
        {{{"workload.prompt_tokens", "1401"}, {"workload.output_tokens", "200"}},
         1601,
         131072,
         "does not start: --max-model-len <= 1600, and the longest request has 1601 tokens"},
        {{{"workload.prompt_tokens", "{distribution: uniform, min: 1, max: 700}"},
          {"workload.output_tokens", "{distribution: zipf, exponent: 1.2, max: 300}"}},
         1000,
         1000,
         ""},
        {{{"workload.prompt_tokens", "{distribution: lognormal, mean: 500, sd: 100, max: 900}"},
          {"workload.output_tokens", "{distribution: empirical, values: [3, 250, 7]}"}},
         1150,
         1150,
         ""},
        {{{"workload.prompt_tokens", "{distribution: lognormal, mean: 500, sd: 100}"},
          {"workload.output_tokens", "10"}},
         0,
         1600, /* no longest request: the greatest that starts */
         ""},
        {{{"workload.prompt_tokens", "1000"}, {"engine.max_model_len", "1601"}},
         1010,
         1601,
         "does not start: --max-model-len <= 1600, and 1601 is stated"},
        {{{"workload.prompt_tokens", "1000"}, {"engine.max_model_len", "1500"}}, 1010, 1500, ""},
        {{{"workload.prompt_tokens", "1000"}, {"engine.name", "sglang"}}, 1010, 131072, ""},
        {{{"workload", "{}"}, {"workload.trace", KM_SOURCE_DIR "/tests/data/model-len.csv"}}, 903, 903, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct km_override overrides[] = {SMALL, SHORT, cases[i].overrides[0], cases[i].overrides[1]};
        const struct km_search search = {.rate_scale = 1.0};
        struct km_scenario scenario;
        struct km_load load;
        struct km_error error = {0};
        struct km_text why = {0};
        read(overrides, 4, &scenario);
        assert_int_equal(km_load_create(&scenario, &search, 1.0, &load, &error), KM_OK);
        assert_int_equal(km_load_longest_tokens(&load), cases[i].longest);
        const uint32_t before = scenario.engine.max_model_len;
        const bool changed = km_model_len_lower(&scenario, cases[i].longest);
        assert_int_equal(scenario.engine.max_model_len, cases[i].max_model_len);
        assert_int_equal(changed, before != cases[i].max_model_len);
        km_model_len_explain(&scenario, cases[i].longest, &why);
        assert_string_equal(km_text_c(&why), cases[i].why);
        km_text_release(&why);
        km_load_release(&load);
        km_scenario_release(&scenario);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_that_start),
        cmocka_unit_test(partial),
        cmocka_unit_test(lowered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
