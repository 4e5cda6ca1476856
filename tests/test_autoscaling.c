/* Fleets that come and go: bounds, conservation, who serves whom, a schedule worked out by hand, and
 * fast-forward. */
#include "base/memory.h"
#include "base/simtime.h"
#include "scenario/fleet.h"
#include "support/play.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STARTUP_S 20.0

struct outcome {
    struct km_record *records;
    size_t count, capacity;
    struct km_replica_result *replicas;
    size_t replica_count, replica_capacity;
    struct km_group_size *sizes;
    size_t size_count, size_capacity;
    struct km_run_result result;
};

static void collect(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct outcome *o = context;
    assert_true(outcome == KM_COMPLETED || outcome == KM_CANCELLED);
    o->records = km_grow(o->records, &o->capacity, o->count + 1, sizeof *o->records);
    o->records[o->count] = *record;
    o->records[o->count++].label = NULL;
}

static void collect_replica(void *context, const struct km_replica_result *result)
{
    struct outcome *o = context;
    o->replicas = km_grow(o->replicas, &o->replica_capacity, o->replica_count + 1, sizeof *o->replicas);
    o->replicas[o->replica_count++] = *result;
}

static void collect_size(void *context, const struct km_group_size *size)
{
    struct outcome *o = context;
    o->sizes = km_grow(o->sizes, &o->size_capacity, o->size_count + 1, sizeof *o->sizes);
    o->sizes[o->size_count++] = *size;
}

static void run(const struct km_override *overrides, size_t count, bool fast_forward, struct outcome *out)
{
    struct km_error error;
    struct km_scenario scenario;
    struct km_fleet fleet;
    char line[600];
    *out = (struct outcome){0};
    const struct km_run_options options = {.fast_forward = fast_forward,
                                           .ended = collect,
                                           .replica_ended = collect_replica,
                                           .resized = collect_size,
                                           .context = out};
    if (km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, count, &scenario, &error) !=
            KM_OK ||
        km_fleet_create(&scenario, &fleet, &error) != KM_OK ||
        km_fleet_run(&fleet, &scenario.workload, scenario.seed, &options, &out->result, &error) != KM_OK) {
        km_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
    km_fleet_release(&fleet);
    km_scenario_release(&scenario);
}

static void forget(struct outcome *o)
{
    free(o->records);
    free(o->replicas);
    free(o->sizes);
}

/* Every request ran on a replica that served when it arrived and was paid until it ended. */
static void assert_served(const char *name, const struct outcome *o)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct km_record *r = &o->records[i];
        size_t home = o->replica_count;
        for (size_t j = 0; j < o->replica_count; j++) {
            const struct km_replica_result *replica = &o->replicas[j];
            uint64_t ready_ps = replica->start_ps ? replica->start_ps + km_ps_from_s(STARTUP_S) : 0;
            if (replica->replica == r->replica && ready_ps <= r->arrival_ps &&
                r->last_token_ps <= replica->end_ps)
                home = j;
        }
        if (home == o->replica_count)
            fail_msg("%s: request %llu on replica %u, which did not serve", name, (unsigned long long)r->id,
                     r->replica);
    }
}

static void assert_whole(const char *name, const struct outcome *o, uint32_t least, uint32_t most)
{
    const struct km_run_result *r = &o->result;
    const struct km_group_result *g = &r->simulation.groups[0];
    uint64_t completed = 0;
    double paid_s = 0.0, area_s = 0.0, end_s = r->summary.duration_s;
    assert_int_equal(r->summary.completed, r->summary.submitted);
    assert_int_equal(r->simulation.used_blocks, 0);
    for (size_t i = 0; i < o->replica_count; i++) {
        completed += o->replicas[i].completed;
        paid_s += km_s_from_ps(o->replicas[i].end_ps - o->replicas[i].start_ps);
    }
    assert_int_equal(completed, r->summary.completed);
    for (size_t i = 0; i < o->size_count; i++) {
        const struct km_group_size *size = &o->sizes[i];
        uint32_t active = size->starting + size->serving;
        if (active < least || active > most || size->serving == 0)
            fail_msg("%s: %u starting and %u serving at %g s", name, size->starting, size->serving,
                     km_s_from_ps(size->now_ps));
        assert_true(g->least_replicas <= active && active <= g->most_replicas);
        double until_s = i + 1 < o->size_count ? km_s_from_ps(o->sizes[i + 1].now_ps) : end_s;
        area_s +=
            (fmin(until_s, end_s) - fmin(km_s_from_ps(size->now_ps), end_s)) * (active + size->draining);
    }
    assert_true(fabs(g->replica_seconds - paid_s) < 1e-6);
    assert_true(fabs(g->replica_seconds - area_s) < 1e-6);
    assert_true(fabs(r->gpu_seconds - g->replica_seconds) < 1e-6);
    assert_true(fabs(g->mean_replicas * end_s - paid_s) < 1e-6);
    assert_true(r->busy <= 1 + 1e-12);
    assert_served(name, o);
}

static bool same_number(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void assert_same(const char *name, const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        if (!same_record(&a->records[i], &b->records[i]))
            fail_msg("%s: end %zu is of request %llu on replica %u, or of %llu on %u", name, i,
                     (unsigned long long)a->records[i].id, a->records[i].replica,
                     (unsigned long long)b->records[i].id, b->records[i].replica);
    assert_int_equal(a->size_count, b->size_count);
    for (size_t i = 0; i < a->size_count; i++) {
        assert_int_equal(a->sizes[i].now_ps, b->sizes[i].now_ps);
        assert_int_equal(a->sizes[i].starting, b->sizes[i].starting);
        assert_int_equal(a->sizes[i].serving, b->sizes[i].serving);
        assert_int_equal(a->sizes[i].draining, b->sizes[i].draining);
    }
    assert_true(same_summary(&a->result.summary, &b->result.summary));
    assert_true(same_number(a->result.gpu_seconds, b->result.gpu_seconds));
    assert_true(same_number(a->result.mfu, b->result.mfu) && same_number(a->result.busy, b->result.busy));
}

/* Two short days. */
#define SWINGING                                                                                             \
    "{arrivals: {process: gamma, cv: 1.5, rate_per_s: 12, swing: 0.95, swing_period_s: 200}, "               \
    "prompt_tokens: "                                                                                        \
    "{distribution: lognormal, mean: 900, sd: 900, max: 8000}, output_tokens: {distribution: geometric, "    \
    "mean: "                                                                                                 \
    "120}, end_s: 400}"
#define CLOSED                                                                                               \
    "{arrivals: {process: closed_loop, clients: 60, think_s: {distribution: uniform, min: 0, max: 8}}, "     \
    "prompt_tokens: 900, output_tokens: {distribution: geometric, mean: 120}, requests: 3000}"
#define COMMON "max_replicas: 6, min_replicas: 1, startup_s: 20, interval_s: 5, scale_down_delay_s: 15"

static void every_policy(void **state)
{
    (void)state;
    static const struct {
        const char *policy, *settings;
        bool moves;
    } cases[] = {
        {"fixed", "{policy: fixed, " COMMON "}", false},
        {"target_queue", "{policy: target_queue, target_requests: 6, " COMMON "}", true},
        {"target_queue, waiting",
         "{policy: target_queue, waiting_only: true, target_requests: 0.2, " COMMON "}", true},
        {"target_utilization, sequences",
         "{policy: target_utilization, target_utilization: 0.03, " COMMON "}", true},
        {"target_utilization, kv_cache",
         "{policy: target_utilization, metric: kv_cache, target_utilization: 0.005, " COMMON "}", true},
        {"target_utilization, busy",
         "{policy: target_utilization, metric: busy, target_utilization: 0.5, " COMMON "}", true},
        {"schedule",
         "{policy: schedule, schedule: [{at_s: 40, replicas: 5}, {at_s: 150, replicas: 1}], period_s: "
         "200, " COMMON "}",
         true},
        {"predictive", "{policy: predictive, target_tokens_per_s: 4000, " COMMON "}", true},
    };
    static const char *const workloads[] = {SWINGING, CLOSED};
    bool covered = true;
    for (size_t p = 0; km_scaling_registry[p]; p++) {
        bool found = false;
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
            found = found || strncmp(cases[c].policy, km_scaling_registry[p]->name,
                                     strlen(km_scaling_registry[p]->name)) == 0;
        covered = covered && found;
    }
    assert_true(covered); /* a new policy needs a case */
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t w = 0; w < 2; w++) {
            struct outcome fast, single;
            const char *router = km_routing_registry[(2 * c + w) % 5]->name;
            char name[80];
            const struct km_override overrides[] = {{"workload", workloads[w]},
                                                    {"autoscaling", cases[c].settings},
                                                    {"cluster.replicas", "2"},
                                                    {"cluster.router", router},
                                                    {"slo", "{}"}};
            snprintf(name, sizeof name, "%s, %s, workload %zu", cases[c].policy, router, w);
            run(overrides, 5, true, &fast);
            run(overrides, 5, false, &single);
            assert_whole(name, &fast, 1, 6);
            assert_same(name, &fast, &single);
            assert_true(fast.result.simulation.work.events < single.result.simulation.work.events);
            const struct km_group_result *g = &fast.result.simulation.groups[0];
            if (w == 0 && cases[c].moves && !(g->scale_ups > 0 && g->scale_downs > 0))
                fail_msg("%s: %llu ups, %llu downs", name, (unsigned long long)g->scale_ups,
                         (unsigned long long)g->scale_downs);
            if (!cases[c].moves)
                assert_int_equal(g->scale_ups + g->scale_downs, 0);
            forget(&fast);
            forget(&single);
        }
}

/* A request every 10 s, of less than a second, until 300 s. Two replicas at first, four ordered at 100 s,
 * which serve at 120 s, one from 200 s on. Paid: 0 to 100 two, 100 to 200 four, from 200 on one, all idle
 * when they are to go, so at once. */
static void schedule_by_hand(void **state)
{
    (void)state;
    struct outcome o;
    const struct km_override overrides[] = {
        {"workload",
         "{arrivals: {process: constant, rate_per_s: 0.1}, prompt_tokens: 100, output_tokens: 20, "
         "requests: 31}"},
        {"autoscaling",
         "{policy: schedule, schedule: [{at_s: 0, replicas: 2}, {at_s: 100, replicas: 4}, {at_s: "
         "195, replicas: 1}], max_replicas: 4, startup_s: 20}"},
        {"cluster.replicas", "2"},
    };
    static const struct {
        double at_s;
        uint32_t starting, serving, draining;
    } expected[] = {{0, 0, 2, 0},   {100, 1, 2, 0}, {100, 2, 2, 0}, {120, 1, 3, 0},
                    {120, 0, 4, 0}, {195, 0, 3, 1}, {195, 0, 3, 0}, {195, 0, 2, 1},
                    {195, 0, 2, 0}, {195, 0, 1, 1}, {195, 0, 1, 0}};
    run(overrides, 3, true, &o);
    assert_int_equal(o.count, 31);
    assert_int_equal(o.size_count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < o.size_count; i++) {
        assert_int_equal(o.sizes[i].now_ps, km_ps_from_s(expected[i].at_s));
        assert_int_equal(o.sizes[i].starting, expected[i].starting);
        assert_int_equal(o.sizes[i].serving, expected[i].serving);
        assert_int_equal(o.sizes[i].draining, expected[i].draining);
    }
    double duration_s = o.result.summary.duration_s;
    assert_true(duration_s > 300 && duration_s < 301);
    const struct km_group_result *g = &o.result.simulation.groups[0];
    assert_true(fabs(g->replica_seconds - (2 * 100 + 4 * 95 + duration_s - 195)) < 1e-6);
    assert_int_equal(g->least_replicas, 1);
    assert_int_equal(g->most_replicas, 4);
    assert_int_equal(g->scale_ups, 2);
    assert_int_equal(g->scale_downs, 3);
    assert_served("schedule", &o);
    forget(&o);
}

/* What is ordered and given up before it served is paid for that long, and never served anybody; the one that
 * drains is paid until its request ends. */
static void given_up_and_drained(void **state)
{
    (void)state;
    struct outcome o;
    const struct km_override overrides[] = {
        {"workload",
         "{arrivals: {process: constant, rate_per_s: 0.5}, prompt_tokens: 100, output_tokens: 1000, "
         "requests: 2}"},
        {"autoscaling", "{policy: schedule, schedule: [{at_s: 1, replicas: 3}, {at_s: 3, replicas: 1}], "
                        "max_replicas: 4, startup_s: 20}"},
        {"cluster.replicas", "2"},
    };
    run(overrides, 3, true, &o);
    assert_int_equal(o.replica_count, 3);
    assert_int_equal(o.replicas[0].completed, 0); /* the third: from 1 s to 3 s */
    assert_int_equal(o.replicas[0].start_ps, km_ps_from_s(1));
    assert_int_equal(o.replicas[0].end_ps, km_ps_from_s(3));
    /* Both others have a request; of equals the last drains. Its request came at 2 s and ends last. */
    assert_int_equal(o.replicas[1].completed, 1);
    assert_int_equal(o.replicas[2].completed, 1);
    for (size_t i = 1; i < 3; i++)
        assert_true(o.replicas[i].end_ps >= o.records[1].last_token_ps);
    assert_whole("given up", &o, 1, 3);
    forget(&o);
}

/* A replica that drains stays until its last batch is back, though its last client has given up: all steps that
 * were begun are counted. */
static void drained_by_clients(void **state)
{
    (void)state;
    const struct km_override overrides[] = {
        {"workload",
         "{arrivals: {process: constant, rate_per_s: 0.5}, prompt_tokens: 100, output_tokens: 2000, "
         "requests: 2, cancel: {share: 1, after_s: 5}}"},
        {"autoscaling",
         "{policy: schedule, schedule: [{at_s: 3, replicas: 1}], max_replicas: 2, startup_s: 20}"},
        {"cluster.replicas", "2"},
    };
    for (int fast_forward = 0; fast_forward < 2; fast_forward++) {
        struct outcome o;
        uint64_t steps = 0;
        run(overrides, 3, fast_forward, &o);
        assert_int_equal(o.result.summary.cancelled, 2);
        assert_int_equal(o.replica_count, 2);
        for (size_t i = 0; i < 2; i++)
            steps += o.replicas[i].steps;
        assert_int_equal(o.result.summary.steps, steps);
        assert_true(o.replicas[0].end_ps > km_ps_from_s(7)); /* its request came at 2 s */
        forget(&o);
    }
}

/* A draining replica does not wait to fill a batch: nobody comes any more. */
static void drains_partial_batches(void **state)
{
    (void)state;
    struct outcome fast, single;
    const struct km_override overrides[] = {
        {"workload", "{arrivals: {process: constant, rate_per_s: 1}, prompt_tokens: 100, output_tokens: 10, "
                     "requests: 300}"},
        {"autoscaling",
         "{policy: schedule, schedule: [{at_s: 50.5, replicas: 1}], max_replicas: 2, startup_s: 20}"},
        {"cluster.replicas", "2"},
        {"engine.batching.policy", "fixed"},
        {"engine.batching.batch_size", "20"},
    };
    run(overrides, 5, true, &fast);
    run(overrides, 5, false, &single);
    assert_whole("fixed batches", &fast, 1, 2);
    assert_same("fixed batches", &fast, &single);
    assert_int_equal(fast.replica_count, 2);
    assert_true(fast.replicas[0].completed > 20 && fast.replicas[0].completed < 30); /* of 51 by then */
    assert_true(km_s_from_ps(fast.replicas[0].end_ps) < 55);
    forget(&fast);
    forget(&single);
}

/* Only the stated group changes; the other one is as it was. */
static void one_group_of_two(void **state)
{
    (void)state;
    struct outcome o;
    const struct km_override overrides[] = {
        {"workload", SWINGING},
        {"cluster.groups", "[{device: a100-80g-sxm, replicas: 2}, {replicas: 1}]"},
        {"cluster.router", "least_outstanding"},
        {"autoscaling", "{policy: target_queue, group: 1, target_requests: 6, " COMMON "}"},
    };
    run(overrides, 4, true, &o);
    const struct km_group_result *g = o.result.simulation.groups;
    double end_s = o.result.summary.duration_s;
    assert_true(same_number(g[0].mean_replicas, 2.0) && g[0].scale_ups == 0);
    assert_true(g[1].scale_ups > 0 && g[1].most_replicas > 1 && g[1].least_replicas == 1);
    assert_true(fabs(o.result.gpu_seconds - 2 * end_s - g[1].replica_seconds) < 1e-6);
    assert_int_equal(g[0].completed + g[1].completed, o.result.summary.completed);
    forget(&o);
}

/* It is worth it: a fleet that follows the swing costs less than one for the peak, and more of them are good
 * than with a fleet of the same size on average. */
static void it_is_worth_it(void **state)
{
    (void)state;
    struct outcome elastic, peak, lean;
    const char *day =
        "{arrivals: {process: poisson, rate_per_s: 20, swing: 0.9, swing_period_s: 3600}, "
        "prompt_tokens: 1000, output_tokens: {distribution: geometric, mean: 200}, end_s: 3600}";
    struct km_override overrides[] = {
        {"workload", day},
        {"slo", "{ttft_p99_s: 0.5, tpot_p99_s: 0.02}"},
        {"engine.batching.max_num_seqs", "48"},
        {"cluster.router", "least_outstanding"},
        {"cluster.replicas", "1"},
        {"autoscaling", "{policy: target_queue, target_requests: 20, max_replicas: 6, startup_s: 30}"},
    };
    run(overrides, 6, true, &elastic);
    overrides[4].value = "4";
    run(overrides, 5, true, &peak);
    overrides[4].value = "2"; /* rounded up from the mean of the elastic one, or less */
    run(overrides, 5, true, &lean);
    assert_true(elastic.result.simulation.groups[0].mean_replicas < 3.2);
    assert_true(elastic.result.gpu_seconds < 0.8 * peak.result.gpu_seconds);
    assert_true(elastic.result.summary.goodput_per_s > lean.result.summary.goodput_per_s);
    forget(&elastic);
    forget(&peak);
    forget(&lean);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy),           cmocka_unit_test(schedule_by_hand),
        cmocka_unit_test(given_up_and_drained),   cmocka_unit_test(drained_by_clients),
        cmocka_unit_test(drains_partial_batches), cmocka_unit_test(one_group_of_two),
        cmocka_unit_test(it_is_worth_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
