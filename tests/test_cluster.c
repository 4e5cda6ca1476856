/* Fleets of several replicas: theory where it is exact, replicas that differ, fast-forward, conservation. */
#include "base/memory.h"
#include "base/simtime.h"
#include "routing/routing.h"
#include "scenario/fleet.h"
#include "support/play.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- one request at a time: queueing theory ------------------------------------------------------------- */

/* A prefill of 100 tokens takes 2 ms, a decode 1.01 ms: with 9 output tokens a request is served for 10.08
 * ms.
 */
static const struct synthetic engine = {.step_ps = 1000000000, .token_ps = 10000000};
#define SERVICE_S 10.08e-3

static void simulate(const char *router, uint32_t replicas, double load, uint64_t requests, uint64_t seed,
                     struct km_summary *summary, struct km_simulation_result *result)
{
    struct synthetic synthetic = engine;
    struct km_metrics *metrics = km_metrics_create(&(struct km_metrics_settings){0});
    const struct km_workload_settings workload = {
        .process = KM_ARRIVAL_POISSON,
        .rate_per_s = load * replicas / SERVICE_S,
        .prompt_tokens = {.kind = KM_DIST_CONSTANT, .value = 100},
        .output_tokens = {.kind = KM_DIST_CONSTANT, .value = 9},
        .has_prompt_tokens = true,
        .has_output_tokens = true,
        .prompt_tokens_scale = 1.0,
        .output_tokens_scale = 1.0,
        .requests = requests,
        .rate_scale = 1.0,
    };
    const struct km_simulation_group group = {
        .replica = {.policy = km_batching_find("continuous"),
                    .batching = {.max_num_seqs = 1,
                                 .max_num_batched_tokens = 8192,
                                 .enable_chunked_prefill = true},
                    .kv_manager = km_kv_find("paged"),
                    .kv = {.capacity_blocks = 1 << 10, .block_size = 16, .max_model_len = 1 << 14},
                    .executor = &synthetic_lines,
                    .executor_state = &synthetic,
                    .pace.stages = 1,
                    .fast_forward = true,
                    .patience_ps = KM_PS_NEVER},
        .replicas = replicas,
    };
    const struct km_simulation_config config = {.workload = &workload,
                                                .seed = seed,
                                                .groups = &group,
                                                .group_count = 1,
                                                .router = km_routing_find(router),
                                                .metrics = metrics};
    struct km_error error;
    if (km_simulation_run(&config, result, &error) != KM_OK)
        fail_msg("%s", error.message);
    km_metrics_summarize(metrics, summary);
    km_metrics_destroy(metrics);
    assert_int_equal(summary->completed, requests);
    assert_int_equal(result->groups[0].completed, requests);
}

/* Poisson arrivals split at random are Poisson again: every replica is an M/D/1 queue. Mean wait by Pollaczek
 * and Khinchine (Kleinrock 1975, Queueing Systems I, section 5.7): load S / (2 (1 - load)). */
static void random_splits_poisson(void **state)
{
    (void)state;
    static const double loads[] = {0.3, 0.5, 0.7};
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        struct km_summary summary;
        struct km_simulation_result result;
        double theory_s = loads[i] * SERVICE_S / (2 * (1 - loads[i]));
        simulate("random", 5, loads[i], 100000, 11, &summary, &result);
        const struct km_latency_summary *delay = &summary.latency[KM_QUEUEING_DELAY];
        if (!(delay->ci95_s <= 0.1 * theory_s) || fabs(delay->mean_s - theory_s) > delay->ci95_s)
            fail_msg("load %g: %g +- %g s, theory %g s", loads[i], delay->mean_s, delay->ci95_s, theory_s);
        /* Five busy servers of equal share: load is what was asked for. */
        assert_true(fabs(result.work.busy_s / (5 * summary.duration_s) - loads[i]) < 0.02 * loads[i]);
    }
}

/* The more a router knows of the counts, the shorter the wait; sessions (of which there are none) are as good
 * as random. Taking turns is better than random, too: it makes arrivals more regular. */
static void routers_by_what_they_know(void **state)
{
    (void)state;
    const char *const order[] = {"random", "power_of_two", "least_outstanding"};
    double wait_s[3], half_s[3];
    struct km_summary summary;
    struct km_simulation_result result;
    for (size_t i = 0; i < 3; i++) {
        simulate(order[i], 8, 0.7, 80000, 3, &summary, &result);
        wait_s[i] = summary.latency[KM_QUEUEING_DELAY].mean_s;
        half_s[i] = summary.latency[KM_QUEUEING_DELAY].ci95_s;
    }
    for (size_t i = 1; i < 3; i++)
        if (!(wait_s[i] + half_s[i] < wait_s[i - 1] - half_s[i - 1]))
            fail_msg("%s waits %g +- %g s, %s %g +- %g s", order[i - 1], wait_s[i - 1], half_s[i - 1],
                     order[i], wait_s[i], half_s[i]);
    simulate("round_robin", 8, 0.7, 80000, 3, &summary, &result);
    assert_true(summary.latency[KM_QUEUEING_DELAY].mean_s < 0.5 * wait_s[0]);
    simulate("session", 8, 0.7, 80000, 3, &summary, &result);
    assert_true(fabs(summary.latency[KM_QUEUEING_DELAY].mean_s - wait_s[0]) < 0.1 * wait_s[0]);
}

/* --- scenarios with groups ------------------------------------------------------------------------------ */

#define MIXED                                                                                                \
    "[{device: h100-sxm, replicas: 2, engine: {kv: {num_gpu_blocks_override: 600}}}, "                       \
    "{tensor_parallel_size: 2}, {device: a100-80g-sxm, replicas: 2, engine: {batching: {max_num_seqs: "      \
    "16}}}]"
#define OPEN                                                                                                 \
    "{arrivals: {process: poisson, rate_per_s: 40}, prompt_tokens: {distribution: lognormal, mean: 1000, "   \
    "sd: 1500, max: 12000}, output_tokens: {distribution: geometric, mean: 60}, requests: 1500}"
#define CLOSED                                                                                               \
    "{arrivals: {process: closed_loop, clients: 90, think_s: {distribution: uniform, min: 0, max: 0.5}}, "   \
    "prompt_tokens: {distribution: lognormal, mean: 1000, sd: 1500, max: 12000}, "                           \
    "output_tokens: {distribution: geometric, mean: 60}, requests: 1500}"
#define SESSIONS "{trace: " KM_SOURCE_DIR "/traces/sessions-synthetic.csv, rate_scale: 5}"

struct outcome {
    struct km_record *records;
    enum km_outcome *outcomes;
    size_t count, capacity, outcome_capacity;
    struct km_replica_result replicas[64];
    size_t replica_count;
    struct km_run_result result;
};

static void collect(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct outcome *o = context;
    o->records = km_grow(o->records, &o->capacity, o->count + 1, sizeof *o->records);
    o->outcomes = km_grow(o->outcomes, &o->outcome_capacity, o->count + 1, sizeof *o->outcomes);
    o->outcomes[o->count] = outcome;
    o->records[o->count] = *record;
    o->records[o->count++].label = NULL;
}

static void collect_replica(void *context, const struct km_replica_result *result)
{
    struct outcome *o = context;
    assert_true(o->replica_count < 64);
    o->replicas[o->replica_count++] = *result;
}

static void run(const struct km_override *overrides, size_t count, bool fast_forward, struct outcome *out)
{
    struct km_error error;
    struct km_scenario scenario;
    struct km_fleet fleet;
    char line[600];
    *out = (struct outcome){0};
    const struct km_run_options options = {
        .fast_forward = fast_forward, .ended = collect, .replica_ended = collect_replica, .context = out};
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
    free(o->outcomes);
}

/* What came in went out, once; groups and replicas add up to the whole. */
static void assert_conserved(const char *name, const struct outcome *o)
{
    const struct km_run_result *r = &o->result;
    const struct km_simulation_result *s = &r->simulation;
    uint64_t completed = 0, tokens = 0, steps = 0, replica_completed = 0, replica_steps = 0;
    double gpu_s = 0.0, paid_s = 0.0, replica_s = 0.0;
    if (r->summary.submitted != r->summary.completed + r->summary.rejected)
        fail_msg("%s: of %llu requests %llu completed and %llu were rejected", name,
                 (unsigned long long)r->summary.submitted, (unsigned long long)r->summary.completed,
                 (unsigned long long)r->summary.rejected);
    assert_int_equal(o->count, r->summary.submitted);
    assert_int_equal(s->unserved, 0);
    assert_int_equal(s->used_blocks, 0);
    for (uint32_t g = 0; g < s->group_count; g++) {
        completed += s->groups[g].completed;
        tokens += s->groups[g].output_tokens;
        steps += s->groups[g].work.steps;
        gpu_s += r->groups[g].gpu_seconds;
        paid_s += s->groups[g].replica_seconds;
        assert_true(r->groups[g].utilization.busy <= 1 + 1e-12 && r->groups[g].utilization.busy >= 0);
    }
    for (size_t i = 0; i < o->replica_count; i++) {
        replica_completed += o->replicas[i].completed;
        replica_steps += o->replicas[i].steps;
        replica_s += km_s_from_ps(o->replicas[i].end_ps - o->replicas[i].start_ps);
    }
    assert_int_equal(completed, r->summary.completed);
    assert_int_equal(tokens, r->summary.output_tokens);
    assert_int_equal(steps, s->work.steps);
    assert_int_equal(replica_completed, completed);
    assert_int_equal(replica_steps, steps);
    assert_true(fabs(gpu_s - r->gpu_seconds) < 1e-9 * gpu_s);
    assert_true(fabs(paid_s - replica_s) < 1e-9 * paid_s);
}

static bool same_number(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void assert_same(const char *name, const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        if (a->outcomes[i] != b->outcomes[i] || !same_record(&a->records[i], &b->records[i]))
            fail_msg("%s: end %zu is of request %llu on replica %u, or of %llu on %u", name, i,
                     (unsigned long long)a->records[i].id, a->records[i].replica,
                     (unsigned long long)b->records[i].id, b->records[i].replica);
    assert_true(same_summary(&a->result.summary, &b->result.summary));
    assert_int_equal(a->replica_count, b->replica_count);
    for (size_t i = 0; i < a->replica_count; i++) {
        assert_int_equal(a->replicas[i].steps, b->replicas[i].steps);
        assert_int_equal(a->replicas[i].start_ps, b->replicas[i].start_ps);
        assert_int_equal(a->replicas[i].end_ps, b->replicas[i].end_ps);
        assert_true(same_number(a->replicas[i].busy, b->replicas[i].busy));
    }
    for (uint32_t g = 0; g < a->result.simulation.group_count; g++) {
        const struct km_group_result *x = &a->result.simulation.groups[g],
                                     *y = &b->result.simulation.groups[g];
        assert_int_equal(x->completed, y->completed);
        assert_true(same_number(x->ttft.p99_s, y->ttft.p99_s) && same_number(x->e2e.mean_s, y->e2e.mean_s) &&
                    same_number(x->replica_seconds, y->replica_seconds));
        assert_true(same_number(a->result.groups[g].utilization.mfu, b->result.groups[g].utilization.mfu));
    }
    assert_true(same_number(a->result.mbu, b->result.mbu));
}

static void every_router_on_a_mixed_fleet(void **state)
{
    (void)state;
    static const char *const workloads[] = {OPEN, CLOSED, SESSIONS};
    for (size_t r = 0; km_routing_registry[r]; r++)
        for (size_t w = 0; w < 3; w++) {
            char name[60];
            struct outcome fast, single;
            const struct km_override overrides[] = {{"cluster.groups", MIXED},
                                                    {"cluster.router", km_routing_registry[r]->name},
                                                    {"workload", workloads[w]},
                                                    {"slo", "{}"}};
            snprintf(name, sizeof name, "%s, workload %zu", km_routing_registry[r]->name, w);
            run(overrides, 4, true, &fast);
            run(overrides, 4, false, &single);
            assert_int_equal(fast.replica_count, 5);
            assert_conserved(name, &fast);
            assert_same(name, &fast, &single);
            assert_true(fast.result.simulation.work.events < single.result.simulation.work.events);
            forget(&fast);
            forget(&single);
        }
}

/* 600 blocks of 16 tokens hold no request of more than 9,600 tokens: those go to the other groups, and nobody
 * is rejected. Of a fleet of such replicas alone they are. */
static void requests_go_where_they_fit(void **state)
{
    (void)state;
    for (size_t r = 0; km_routing_registry[r]; r++) {
        struct outcome o;
        struct km_override overrides[] = {
            {"cluster.groups", MIXED}, {"cluster.router", km_routing_registry[r]->name}, {"workload", OPEN}};
        uint64_t beyond = 0;
        run(overrides, 3, true, &o);
        assert_int_equal(o.result.summary.rejected, 0);
        for (size_t i = 0; i < o.count; i++) {
            bool too_long = o.records[i].prompt_tokens + o.records[i].output_tokens > 9600;
            beyond += too_long;
            if (too_long && o.records[i].replica < 2)
                fail_msg("%s: a request of %u tokens on replica %u", overrides[1].value,
                         o.records[i].prompt_tokens, o.records[i].replica);
        }
        assert_true(beyond > 3);
        forget(&o);
        overrides[0].value = "[{replicas: 2, engine: {kv: {num_gpu_blocks_override: 600}}}]";
        run(overrides, 3, true, &o);
        assert_int_equal(o.result.summary.rejected, beyond);
        assert_conserved(overrides[1].value, &o);
        forget(&o);
    }
}

/* One group is what no groups are, to the bit; so are two equal groups, up to what is told of groups. */
static void equal_groups_are_no_groups(void **state)
{
    (void)state;
    struct outcome plain, one, two;
    const struct km_override none[] = {{"workload", OPEN}, {"cluster.replicas", "4"}};
    const struct km_override single[] = {{"workload", OPEN}, {"cluster.groups", "[{replicas: 4}]"}};
    const struct km_override pair[] = {{"workload", OPEN},
                                       {"cluster.groups", "[{replicas: 3}, {replicas: 1}]"}};
    run(none, 2, true, &plain);
    run(single, 2, true, &one);
    run(pair, 2, true, &two);
    assert_same("one group", &plain, &one);
    assert_int_equal(plain.count, two.count);
    for (size_t i = 0; i < plain.count; i++)
        assert_true(same_record(&plain.records[i], &two.records[i]));
    assert_true(same_summary(&plain.result.summary, &two.result.summary));
    assert_true(fabs(plain.result.mfu - two.result.mfu) < 1e-12 &&
                fabs(plain.result.mbu - two.result.mbu) < 1e-12);
    /* A fixed fleet is paid from the first arrival to the last completion. */
    assert_true(same_number(plain.result.simulation.groups[0].mean_replicas, 4.0));
    assert_true(fabs(plain.result.gpu_seconds - 4 * plain.result.summary.duration_s) < 1e-9);
    forget(&plain);
    forget(&one);
    forget(&two);
}

/* MFU of a mixed fleet: FLOPs of all over peaks of all, each device its own. */
static void utilization_of_a_mixed_fleet(void **state)
{
    (void)state;
    struct outcome o;
    const struct km_override overrides[] = {
        {"workload", OPEN}, {"cluster.groups", "[{device: h100-sxm}, {device: a100-80g-sxm, replicas: 2}]"}};
    run(overrides, 2, true, &o);
    struct km_error error;
    struct km_scenario scenario;
    assert_int_equal(
        km_scenario_read(KM_SOURCE_DIR "/configs/quickstart.yaml", overrides, 2, &scenario, &error), KM_OK);
    assert_int_equal(km_scenario_group_count(&scenario), 2);
    double done = 0.0, peaks = 0.0, busy_s = 0.0;
    for (uint32_t g = 0; g < 2; g++) {
        const struct km_scenario *group = km_scenario_group(&scenario, g);
        double peak = group->device.peak_flops_per_s[KM_BF16] * group->cluster.replicas;
        done += o.result.groups[g].utilization.mfu * peak;
        peaks += peak;
        busy_s += o.result.groups[g].utilization.busy * group->cluster.replicas;
    }
    assert_true(fabs(o.result.mfu - done / peaks) < 1e-12);
    assert_true(fabs(o.result.busy - busy_s / 3) < 1e-12);
    assert_string_equal(km_scenario_group(&scenario, 1)->device.name, "a100-80g-sxm");
    assert_int_equal(km_scenario_group(&scenario, 1)->group_count, 0);
    km_scenario_release(&scenario);
    forget(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_splits_poisson),         cmocka_unit_test(routers_by_what_they_know),
        cmocka_unit_test(every_router_on_a_mixed_fleet), cmocka_unit_test(requests_go_where_they_fit),
        cmocka_unit_test(equal_groups_are_no_groups),    cmocka_unit_test(utilization_of_a_mixed_fleet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
