#include "metrics/metrics.h"

#include "base/random.h"
#include "base/simtime.h"
#include "metrics/quantile.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PI        3.14159265358979323846
#define PS_PER_MS 1000000000ULL

static struct km_metrics *create(const struct km_slo_term *slo, uint32_t count)
{
    return km_metrics_create(&(struct km_metrics_settings){slo, count});
}

static bool near(double got, double want)
{
    return fabs(got - want) <= 1e-12 * fabs(want);
}

/* Near to the sketch's resolution. */
static bool close_to(double got, double want)
{
    return fabs(got - want) <= 1e-3 * fabs(want);
}

static void nothing_is_nan(void **state)
{
    (void)state;
    struct km_slo_term slo = {KM_TTFT, 0.99, 1.0, false, ""};
    struct km_metrics *m = create(&slo, 1);
    struct km_summary s;
    km_metrics_summarize(m, &s);
    km_metrics_destroy(m);
    km_metrics_destroy(NULL);
    assert_int_equal(s.submitted + s.completed + s.steps, 0);
    double undefined[] = {s.duration_s,        s.requests_per_s,       s.total_tokens_per_s, s.step_mean_s,
                          s.mean_batch_tokens, s.prefix_hit_rate,      s.mean_blocks,        s.goodput_per_s,
                          s.mean_in_system,    s.latency[KM_E2E].max_s};
    for (size_t i = 0; i < sizeof undefined / sizeof undefined[0]; i++)
        assert_true(isnan(undefined[i]));
    assert_int_equal(s.verdict, KM_UNKNOWN);
    assert_true(s.slo_stated && !s.slo_attained);
}

/* n (1 - q) < 10, by hand: ten samples beyond are enough, nine are not. */
static void quantiles_of_too_few(void **state)
{
    (void)state;
    static const struct {
        double quantile;
        uint64_t samples;
        bool thin;
    } table[] = {
        {0.99, 1000, false}, {0.99, 999, true},     {0.95, 200, false}, {0.95, 199, true},
        {0.9, 100, false},   {0.9, 99, true},       {0.5, 20, false},   {0.5, 19, true},
        {0.999, 9999, true}, {0.999, 10000, false}, {0.0, 10, false},   {0.0, 9, true},
        {0.99, 0, true},     {-1, 0, false},        {-1, 1, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (km_quantile_is_thin(table[i].quantile, table[i].samples) != table[i].thin)
            fail_msg("p%g of %llu", 100 * table[i].quantile, (unsigned long long)table[i].samples);
    /* Terms of an SLO: a million gaps of 999 requests are 999 independent ones; a mean and a deadline have no
     * quantile. */
    static const struct {
        struct km_slo_outcome outcome;
        bool thin;
    } terms[] = {
        {{.term = {KM_TTFT, 0.99, 1.0, false, ""}, .count = 1000, .requests = 1000}, false},
        {{.term = {KM_TTFT, 0.99, 1.0, false, ""}, .count = 900, .requests = 1000}, true},
        {{.term = {KM_ITL, 0.99, 1.0, false, ""}, .count = 1000000, .requests = 999}, true},
        {{.term = {KM_ITL, 0.99, 1.0, false, ""}, .count = 1000000, .requests = 1000}, false},
        {{.term = {KM_E2E, -1, 1.0, false, ""}, .count = 1, .requests = 1}, false},
        {{.term = {KM_SLO_DEADLINE, 0, 1.0, false, ""}, .count = 1, .requests = 1}, false},
        {{.term = {KM_SLO_GOODPUT, 0, 1.0, false, ""}, .count = 1, .requests = 1}, false},
    };
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++)
        assert_int_equal(km_slo_is_thin(&terms[i].outcome), terms[i].thin);
}

/* First tokens after 1, 2, ..., 100 ms: the p-th percentile is the p-th of them. */
static void quantiles_by_rank(void **state)
{
    (void)state;
    struct km_metrics *m = create(NULL, 0);
    struct km_summary summary;
    for (uint64_t i = 1; i <= 100; i++) {
        const struct km_record r = {.first_token_ps = i * PS_PER_MS,
                                    .last_token_ps = i * PS_PER_MS,
                                    .prompt_tokens = 1,
                                    .output_tokens = 1};
        km_metrics_arrival(m, 0);
        km_metrics_request(m, KM_COMPLETED, &r, i * PS_PER_MS);
    }
    km_metrics_summarize(m, &summary);
    for (int metric = KM_TTFT; metric <= KM_E2E; metric += KM_E2E - KM_TTFT) {
        const struct km_latency_summary *l = &summary.latency[metric];
        assert_true(close_to(l->p50_s, 0.050) && close_to(l->p90_s, 0.090) && close_to(l->p95_s, 0.095));
        assert_true(close_to(l->p99_s, 0.099) && near(l->max_s, 0.100) && near(l->mean_s, 0.0505));
    }
    km_metrics_destroy(m);
}

/* Three requests by hand, times in ms: every definition of the vocabulary. */
static void definitions(void **state)
{
    (void)state;
    static const struct km_record records[] = {
        {.arrival_ps = 100,
         .scheduled_ps = 101,
         .started_ps = 102,
         .first_token_ps = 120,
         .last_token_ps = 160,
         .prompt_tokens = 10,
         .output_tokens = 5}, /* TTFT 20, E2E 60, TPOT 10, queueing 1, normalized 12 */
        {.arrival_ps = 110,
         .scheduled_ps = 130,
         .started_ps = 130,
         .first_token_ps = 200,
         .last_token_ps = 200,
         .prompt_tokens = 20,
         .output_tokens = 1}, /* TTFT 90, E2E 90, no TPOT, queueing 20, normalized 90 */
        {.arrival_ps = 150,
         .scheduled_ps = 150,
         .started_ps = 160,
         .first_token_ps = 180,
         .last_token_ps = 300,
         .prompt_tokens = 30,
         .output_tokens = 4}, /* TTFT 30, E2E 150, TPOT 40, queueing 0, normalized 37.5 */
    };
    static const struct km_slo_term slo[] = {
        {KM_TTFT, 0.5, 0.030, false, ""}, /* met: 20 and 30 of three */
        {KM_TPOT, -1, 0.025, false, ""},  /* met by the mean, 25 ms */
        {KM_E2E, 0.99, 0.149, false, ""}, /* missed */
    };
    struct km_metrics *m = create(slo, 3);
    for (int i = 0; i < 3; i++)
        km_metrics_arrival(m, records[i].arrival_ps * PS_PER_MS);
    km_metrics_arrival(m, 155 * PS_PER_MS);
    km_metrics_request(m, KM_REJECTED, &(struct km_record){.arrival_ps = 155}, 155 * PS_PER_MS);
    for (int i = 0; i < 3; i++) {
        struct km_record r = records[i];
        r.arrival_ps *= PS_PER_MS;
        r.scheduled_ps *= PS_PER_MS;
        r.started_ps *= PS_PER_MS;
        r.first_token_ps *= PS_PER_MS;
        r.last_token_ps *= PS_PER_MS;
        km_metrics_request(m, KM_COMPLETED, &r, r.last_token_ps);
    }
    km_metrics_arrival(m, 310 * PS_PER_MS);
    km_metrics_request(m, KM_ABANDONED, &(struct km_record){.arrival_ps = 310}, 400 * PS_PER_MS);
    km_metrics_preemption(m);
    km_metrics_steps(m, 10, 2, 7, 50 * PS_PER_MS);
    km_metrics_steps(m, 10, 4, 9, 150 * PS_PER_MS);
    km_metrics_busy(m, 0.125);
    km_metrics_busy(m, 0.125);
    km_metrics_kv(m, 4.0, 100);
    km_metrics_kv(m, 6.0, 50);
    km_metrics_prefix(m, 100, 25);
    km_metrics_in_system(m, 0, 0);
    km_metrics_in_system(m, 100 * PS_PER_MS, 3);
    km_metrics_in_system(m, 200 * PS_PER_MS, 1);
    km_metrics_in_system(m, 300 * PS_PER_MS, 0);
    struct km_summary s;
    km_metrics_summarize(m, &s);
    km_metrics_destroy(m);

    assert_int_equal(s.submitted, 5);
    assert_int_equal(s.completed, 3);
    assert_int_equal(s.rejected, 1);
    assert_int_equal(s.abandoned, 1);
    assert_int_equal(s.preemptions, 1);
    assert_int_equal(s.prompt_tokens, 60);
    assert_int_equal(s.output_tokens, 10);
    assert_true(near(s.duration_s, 0.2));
    assert_true(near(s.requests_per_s, 15));
    assert_true(near(s.output_tokens_per_s, 50));
    assert_true(near(s.total_tokens_per_s, 350));
    assert_true(near(s.step_mean_s, 0.010));
    assert_true(near(s.mean_batch_sequences, 3));
    assert_true(near(s.mean_batch_tokens, 8));
    assert_true(near(s.busy_s, 0.25));
    assert_true(near(s.mean_blocks, 10 / 0.3)); /* until the last one leaves, at 400 ms */
    assert_int_equal(s.peak_blocks, 150);
    assert_true(near(s.prefix_hit_rate, 0.25));
    assert_true(near(s.mean_in_system, 0.4 / 0.3));
    assert_int_equal(s.peak_in_system, 3);

    static const struct {
        enum km_latency metric;
        int count;
        double mean_ms, median_ms, max_ms;
    } want[] = {
        {KM_TTFT, 3, 140 / 3.0, 30, 90},
        {KM_TPOT, 2, 25, 10, 40},
        {KM_E2E, 3, 100, 90, 150},
        {KM_QUEUEING_DELAY, 3, 7, 1, 20},
        {KM_NORMALIZED, 3, 139.5 / 3, 37.5, 90.0},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const struct km_latency_summary *l = &s.latency[want[i].metric];
        assert_int_equal(l->count, want[i].count);
        assert_true(near(l->mean_s, want[i].mean_ms * 1e-3));
        assert_true(close_to(l->p50_s, want[i].median_ms * 1e-3));
        assert_true(near(l->max_s, want[i].max_ms * 1e-3));
        assert_true(isnan(l->ci95_s)); /* three samples */
    }
    assert_true(s.slo_stated && !s.slo_attained);
    assert_true(close_to(s.slo[0].value, 0.030) && s.slo[0].value <= 0.030);
    assert_true(near(s.slo[1].value, 0.025));
    assert_true(close_to(s.slo[2].value, 0.150));
    assert_true(near(s.goodput_per_s, 5)); /* only the first is within 30, 25 and 149 ms */
}

/* Whether terms hold is counted exactly, beyond the sketch's resolution, gaps in progressions included. */
static void slo_is_exact(void **state)
{
    (void)state;
    const uint64_t first = 50000000000, slope = 1000;
    for (int falling = 0; falling < 2; falling++)
        for (uint64_t n = 1; n < 40; n++)
            for (int below = 0; below < 2; below++) {
                /* The limit is the 8th of 10 parts of the gaps; 80 % are within, and one ps less is too few.
                 */
                uint64_t count = 10 * n, at = first + slope * (8 * n - 1) - (uint64_t)below;
                struct km_slo_term slo = {KM_ITL, 0.8, (double)at * 1e-12, false, ""};
                struct km_metrics *m = create(&slo, 1);
                km_metrics_gaps(m, falling ? first + slope * (count - 1) : first,
                                falling ? -(int64_t)slope : (int64_t)slope, count, 3);
                struct km_record r = {.first_token_ps = 1, .last_token_ps = 1, .output_tokens = 1};
                km_metrics_arrival(m, 0);
                km_metrics_request(m, KM_COMPLETED, &r, 1);
                struct km_summary s;
                km_metrics_summarize(m, &s);
                km_metrics_destroy(m);
                assert_int_equal(s.slo_attained, !below);
                assert_int_equal(s.slo[0].value <= slo.limit, !below);
                assert_int_equal(s.latency[KM_ITL].count, 3 * count);
                assert_true(near(s.latency[KM_ITL].mean_s,
                                 ((double)first + (double)slope * (double)(count - 1) / 2) * 1e-12));
            }
}

/* A queue of one kind, run event by event. */
struct queue {
    const char *name;
    int requests;
    double load;      /* utilisation, mean service 1 s: of the arrivals' mean rate */
    double amplitude; /* the rate swings by this share, one wave over the run */
    double phase;     /* of the wave at the start */
    int clients;      /* > 0: closed loop, no think time */
    int at_once;      /* this many arrive at time 0 first */
    int servers;
    double service_s;
    bool exponential; /* service times; constant otherwise */
    enum km_verdict want;
    int of_10; /* at least so many of ten seeds give `want` ... */
    int never; /* ... and none gives this; -1: any may come */
};

/* Recorded instead of drawn: [requests] each. */
struct recording {
    const double *gaps_s, *services_s;
};

static double next_gap_s(const struct queue *q, const struct recording *recording, int i, gsl_rng *rng)
{
    if (recording)
        return recording->gaps_s[i];
    double wave = 1 + q->amplitude * sin(q->phase + 2 * PI * i / q->requests);
    return gsl_ran_exponential(rng, q->service_s / q->servers / (q->load * wave));
}

static void end_one(struct km_metrics *m, const double *arrival_s, const double *start_s, double end_s, int i)
{
    struct km_record r = {.id = (uint64_t)i,
                          .arrival_ps = km_ps_from_s(arrival_s[i]),
                          .scheduled_ps = km_ps_from_s(start_s[i]),
                          .started_ps = km_ps_from_s(start_s[i]),
                          .first_token_ps = km_ps_from_s(end_s),
                          .last_token_ps = km_ps_from_s(end_s),
                          .prompt_tokens = 1,
                          .output_tokens = 1};
    km_metrics_request(m, KM_COMPLETED, &r, r.last_token_ps);
}

/* First come, first served, by `servers` servers; the end of the earliest busy server comes next. */
static void simulate(const struct queue *q, const struct recording *recording, uint64_t seed,
                     struct km_summary *out)
{
    gsl_rng *rng = km_random_stream(seed, KM_RANDOM_ARRIVALS);
    struct km_metrics *m = create(NULL, 0);
    double *arrival_s = calloc((size_t)q->requests, sizeof *arrival_s);
    double *start_s = calloc((size_t)q->requests, sizeof *start_s);
    double *end_s = calloc((size_t)q->servers, sizeof *end_s);
    int *served = calloc((size_t)q->servers, sizeof *served);
    assert_true(arrival_s && start_s && end_s && served);
    for (int j = 0; j < q->servers; j++)
        served[j] = -1;
    int arrived = 0, started = 0, ended = 0, due = q->clients; /* closed loop: clients ready to send */
    double now = 0, next_s = q->at_once || q->clients ? 0 : next_gap_s(q, recording, 0, rng);
    while (ended < q->requests) {
        int first = -1, idle = -1;
        for (int j = 0; j < q->servers; j++) {
            if (served[j] < 0)
                idle = j;
            else if (first < 0 || end_s[j] < end_s[first])
                first = j;
        }
        bool more = arrived < q->requests && (q->clients == 0 || due > 0);
        if (idle >= 0 && started < arrived) {
            start_s[started] = now;
            end_s[idle] = now + (recording        ? recording->services_s[started]
                                 : q->exponential ? gsl_ran_exponential(rng, q->service_s)
                                                  : q->service_s);
            served[idle] = started++;
        } else if (more && (first < 0 || next_s <= end_s[first])) {
            now = q->clients ? now : next_s;
            arrival_s[arrived++] = now;
            km_metrics_arrival(m, km_ps_from_s(now));
            due -= q->clients > 0;
            if (!q->clients && arrived < q->requests)
                next_s = arrived < q->at_once ? 0 : now + next_gap_s(q, recording, arrived, rng);
        } else {
            now = end_s[first];
            end_one(m, arrival_s, start_s, now, served[first]);
            served[first] = -1;
            ended++;
            due += q->clients > 0;
            next_s = q->clients ? now : next_s;
        }
    }
    km_metrics_summarize(m, out);
    km_metrics_destroy(m);
    free(arrival_s);
    free(start_s);
    free(end_s);
    free(served);
    gsl_rng_free(rng);
}

static const struct queue queues[] = {
    {"M/D/1 0.5", 20000, 0.5, 0, 0, 0, 0, 1, 1, false, KM_STABLE, 10, KM_SATURATED},
    {"M/D/1 0.8", 20000, 0.8, 0, 0, 0, 0, 1, 1, false, KM_STABLE, 10, KM_SATURATED},
    {"M/D/1 0.95", 50000, 0.95, 0, 0, 0, 0, 1, 1, false, KM_STABLE, 9, KM_SATURATED},
    {"M/M/1 0.95", 50000, 0.95, 0, 0, 0, 0, 1, 1, true, KM_STABLE, 9, KM_SATURATED},
    {"M/M/1 0.95 short", 1000, 0.95, 0, 0, 0, 0, 1, 1, true, KM_STABLE, 3, KM_SATURATED},
    {"M/D/1 1.1", 20000, 1.1, 0, 0, 0, 0, 1, 1, false, KM_SATURATED, 10, KM_STABLE},
    {"M/D/1 1.5", 20000, 1.5, 0, 0, 0, 0, 1, 1, false, KM_SATURATED, 10, KM_STABLE},
    {"M/D/1 1.5 short", 500, 1.5, 0, 0, 0, 0, 1, 1, false, KM_SATURATED, 9, KM_STABLE},
    {"M/D/1 1.1 short", 500, 1.1, 0, 0, 0, 0, 1, 1, false, KM_UNKNOWN, 1, -1},
    {"M/D/1 too short", 80, 3, 0, 0, 0, 0, 1, 1, false, KM_UNKNOWN, 10, KM_STABLE},
    {"nearly at once", 1000, 1000, 0, 0, 0, 0, 1, 1, false, KM_SATURATED, 10, KM_STABLE},
    {"at once", 1000, 1, 0, 0, 0, 1000, 1, 1, false, KM_UNKNOWN, 10, KM_STABLE},
    {"burst, then stable", 20000, 0.5, 0, 0, 0, 1000, 1, 1, false, KM_STABLE, 10, KM_SATURATED},
    {"M/M/16 1.2", 20000, 1.2, 0, 0, 0, 0, 16, 10, true, KM_SATURATED, 10, KM_STABLE},
    {"M/M/16 0.8", 20000, 0.8, 0, 0, 0, 0, 16, 10, true, KM_STABLE, 10, KM_SATURATED},
    /* service longer than the run: the system only fills up */
    {"filling up", 500, 0.5, 0, 0, 0, 0, 1000, 1, false, KM_UNKNOWN, 10, KM_STABLE},
    {"closed loop", 20000, 1, 0, 0, 64, 0, 4, 1, false, KM_STABLE, 10, KM_SATURATED},
    {"closed loop, many clients", 5000, 1, 0, 0, 1000, 0, 16, 1, true, KM_STABLE, 9, KM_SATURATED},
    /* waves whose crest exceeds capacity, the mean does not; ending in the trough, at the mean, on the crest
     */
    {"wave, crest early", 20000, 0.7, 0.6, 0, 0, 0, 1, 1, false, KM_STABLE, 10, KM_SATURATED},
    {"wave, crest late", 20000, 0.7, 0.6, PI, 0, 0, 1, 1, false, KM_STABLE, 8, KM_SATURATED},
    {"wave, ends on the crest", 20000, 0.7, 0.6, PI / 2, 0, 0, 1, 1, false, KM_STABLE, 5, KM_SATURATED},
    {"wave, too much", 20000, 1.3, 0.5, 0, 0, 0, 1, 1, false, KM_UNKNOWN, 8, KM_STABLE},
    {"wave, far too much, late", 20000, 2, 0.5, PI, 0, 0, 1, 1, false, KM_SATURATED, 10, KM_STABLE},
    {"closed loop, short", 3000, 1, 0, 0, 1000, 0, 16, 1, true, KM_STABLE, 10, KM_SATURATED},
    {"wave, far too much", 20000, 2, 0.5, 0, 0, 0, 1, 1, false, KM_SATURATED, 10, KM_STABLE},
};

static void verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        const struct queue *q = &queues[i];
        int seen[3] = {0};
        for (uint64_t seed = 1; seed <= 10; seed++) {
            struct km_summary s;
            simulate(q, NULL, seed, &s);
            seen[s.verdict]++;
            assert_int_equal(s.completed, q->requests);
            if (s.verdict == KM_SATURATED)
                assert_true(isnan(s.latency[KM_E2E].ci95_s));
        }
        if (seen[q->want] < q->of_10 || (q->never >= 0 && seen[q->never] > 0))
            fail_msg("%s: unknown %d, stable %d, saturated %d of 10", q->name, seen[KM_UNKNOWN],
                     seen[KM_STABLE], seen[KM_SATURATED]);
    }
}

/* An hour of production traffic, uneven as it is, served at 30 ms a token by a number of slots: 35 are
 * just enough on average. Stable is never said of too few, saturated never of enough. */
static void verdicts_on_production_traffic(void **state)
{
    (void)state;
    enum { LIMIT = 20000 };
    static double gaps_s[LIMIT], services_s[LIMIT];
    FILE *file = fopen(KM_SOURCE_DIR "/../shared/data/traces/azure-conv-2023.csv", "r");
    if (!file)
        skip();
    char line[200];
    int n = 0, hour, minute, prompt, output;
    double second, last_s = 0, work_s = 0, span_s = 0;
    while (fgets(line, sizeof line, file) && n < LIMIT) {
        if (sscanf(line, "%*d-%*d-%*d %d:%d:%lf,%d,%d", &hour, &minute, &second, &prompt, &output) != 5)
            continue; /* the header */
        double at_s = hour * 3600.0 + minute * 60.0 + second;
        gaps_s[n] = n ? at_s - last_s : 0;
        span_s += gaps_s[n];
        last_s = at_s;
        services_s[n] = 0.03 * output;
        work_s += services_s[n++];
    }
    fclose(file);
    assert_int_equal(n, 19366);
    assert_true(fabs(work_s / span_s - 35.0) < 0.1);
    for (int servers = 16; servers <= 64; servers++) {
        struct queue q = {.requests = n, .servers = servers};
        struct km_summary s;
        simulate(&q, &(struct recording){gaps_s, services_s}, 1, &s);
        double load = work_s / span_s / servers;
        if (load > 1.1)
            assert_int_equal(s.verdict, KM_SATURATED);
        else if (load > 1.02)
            assert_int_not_equal(s.verdict, KM_STABLE);
        else if (load > 0.9)
            assert_int_not_equal(s.verdict, KM_SATURATED);
        else
            assert_int_equal(s.verdict, KM_STABLE);
    }
}

/* At the client from arrival to delivery, at the engine from its queue to its token. 3930 / 4 = 982.5, to the nearest. */
static void client_and_engine(void **state)
{
    (void)state;
    const struct km_record r = {.arrival_ps = 100,
                                .queued_ps = 160,
                                .scheduled_ps = 200,
                                .started_ps = 250,
                                .first_token_ps = 1000,
                                .last_token_ps = 4000,
                                .delivery_ps = 30,
                                .output_tokens = 4};
    static const struct {
        enum km_latency metric;
        uint64_t ps;
    } cases[] = {{KM_TTFT, 930},       {KM_TPOT, 1000},       {KM_E2E, 3930},       {KM_QUEUEING_DELAY, 100},
                 {KM_NORMALIZED, 983}, {KM_TTFT_ENGINE, 840}, {KM_E2E_ENGINE, 3840}};
    uint64_t ps;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(km_record_latency(&r, cases[i].metric, &ps));
        assert_int_equal(ps, cases[i].ps);
    }
    assert_false(km_record_latency(&r, KM_ITL, &ps));
    assert_false(km_record_latency(&(struct km_record){.output_tokens = 1}, KM_TPOT, &ps));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_and_engine),
        cmocka_unit_test(nothing_is_nan),
        cmocka_unit_test(quantiles_of_too_few),
        cmocka_unit_test(quantiles_by_rank),
        cmocka_unit_test(definitions),
        cmocka_unit_test(slo_is_exact),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(verdicts_on_production_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
