#include "metrics/metrics.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "metrics/batch_means.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

__extension__ typedef unsigned __int128 u128;

struct slo_term {
    struct km_slo_term stated;
    uint64_t limit_ps;
    uint64_t within; /* samples at or below the limit */
};

struct km_metrics {
    struct km_sketch *samples[KM_LATENCY_COUNT];
    struct km_batch_means *means[KM_LATENCY_COUNT];
    struct km_stability *stability;

    uint32_t slo_count;
    struct slo_term slo[KM_MAX_SLO_TERMS];
    uint64_t good;

    uint64_t submitted, completed, rejected, abandoned, preemptions;
    uint64_t prompt_tokens, output_tokens;
    uint64_t first_arrival_ps, last_completion_ps;

    uint64_t in_system, peak_in_system, in_system_since_ps;
    u128 in_system_ps; /* time integral */

    uint64_t steps;
    u128 step_ps, step_sequences, step_tokens;
    double busy_s, block_seconds;
    uint64_t peak_blocks, queried_tokens, hit_tokens;
};

struct km_metrics *km_metrics_create(const struct km_metrics_settings *settings)
{
    assert(settings->slo_count <= KM_MAX_SLO_TERMS);
    struct km_metrics *m = km_alloc(sizeof *m);
    for (int i = 0; i < KM_LATENCY_COUNT; i++) {
        m->samples[i] = km_sketch_create();
        m->means[i] = km_batch_means_create();
    }
    m->stability = km_stability_create();
    m->slo_count = settings->slo_count;
    for (uint32_t i = 0; i < m->slo_count; i++)
        m->slo[i] = (struct slo_term){settings->slo[i], km_ps_from_s(settings->slo[i].limit_s), 0};
    return m;
}

void km_metrics_destroy(struct km_metrics *m)
{
    if (!m)
        return;
    for (int i = 0; i < KM_LATENCY_COUNT; i++) {
        km_sketch_destroy(m->samples[i]);
        km_batch_means_destroy(m->means[i]);
    }
    km_stability_destroy(m->stability);
    free(m);
}

void km_metrics_arrival(struct km_metrics *m, uint64_t now_ps)
{
    if (m->submitted++ == 0)
        m->first_arrival_ps = now_ps;
    km_stability_arrival(m->stability, now_ps, m->submitted - m->completed - m->rejected - m->abandoned);
}

/* Count one sample against the SLO terms of its metric; is it within all of them? */
static bool count_slo(struct km_metrics *m, enum km_latency metric, uint64_t value_ps)
{
    bool all = true;
    for (uint32_t i = 0; i < m->slo_count; i++) {
        if (m->slo[i].stated.metric != (int)metric)
            continue;
        bool within = value_ps <= m->slo[i].limit_ps;
        m->slo[i].within += within;
        all = all && within;
    }
    return all;
}

static bool sample(struct km_metrics *m, enum km_latency metric, uint64_t value_ps)
{
    km_sketch_add(m->samples[metric], value_ps, 1);
    km_batch_means_add(m->means[metric], value_ps, 1);
    return count_slo(m, metric, value_ps);
}

void km_metrics_request(struct km_metrics *m, enum km_outcome outcome, const struct km_record *r,
                        uint64_t now_ps)
{
    if (outcome == KM_REJECTED) {
        m->rejected++;
        return;
    }
    if (outcome == KM_ABANDONED) {
        m->abandoned++;
        km_stability_left_queue(m->stability, now_ps);
        return;
    }
    assert(r->output_tokens >= 1 && r->arrival_ps <= r->scheduled_ps && r->scheduled_ps <= r->started_ps);
    assert(r->started_ps <= r->first_token_ps && r->first_token_ps <= r->last_token_ps);
    m->completed++;
    m->prompt_tokens += r->prompt_tokens;
    m->output_tokens += r->output_tokens;
    if (now_ps > m->last_completion_ps)
        m->last_completion_ps = now_ps;
    km_stability_left_queue(m->stability, r->scheduled_ps);

    uint64_t e2e_ps = r->last_token_ps - r->arrival_ps, tokens = r->output_tokens;
    bool good = sample(m, KM_TTFT, r->first_token_ps - r->arrival_ps);
    good &= sample(m, KM_E2E, e2e_ps);
    good &= sample(m, KM_QUEUEING_DELAY, r->scheduled_ps - r->arrival_ps);
    good &= sample(m, KM_NORMALIZED, (e2e_ps + tokens / 2) / tokens);
    if (tokens >= 2) {
        uint64_t decode_ps = r->last_token_ps - r->first_token_ps, gaps = tokens - 1;
        good &= sample(m, KM_TPOT, (decode_ps + gaps / 2) / gaps);
        /* The gaps of one request add up to its decode time: whatever order replicas told the gaps in, this
         * order is that of completions. */
        km_batch_means_add(m->means[KM_ITL], decode_ps, gaps);
    }
    m->good += good;
}

void km_metrics_preemption(struct km_metrics *m)
{
    m->preemptions++;
}

/* How many of the progression's values are at or below the limit. */
static uint64_t progression_within(uint64_t first_ps, int64_t slope_ps, uint64_t count, uint64_t limit_ps)
{
    uint64_t stride = slope_ps < 0 ? 0 - (uint64_t)slope_ps : (uint64_t)slope_ps;
    if (first_ps <= limit_ps) {
        if (slope_ps <= 0)
            return count;
        uint64_t within = (limit_ps - first_ps) / stride + 1;
        return within < count ? within : count;
    }
    if (slope_ps >= 0)
        return 0;
    uint64_t above = (first_ps - limit_ps - 1) / stride + 1;
    return above < count ? count - above : 0;
}

void km_metrics_gaps(struct km_metrics *m, uint64_t first_ps, int64_t slope_ps, uint64_t steps,
                     uint64_t sequences)
{
    km_sketch_add_progression(m->samples[KM_ITL], first_ps, slope_ps, steps, sequences);
    for (uint32_t i = 0; i < m->slo_count; i++)
        if (m->slo[i].stated.metric == KM_ITL)
            m->slo[i].within += sequences * progression_within(first_ps, slope_ps, steps, m->slo[i].limit_ps);
}

void km_metrics_steps(struct km_metrics *m, uint64_t steps, uint64_t sequences, uint64_t tokens,
                      uint64_t duration_ps)
{
    m->steps += steps;
    m->step_sequences += (u128)steps * sequences;
    m->step_tokens += (u128)steps * tokens;
    m->step_ps += duration_ps;
}

void km_metrics_busy(struct km_metrics *m, double busy_s)
{
    m->busy_s += busy_s;
}

void km_metrics_kv(struct km_metrics *m, double block_seconds, uint64_t peak_blocks)
{
    m->block_seconds += block_seconds;
    m->peak_blocks += peak_blocks;
}

void km_metrics_in_system(struct km_metrics *m, uint64_t now_ps, uint64_t in_system)
{
    assert(now_ps >= m->in_system_since_ps);
    m->in_system_ps += (u128)(now_ps - m->in_system_since_ps) * m->in_system;
    m->in_system_since_ps = now_ps;
    m->in_system = in_system;
    if (in_system > m->peak_in_system)
        m->peak_in_system = in_system;
}

void km_metrics_prefix(struct km_metrics *m, uint64_t queried_tokens, uint64_t hit_tokens)
{
    m->queried_tokens += queried_tokens;
    m->hit_tokens += hit_tokens;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : (double)NAN;
}

static void summarize_latency(const struct km_metrics *m, enum km_latency metric, bool stationary,
                              struct km_latency_summary *out)
{
    const struct km_sketch *s = m->samples[metric];
    struct km_interval interval = {.half_width = (double)NAN};
    if (stationary)
        km_batch_means_interval(m->means[metric], &interval);
    *out = (struct km_latency_summary){
        .mean_s = km_sketch_mean_ps(s) * 1e-12,
        .ci95_s = interval.half_width * 1e-12,
        .p50_s = km_sketch_quantile_ps(s, 0.5) * 1e-12,
        .p90_s = km_sketch_quantile_ps(s, 0.9) * 1e-12,
        .p95_s = km_sketch_quantile_ps(s, 0.95) * 1e-12,
        .p99_s = km_sketch_quantile_ps(s, 0.99) * 1e-12,
        .max_s = km_sketch_count(s) ? km_s_from_ps(km_sketch_max_ps(s)) : (double)NAN,
        .count = km_sketch_count(s),
        .warmup_count = interval.warmup_samples,
        .ci95_batches = interval.batches,
    };
}

/* Is the term met, and at which value? The samples within the limit are counted exactly, so the verdict is
 * exact; the value, read from the sketch, is kept on the limit's side that the count proves. */
static bool judge_term(const struct km_metrics *m, const struct slo_term *term, double *value_s)
{
    const struct km_sketch *s = m->samples[term->stated.metric];
    double count = (double)km_sketch_count(s), quantile = term->stated.quantile,
           limit_s = term->stated.limit_s;
    if (quantile < 0) {
        *value_s = km_sketch_mean_ps(s) * 1e-12;
        return !(*value_s > limit_s);
    }
    *value_s = km_sketch_quantile_ps(s, quantile) * 1e-12;
    bool met = (double)term->within >= quantile * count * (1 - 1e-15);
    if (met && *value_s > limit_s)
        *value_s = limit_s;
    else if (!met && *value_s <= limit_s)
        *value_s = nextafter(limit_s, (double)INFINITY);
    return met;
}

void km_metrics_summarize(const struct km_metrics *m, struct km_summary *out)
{
    double duration_s =
        m->completed ? km_s_from_ps(m->last_completion_ps - m->first_arrival_ps) : (double)NAN;
    *out = (struct km_summary){
        .submitted = m->submitted,
        .completed = m->completed,
        .rejected = m->rejected,
        .abandoned = m->abandoned,
        .preemptions = m->preemptions,
        .prompt_tokens = m->prompt_tokens,
        .output_tokens = m->output_tokens,
        .duration_s = duration_s,
        .requests_per_s = ratio((double)m->completed, duration_s),
        .output_tokens_per_s = ratio((double)m->output_tokens, duration_s),
        .total_tokens_per_s = ratio((double)m->prompt_tokens + (double)m->output_tokens, duration_s),
        .steps = m->steps,
        .step_mean_s = ratio((double)m->step_ps * 1e-12, (double)m->steps),
        .mean_batch_sequences = ratio((double)m->step_sequences, (double)m->steps),
        .mean_batch_tokens = ratio((double)m->step_tokens, (double)m->steps),
        .peak_blocks = m->peak_blocks,
        .mean_blocks = ratio(m->block_seconds, duration_s),
        .prefix_hit_rate = ratio((double)m->hit_tokens, (double)m->queried_tokens),
        .busy_s = m->busy_s,
        .verdict =
            m->completed ? km_stability_verdict(m->stability, m->means[KM_QUEUEING_DELAY]) : KM_UNKNOWN,
        .waiting_at_last_arrival = km_stability_backlog(m->stability),
        .in_system_at_last_arrival = km_stability_in_system(m->stability),
        .mean_in_system = ratio((double)m->in_system_ps * 1e-12, duration_s),
        .peak_in_system = m->peak_in_system,
        .slo_stated = m->slo_count > 0,
        .goodput_per_s = m->slo_count ? ratio((double)m->good, duration_s) : (double)NAN,
    };
    for (int i = 0; i < KM_LATENCY_COUNT; i++)
        summarize_latency(m, (enum km_latency)i, out->verdict != KM_SATURATED, &out->latency[i]);
    out->slo_attained = out->slo_stated && m->completed > 0;
    for (uint32_t i = 0; i < m->slo_count; i++)
        if (!judge_term(m, &m->slo[i], &out->slo_value_s[i]))
            out->slo_attained = false;
}
