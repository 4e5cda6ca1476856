/* Whole runs with prefix caching: without hashes only preempted requests find anything, fast-forward changes
 * nothing, and recorded traffic finds about what it could find. */
#include "base/random.h"
#include "base/simtime.h"
#include "scenario/fleet.h"
#include "support/play.h"
#include "workload/trace/stats.h"
#include "workload/trace/trace.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SESSIONS       KM_SOURCE_DIR "/traces/sessions-synthetic.csv"
#define MOST_OVERRIDES 10

struct variant {
    const char *name;
    struct km_override overrides[MOST_OVERRIDES];
};

struct outcome {
    struct km_record *records; /* in the order of their ends */
    size_t count, capacity;
    struct km_run_result result;
};

static void collect(void *context, enum km_outcome outcome, const struct km_record *record)
{
    (void)outcome;
    struct outcome *all = context;
    all->records = km_grow(all->records, &all->capacity, all->count + 1, sizeof *all->records);
    all->records[all->count] = *record;
    all->records[all->count++].label = NULL; /* gone with the run */
}

static void run(const struct variant *variant, const char *key, const char *value, bool fast_forward,
                struct outcome *out)
{
    struct km_override overrides[MOST_OVERRIDES + 1];
    size_t count = 0;
    for (; count < MOST_OVERRIDES && variant->overrides[count].key; count++)
        overrides[count] = variant->overrides[count];
    if (key)
        overrides[count++] = (struct km_override){key, value};
    struct km_error error;
    struct km_scenario scenario;
    struct km_fleet fleet;
    *out = (struct outcome){0};
    const struct km_run_options options = {.fast_forward = fast_forward, .ended = collect, .context = out};
    if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, count, &scenario, &error) !=
            KM_OK ||
        km_fleet_create(&scenario, &fleet, &error) != KM_OK ||
        km_fleet_run(&fleet, &scenario.workload, scenario.seed, &options, &out->result, &error) != KM_OK)
        fail_msg("%s: %s", variant->name, error.message);
    assert_int_equal(out->count, out->result.summary.submitted);
    assert_int_equal(out->result.simulation.used_blocks, 0);
    assert_int_equal(out->result.simulation.unserved, 0);
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

static void same_records(const char *name, const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->count, b->count);
    assert_true(a->count > 0);
    for (size_t i = 0; i < a->count; i++)
        if (!same_record(&a->records[i], &b->records[i]))
            fail_msg("%s: the %zuth end is of request %llu at %llu ps, or of %llu at %llu ps", name, i + 1,
                     (unsigned long long)a->records[i].id, (unsigned long long)a->records[i].last_token_ps,
                     (unsigned long long)b->records[i].id, (unsigned long long)b->records[i].last_token_ps);
}

/* ---- which manager ---- */

static void settings(void **state)
{
    (void)state;
    static const struct {
        const char *manager, *caching, *is;
    } cases[] = {
        {"paged", "true", "prefix"},
        {"paged", "false", "paged"},
        {"prefix", "true", "prefix"},
        {"prefix", "false", "prefix"},
        {"reserve_max", "true", "reserve_max"},
        {"reserve_max", "false", "reserve_max"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct km_override overrides[] = {{"engine.kv.manager", cases[i].manager},
                                                {"engine.kv.enable_prefix_caching", cases[i].caching}};
        struct km_error error;
        struct km_scenario scenario;
        struct km_setup setup;
        if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, 2, &scenario, &error) !=
                KM_OK ||
            km_setup_create(&scenario, &setup, &error) != KM_OK)
            fail_msg("%s, %s: %s", cases[i].manager, cases[i].caching, error.message);
        assert_string_equal(setup.kv_manager->entry.name, cases[i].is);
        /* and the resolved scenario says so */
        assert_string_equal(scenario.engine.kv_manager, cases[i].is);
        assert_int_equal(scenario.engine.enable_prefix_caching, strcmp(cases[i].is, "prefix") == 0);
        km_setup_release(&setup);
        km_scenario_release(&scenario);
    }
    const struct variant on = {"on", {{"workload.trace", SESSIONS}}};
    struct outcome cached, plain, reserved;
    run(&on, NULL, NULL, true, &cached);
    run(&on, "engine.kv.enable_prefix_caching", "false", true, &plain);
    run(&on, "engine.kv.manager", "reserve_max", true, &reserved);
    assert_true(cached.result.summary.prefix_hit_rate > 0.5);
    assert_true(isnan(plain.result.summary.prefix_hit_rate) &&
                isnan(reserved.result.summary.prefix_hit_rate));
    assert_true(cached.result.simulation.work.tokens < plain.result.simulation.work.tokens);
    assert_int_equal(cached.result.simulation.work.sampled, plain.result.simulation.work.sampled);
    assert_true(cached.result.summary.latency[KM_TTFT].mean_s < plain.result.summary.latency[KM_TTFT].mean_s);
    free(cached.records);
    free(plain.records);
    free(reserved.records);
}

/* ---- fast-forward on and off ---- */

struct effort {
    uint64_t runs, hits, preemptions, jumped;
};

static void compare_modes(const struct variant *variant, const char *key, const char *value,
                          struct effort *effort)
{
    struct outcome out[2];
    for (int fast = 0; fast < 2; fast++)
        run(variant, key, value, fast, &out[fast]);
    same_records(variant->name, &out[0], &out[1]);
    assert_true(same_summary(&out[0].result.summary, &out[1].result.summary));
    assert_true(out[1].result.simulation.work.events <= out[0].result.simulation.work.events);
    effort->runs++;
    effort->hits += out[1].result.summary.prefix_hit_rate > 0.0;
    effort->preemptions += out[1].result.summary.preemptions;
    effort->jumped += out[1].result.simulation.work.events < out[1].result.simulation.work.steps / 2;
    free(out[0].records);
    free(out[1].records);
}

/* ---- without hashes ---- */

/* Nobody is preempted: the same as without caching, to every counter. */
static void unique_requests(void **state)
{
    (void)state;
    static const struct variant variants[] = {
        {"as shipped", {{"workload.requests", "800"}}},
        {"overloaded",
         {{"workload.requests", "600"},
          {"workload.rate_scale", "20"},
          {"engine.batching.max_num_seqs", "32"}}},
        {"pipeline parallel", {{"workload.requests", "300"}, {"cluster.pipeline_parallel_size", "2"}}},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct outcome prefix, paged;
        run(&variants[i], "engine.kv.enable_prefix_caching", "true", true, &prefix);
        run(&variants[i], "engine.kv.enable_prefix_caching", "false", true, &paged);
        same_records(variants[i].name, &prefix, &paged);
        assert_int_equal(paged.result.summary.preemptions, 0);
        assert_true(prefix.result.summary.prefix_hit_rate == 0.0);
        prefix.result.summary.prefix_hit_rate = paged.result.summary.prefix_hit_rate; /* NAN: none asked */
        assert_true(same_summary(&prefix.result.summary, &paged.result.summary));
        /* The events too: fast-forward jumps as far. */
        assert_memory_equal(&prefix.result.simulation.work, &paged.result.simulation.work,
                            sizeof(struct km_work));
        free(prefix.records);
        free(paged.records);
    }
}

/* Preempted requests find their own blocks, and compute the less; that is no hit in the hit rate. */
static void preempted_unique_requests(void **state)
{
    (void)state;
    static const struct variant variants[] = {
        {"starved",
         {{"workload.requests", "600"},
          {"engine.kv.num_gpu_blocks_override", "1100"},
          {"workload.rate_scale", "4"}}},
        {"starved, few sequences",
         {{"workload.requests", "400"},
          {"engine.kv.num_gpu_blocks_override", "1000"},
          {"engine.batching.max_num_seqs", "12"},
          {"workload.rate_scale", "8"}}},
        {"starved, small chunks",
         {{"workload.requests", "300"},
          {"engine.kv.num_gpu_blocks_override", "1100"},
          {"engine.batching.max_num_batched_tokens", "256"},
          {"workload.rate_scale", "4"}}},
        {"starved, pipeline parallel",
         {{"workload.requests", "300"},
          {"cluster.pipeline_parallel_size", "2"},
          {"engine.kv.num_gpu_blocks_override", "1100"},
          {"workload.rate_scale", "4"}}},
    };
    struct effort effort = {0};
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct outcome prefix, paged;
        run(&variants[i], "engine.kv.enable_prefix_caching", "true", true, &prefix);
        run(&variants[i], "engine.kv.enable_prefix_caching", "false", true, &paged);
        uint64_t computed = prefix.result.simulation.work.tokens;
        uint64_t computed_anew = paged.result.simulation.work.tokens;
        uint64_t needed = prefix.result.summary.prompt_tokens + prefix.result.summary.output_tokens -
                          prefix.result.summary.completed; /* the last token of each is never read */
        print_message("%s: %llu and %llu preemptions, %llu and %llu tokens computed of %llu\n",
                      variants[i].name, (unsigned long long)prefix.result.summary.preemptions,
                      (unsigned long long)paged.result.summary.preemptions, (unsigned long long)computed,
                      (unsigned long long)computed_anew, (unsigned long long)needed);
        assert_int_equal(prefix.result.summary.completed, prefix.result.summary.submitted);
        assert_int_equal(prefix.result.summary.completed, paged.result.summary.completed);
        assert_true(prefix.result.summary.preemptions > 10 && paged.result.summary.preemptions > 10);
        assert_true(needed <= computed && computed < computed_anew);
        assert_true(prefix.result.summary.prefix_hit_rate == 0.0);
        free(prefix.records);
        free(paged.records);
        compare_modes(&variants[i], "engine.batching.async_scheduling", "false", &effort);
        compare_modes(&variants[i], "engine.batching.async_scheduling", "true", &effort);
    }
    assert_true(effort.preemptions > 100 && effort.hits == 0);
}

/* ---- with hashes ---- */

static void shipped_sessions(void **state)
{
    (void)state;
    static const struct variant variants[] = {
        {"plenty", {{"workload.trace", SESSIONS}}},
        {"few blocks",
         {{"workload.trace", SESSIONS},
          {"workload.rate_scale", "4"},
          {"engine.kv.num_gpu_blocks_override", "1500"}}},
        {"fewer, in large blocks",
         {{"workload.trace", SESSIONS},
          {"workload.rate_scale", "8"},
          {"engine.kv.num_gpu_blocks_override", "300"},
          {"engine.kv.block_size", "64"}}},
        {"few sequences",
         {{"workload.trace", SESSIONS},
          {"workload.rate_scale", "8"},
          {"engine.batching.max_num_seqs", "6"},
          {"engine.kv.num_gpu_blocks_override", "1500"}}},
        {"small chunks",
         {{"workload.trace", SESSIONS},
          {"workload.rate_scale", "8"},
          {"engine.batching.max_num_batched_tokens", "256"},
          {"engine.kv.num_gpu_blocks_override", "1300"}}},
        {"pipeline",
         {{"workload.trace", SESSIONS},
          {"workload.rate_scale", "8"},
          {"cluster.pipeline_parallel_size", "2"},
          {"engine.kv.num_gpu_blocks_override", "1300"}}},
        {"whole batches",
         {{"workload.trace", SESSIONS},
          {"engine.batching.policy", "dynamic"},
          {"engine.kv.num_gpu_blocks_override", "1300"}}},
        {"two replicas",
         {{"workload.trace", SESSIONS},
          {"workload.rate_scale", "16"},
          {"cluster.replicas", "2"},
          {"engine.kv.num_gpu_blocks_override", "1300"}}},
    };
    struct effort effort = {0};
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        compare_modes(&variants[i], "engine.batching.async_scheduling", "false", &effort);
        compare_modes(&variants[i], "engine.batching.async_scheduling", "true", &effort);
    }
    assert_int_equal(effort.hits, effort.runs);
    assert_true(effort.preemptions > 100);
    assert_true(effort.jumped >= 8);
}

/* Random small traces whose requests share much, and little room. */
static void random_traces(void **state)
{
    (void)state;
    struct effort effort = {0};
    for (unsigned long seed = 1; seed <= 120; seed++) {
        char path[] = "/tmp/kingman-prefix-XXXXXX";
        int file = mkstemp(path);
        assert_true(file >= 0);
        FILE *stream = fdopen(file, "w");
        gsl_rng *rng = km_random_stream(seed, KM_RANDOM_ARRIVALS);
        fprintf(stream, "arrival_s,prompt_tokens,output_tokens,prefix_hashes\n");
        double arrival_s = 0.0;
        for (int i = 0; i < 40; i++) {
            unsigned prompt = 1 + (unsigned)gsl_rng_uniform_int(rng, 2500);
            unsigned long hashes = gsl_rng_uniform_int(rng, 6) ? (prompt + 511) / 512 : 0;
            arrival_s += 0.2 * gsl_rng_uniform(rng);
            fprintf(stream, "%.6f,%u,%lu,", i ? arrival_s : 0.0, prompt, 1 + gsl_rng_uniform_int(rng, 400));
            for (unsigned long h = 0; h < hashes; h++)
                fprintf(stream, h ? " %lu" : "%lu", gsl_rng_uniform_int(rng, 2));
            fprintf(stream, "\n");
        }
        assert_int_equal(fclose(stream), 0);
        char blocks[16], sequences[16], name[32];
        snprintf(blocks, sizeof blocks, "%lu", 190 + gsl_rng_uniform_int(rng, 400));
        snprintf(sequences, sizeof sequences, "%lu", 2 + gsl_rng_uniform_int(rng, 30));
        snprintf(name, sizeof name, "seed %lu", seed);
        const struct variant variant = {
            name,
            {{"workload.trace", path},
             {"engine.kv.num_gpu_blocks_override", blocks},
             {"engine.batching.max_num_seqs", sequences},
             {"engine.batching.max_num_batched_tokens", seed % 3 ? "700" : "8192"},
             {"engine.name", seed % 5 ? "vllm-0.26" : "ideal"},
             {"cluster.pipeline_parallel_size", seed % 7 ? "1" : "2"}}};
        compare_modes(&variant, "engine.batching.async_scheduling", seed % 2 ? "true" : "false", &effort);
        gsl_rng_free(rng);
        unlink(path);
    }
    assert_true(effort.hits > 100 && effort.preemptions > 300 && effort.jumped > 30);
}

/* ---- recorded traffic ---- */

/* The share of prompt tokens that a cache without limit could serve, at most: whole blocks of 512 seen
 * before. */
static double most_hits(const char *path)
{
    struct km_trace_reader *reader;
    struct km_trace_stats *stats = km_trace_stats_create();
    struct km_trace_summary summary;
    struct km_request request;
    struct km_error error;
    uint64_t prompt_tokens = 0;
    bool found = false;
    assert_int_equal(km_trace_open(path, NULL, &reader, &error), KM_OK);
    while (km_trace_next(reader, &request, &found, &error) == KM_OK && found) {
        km_trace_stats_add(stats, &request);
        prompt_tokens += request.prompt_tokens;
        km_request_release(&request);
    }
    km_trace_stats_summarize(stats, &summary);
    double share = (double)(summary.hit_blocks * KM_PREFIX_BLOCK_TOKENS) / (double)prompt_tokens;
    km_trace_stats_destroy(stats);
    km_trace_close(reader);
    return share;
}

static void mooncake_trace(void **state)
{
    (void)state;
    const char *path = KM_SOURCE_DIR "/../shared/data/traces/mooncake-conversation.jsonl";
    if (access(path, R_OK) != 0)
        skip();
    /* 56,057 blocks are what an H200 has beside this model, 20 million more than the trace fills. */
    static const struct {
        const char *blocks, *rate_scale;
    } cases[] = {{"56057", "0.2"}, {"56057", "1"}, {"300000", "0.2"}, {"20000000", "0.2"}};
    double bound = most_hits(path), hits[4];
    for (size_t i = 0; i < 4; i++) {
        const struct variant variant = {"Mooncake",
                                        {{"workload.trace", path},
                                         {"workload.rate_scale", cases[i].rate_scale},
                                         {"engine.kv.num_gpu_blocks_override", cases[i].blocks}}};
        struct outcome out;
        run(&variant, NULL, NULL, true, &out);
        hits[i] = out.result.summary.prefix_hit_rate;
        print_message("%8s blocks, rate x %s: %llu completed, %llu preemptions, hit rate %.4f\n",
                      cases[i].blocks, cases[i].rate_scale, (unsigned long long)out.result.summary.completed,
                      (unsigned long long)out.result.summary.preemptions, hits[i]);
        assert_int_equal(out.result.summary.completed, 12031);
        assert_true(hits[i] > 0.03 && hits[i] <= bound);
        free(out.records);
    }
    assert_true(hits[0] < hits[2] && hits[2] < hits[3]);
    /* Whole blocks of 16 and the last token are all that is lost. */
    assert_true(hits[3] > 0.99 * bound);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings),
        cmocka_unit_test(unique_requests),
        cmocka_unit_test(preempted_unique_requests),
        cmocka_unit_test(shipped_sessions),
        cmocka_unit_test(random_traces),
        cmocka_unit_test(mooncake_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
