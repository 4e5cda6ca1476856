#include "queueing/continuous/continuous.h"

#include "base/memory.h"
#include "queueing/continuous/continuous_steps.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>

/* Batch sizes at which prompts are looked at; what they add is interpolated between. */
#define MOST_KNOTS 64u
/* Chains are cut where the rest weighs less than this. */
#define NEGLIGIBLE 1e-13
/* The share of prompts above which nothing settles anyway; keeps the noise finite. */
#define MOST_SHARE 0.95
/* Beyond so many standard deviations of the slots everyone who comes waits. */
#define TAIL_SDS 4.0

struct knot {
    uint32_t m;
    struct km_steps_at at;
};

struct slots {
    double mean,
        sd; /* how many sequences can decode at once; the KV pool's limit varies with their lengths */
    enum km_slot_limit by;
    double recomputed; /* of the saturated engine: preemptions a request */
};

struct chain {
    const struct km_continuous_question *q;
    struct knot knots[MOST_KNOTS];
    uint32_t knot_count;
    struct slots slots;
    double limit_per_s;
    double high_noise; /* (c^2 - 1) / 2 of a request's work, for the tail */
};

static enum km_status check(const struct km_continuous_question *q, struct km_error *error)
{
    if (!(q->arrival_rate_per_s > 0.0) || !isfinite(q->arrival_rate_per_s))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "the arrival rate must be a number above 0, got %g",
                       q->arrival_rate_per_s);
    if (q->max_num_seqs == 0 || q->max_num_batched_tokens == 0 || q->block_size == 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "max_num_seqs, max_num_batched_tokens and block_size must be at least 1");
    if (q->mix->prompt_mean < 1.0 || q->mix->output_mean < 1.0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "requests without tokens cannot be served");
    return KM_OK;
}

/* A slot's cycle: prefill steps, D decode steps, and with overlapped scheduling one step until it is
 * refilled. */
static struct slots slots_of(const struct km_continuous_question *q)
{
    const struct km_length_mix *mix = q->mix;
    double d = mix->decode_mean, around = q->clock->pace.overlapped ? 2.0 : 1.0;
    struct slots slots = {.mean = q->max_num_seqs * d / (d + around), .by = KM_SLOTS_BY_SEQUENCES};
    double tokens = q->clock->pace.stages * (double)q->max_num_batched_tokens * d / (mix->prompt_mean + d);
    if (tokens < slots.mean)
        slots = (struct slots){.mean = tokens, .by = KM_SLOTS_BY_TOKENS};
    if (q->kv_blocks == 0)
        return slots;
    double context = km_length_mix_context(mix), decoding = context / q->block_size + 0.5;
    double prompt = mix->prompt_mean / q->block_size + 0.5;
    /* What is free when the next prompt does not fit is half of one. */
    double kv = fmax((double)q->kv_blocks - 0.5 * prompt, 1.0) / (decoding + around * prompt / d);
    if (kv < slots.mean) {
        double cv2 = km_length_mix_context_variance(mix) / (context * context);
        double prompt_cv2 = mix->prompt_square / (mix->prompt_mean * mix->prompt_mean) - 1.0;
        double grown = mix->prompt_mean / d, taken = grown * (1.0 + prompt_cv2);
        slots = (struct slots){.mean = kv,
                               .by = KM_SLOTS_BY_KV,
                               .sd = sqrt(kv * cv2),
                               .recomputed = (1.0 - exp(-grown)) / (grown * (1.0 - exp(-taken)))};
    }
    return slots;
}

static double limit_at(const struct km_continuous_question *q, const struct slots *slots)
{
    if (slots->by == KM_SLOTS_BY_TOKENS)
        return km_steps_full_per_s(q, (uint32_t)slots->mean);
    uint32_t low = (uint32_t)slots->mean;
    double d = q->mix->decode_mean * q->clock->pace.stages, t = slots->mean - low;
    double below = low ? low / (d * km_steps_saturated_s(q, low, slots->recomputed)) : 0.0;
    double above = (low + 1) / (d * km_steps_saturated_s(q, low + 1, slots->recomputed));
    return below + t * (above - below);
}

static uint32_t next_knot(uint32_t m)
{
    return m < 4 ? m + 1 : m + m / 2;
}

static void add_knot(struct chain *chain)
{
    struct knot *last = &chain->knots[chain->knot_count ? chain->knot_count - 1 : 0];
    struct knot *knot = &chain->knots[chain->knot_count];
    knot->m = chain->knot_count ? next_knot(last->m) : 0;
    km_steps_at(chain->q, knot->m, &knot->at);
    chain->knot_count++;
}

static double lerp(double a, double b, double t)
{
    return a + t * (b - a);
}

/* Of the time of steps with decodes, what prompts add. */
static double prompt_share(const struct km_steps_at *at)
{
    return at->step_s > 0.0 ? fmax(1.0 - at->decode_s / at->step_s, 0.0) : 0.0;
}

/* The steps at m: decodes alone exactly, what prompts add by interpolation of its share. */
static void steps_at(struct chain *chain, uint32_t m, struct km_steps_at *out)
{
    while (chain->knot_count == 0 || chain->knots[chain->knot_count - 1].m < m)
        add_knot(chain);
    uint32_t i = chain->knot_count - 1;
    while (i > 0 && chain->knots[i - 1].m >= m)
        i--;
    const struct knot *b = &chain->knots[i];
    if (b->m == m) {
        *out = b->at;
        return;
    }
    const struct knot *a = b - 1;
    double t = (double)(m - a->m) / (b->m - a->m);
    double share = lerp(prompt_share(&a->at), prompt_share(&b->at), t);
    out->decode_s = km_steps_decode_s(chain->q, m);
    out->step_s = out->decode_s / (1.0 - share);
    out->residual_s = lerp(a->at.residual_s, b->at.residual_s, t);
    out->ahead_s = lerp(a->at.ahead_s, b->at.ahead_s, t);
    out->own_s = lerp(a->at.own_s, b->at.own_s, t);
    out->burden_s = lerp(a->at.burden_s, b->at.burden_s, t);
    out->hold_s = lerp(a->at.hold_s, b->at.hold_s, t);
}

/* (c^2 - 1) / 2, c that of the time of the saturated engine that one request takes: its prompt's share and
 * its tokens'. */
static double high_noise(const struct km_continuous_question *q, double slots, double limit_per_s)
{
    const struct km_length_mix *mix = q->mix;
    double whole_s = 1.0 / limit_per_s,
           token_s = q->clock->pace.stages * km_steps_decode_s(q, (uint32_t)fmax(slots, 1.0)) / slots;
    double decode_s = fmin(token_s * mix->decode_mean, whole_s), prompt_s = whole_s - decode_s;
    double prompt_cv2 = mix->prompt_square / (mix->prompt_mean * mix->prompt_mean) - 1.0;
    double decode_cv2 = mix->decode_square / (mix->decode_mean * mix->decode_mean) - 1.0;
    double covariance = mix->prompt_decode_mean / (mix->prompt_mean * mix->decode_mean) - 1.0;
    double variance = prompt_s * prompt_s * prompt_cv2 + decode_s * decode_s * decode_cv2 +
                      2.0 * prompt_s * decode_s * covariance;
    return 0.5 * (fmax(variance, 0.0) / (whole_s * whole_s) - 1.0);
}

struct sums {
    double mass, decoding, waiting, wait_s, ttft_s, hold_s, share;
};

static void add_state(struct sums *sums, double mass, double m, double waiting, const struct km_steps_at *at)
{
    sums->mass += mass;
    sums->decoding += mass * m;
    sums->waiting += mass * waiting;
    sums->wait_s += mass * at->residual_s;
    sums->ttft_s += mass * (at->residual_s + at->ahead_s + at->own_s);
    sums->hold_s += mass * at->hold_s;
    sums->share += m > 0.0 ? mass * prompt_share(at) : 0.0;
}

static void rescale(struct sums *sums, double by)
{
    double *const all[] = {&sums->mass,   &sums->decoding, &sums->waiting, &sums->wait_s,
                           &sums->ttft_s, &sums->hold_s,   &sums->share};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i] *= by;
}

/* Of n in the system, how many decode: E[min(n, M)], M normal; *short_of is P(M < n). */
static double decoding_of(const struct slots *slots, double n, double *short_of)
{
    if (slots->sd <= 0.0) {
        *short_of = n > slots->mean ? 1.0 : 0.0;
        return fmin(n, slots->mean);
    }
    double z = (n - slots->mean) / slots->sd;
    *short_of = gsl_cdf_ugaussian_P(z);
    return n - slots->sd * (z * *short_of + gsl_ran_ugaussian_pdf(z));
}

/* Ends a second of m decodes, and what of it the noise of prompts adds to the flows. */
static double ends_per_s(struct chain *chain, uint32_t m, struct km_steps_at *at, double *extra)
{
    const struct km_length_mix *mix = chain->q->mix;
    steps_at(chain, m, at);
    *extra = 0.0;
    if (m == 0)
        return 0.0;
    double f = fmin(prompt_share(at), MOST_SHARE), x = f / (1.0 - f);
    double cv2 = mix->prompt_square / (mix->prompt_mean * mix->prompt_mean) - 1.0;
    double rate =
        m / (mix->decode_mean * chain->q->clock->pace.stages * at->step_s + fmax(at->burden_s, 0.0));
    *extra = rate * (x + 0.5 * x * x * (1.0 + cv2));
    return rate;
}

/* Sums over the law of the number in the system, weights relative. */
static void walk(struct chain *chain, struct sums *sums)
{
    const struct km_continuous_question *q = chain->q;
    double mass = 1.0, last_extra = 0.0, most = 1.0, arrivals = q->arrival_rate_per_s;
    double last = ceil(chain->slots.mean + TAIL_SDS * chain->slots.sd);
    struct km_steps_at at;
    *sums = (struct sums){0};
    steps_at(chain, 0, &at);
    add_state(sums, mass, 0.0, 0.0, &at);
    for (double n = 1.0; n <= last; n += 1.0) {
        double short_of, low_extra, high_extra, m = decoding_of(&chain->slots, n, &short_of);
        uint32_t low = (uint32_t)m;
        struct km_steps_at below;
        double low_rate = ends_per_s(chain, low, &below, &low_extra);
        double high_rate = ends_per_s(chain, low + 1, &at, &high_extra), t = m - low;
        double rate = lerp(low_rate, high_rate, t), extra = lerp(low_extra, high_extra, t);
        rate = lerp(rate, chain->limit_per_s, short_of);
        /* Both flows between two states change over to the queue's noise at once: the chance to wait stays
         * that of the chain below, as with M/G/c (Tijms 1994, section 4.3). */
        double noise = chain->high_noise * arrivals;
        mass *= (arrivals + lerp(last_extra, noise, short_of)) / (rate + lerp(extra, noise, short_of));
        last_extra = extra;
        add_state(sums, mass, m, n - m, t < 0.5 ? &below : &at);
        most = fmax(most, mass);
        if (mass > 1e200) {
            rescale(sums, 1e-200);
            mass *= 1e-200;
            most *= 1e-200;
        }
        if (mass < NEGLIGIBLE * most && rate > arrivals)
            return;
    }
    double noise = chain->high_noise * arrivals, ratio = (arrivals + noise) / (chain->limit_per_s + noise);
    double tail = mass * ratio / (1.0 - ratio);
    add_state(sums, tail, chain->slots.mean, last - chain->slots.mean + 1.0 / (1.0 - ratio), &at);
}

/* The way into the engine's queue: Pollaczek-Khinchine's wait for the server in front of it. */
static double ingest_s(const struct km_continuous_question *q)
{
    const double rate = q->arrival_rate_per_s;
    return q->ingest_s + rate * q->ingest_busy_square_s2 / (2.0 * (1.0 - rate * q->ingest_busy_mean_s));
}

static double taken_in(const struct km_continuous_question *q, double limit_per_s)
{
    return q->ingest_busy_mean_s > 0.0 ? fmin(limit_per_s, 1.0 / q->ingest_busy_mean_s) : limit_per_s;
}

/* Requests of one output token: prompts alone, one group after another. */
static enum km_status solve_prompts(const struct km_continuous_question *q, struct km_continuous_answer *out,
                                    struct km_error *error)
{
    struct km_steps_at at;
    out->slots = q->max_num_seqs;
    out->stable_below_per_s = taken_in(q, km_steps_full_per_s(q, 0));
    out->utilization = q->arrival_rate_per_s / out->stable_below_per_s;
    out->stable = out->utilization < 1.0;
    if (!out->stable)
        return km_fail(error, KM_NO, NULL, 0, 0, "unstable: utilization %.4g; stable below %.6g requests/s",
                       out->utilization, out->stable_below_per_s);
    km_steps_at(q, 0, &at);
    out->mean_wait_s = ingest_s(q) + at.residual_s;
    out->mean_ttft_s = out->mean_e2e_s = out->mean_wait_s + at.own_s + q->delivery_s;
    out->mean_running = q->arrival_rate_per_s * at.hold_s;
    out->mean_waiting = 0.0;
    out->prefill_share = 1.0;
    return KM_OK;
}

enum km_status km_continuous_solve(const struct km_continuous_question *question,
                                   struct km_continuous_answer *out, struct km_error *error)
{
    const double nan = (double)NAN;
    *out = (struct km_continuous_answer){.utilization = nan,
                                         .stable_below_per_s = nan,
                                         .slots = nan,
                                         .mean_wait_s = nan,
                                         .mean_ttft_s = nan,
                                         .mean_tpot_s = nan,
                                         .mean_e2e_s = nan,
                                         .mean_running = nan,
                                         .mean_waiting = nan,
                                         .prefill_share = nan};
    enum km_status status = check(question, error);
    if (status != KM_OK)
        return status;
    if (question->mix->decode_mean <= 0.0)
        return solve_prompts(question, out, error);
    double rate = question->arrival_rate_per_s;
    struct slots slots = slots_of(question);
    out->slots = slots.mean;
    out->slots_by = slots.by;
    out->stable_below_per_s = taken_in(question, limit_at(question, &slots));
    out->utilization = rate / out->stable_below_per_s;
    out->stable = out->utilization < 1.0;
    if (!out->stable)
        return km_fail(error, KM_NO, NULL, 0, 0, "unstable: utilization %.4g; stable below %.6g requests/s",
                       out->utilization, out->stable_below_per_s);
    struct chain *chain = km_alloc(sizeof *chain);
    *chain = (struct chain){.q = question,
                            .slots = slots,
                            .limit_per_s = limit_at(question, &slots),
                            .high_noise = high_noise(question, slots.mean, limit_at(question, &slots))};
    struct sums sums;
    walk(chain, &sums);
    free(chain);
    double slot_s = sums.waiting / sums.mass / rate, decoding = sums.decoding / sums.mass;
    out->mean_wait_s = ingest_s(question) + slot_s + sums.wait_s / sums.mass;
    out->mean_ttft_s = ingest_s(question) + slot_s + sums.ttft_s / sums.mass + question->delivery_s;
    out->mean_tpot_s = decoding / rate / question->mix->decode_mean;
    out->mean_e2e_s = out->mean_ttft_s + decoding / rate;
    out->mean_running = decoding + rate * sums.hold_s / sums.mass;
    out->mean_waiting = rate * out->mean_wait_s;
    out->prefill_share = sums.share / sums.mass;
    return KM_OK;
}
