/* The planner: searches with and without bounds name the same winner; bounds never claim more than runs show;
 * ranking, front and refusals. */
#include "planner/bounds.h"
#include "planner/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

#define SEARCHES 24

/* --- files ---------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/kingman-plan-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"plan.yaml", "trace.csv"};
    char path[128];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    return rmdir(folder);
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Requests with Poisson arrivals and lognormal lengths. */
static void write_trace(gsl_rng *rng, unsigned requests, double rate_per_s, double prompt, double output)
{
    FILE *file = fopen(path_of("trace.csv"), "w");
    double at_s = 0.0;
    assert_non_null(file);
    fputs("arrival_s,prompt_tokens,output_tokens\n", file);
    for (unsigned i = 0; i < requests; i++) {
        fprintf(file, "%.6f,%u,%u\n", at_s, 1 + (unsigned)(prompt * gsl_ran_lognormal(rng, -0.3, 0.8)),
                1 + (unsigned)(output * gsl_ran_lognormal(rng, -0.3, 0.8)));
        at_s += gsl_ran_exponential(rng, 1.0 / rate_per_s);
    }
    fclose(file);
}

static const char *pick(gsl_rng *rng, const char *const *words)
{
    unsigned count = 0;
    while (words[count])
        count++;
    return words[gsl_rng_uniform_int(rng, count)];
}

/* A small search of some shape, on a load that some of its plans sustain and others do not. */
static void write_search(gsl_rng *rng)
{
    static const char *const models[] = {"llama-3.1-8b", "qwen2.5-7b", "mixtral-8x7b", "llama-3.2-1b", NULL};
    static const char *const objectives[] = {"gpus", "usd_per_hour", "usd_per_million_tokens", "energy",
                                             NULL};
    static const char *const devices[] = {"[rtx-4090, a100-80g-sxm]", "[h100-sxm, l40s]", "[l40s, h200-sxm]",
                                          NULL};
    static const char *const sizes[] = {"[1, 2]", "[1, 4]", "divisors", "[2, 3, 8]", NULL};
    static const char *const slos[] = {"{ttft_p95_s: 0.5, tpot_p95_s: 0.05}",
                                       "{ttft_p90_s: 0.3, tpot_p90_s: 0.02}",
                                       "{e2e_p95_s: 8}",
                                       "{ttft_p95_s: 1}",
                                       "{normalized_p90_s: 0.05, ttft_mean_s: 0.4}",
                                       NULL};
    static const char *const axes[] = {"  engine.batching.max_num_seqs: [16, 256]\n",
                                       "  engine.batching.policy: [continuous, orca]\n",
                                       "  engine.batching.max_num_batched_tokens: [512, 8192]\n",
                                       "  cluster.pipeline_parallel_size: [1, 2]\n",
                                       "  cluster.replicas: [1, 2, 4]\n",
                                       "  precision.kv_cache: [bf16, fp8]\n",
                                       NULL};
    double prompt = 100.0 + 1500.0 * gsl_rng_uniform(rng), output = 30.0 + 300.0 * gsl_rng_uniform(rng);
    write_trace(rng, 200 + (unsigned)gsl_rng_uniform_int(rng, 200), 5.0 + 60.0 * gsl_rng_uniform(rng), prompt,
                output);
    char text[2048];
    snprintf(text, sizeof text,
             "model: %s\n"
             "cluster: {device: h200-sxm}\n"
             "workload: {trace: trace.csv}\n"
             "slo: %s\n"
             "search:\n"
             "  objective: %s\n"
             "  max_gpus: %lu\n"
             "  top: %lu\n"
             "  cluster.device: %s\n"
             "  cluster.tensor_parallel_size: %s\n%s",
             pick(rng, models), pick(rng, slos), pick(rng, objectives), 3 + gsl_rng_uniform_int(rng, 7),
             1 + gsl_rng_uniform_int(rng, 3), pick(rng, devices), pick(rng, sizes), pick(rng, axes));
    write_file("plan.yaml", text);
}

/* --- searches ------------------------------------------------------------------------------------------- */

static void plan_with(bool exhaustive, uint32_t workers, bool quick, struct km_plan *out)
{
    struct km_error error = {0};
    const struct km_plan_options options = {.workers = workers, .exhaustive = exhaustive, .quick = quick};
    enum km_status status = km_plan_create(path_of("plan.yaml"), NULL, 0, &options, out, &error);
    if (status != KM_OK)
        fail_msg("%s", error.message);
}

static const struct km_plan_entry *entry_of(const struct km_plan *plan, uint64_t point)
{
    for (uint64_t i = 0; i < plan->candidates.count; i++)
        if (plan->entries[i].candidate->point == point)
            return &plan->entries[i];
    fail();
    return NULL;
}

static void expect_same_top(const struct km_plan *bounded, const struct km_plan *exhaustive)
{
    uint64_t top = bounded->search.top;
    for (uint64_t i = 0; i < top && i < exhaustive->holding; i++) {
        const struct km_plan_entry *a = &bounded->entries[i], *b = &exhaustive->entries[i];
        assert_true(i < bounded->holding);
        assert_int_equal(a->candidate->point, b->candidate->point);
        assert_int_equal(a->candidate->replicas, b->candidate->replicas);
        assert_true(a->cost >= b->cost && a->cost <= b->cost);
        double rate = km_plan_max_rate_per_s(a), other = km_plan_max_rate_per_s(b);
        assert_true((isnan(rate) && isnan(other)) || (rate >= other && rate <= other));
    }
    if (exhaustive->holding == 0)
        assert_int_equal(bounded->holding, 0);
}

/* What bounds said of every candidate, against what simulating it showed. */
static void expect_bounds_hold(const struct km_plan *bounded, const struct km_plan *exhaustive)
{
    for (uint64_t i = 0; i < exhaustive->candidates.count; i++) {
        const struct km_plan_entry *shown = &exhaustive->entries[i];
        const struct km_candidate *c = shown->candidate;
        const struct km_plan_entry *said = entry_of(bounded, c->point);
        const struct km_candidate_bounds *bounds = &said->candidate->bounds;
        if (c->fate != KM_FATE_HOLDS)
            continue;
        assert_int_not_equal(said->candidate->fate, KM_FATE_LATENCY);
        assert_int_not_equal(said->candidate->fate, KM_FATE_THROUGHPUT);
        assert_true(bounds->least_replicas <= c->replicas);
        assert_true(bounds->latency_ratio <= c->probe->worst_ratio);
        assert_true(bounds->ttft_s <= c->probe->latency[KM_TTFT].p50_s * 1.03);
        assert_true(bounds->tpot_s <= c->probe->latency[KM_TPOT].p50_s * 1.03);
        if (c->capacity && c->capacity->kind == KM_CAPACITY_FOUND)
            assert_true(c->capacity->recorded_scale * exhaustive->load.rate_per_s <=
                        1.04 * km_bounds_most_rate_per_s(bounds, &bounded->load, c->replicas));
    }
}

static void test_bounded_and_exhaustive_agree(void **state)
{
    (void)state;
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    uint64_t won = 0, lost = 0, saved = 0, fates[KM_FATE_COUNT] = {0};
    for (unsigned i = 0; i < SEARCHES; i++) {
        struct km_plan bounded, exhaustive;
        gsl_rng_set(rng, 100 + i);
        write_search(rng);
        plan_with(false, 2, true, &bounded);
        plan_with(true, 2, true, &exhaustive);
        expect_same_top(&bounded, &exhaustive);
        expect_bounds_hold(&bounded, &exhaustive);
        won += exhaustive.holding > 0;
        lost += exhaustive.holding == 0;
        saved += exhaustive.statistics.runs - bounded.statistics.runs;
        for (int f = 0; f < KM_FATE_COUNT; f++)
            fates[f] += bounded.statistics.fates[f];
        km_plan_release(&bounded);
        km_plan_release(&exhaustive);
    }
    gsl_rng_free(rng);
    print_message("%llu searches have a winner, %llu have none; bounds spared %llu runs\n",
                  (unsigned long long)won, (unsigned long long)lost, (unsigned long long)saved);
    assert_true(won >= SEARCHES / 2);
    /* Each way of leaving candidates out was tried. */
    assert_true(saved > 0);
    assert_true(fates[KM_FATE_MEMORY] > 0);
    assert_true(fates[KM_FATE_LATENCY] > 0);
    assert_true(fates[KM_FATE_BEATEN] > 0);
    assert_true(fates[KM_FATE_SLO] > 0);
}

/* A job of which the work alone shows that some plans cannot do it in time; those are never simulated, and
 * simulating them agrees. Of all plans the time taken is no less than the bound's. */
static void test_work_before_a_deadline(void **state)
{
    (void)state;
    static const double deadlines_s[] = {2.0, 6.0, 12.0, 40.0};
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    uint64_t ruled_out = 0, held = 0, beaten = 0;
    for (size_t i = 0; i < sizeof deadlines_s / sizeof *deadlines_s; i++) {
        struct km_plan bounded, exhaustive;
        char text[512];
        gsl_rng_set(rng, 7 + i);
        write_trace(rng, 600, 1e9, 800.0, 250.0);
        snprintf(text, sizeof text,
                 "model: llama-3.1-8b\n"
                 "cluster: {device: h200-sxm}\n"
                 "workload: {trace: trace.csv}\n"
                 "slo: {deadline_s: %g}\n"
                 "search:\n"
                 "  objective: usd_per_million_tokens\n"
                 "  max_gpus: 4\n"
                 "  top: 1\n"
                 "  cluster.device: [h200-sxm, a100-80g-sxm, l40s]\n"
                 "  engine.batching.max_num_seqs: [8, 12, 16, 32, 64, 128, 256, 512]\n",
                 deadlines_s[i]);
        write_file("plan.yaml", text);
        plan_with(false, 2, true, &bounded);
        plan_with(true, 2, true, &exhaustive);
        expect_same_top(&bounded, &exhaustive);
        for (uint64_t k = 0; k < exhaustive.candidates.count; k++) {
            const struct km_candidate *shown = exhaustive.entries[k].candidate;
            const struct km_candidate *said = entry_of(&bounded, shown->point)->candidate;
            if (shown->fate == KM_FATE_HOLDS)
                assert_true(said->bounds.least_replicas <= shown->replicas);
            if (shown->probe)
                assert_true(said->bounds.busy_s <= shown->probe->duration_s * shown->replicas);
            ruled_out += said->fate == KM_FATE_THROUGHPUT;
            held += shown->fate == KM_FATE_HOLDS;
            beaten += said->fate == KM_FATE_BEATEN;
        }
        km_plan_release(&bounded);
        km_plan_release(&exhaustive);
    }
    gsl_rng_free(rng);
    assert_true(ruled_out > 0);
    assert_true(held > 0);
    assert_true(beaten > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounded_and_exhaustive_agree),
        cmocka_unit_test(test_work_before_a_deadline),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
