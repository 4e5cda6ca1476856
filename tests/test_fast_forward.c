/* Fast-forward changes nothing but the time it takes: every record and every bit of the summary are those of
 * single steps. */
#include "base/random.h"
#include "base/simtime.h"
#include "report/report.h"
#include "scenario/fleet.h"
#include "sim/simulation.h"
#include "support/play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- whole scenarios ---- */

struct collected {
    struct km_record *records; /* in the order of their ends */
    enum km_outcome *outcomes;
    size_t count, record_capacity, outcome_capacity;
};

static void collect(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct collected *all = context;
    all->records = km_grow(all->records, &all->record_capacity, all->count + 1, sizeof *all->records);
    all->outcomes = km_grow(all->outcomes, &all->outcome_capacity, all->count + 1, sizeof *all->outcomes);
    all->records[all->count] = *record;
    all->outcomes[all->count++] = outcome;
}

static void release(struct collected *all)
{
    free(all->records);
    free(all->outcomes);
}

/* The result without what is allowed to differ: the simulator's own effort. */
static void as_json(const struct km_run_result *result, struct km_text *out)
{
    const struct km_report report = {.summary = &result->summary,
                                     .kv_capacity_blocks = result->simulation.capacity_blocks,
                                     .mfu = result->mfu,
                                     .mbu = result->mbu,
                                     .busy = result->busy,
                                     .version = ""};
    km_report_json(&report, out);
}

static void compare_modes(const char *name, const struct km_scenario *scenario)
{
    struct km_error error;
    struct km_run_result result[2];
    struct collected all[2] = {0};
    struct km_text json[2] = {0};
    for (int fast = 0; fast < 2; fast++) {
        struct km_fleet fleet;
        const struct km_run_options options = {.fast_forward = fast, .ended = collect, .context = &all[fast]};
        if (km_fleet_create(scenario, &fleet, &error) != KM_OK)
            fail_msg("%s: %s", name, error.message);
        if (km_fleet_run(&fleet, &scenario->workload, scenario->seed, &options, &result[fast], &error) !=
            KM_OK)
            fail_msg("%s: %s", name, error.message);
        as_json(&result[fast], &json[fast]);
        km_fleet_release(&fleet);
    }
    assert_int_equal(all[0].count, all[1].count);
    assert_int_equal(all[0].count, result[0].summary.submitted);
    assert_true(all[0].count > 0);
    for (size_t i = 0; i < all[0].count; i++)
        if (all[0].outcomes[i] != all[1].outcomes[i] || !same_record(&all[0].records[i], &all[1].records[i]))
            fail_msg("%s: the %zuth end is of request %llu at %llu ps, in fast-forward of %llu at %llu ps",
                     name, i + 1, (unsigned long long)all[0].records[i].id,
                     (unsigned long long)all[0].records[i].last_token_ps,
                     (unsigned long long)all[1].records[i].id,
                     (unsigned long long)all[1].records[i].last_token_ps);
    if (!same_summary(&result[0].summary, &result[1].summary) ||
        strcmp(km_text_c(&json[0]), km_text_c(&json[1])) != 0)
        fail_msg("%s: records agree, summaries do not:\n%s\n%s", name, km_text_c(&json[0]),
                 km_text_c(&json[1]));
    /* Single steps are single steps, and fast-forward is never more work. */
    assert_true(result[0].simulation.work.events >= result[0].simulation.work.steps);
    assert_int_equal(result[0].simulation.work.steps, result[1].simulation.work.steps);
    assert_true(result[1].simulation.work.events <= result[0].simulation.work.events);
    for (int fast = 0; fast < 2; fast++) {
        release(&all[fast]);
        km_text_release(&json[fast]);
    }
}

#define MOST_OVERRIDES 10

struct variant {
    const char *name;
    struct km_override overrides[MOST_OVERRIDES];
};

static void run_variant(const struct variant *variant, bool async)
{
    struct km_override overrides[MOST_OVERRIDES + 1];
    size_t count = 0;
    for (; count < MOST_OVERRIDES && variant->overrides[count].key; count++)
        overrides[count] = variant->overrides[count];
    overrides[count++] = (struct km_override){"engine.batching.async_scheduling", async ? "true" : "false"};
    struct km_error error;
    struct km_scenario scenario;
    if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, count, &scenario, &error) !=
        KM_OK)
        fail_msg("%s: %s", variant->name, error.message);
    compare_modes(variant->name, &scenario);
    km_scenario_release(&scenario);
}

#define FEW                                                                                                  \
    {                                                                                                        \
        "workload.requests", "300"                                                                           \
    }

static const struct variant variants[] = {
    {"as shipped", {{"workload.requests", "800"}}},
    {"idle between requests", {FEW, {"workload.rate_scale", "0.1"}}},
    {"overloaded", {FEW, {"workload.rate_scale", "20"}}},
    {"starved of blocks", {FEW, {"engine.kv.num_gpu_blocks_override", "1100"}, {"workload.rate_scale", "4"}}},
    {"closed loop",
     {FEW,
      {"workload.arrivals",
       "{process: closed_loop, clients: 12, think_s: {distribution: gamma, mean: 2, cv: 1}}"}}},
    {"closed loop on three replicas",
     {FEW,
      {"workload.arrivals",
       "{process: closed_loop, clients: 20, think_s: {distribution: constant, value: 0}}"},
      {"cluster.replicas", "3"}}},
    {"four replicas", {FEW, {"workload.rate_scale", "5"}, {"cluster.replicas", "4"}}},
    {"one at a time", {{"workload.requests", "40"}, {"engine.batching.max_num_seqs", "1"}}},
    {"without graphs", {FEW, {"engine.cudagraph_capture_sizes", "none"}}},
    {"host-bound", {FEW, {"engine.host.form_step_s", "0.015"}, {"engine.host.process_step_s", "0.02"}}},
    {"host-bound launches, without graphs",
     {FEW, {"engine.cudagraph_capture_sizes", "none"}, {"engine.host.launch_layer_s", "0.005"}}},
    {"ideal engine", {FEW, {"engine.name", "ideal"}}},
    {"power limit, decodes that draw less",
     {FEW,
      {"engine.kernels.gemm_power_rise", "0.5"},
      {"engine.kernels.gemm_power_time_s", "3"},
      {"engine.kernels.stream_power_share", "0.8"}}},
    {"power limit, host-bound",
     {FEW,
      {"engine.kernels.gemm_power_rise", "0.5"},
      {"engine.kernels.stream_power_share", "0.8"},
      {"engine.host.process_step_s", "0.02"}}},
    {"measured operators and power", {FEW, {"cost.model", "profile"}}},
    {"impatient",
     {FEW,
      {"workload.patience_s", "3"},
      {"workload.rate_scale", "20"},
      {"engine.batching.max_num_seqs", "16"}}},
    {"small chunks",
     {FEW,
      {"engine.batching.max_num_batched_tokens", "256"},
      {"engine.batching.long_prefill_token_threshold", "100"}}},
    {"sliding window", {FEW, {"model", "gemma-3-27b"}}},
    {"sliding window in every other layer", {FEW, {"model", "gpt-oss-20b"}}},
    {"sliding window in every layer",
     {FEW,
      {"model", "mistral-7b-v0.1"},
      {"workload.prompt_tokens", "{distribution: uniform, min: 3000, max: 5000}"}}},
    {"tensor parallel", {FEW, {"cluster.tensor_parallel_size", "2"}}},
    {"pipeline parallel", {FEW, {"cluster.pipeline_parallel_size", "2"}}},
    {"pipeline parallel, starved",
     {FEW,
      {"cluster.pipeline_parallel_size", "2"},
      {"engine.kv.num_gpu_blocks_override", "1100"},
      {"workload.rate_scale", "4"}}},
};

static void shipped_scenarios(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        for (int async = 0; async < 2; async++)
            run_variant(&variants[i], async);
}

/* Production traffic, its first ten minutes. */
static void azure_trace(void **state)
{
    (void)state;
    const char *path = KM_SOURCE_DIR "/../shared/data/traces/azure-conv-2023.csv";
    if (access(path, R_OK) != 0)
        skip();
    const struct variant plain = {"Azure", {{"workload.trace", path}, {"workload.end_s", "600"}}};
    const struct variant starved = {"Azure, starved",
                                    {{"workload.trace", path},
                                     {"workload.end_s", "200"},
                                     {"workload.rate_scale", "2"},
                                     {"engine.kv.num_gpu_blocks_override", "2588"}}};
    for (int async = 0; async < 2; async++) {
        run_variant(&plain, async);
        run_variant(&starved, async);
    }
}

/* Fast-forward is worth its name: long decodes of a steady batch cost next to nothing. */
static void jumps(void **state)
{
    (void)state;
    for (int async = 0; async < 2; async++) {
        struct synthetic synthetic = {.step_ps = 1000, .token_ps = 1, .context_ps = 1};
        struct km_replica_config config = {
            .policy = (const struct km_batching_policy *)(const void *)km_registry_find(km_batching_registry,
                                                                                        "continuous"),
            .batching = {.max_num_seqs = 8, .max_num_batched_tokens = 100, .enable_chunked_prefill = true},
            .kv_manager =
                (const struct km_kv_manager *)(const void *)km_registry_find(km_kv_registry, "paged"),
            .kv = {.capacity_blocks = 1000000, .block_size = 16, .max_model_len = 1000000},
            .executor = &synthetic_lines,
            .executor_state = &synthetic,
            .pace.stages = 1,
            .pace.overlapped = async,
            .fast_forward = true,
            .patience_ps = KM_PS_NEVER,
        };
        const struct scripted script[] = {{0, 10, 100000}, {0, 10, 200000}, {0, 10, 200000}};
        struct played played[3];
        struct ending ending;
        play(&config, script, 3, played, &ending, NULL);
        assert_null(ending.complaint);
        assert_int_equal(ending.work.steps, 200000);
        assert_true(ending.work.events < 100);
    }
}

/* ---- random small cases ---- */

static bool same_played(const struct played *a, const struct played *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i].outcome != b[i].outcome || a[i].ended_ps != b[i].ended_ps ||
            a[i].times_ended != b[i].times_ended || !same_record(&a[i].record, &b[i].record))
            return false;
    return true;
}

static bool same_work(const struct km_work *a, const struct km_work *b)
{
    struct km_work x = *a, y = *b;
    x.events = y.events = 0;
    return memcmp(&x, &y, sizeof x) == 0; /* all its members are eight bytes wide */
}

/* What goes wrong, or NULL. */
static const char *disagreement(struct random_case *r)
{
    static struct played played[2][MOST_SCRIPTED];
    struct ending ending[2];
    struct km_summary summary[2];
    for (int fast = 0; fast < 2; fast++) {
        r->config.fast_forward = fast;
        play_case(r, played[fast], &ending[fast], &summary[fast]);
        if (ending[fast].complaint)
            return ending[fast].complaint;
    }
    if (!same_played(played[0], played[1], r->count))
        return "records differ";
    if (!same_work(&ending[0].work, &ending[1].work))
        return "work differs";
    if (!same_summary(&summary[0], &summary[1]))
        return "summaries differ";
    if (ending[0].work.events < ending[0].work.steps)
        return "fewer events than single steps";
    if (ending[1].work.events > ending[0].work.events)
        return "fast-forward acted oftener";
    return NULL;
}

/* Leave requests out as long as it still goes wrong. */
static void shrink(struct random_case *r)
{
    for (bool shorter = true; shorter;) {
        shorter = false;
        for (size_t i = 0; i < r->count && r->count > 1; i++) {
            struct random_case tried = *r;
            tried.config.executor_state = &tried.synthetic;
            random_case_drop(&tried, i);
            if (!disagreement(&tried))
                continue;
            *r = tried;
            r->config.executor_state = &r->synthetic;
            shorter = true;
        }
    }
}

static void random_cases(void **state)
{
    (void)state;
    uint64_t jumped = 0;
    for (uint64_t seed = 1; seed <= 6000; seed++) {
        struct random_case r;
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_ARRIVALS);
        random_case(rng, NULL, NULL, &r);
        if (seed % 2)
            random_case_ends(rng, &r);
        gsl_rng_free(rng);
        if (disagreement(&r)) {
            char text[4096];
            shrink(&r);
            random_case_describe(&r, text, sizeof text);
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, disagreement(&r), text);
        }
        struct played played[MOST_SCRIPTED];
        struct ending ending;
        play_case(&r, played, &ending, NULL);
        jumped += ending.work.events < ending.work.steps;
    }
    assert_true(jumped > 300); /* the cases do exercise it */
}

/* ---- random closed loops over several replicas: an end on one causes an arrival on another ---- */

static void run_closed_loop(const struct random_case *r, const struct km_workload_settings *workload,
                            uint32_t replicas, uint64_t seed, struct collected *all,
                            struct km_simulation_result *result, struct km_summary *summary)
{
    const struct km_metrics_settings settings = {0};
    struct km_error error;
    struct km_metrics *metrics = km_metrics_create(&settings);
    const struct km_simulation_group group = {.replica = r->config, .replicas = replicas};
    const struct km_simulation_config config = {
        .workload = workload,
        .seed = seed,
        .groups = &group,
        .group_count = 1,
        .router = (const struct km_router *)(const void *)km_routing_registry[0],
        .metrics = metrics,
        .ended = collect,
        .context = all,
    };
    if (km_simulation_run(&config, result, &error) != KM_OK)
        fail_msg("%s", error.message);
    km_metrics_kv(metrics, result->work.block_seconds, result->work.peak_blocks);
    km_metrics_busy(metrics, result->work.busy_s);
    km_metrics_summarize(metrics, summary);
    km_metrics_destroy(metrics);
}

static void random_closed_loops(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        struct random_case r;
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_THINK);
        random_case(rng, NULL, NULL, &r);
        uint32_t longest = r.config.kv.max_model_len / 4;
        const struct km_workload_settings workload = {
            .process = KM_ARRIVAL_CLOSED_LOOP,
            .clients = gsl_rng_uniform_int(rng, 8) + 1,
            .think_s = {.kind = KM_DIST_UNIFORM, .max = (double)gsl_rng_uniform_int(rng, 3) * 5e-9},
            .has_prompt_tokens = true,
            .has_output_tokens = true,
            .prompt_tokens = {.kind = KM_DIST_UNIFORM, .min = 1, .max = longest + 1},
            .output_tokens = {.kind = KM_DIST_UNIFORM, .min = 1, .max = longest + 1},
            .requests = gsl_rng_uniform_int(rng, 60) + 1,
            .rate_scale = 1.0,
        };
        uint32_t replicas = (uint32_t)gsl_rng_uniform_int(rng, 4) + 1;
        gsl_rng_free(rng);
        struct collected all[2] = {0};
        struct km_simulation_result result[2];
        struct km_summary summary[2];
        for (int fast = 0; fast < 2; fast++) {
            r.config.fast_forward = fast;
            run_closed_loop(&r, &workload, replicas, seed, &all[fast], &result[fast], &summary[fast]);
            assert_int_equal(result[fast].unserved, 0);
            assert_int_equal(result[fast].used_blocks, 0);
            assert_int_equal(all[fast].count, workload.requests);
        }
        bool same = same_summary(&summary[0], &summary[1]) && same_work(&result[0].work, &result[1].work);
        for (size_t i = 0; i < all[0].count; i++)
            same &= all[0].outcomes[i] == all[1].outcomes[i] &&
                    same_record(&all[0].records[i], &all[1].records[i]);
        if (!same) {
            char text[4096];
            r.count = 0;
            random_case_describe(&r, text, sizeof text);
            fail_msg("seed %llu, %u replicas, %llu clients: %s", (unsigned long long)seed, replicas,
                     (unsigned long long)workload.clients, text);
        }
        release(&all[0]);
        release(&all[1]);
    }
}

/* The same for sessions that wait: an answer on one replica brings a turn to another. */
static struct km_recording *random_sessions(gsl_rng *rng, uint32_t longest)
{
    struct km_recording *recording = km_recording_create();
    uint64_t count = gsl_rng_uniform_int(rng, 50) + 1, at_ps = 0;
    uint32_t said[6] = {0};
    for (uint64_t i = 0; i < count; i++, at_ps += gsl_rng_uniform_int(rng, 3000)) {
        uint32_t session = (uint32_t)gsl_rng_uniform_int(rng, 6);
        const struct km_request request = {
            .id = i,
            .arrival_ps = at_ps,
            .session = (int64_t)session - 1, /* -1: none */
            .prompt_tokens = (session ? said[session] : 0) + (uint32_t)gsl_rng_uniform_int(rng, longest) + 1,
            .output_tokens = (uint32_t)gsl_rng_uniform_int(rng, longest) + 1,
            .has_delay = session > 0,
            .delay_ps = gsl_rng_uniform_int(rng, 4) * 1500,
        };
        said[session] = request.prompt_tokens + request.output_tokens;
        km_recording_append(recording, &request);
    }
    return recording;
}

static void random_waiting_sessions(void **state)
{
    (void)state;
    uint64_t unsent = 0;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        struct random_case r;
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_PREFIX);
        random_case(rng, NULL, NULL, &r);
        struct km_recording *recording = random_sessions(rng, r.config.kv.max_model_len / 8 + 1);
        const struct km_workload_settings workload = {.process = KM_ARRIVAL_TRACE,
                                                      .recording = recording,
                                                      .rate_scale = 1.0,
                                                      .turns = KM_TURNS_AFTER_ANSWER};
        uint32_t replicas = (uint32_t)gsl_rng_uniform_int(rng, 4) + 1;
        gsl_rng_free(rng);
        struct collected all[2] = {0};
        struct km_simulation_result result[2];
        struct km_summary summary[2];
        size_t count;
        km_recording_requests(recording, &count);
        for (int fast = 0; fast < 2; fast++) {
            r.config.fast_forward = fast;
            run_closed_loop(&r, &workload, replicas, seed, &all[fast], &result[fast], &summary[fast]);
            assert_int_equal(result[fast].unserved, 0);
            assert_int_equal(all[fast].count + result[fast].unsent_turns, count);
        }
        bool same = same_summary(&summary[0], &summary[1]) && same_work(&result[0].work, &result[1].work);
        for (size_t i = 0; i < all[0].count; i++)
            same &= all[0].outcomes[i] == all[1].outcomes[i] &&
                    same_record(&all[0].records[i], &all[1].records[i]);
        if (!same)
            fail_msg("seed %llu, %u replicas", (unsigned long long)seed, replicas);
        unsent += result[0].unsent_turns;
        release(&all[0]);
        release(&all[1]);
        km_recording_destroy(recording);
    }
    assert_true(unsent > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jumps),
        cmocka_unit_test(random_cases),
        cmocka_unit_test(random_closed_loops),
        cmocka_unit_test(random_waiting_sessions),
        cmocka_unit_test(shipped_scenarios),
        cmocka_unit_test(azure_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
