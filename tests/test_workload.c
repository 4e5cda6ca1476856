#include "workload/workload.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "workload/arrival.h"
#include "workload/sessions.h"
#include "workload/trace/fit.h"

#include <gsl/gsl_math.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CONVERSATION KM_SOURCE_DIR "/traces/conversation-synthetic.csv"
#define SESSIONS     KM_SOURCE_DIR "/traces/sessions-synthetic.csv"

static struct km_workload_settings synthetic(enum km_arrival_process process, uint64_t requests)
{
    return (struct km_workload_settings){
        .process = process,
        .rate_per_s = 4,
        .cv = 2,
        .clients = 3,
        .think_s = {.kind = KM_DIST_CONSTANT, .value = 0.5},
        .has_prompt_tokens = true,
        .has_output_tokens = true,
        .prompt_tokens = {.kind = KM_DIST_LOGNORMAL, .mu = 6, .sigma = 1},
        .output_tokens = {.kind = KM_DIST_GEOMETRIC, .mean = 100},
        .requests = requests,
        .rate_scale = 1,
    };
}

static struct km_workload *create(const struct km_workload_settings *settings, uint64_t seed)
{
    struct km_workload *workload;
    struct km_error error = {0};
    if (km_workload_create(settings, seed, &workload, &error) != KM_OK)
        fail_msg("%s", error.message);
    return workload;
}

/* Take the next request; false at the end. The request owns nothing in these workloads unless released. */
static bool next(struct km_workload *workload, struct km_request *out)
{
    uint64_t arrival_ps;
    struct km_error error = {0};
    if (km_workload_peek(workload, &arrival_ps, &error) != KM_OK)
        fail_msg("%s", error.message);
    if (arrival_ps == KM_PS_NEVER)
        return false;
    km_workload_take(workload, out);
    assert_int_equal(out->arrival_ps, arrival_ps);
    return true;
}

struct list {
    struct km_request items[5000];
    size_t count;
};

/* All requests of an open loop, without what they own. */
static struct list *collect(const struct km_workload_settings *settings, uint64_t seed)
{
    struct list *list = km_alloc(sizeof *list);
    struct km_workload *workload = create(settings, seed);
    for (; next(workload, &list->items[list->count]); list->count++) {
        struct km_request *r = &list->items[list->count];
        assert_int_equal(r->id, list->count);
        assert_true(list->count + 1 < sizeof list->items / sizeof list->items[0]);
        free(r->prefix_hashes);
        free(r->label);
    }
    assert_true(km_workload_progress(workload) == 1);
    km_workload_destroy(workload);
    return list;
}

/* --- trace ---------------------------------------------------------------------------------------------- */

static void test_trace(void **state)
{
    (void)state;
    struct km_workload_settings s = {.process = KM_ARRIVAL_TRACE, .trace = CONVERSATION, .rate_scale = 1};
    struct list *all = collect(&s, 1);
    assert_int_equal(all->count, 3000);
    assert_int_equal(all->items[0].arrival_ps, 0);

    s.requests = 10;
    struct list *ten = collect(&s, 2); /* the seed has no say */
    assert_int_equal(ten->count, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(ten->items[i].arrival_ps, all->items[i].arrival_ps);

    s.requests = 0;
    s.rate_scale = 2.5;
    struct list *faster = collect(&s, 1);
    assert_int_equal(faster->count, 3000);
    for (size_t i = 0; i < 3000; i++) {
        double exact = (double)all->items[i].arrival_ps / 2.5;
        assert_true(fabs((double)faster->items[i].arrival_ps - exact) <= 0.75);
    }
    free(all);
    free(ten);
    free(faster);
}

static void test_window(void **state)
{
    (void)state;
    struct km_workload_settings s = {.process = KM_ARRIVAL_TRACE, .trace = CONVERSATION, .rate_scale = 1};
    struct list *all = collect(&s, 1);
    size_t first = 0, last = 0;
    s.start_s = km_s_from_ps(all->items[100].arrival_ps); /* inclusive */
    s.end_s = km_s_from_ps(all->items[200].arrival_ps);   /* exclusive */
    for (size_t i = 0; i < all->count; i++) {
        first += all->items[i].arrival_ps < km_ps_from_s(s.start_s);
        last += all->items[i].arrival_ps < km_ps_from_s(s.end_s);
    }
    struct list *window = collect(&s, 1);
    assert_int_equal(window->count, last - first);
    assert_int_equal(window->count, 100);
    for (size_t i = 0; i < window->count; i++) {
        assert_int_equal(window->items[i].arrival_ps,
                         all->items[first + i].arrival_ps - all->items[first].arrival_ps);
        assert_int_equal(window->items[i].prompt_tokens, all->items[first + i].prompt_tokens);
    }
    free(all);
    free(window);
}

static void test_trace_with_other_times_and_lengths(void **state)
{
    (void)state;
    struct km_workload_settings trace = {.process = KM_ARRIVAL_TRACE, .trace = SESSIONS, .rate_scale = 1};
    struct km_workload_settings drawn = synthetic(KM_ARRIVAL_CONSTANT, 0);
    drawn.trace = SESSIONS;
    drawn.has_prompt_tokens = drawn.has_output_tokens = false;
    struct list *a = collect(&trace, 1), *b = collect(&drawn, 1);
    assert_int_equal(a->count, 400);
    assert_int_equal(b->count, 400);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->items[i].prompt_tokens, b->items[i].prompt_tokens);
        assert_int_equal(a->items[i].output_tokens, b->items[i].output_tokens);
        assert_int_equal(a->items[i].session, b->items[i].session);
        assert_int_equal(a->items[i].prefix_hash_count, b->items[i].prefix_hash_count);
        assert_int_equal(b->items[i].arrival_ps, i * KM_PS_PER_S / 4);
    }
    trace.has_prompt_tokens = true;
    trace.prompt_tokens = (struct km_distribution){.kind = KM_DIST_CONSTANT, .value = 7};
    struct list *c = collect(&trace, 1);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(c->items[i].prompt_tokens, 7);
        assert_int_equal(c->items[i].prefix_hash_count, 0); /* they described other prompts */
        assert_int_equal(c->items[i].output_tokens, a->items[i].output_tokens);
        assert_int_equal(c->items[i].arrival_ps, a->items[i].arrival_ps);
    }
    free(a);
    free(b);
    free(c);
}

/* --- drawn ---------------------------------------------------------------------------------------------- */

/* Mean and coefficient of variation of the gaps, each within five standard errors. */
static void test_arrival_moments(void **state)
{
    (void)state;
    enum { N = 400000 };
    static const struct {
        enum km_arrival_process process;
        double cv, sd_of_cv; /* relative standard error of the sample's cv at N, generous */
    } processes[] = {
        {KM_ARRIVAL_POISSON, 1, 0.004},   {KM_ARRIVAL_GAMMA, 0.3, 0.004}, {KM_ARRIVAL_GAMMA, 2, 0.01},
        {KM_ARRIVAL_WEIBULL, 0.3, 0.004}, {KM_ARRIVAL_WEIBULL, 2, 0.02},  {KM_ARRIVAL_CONSTANT, 0, 0},
    };
    for (size_t p = 0; p < sizeof processes / sizeof processes[0]; p++) {
        struct km_workload_settings s = synthetic(processes[p].process, N + 1);
        double cv = processes[p].cv, squares = 0, mean = 0.25;
        uint64_t last_ps = 0;
        struct km_request r;
        s.cv = cv;
        struct km_workload *w = create(&s, 99 + p);
        assert_true(next(w, &r));
        assert_int_equal(r.arrival_ps, 0);
        while (next(w, &r)) {
            double gap = km_s_from_ps(r.arrival_ps - last_ps) - mean;
            squares += gap * gap;
            last_ps = r.arrival_ps;
        }
        assert_true(fabs(km_s_from_ps(last_ps) / N - mean) <= 5 * cv * mean / sqrt(N) + 1e-12);
        assert_true(fabs(sqrt(squares / N) / mean - cv) <= 5 * cv * processes[p].sd_of_cv + 1e-12);
        km_workload_destroy(w);
    }
}

static void test_weibull_shape(void **state)
{
    (void)state;
    assert_true(fabs(km_weibull_shape(1) - 1) < 1e-12);                  /* exponential */
    assert_true(fabs(km_weibull_shape(sqrt(4 / M_PI - 1)) - 2) < 1e-10); /* Rayleigh */
    assert_true(fabs(km_weibull_shape(sqrt(5)) - 0.5) < 1e-12);          /* E[X^2]/E[X]^2 = 4!/2!^2 = 6 */
    double below = km_weibull_shape(0.99999e-4), above = km_weibull_shape(1.00001e-4);
    assert_true(below > above && below / above < 1.001); /* the narrow limit joins */
    for (double cv = 1e-3; cv <= 1000; cv *= 1.7) {
        double k = km_weibull_shape(cv);
        assert_true(fabs(sqrt(expm1(lgamma(1 + 2 / k) - 2 * lgamma(1 + 1 / k))) / cv - 1) < 1e-6);
    }
}

static void test_streams_are_independent(void **state)
{
    (void)state;
    struct km_workload_settings s = synthetic(KM_ARRIVAL_GAMMA, 1000);
    struct list *base = collect(&s, 5), *same = collect(&s, 5), *other_seed = collect(&s, 6);
    s.output_tokens = (struct km_distribution){.kind = KM_DIST_GAMMA, .mean = 50, .cv = 1};
    struct list *outputs = collect(&s, 5);
    s = synthetic(KM_ARRIVAL_GAMMA, 1000);
    s.prompt_tokens = (struct km_distribution){.kind = KM_DIST_ZIPF, .exponent = 1, .limit = 100};
    struct list *prompts = collect(&s, 5);
    s = synthetic(KM_ARRIVAL_POISSON, 1000);
    struct list *arrivals = collect(&s, 5);
    size_t equal_outputs = 0, equal_prompts = 0, equal_arrivals = 0, equal_seeds = 0;
    for (size_t i = 0; i < 1000; i++) {
        const struct km_request *b = &base->items[i];
        assert_int_equal(same->items[i].arrival_ps, b->arrival_ps);
        assert_int_equal(same->items[i].prompt_tokens, b->prompt_tokens);
        assert_int_equal(same->items[i].output_tokens, b->output_tokens);
        assert_int_equal(outputs->items[i].arrival_ps, b->arrival_ps);
        assert_int_equal(outputs->items[i].prompt_tokens, b->prompt_tokens);
        assert_int_equal(prompts->items[i].arrival_ps, b->arrival_ps);
        assert_int_equal(prompts->items[i].output_tokens, b->output_tokens);
        assert_int_equal(arrivals->items[i].prompt_tokens, b->prompt_tokens);
        assert_int_equal(arrivals->items[i].output_tokens, b->output_tokens);
        equal_outputs += outputs->items[i].output_tokens == b->output_tokens;
        equal_prompts += prompts->items[i].prompt_tokens == b->prompt_tokens;
        equal_arrivals += arrivals->items[i].arrival_ps == b->arrival_ps;
        equal_seeds += other_seed->items[i].prompt_tokens == b->prompt_tokens;
    }
    assert_true(equal_outputs < 100 && equal_prompts < 100 && equal_arrivals < 10 && equal_seeds < 100);
    free(base);
    free(same);
    free(other_seed);
    free(outputs);
    free(prompts);
    free(arrivals);
}

static void test_synthetic_window(void **state)
{
    (void)state;
    struct km_workload_settings s = synthetic(KM_ARRIVAL_POISSON, 1000);
    struct list *all = collect(&s, 1);
    s.requests = 0;
    s.start_s = 20;
    s.end_s = 70;
    struct list *window = collect(&s, 1);
    size_t first = 0;
    while (all->items[first].arrival_ps < 20 * KM_PS_PER_S)
        first++;
    assert_true(window->count > 100);
    for (size_t i = 0; i < window->count; i++) {
        assert_int_equal(window->items[i].arrival_ps,
                         all->items[first + i].arrival_ps - all->items[first].arrival_ps);
        assert_int_equal(window->items[i].output_tokens, all->items[first + i].output_tokens);
    }
    assert_true(all->items[first + window->count].arrival_ps >= 70 * KM_PS_PER_S);
    free(all);
    free(window);
}

/* --- closed loop ---------------------------------------------------------------------------------------- */

static void test_closed_loop(void **state)
{
    (void)state;
    struct km_workload_settings s = synthetic(KM_ARRIVAL_CLOSED_LOOP, 6);
    struct km_workload *w = create(&s, 1);
    struct km_request r;
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(next(w, &r));
        assert_int_equal(r.arrival_ps, 0);
    }
    assert_false(next(w, &r)); /* all clients wait */
    km_workload_ended(w, -1, true, 2 * KM_PS_PER_S);
    km_workload_ended(w, -1, true, 3 * KM_PS_PER_S);
    assert_true(next(w, &r));
    assert_int_equal(r.arrival_ps, 2500000000000);
    assert_true(next(w, &r));
    assert_int_equal(r.arrival_ps, 3500000000000);
    assert_false(next(w, &r));
    km_workload_ended(w, -1, true, 4 * KM_PS_PER_S);
    km_workload_ended(w, -1, true, 5 * KM_PS_PER_S);
    assert_true(next(w, &r));
    assert_int_equal(r.id, 5);
    assert_false(next(w, &r)); /* six requests were asked for */
    km_workload_destroy(w);
}

/* Random think times: whoever is ready first sends first, and a later completion may overtake. */
static void test_closed_loop_order(void **state)
{
    (void)state;
    struct km_workload_settings s = synthetic(KM_ARRIVAL_CLOSED_LOOP, 2000);
    s.clients = 50;
    s.think_s = (struct km_distribution){.kind = KM_DIST_GAMMA, .mean = 5, .cv = 1};
    struct km_workload *w = create(&s, 1);
    struct km_request r;
    uint64_t now_ps = 0, taken = 0;
    while (next(w, &r)) {
        assert_true(r.arrival_ps >= now_ps);
        now_ps = r.arrival_ps;
        if (++taken >= 50 && taken % 2 == 0) {
            km_workload_ended(w, -1, true, now_ps);
            km_workload_ended(w, -1, true, now_ps);
        }
    }
    assert_int_equal(taken, 2000);
    assert_true(now_ps > 100 * KM_PS_PER_S);
    km_workload_destroy(w);
}

static void test_closed_loop_ends(void **state)
{
    (void)state;
    struct km_workload_settings s = synthetic(KM_ARRIVAL_CLOSED_LOOP, 0);
    s.end_s = 10;
    struct km_workload *w = create(&s, 1);
    struct km_request r;
    uint64_t taken = 0;
    for (; next(w, &r); taken++)
        km_workload_ended(w, -1, true, r.arrival_ps + KM_PS_PER_S); /* each client: at 0, 1.5, ... 9 */
    assert_int_equal(taken, 21);
    km_workload_destroy(w);
}

/* --- bad settings --------------------------------------------------------------------------------------- */

static void expect_refusal(const struct km_workload_settings *settings, const char *message)
{
    struct km_workload *w;
    struct km_error error = {0};
    assert_int_equal(km_workload_create(settings, 1, &w, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, message);
    assert_null(w);
}

static void test_bad_settings(void **state)
{
    (void)state;
    struct km_workload_settings s = synthetic(KM_ARRIVAL_POISSON, 10);
    s.rate_per_s = 0;
    expect_refusal(&s, "workload.arrivals.rate_per_s: must be from 1e-12 to 1e12");
    s = synthetic(KM_ARRIVAL_GAMMA, 10);
    s.cv = NAN;
    expect_refusal(&s, "workload.arrivals.cv: must be from 1e-9 to 1000");
    s = synthetic(KM_ARRIVAL_TRACE, 10);
    expect_refusal(&s, "workload.trace: process trace needs a trace file");
    s = synthetic(KM_ARRIVAL_POISSON, 0);
    expect_refusal(&s,
                   "workload.requests: without a trace, requests or end_s must say where the stream ends");
    s = synthetic(KM_ARRIVAL_POISSON, 10);
    s.rate_scale = 0;
    expect_refusal(&s, "workload.rate_scale: must be from 1e-9 to 1e9");
    s = synthetic(KM_ARRIVAL_POISSON, 10);
    s.start_s = 5;
    s.end_s = 5;
    expect_refusal(&s, "workload.end_s: must be greater than start_s");
    s = synthetic(KM_ARRIVAL_CLOSED_LOOP, 10);
    s.clients = 0;
    expect_refusal(&s, "workload.arrivals.clients: must be from 1 to 16777216");
    s = synthetic(KM_ARRIVAL_CLOSED_LOOP, 10);
    s.rate_scale = 2;
    expect_refusal(&s, "workload.rate_scale: has no meaning in a closed loop; change clients or think_s");
    s = synthetic(KM_ARRIVAL_POISSON, 10);
    s.has_output_tokens = false;
    expect_refusal(&s, "workload.output_tokens: needed without a trace");
    s = synthetic(KM_ARRIVAL_POISSON, 10);
    s.output_tokens.mean = 0;
    expect_refusal(&s, "workload.output_tokens: mean must be finite and >= 1");
    s = (struct km_workload_settings){.process = KM_ARRIVAL_TRACE, .trace = CONVERSATION, .rate_scale = 1};
    s.start_s = 1e6;
    expect_refusal(&s, "no request lies between start_s and end_s");
    s = (struct km_workload_settings){.process = KM_ARRIVAL_TRACE, .rate_scale = 1};
    s.trace = KM_SOURCE_DIR "/tests/data/traces/header-only.csv";
    expect_refusal(&s, "the trace has no requests");
}

/* A stream that leaves the range of simulated time says so, and keeps saying so. */
static void test_too_late(void **state)
{
    (void)state;
    struct km_workload_settings s = synthetic(KM_ARRIVAL_CONSTANT, 10);
    s.rate_per_s = 1e-6;
    struct km_workload *w = create(&s, 1);
    uint64_t arrival_ps, taken = 0;
    struct km_request r;
    struct km_error error = {0};
    while (km_workload_peek(w, &arrival_ps, &error) == KM_OK) {
        km_workload_take(w, &r);
        taken++;
    }
    assert_int_equal(taken, 5); /* 0 to 4 million seconds */
    assert_string_equal(error.message, "workload.arrivals: request 5 arrives after more than 53 days");
    error = (struct km_error){0};
    assert_int_equal(km_workload_peek(w, &arrival_ps, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "workload.arrivals: request 5 arrives after more than 53 days");
    km_workload_destroy(w);
}

/* A broken line far behind the window surfaces when the stream gets there. */
static void test_broken_line(void **state)
{
    (void)state;
    struct km_workload_settings s = {.process = KM_ARRIVAL_TRACE, .rate_scale = 1};
    s.trace = KM_SOURCE_DIR "/tests/data/traces/zero-output.csv";
    struct km_workload *w;
    struct km_error error = {0};
    assert_int_equal(km_workload_create(&s, 1, &w, &error), KM_BAD_INPUT);
    assert_int_equal(error.line, 3);
}

/* --- sessions ------------------------------------------------------------------------------------------- */

static void test_sessions(void **state)
{
    (void)state;
    struct km_sessions_settings s = {
        .process = KM_ARRIVAL_POISSON,
        .rate_per_s = 1,
        .turns = {.kind = KM_DIST_GEOMETRIC, .mean = 5},
        .prompt_tokens = {.kind = KM_DIST_LOGNORMAL, .mu = 6, .sigma = 1},
        .output_tokens = {.kind = KM_DIST_GEOMETRIC, .mean = 200},
        .gap_s = {.kind = KM_DIST_GAMMA, .mean = 20, .cv = 1},
        .system_prompt_tokens = 1024,
        .max_prompt_tokens = 6000,
        .requests = 3000,
    };
    struct km_sessions *sessions;
    struct km_trace_stats *stats = km_trace_stats_create();
    struct {
        uint32_t tokens;
        uint32_t count;
        uint64_t hashes[16];
    } *before = km_alloc(3000 * sizeof *before);
    uint64_t last_ps = 0, expected_hits = 0, count = 0;
    struct km_request r;
    bool found = true;
    assert_int_equal(km_sessions_create(&s, 4, &sessions, NULL), KM_OK);
    while (km_sessions_next(sessions, &r, &found, NULL) == KM_OK && found) {
        assert_int_equal(r.id, count++);
        assert_true(r.arrival_ps >= last_ps && r.prompt_tokens > 1024 && r.prompt_tokens <= 6000);
        assert_true(r.session >= 0 && r.session < 3000);
        assert_int_equal(r.prefix_hash_count, (r.prompt_tokens + 511) / 512);
        last_ps = r.arrival_ps;
        uint32_t known = before[r.session].count ? before[r.session].count : count > 1 ? 2 : 0;
        if (before[r.session].count) { /* a later turn: all said before, then more */
            assert_true(r.prompt_tokens > before[r.session].tokens);
            assert_memory_equal(r.prefix_hashes, before[r.session].hashes, known * sizeof *r.prefix_hashes);
        }
        assert_int_equal(r.prefix_hashes[0], 0);
        assert_int_equal(r.prefix_hashes[1], 1);
        expected_hits += known;
        before[r.session].tokens = r.prompt_tokens + r.output_tokens;
        before[r.session].count = r.prefix_hash_count;
        memcpy(before[r.session].hashes, r.prefix_hashes, r.prefix_hash_count * sizeof *r.prefix_hashes);
        km_trace_stats_add(stats, &r);
        km_request_release(&r);
    }
    struct km_trace_summary summary;
    km_trace_stats_summarize(stats, &summary);
    assert_int_equal(count, 3000);
    assert_int_equal(summary.hit_blocks, expected_hits);
    free(before);
    km_trace_stats_destroy(stats);
    km_sessions_destroy(sessions);
    s.system_prompt_tokens = 1000;
    struct km_error error = {0};
    assert_int_equal(km_sessions_create(&s, 4, &sessions, &error), KM_BAD_INPUT);
    assert_string_equal(error.message, "system_prompt_tokens: must be a multiple of 512");
}

/* --- fits ----------------------------------------------------------------------------------------------- */

/* A fit to drawn requests finds the parameters they were drawn from, and prefers the right family. */
static void test_fit(void **state)
{
    (void)state;
    struct km_workload_settings s = synthetic(KM_ARRIVAL_WEIBULL, 60000);
    struct km_trace_stats *stats = km_trace_stats_create();
    struct km_trace_summary summary;
    struct km_length_fit lengths[2];
    struct km_arrival_fit arrivals[3];
    struct km_request r;
    s.output_tokens = (struct km_distribution){.kind = KM_DIST_GAMMA, .mean = 300, .cv = 0.6};
    struct km_workload *w = create(&s, 8);
    while (next(w, &r))
        km_trace_stats_add(stats, &r);
    km_workload_destroy(w);
    km_trace_stats_summarize(stats, &summary);
    /* Kolmogorov-Smirnov: D sqrt(n) exceeds 1.95 once in a thousand samples of the right distribution. */
    double bound = 1.95 / sqrt(60000);

    assert_int_equal(km_length_fit_find(summary.prompt, lengths), 2);
    assert_int_equal(lengths[0].distribution.kind, KM_DIST_LOGNORMAL);
    assert_true(fabs(lengths[0].distribution.mu - 6) < 0.02);
    assert_true(fabs(lengths[0].distribution.sigma - 1) < 0.02);
    assert_true(lengths[0].distance < bound && lengths[1].distance > 2 * bound);

    assert_int_equal(km_length_fit_find(summary.output, lengths), 2);
    assert_int_equal(lengths[0].distribution.kind, KM_DIST_GAMMA);
    assert_true(fabs(lengths[0].distribution.mean - 300) < 4);
    assert_true(fabs(lengths[0].distribution.cv - 0.6) < 0.01);
    assert_true(lengths[0].distance < bound && lengths[1].distance > 2 * bound);

    assert_int_equal(km_fit_arrivals(stats, arrivals), 3);
    assert_int_equal(arrivals[0].process, KM_ARRIVAL_WEIBULL);
    assert_true(fabs(arrivals[0].rate_per_s - 4) < 0.2 && fabs(arrivals[0].cv - 2) < 0.15);
    assert_true(arrivals[0].distance < 0.02 && arrivals[1].distance > 0.02);
    km_trace_stats_destroy(stats);
}

static void test_fit_of_constants(void **state)
{
    (void)state;
    struct km_trace_stats *stats = km_trace_stats_create();
    struct km_trace_summary summary;
    struct km_length_fit lengths[2];
    struct km_arrival_fit arrivals[3];
    struct km_request r = {.prompt_tokens = 5, .output_tokens = 6, .session = -1};
    km_trace_stats_add(stats, &r);
    km_trace_stats_add(stats, &r);
    assert_int_equal(km_fit_arrivals(stats, arrivals), 0);
    km_trace_stats_destroy(stats);
    stats = km_trace_stats_create();
    for (; r.arrival_ps < 10 * KM_PS_PER_S; r.arrival_ps += KM_PS_PER_S / 2)
        km_trace_stats_add(stats, &r);
    assert_int_equal(km_fit_arrivals(stats, arrivals), 1);
    assert_int_equal(arrivals[0].process, KM_ARRIVAL_CONSTANT);
    assert_true(fabs(arrivals[0].rate_per_s - 2) < 1e-12);
    km_trace_stats_summarize(stats, &summary);
    assert_int_equal(km_length_fit_find(summary.prompt, lengths), 1);
    assert_int_equal(lengths[0].distribution.kind, KM_DIST_CONSTANT);
    assert_true(lengths[0].distribution.value == 5);
    km_trace_stats_destroy(stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_trace_with_other_times_and_lengths),
        cmocka_unit_test(test_arrival_moments),
        cmocka_unit_test(test_weibull_shape),
        cmocka_unit_test(test_streams_are_independent),
        cmocka_unit_test(test_synthetic_window),
        cmocka_unit_test(test_closed_loop),
        cmocka_unit_test(test_closed_loop_order),
        cmocka_unit_test(test_closed_loop_ends),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_too_late),
        cmocka_unit_test(test_broken_line),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_fit_of_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
