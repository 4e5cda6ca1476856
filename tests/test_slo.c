/* SLO terms of all requests and of classes, goodput, deadlines: by hand through the metrics, and through
 * whole scenarios. */
#include "base/random.h"
#include "base/simtime.h"
#include "metrics/metrics.h"
#include "scenario/fleet.h"
#include "support/play.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MS 1000000000ULL

/* A request of `class_index` that arrives at `at` ms, yields its first token `ttft` ms later and then one
 * every `tpot` ms. */
static void serve(struct km_metrics *m, uint32_t class_index, uint64_t at, uint64_t ttft, uint64_t tpot,
                  uint32_t tokens)
{
    struct km_record r = {.arrival_ps = at * MS,
                          .scheduled_ps = at * MS,
                          .started_ps = at * MS,
                          .first_token_ps = (at + ttft) * MS,
                          .last_token_ps = (at + ttft + tpot * (tokens - 1)) * MS,
                          .prompt_tokens = 100,
                          .output_tokens = tokens,
                          .class_index = class_index};
    km_metrics_request(m, KM_COMPLETED, &r, r.last_token_ps);
}

static void reject(struct km_metrics *m, uint32_t class_index, uint64_t at)
{
    struct km_record r = {.arrival_ps = at * MS, .class_index = class_index};
    km_metrics_request(m, KM_REJECTED, &r, at * MS);
}

static void terms_by_hand(void **state)
{
    (void)state;
    static const struct {
        struct km_slo_term term;
        const char *name;
        double value;
        bool attained;
        uint64_t within, count, requests;
    } want[] = {
        /* TTFT 10, 20, 30 (chat), 200, 400 (batch) */
        {{KM_TTFT, 0.6, 0.030, false, ""}, "ttft_p60_s", 0.030, true, 3, 5, 6},
        {{KM_TTFT, 0.99, 0.030, true, "chat"}, "classes.chat.ttft_p99_s", 0.030, true, 3, 3, 3},
        {{KM_TTFT, -1, 0.019, true, "chat"}, "classes.chat.ttft_mean_s", 0.020, false, 1, 3, 3},
        {{KM_TTFT, 0.5, 0.2, true, "batch"}, "classes.batch.ttft_p50_s", 0.2, true, 1, 2, 3},
        {{KM_TPOT, 0.9, 0.001, true, "single"}, "classes.single.tpot_p90_s", NAN, false, 0, 0, 0},
        /* good: chat 10 and batch 200 alone are within 30 ms (chat), 19 ms (chat), 200 ms (batch), 30 ms
           (all) */
        {{KM_SLO_GOODPUT, 0, 1.0, false, ""}, "min_goodput_per_s", 1, true, 1, 6, 6},
        {{KM_SLO_GOODPUT, 0, 1.5, true, "chat"}, "classes.chat.min_goodput_per_s", 1, false, 1, 3, 3},
        {{KM_SLO_DEADLINE, 0, 2.0, false, ""}, "deadline_s", 1.0, false, 5, 6, 6},
        {{KM_SLO_DEADLINE, 0, 0.5, true, "chat"}, "classes.chat.deadline_s", 0.3, true, 3, 3, 3},
        {{KM_SLO_DEADLINE, 0, 2.0, true, "batch"}, "classes.batch.deadline_s", 1.0, false, 2, 3, 3},
        {{KM_E2E, 0.5, 9, true, "nobody"}, "classes.nobody.e2e_p50_s", NAN, false, 0, 0, 0},
        /* batch answers for itself: 1 of its 3 is rejected; of the other 3 none is */
        {{KM_SLO_REJECTED_SHARE, 0, 0, false, ""}, "max_rejected_share", 0, true, 3, 3, 6},
        {{KM_SLO_REJECTED_SHARE, 0, 0.33, true, "batch"},
         "classes.batch.max_rejected_share",
         1.0 / 3,
         false,
         2,
         3,
         3},
        {{KM_SLO_ABANDONED_SHARE, 0, 0, false, ""}, "max_abandoned_share", 0, true, 6, 6, 6},
        {{KM_SLO_ABANDONED_SHARE, 0, 1, true, "nobody"},
         "classes.nobody.max_abandoned_share",
         NAN,
         false,
         0,
         0,
         0},
    };
    enum { COUNT = sizeof want / sizeof want[0] };
    struct km_slo_term terms[COUNT];
    for (int i = 0; i < COUNT; i++)
        terms[i] = want[i].term;
    struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){terms, COUNT});
    km_metrics_class(m, 1, "batch");
    km_metrics_class(m, 2, "chat");
    for (int i = 0; i < 6; i++)
        km_metrics_arrival(m, 5000 * MS); /* not 0: deadlines and durations count from the first arrival */
    serve(m, 2, 5000, 10, 10, 5);
    serve(m, 2, 5000, 20, 10, 5);
    serve(m, 2, 5000, 30, 90, 4);
    serve(m, 1, 5000, 200, 10, 5);
    serve(m, 1, 5000, 400, 60, 11);
    reject(m, 1, 6000);
    struct km_summary s;
    km_metrics_summarize(m, &s);
    km_metrics_destroy(m);
    assert_true(s.duration_s == 1.0);
    assert_int_equal(s.slo_count, COUNT);
    assert_false(s.slo_attained);
    for (int i = 0; i < COUNT; i++) {
        const struct km_slo_outcome *o = &s.slo[i];
        char name[80];
        km_slo_term_name(&o->term, name, sizeof name);
        assert_string_equal(name, want[i].name);
        if (isnan(want[i].value) ? !isnan(o->value)
                                 : !(fabs(o->value - want[i].value) <= 1e-3 * want[i].value))
            fail_msg("%s: %g, expected %g", name, o->value, want[i].value);
        if (o->attained != want[i].attained || o->within != want[i].within || o->count != want[i].count ||
            o->requests != want[i].requests)
            fail_msg("%s: attained %d, %d of %d within, %d requests", name, o->attained, (int)o->within,
                     (int)o->count, (int)o->requests);
    }
    assert_int_equal(s.class_count, 2);
    assert_string_equal(s.classes[0].name, "batch");
    assert_string_equal(s.classes[1].name, "chat");
    assert_int_equal(s.classes[0].rejected, 1);
    assert_int_equal(s.classes[1].output_tokens, 14);
}

static void leave(struct km_metrics *m, uint32_t class_index, uint64_t at)
{
    struct km_record r = {.arrival_ps = at * MS, .class_index = class_index};
    km_metrics_request(m, KM_ABANDONED, &r, at * MS);
}

/* Shares of requests that go unserved, at their limits: of `completed` + `rejected` + `abandoned`. */
static void unserved_shares(void **state)
{
    (void)state;
    static const struct {
        int completed, rejected, abandoned;
        double most_rejected, most_abandoned;
        bool met;
    } cases[] = {
        {40, 60, 0, 0, 0, false},   {100, 0, 0, 0, 0, true},      {99, 1, 0, 0, 1, false},
        {99, 0, 1, 1, 0, false},    {94, 6, 0, 0.06, 0, true}, /* 0.06 * 100 = 6 */
        {93, 7, 0, 0.06, 0, false}, {93, 0, 7, 0, 0.07, true}, /* 0.07 * 100 = 7.000000000000001 */
        {71, 29, 0, 0.29, 0, true},                            /* 0.29 * 100 = 28.999999999999996 */
        {19, 0, 1, 0, 0.05, true},  {18, 1, 1, 0.05, 0.05, true}, {18, 0, 2, 0, 0.05, false},
        {0, 10, 0, 1, 0, false}, /* allowed, but nobody was served */
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const struct km_slo_term terms[] = {{KM_TTFT, 0.5, 1, false, ""},
                                            {KM_SLO_REJECTED_SHARE, 0, cases[c].most_rejected, false, ""},
                                            {KM_SLO_ABANDONED_SHARE, 0, cases[c].most_abandoned, false, ""}};
        struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){terms, 3});
        const uint64_t rejected = (uint64_t)cases[c].rejected, lost = rejected + (uint64_t)cases[c].abandoned,
                       all = lost + (uint64_t)cases[c].completed;
        for (uint64_t i = 0; i < all; i++) {
            km_metrics_arrival(m, i * MS);
            if (i < rejected)
                reject(m, 0, i);
            else if (i < lost)
                leave(m, 0, i);
            else
                serve(m, 0, i, 10, 10, 2);
        }
        struct km_summary s;
        km_metrics_summarize(m, &s);
        km_metrics_destroy(m);
        if (s.slo_attained != cases[c].met)
            fail_msg("case %zu: SLO %s", c, s.slo_attained ? "met" : "missed");
        assert_true(s.slo[1].value == (double)rejected / (double)all);
        assert_true(s.slo[2].value == (double)cases[c].abandoned / (double)all);
        assert_int_equal(s.slo[1].within, all - rejected);
    }
}

/* Requests without a class that ended before the first class was named count as their own class. */
static void classes_named_late(void **state)
{
    (void)state;
    struct km_summary late, early;
    for (int at_once = 0; at_once < 2; at_once++) {
        struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){0});
        if (at_once)
            km_metrics_class(m, 1, "chat");
        for (uint64_t i = 0; i < 300; i++) {
            if (i == 200 && !at_once)
                km_metrics_class(m, 1, "chat");
            km_metrics_arrival(m, i * MS);
            serve(m, i >= 200 && i % 2, i, 5 + i % 7, 2, 1 + (uint32_t)i % 3);
        }
        km_metrics_summarize(m, at_once ? &early : &late);
        km_metrics_destroy(m);
    }
    assert_int_equal(late.class_count, 2);
    assert_string_equal(late.classes[0].name, "");
    assert_int_equal(late.classes[0].completed, 250);
    assert_int_equal(late.classes[1].completed, 50);
    assert_true(same_summary(&late, &early));
}

/* More classes than are kept: those of SLO terms always are, of the others the first. */
static void many_classes(void **state)
{
    (void)state;
    static const struct km_slo_term term = {KM_TTFT, 0.5, 1, true, "class 99"};
    struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){&term, 1});
    for (uint32_t i = 1; i < 100; i++) {
        char name[20];
        snprintf(name, sizeof name, "class %u", i);
        km_metrics_class(m, i, name);
    }
    for (uint32_t i = 0; i < 100; i++) {
        km_metrics_arrival(m, i * MS);
        serve(m, i, i, 10, 10, 2);
    }
    struct km_summary s;
    km_metrics_summarize(m, &s);
    km_metrics_destroy(m);
    assert_int_equal(s.class_count, KM_MAX_CLASSES);
    assert_int_equal(s.classes_left_out, 100 - KM_MAX_CLASSES);
    assert_string_equal(s.classes[0].name, "");
    assert_string_equal(s.classes[KM_MAX_CLASSES - 1].name, "class 99");
    assert_true(s.slo_attained && s.slo[0].count == 1);
}

/* The classes partition the requests, whatever the order: counts and token totals add up, the worst of the
 * classes is the worst of all. */
static void classes_add_up(void **state)
{
    (void)state;
    gsl_rng *rng = km_random_stream(7, KM_RANDOM_ARRIVALS);
    for (int round = 0; round < 50; round++) {
        struct km_metrics *m = km_metrics_create(&(struct km_metrics_settings){0});
        uint32_t classes = 2 + (uint32_t)gsl_rng_uniform_int(rng, 10);
        for (uint32_t i = 1; i < classes; i++) {
            char name[20];
            snprintf(name, sizeof name, "c%u", i);
            km_metrics_class(m, i, name);
        }
        uint64_t n = 1 + gsl_rng_uniform_int(rng, 400);
        for (uint64_t i = 0; i < n; i++) {
            km_metrics_arrival(m, i * MS);
            uint32_t class_index = (uint32_t)gsl_rng_uniform_int(rng, classes);
            if (gsl_rng_uniform(rng) < 0.1)
                reject(m, class_index, i);
            else
                serve(m, class_index, i, gsl_rng_uniform_int(rng, 1000), gsl_rng_uniform_int(rng, 50),
                      1 + (uint32_t)gsl_rng_uniform_int(rng, 20));
        }
        struct km_summary s;
        km_metrics_summarize(m, &s);
        km_metrics_destroy(m);
        uint64_t ended = 0, output = 0, samples = 0;
        double max_s = 0;
        for (uint32_t i = 0; i < s.class_count; i++) {
            ended += s.classes[i].requests;
            output += s.classes[i].output_tokens;
            samples += s.classes[i].latency[KM_TPOT].count;
            max_s = fmax(max_s, s.classes[i].latency[KM_E2E].max_s);
        }
        if (s.class_count == 0) /* none but the nameless drew a request */
            continue;
        assert_int_equal(ended, s.submitted);
        assert_int_equal(output, s.output_tokens);
        assert_int_equal(samples, s.latency[KM_TPOT].count);
        if (s.completed)
            assert_true(max_s == s.latency[KM_E2E].max_s);
    }
    gsl_rng_free(rng);
}

/* --- scenarios ----------------------------------------------------------------------------------------- */

#define BASE KM_SOURCE_DIR "/tests/data/good-scenarios/weibull-constant.yaml"

static void section(void **state)
{
    (void)state;
    static const struct km_override override = {
        "slo", "{deadline_s: 3600, classes: {\"\": {min_goodput_per_s: 0.5}, chat: {ttft_p99.9_s: 1, "
               "tpot_mean_s: 2, max_rejected_share: 0.5}}, max_abandoned_share: 0.02, itl_p50_s: 0.1}"};
    /* The share that is not stated stands behind those of all requests. */
    static const struct km_slo_term want[] = {
        {KM_SLO_DEADLINE, 0, 3600, false, ""}, {KM_SLO_ABANDONED_SHARE, 0, 0.02, false, ""},
        {KM_ITL, 0.5, 0.1, false, ""},         {KM_SLO_REJECTED_SHARE, 0, 0, false, ""},
        {KM_SLO_GOODPUT, 0, 0.5, true, ""},    {KM_TTFT, 0.999, 1, true, "chat"},
        {KM_TPOT, -1, 2, true, "chat"},        {KM_SLO_REJECTED_SHARE, 0, 0.5, true, "chat"}};
    static const char json[] =
        "\"slo\": {\"deadline_s\": 3600, \"max_abandoned_share\": 0.02, \"itl_p50_s\": 0.1, "
        "\"max_rejected_share\": 0, \"classes\": {\"\": {\"min_goodput_per_s\": 0.5}, "
        "\"chat\": {\"ttft_p99.9_s\": 1, \"tpot_mean_s\": 2, \"max_rejected_share\": 0.5}}}";
    struct km_scenario s;
    struct km_error error = {0};
    if (km_scenario_read(BASE, &override, 1, &s, &error) != KM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(s.slo_count, 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(s.slo[i].metric, want[i].metric);
        assert_true(fabs(s.slo[i].quantile - want[i].quantile) < 1e-12 && s.slo[i].limit == want[i].limit);
        assert_int_equal(s.slo[i].of_class, want[i].of_class);
        assert_string_equal(s.slo[i].class_name, want[i].class_name);
    }
    struct km_text text = {0};
    km_scenario_write_json(&s, &text);
    assert_non_null(strstr(km_text_c(&text), json));
    km_text_release(&text);
    km_scenario_release(&s);
}

static void too_much(void **state)
{
    (void)state;
    char classes[2000] = "{classes: {", terms[2000] = "{", name[200] = "{classes: {";
    for (int i = 0; i <= KM_MAX_CLASSES; i++)
        snprintf(classes + strlen(classes), sizeof classes - strlen(classes), "c%d: {ttft_p50_s: 1}, ", i);
    for (int i = 0; i <= KM_MAX_SLO_TERMS; i++)
        snprintf(terms + strlen(terms), sizeof terms - strlen(terms), "ttft_p%d_s: 1, ", 10 + i);
    strcat(classes, "}}");
    strcat(terms, "}");
    for (int i = 0; i < 100; i++)
        strcat(name, "x");
    strcat(name, ": {}}}");
    const struct {
        const char *value, *message;
    } cases[] = {
        {classes, "slo.classes: at most 16 classes, got 17"},
        {terms, "slo.ttft_p42_s: at most 32 terms"},
        {name, "a class name has at most 63 bytes"},
        {"{classes: {chat: 1}}", "slo.classes.chat: expected a mapping such as {ttft_p99_s: 2.0}"},
        {"{class: {}}", "slo.class: unknown key; did you mean \"classes\"?"},
        {"{deadline_s: 5e6}", "slo.deadline_s: expected a number > 0 and ≤ 4600000, got \"5e6\""},
        {"{max_rejected_share: 1.5}", "slo.max_rejected_share: expected a number from 0 to 1, got \"1.5\""},
        {"{max_reject_share: 0}", "slo.max_reject_share: unknown key; did you mean \"max_rejected_share\"?"},
        {"{deadline_s: 1, classes: {a: {deadline_s: 1, deadline_s: 2}}}", "deadline_s: given twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct km_override override = {"slo", cases[i].value};
        struct km_scenario s;
        struct km_error error = {0};
        assert_int_equal(km_scenario_read(BASE, &override, 1, &s, &error), KM_BAD_INPUT);
        if (!strstr(error.message, cases[i].message))
            fail_msg("%s", error.message);
    }
}

static void write_trace(char *path)
{
    static const char *const names[] = {"", "chat", "batch"};
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    FILE *file = fdopen(descriptor, "w");
    gsl_rng *rng = km_random_stream(1, KM_RANDOM_ARRIVALS);
    fprintf(file, "arrival_s,prompt_tokens,output_tokens,class\n");
    for (int i = 0; i < 400; i++) /* classes appear while others are being served */
        fprintf(file, "%.3f,%lu,%lu,%s\n", i * 0.05, 1 + gsl_rng_uniform_int(rng, 2000),
                1 + gsl_rng_uniform_int(rng, 300), i < 20 ? "" : names[gsl_rng_uniform_int(rng, 3)]);
    gsl_rng_free(rng);
    fclose(file);
}

static void run_mode(const struct km_scenario *scenario, bool fast_forward, struct km_run_result *result)
{
    struct km_fleet fleet;
    struct km_error error = {0};
    const struct km_run_options options = {.fast_forward = fast_forward};
    assert_int_equal(km_fleet_create(scenario, &fleet, &error), KM_OK);
    assert_int_equal(km_fleet_run(&fleet, &scenario->workload, 1, &options, result, &error), KM_OK);
    km_fleet_release(&fleet);
}

/* A trace with classes, run in fast-forward and step by step: all bits agree, and the classes partition
 * requests and gaps. */
static void fast_forward_with_classes(void **state)
{
    (void)state;
    static const struct km_override variants[] = {
        {"seed", "1"},
        {"engine.batching.async_scheduling", "false"},
        {"engine.kv.num_gpu_blocks_override", "900"}, /* preemptions */
        {"cluster.pipeline_parallel_size", "2"},
        {"cluster.replicas", "3"},
        {"engine.batching.policy", "dynamic"},
        {"engine.batching.policy", "orca"},
        {"workload.arrivals", "{process: closed_loop, clients: 9}"},
        {"slo", "{}"},
    };
    char path[] = "/tmp/test_slo_XXXXXX";
    write_trace(path);
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        const struct km_override overrides[] = {
            {"cluster.device", "h200-sxm"},
            {"workload", "{}"},
            {"workload.trace", path},
            {"slo",
             "{ttft_p99_s: 1000, deadline_s: 1000, min_goodput_per_s: 0.01, classes: {chat: {ttft_p50_s: "
             "0.02, e2e_p95_s: 500, itl_p99_s: 100}, batch: {deadline_s: 15}, none: {ttft_p50_s: 1}}}"},
            variants[v]};
        struct km_scenario scenario;
        struct km_error error = {0};
        if (km_scenario_read(BASE, overrides, 5, &scenario, &error) != KM_OK)
            fail_msg("%s", error.message);
        struct km_run_result result[2];
        run_mode(&scenario, false, &result[0]);
        run_mode(&scenario, true, &result[1]);
        const struct km_summary *s = &result[0].summary;
        if (!same_summary(s, &result[1].summary))
            fail_msg("%s: %s: fast-forward differs", variants[v].key, variants[v].value);
        if (v == 0)
            assert_true(result[1].simulation.work.events < result[0].simulation.work.events);
        assert_int_equal(s->class_count, 3);
        uint64_t ended = 0, gaps = 0;
        double gap_s = 0;
        for (uint32_t i = 0; i < 3; i++) {
            ended += s->classes[i].requests;
            gaps += s->classes[i].latency[KM_ITL].count;
            gap_s += s->classes[i].latency[KM_ITL].mean_s * (double)s->classes[i].latency[KM_ITL].count;
        }
        assert_int_equal(ended, 400);
        if (gaps != s->latency[KM_ITL].count)
            fail_msg("%s: %s: %d gaps of %d", variants[v].key, variants[v].value, (int)gaps,
                     (int)s->latency[KM_ITL].count);
        assert_true(fabs(gap_s - s->latency[KM_ITL].mean_s * (double)gaps) <= 1e-9 * gap_s);
        if (s->slo_count == 0) {
            km_scenario_release(&scenario);
            continue;
        }
        assert_int_equal(s->slo_count, 10);
        for (uint32_t i = 0; i < 5; i++)
            assert_true(s->slo[i].attained);
        const struct km_slo_outcome *itl = &s->slo[7], *none = &s->slo[9];
        const struct km_class_summary *chat = &s->classes[strcmp(s->classes[1].name, "chat") == 0 ? 1 : 2];
        assert_string_equal(chat->name, "chat");
        assert_int_equal(itl->count, chat->latency[KM_ITL].count);
        assert_true(itl->attained && itl->within == itl->count && itl->count > 0);
        assert_int_equal(none->requests, 0);
        assert_false(none->attained || s->slo_attained);
        km_scenario_release(&scenario);
    }
    unlink(path);
}

/* An offline batch: everything arrives at 0, the deadline is the time of the last completion. */
static void at_once(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        const struct km_override overrides[] = {
            {"workload",
             "{arrivals: {process: at_once}, prompt_tokens: {distribution: uniform, min: 10, max: "
             "900}, output_tokens: 50, requests: 500, rate_scale: 7}"},
            {"slo", late ? "{deadline_s: 0.5}" : "{deadline_s: 3600}"}};
        struct km_scenario scenario;
        struct km_error error = {0};
        struct km_fleet fleet;
        struct km_run_result result;
        const struct km_run_options options = {.fast_forward = true};
        if (km_scenario_read(BASE, overrides, 2, &scenario, &error) != KM_OK)
            fail_msg("%s", error.message);
        assert_int_equal(km_fleet_create(&scenario, &fleet, &error), KM_OK);
        assert_int_equal(km_fleet_run(&fleet, &scenario.workload, 1, &options, &result, &error), KM_OK);
        const struct km_summary *s = &result.summary;
        assert_int_equal(s->completed, 500);
        assert_int_equal(s->peak_in_system, 500);
        assert_true(s->slo[0].value == s->duration_s && s->slo[0].value == s->latency[KM_E2E].max_s);
        assert_int_equal(s->slo[0].attained, !late);
        assert_true(late ? s->slo[0].within < 500 : s->slo[0].within == 500);
        km_fleet_release(&fleet);
        km_scenario_release(&scenario);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_by_hand),
        cmocka_unit_test(unserved_shares),
        cmocka_unit_test(classes_named_late),
        cmocka_unit_test(many_classes),
        cmocka_unit_test(classes_add_up),
        cmocka_unit_test(section),
        cmocka_unit_test(too_much),
        cmocka_unit_test(at_once),
        cmocka_unit_test(fast_forward_with_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
