#include "queueing/continuous.h"

#include "base/memory.h"
#include "queueing/continuous_steps.h"

#include <math.h>
#include <stdlib.h>

/* Batch sizes at which prompts are looked at; what they add is interpolated between. */
#define MOST_KNOTS 64u
/* Chains are cut where the rest weighs less than this. */
#define NEGLIGIBLE  1e-13
#define MOST_STATES (1u << 20)

struct knot {
    uint32_t m;
    struct km_steps_at at;
};

struct chain {
    const struct km_continuous_question *q;
    struct knot knots[MOST_KNOTS];
    uint32_t knot_count;
    uint32_t slots;
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

/* M and what sets it. A slot's cycle: prefill steps, D decode steps, and with overlapped scheduling one step
 * until it is refilled. */
static double slots_of(const struct km_continuous_question *q, enum km_slot_limit *by)
{
    const struct km_length_mix *mix = q->mix;
    double d = mix->decode_mean, around = q->clock->overlapped ? 2.0 : 1.0;
    double slots = q->max_num_seqs * d / (d + around);
    *by = KM_SLOTS_BY_SEQUENCES;
    double batches = km_step_batches(q->clock);
    double tokens = batches * q->max_num_batched_tokens * d / (mix->prompt_mean + d);
    if (tokens < slots) {
        slots = tokens;
        *by = KM_SLOTS_BY_TOKENS;
    }
    if (q->kv_blocks) {
        double decoding = km_length_mix_context(mix) / q->block_size + 0.5;
        double prompt = mix->prompt_mean / q->block_size + 0.5;
        double kv = (double)q->kv_blocks / (decoding + around * prompt / d);
        if (kv < slots) {
            slots = kv;
            *by = KM_SLOTS_BY_KV;
        }
    }
    return fmax(slots, 1.0);
}

static double limit_at(const struct km_continuous_question *q, double slots)
{
    uint32_t low = (uint32_t)slots;
    double t = slots - low, rate = low / (q->mix->decode_mean * km_steps_saturated_s(q, low));
    if (t > 0.0) {
        double above = (low + 1) / (q->mix->decode_mean * km_steps_saturated_s(q, low + 1));
        rate += t * (above - rate);
    }
    return rate;
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
    if (chain->knot_count && knot->m > chain->slots && last->m < chain->slots)
        knot->m = chain->slots;
    km_steps_at(chain->q, knot->m, &knot->at);
    chain->knot_count++;
}

static double lerp(double a, double b, double t)
{
    return a + t * (b - a);
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
    double share = lerp(1.0 - a->at.decode_s / a->at.step_s, 1.0 - b->at.decode_s / b->at.step_s, t);
    out->decode_s = km_steps_decode_s(chain->q, m);
    out->step_s = out->decode_s / (1.0 - share);
    out->residual_s = lerp(a->at.residual_s, b->at.residual_s, t);
    out->ahead_s = lerp(a->at.ahead_s, b->at.ahead_s, t);
    out->own_s = lerp(a->at.own_s, b->at.own_s, t);
    out->hold_s = lerp(a->at.hold_s, b->at.hold_s, t);
}

/* (c^2 - 1) / 2, c that of the time of the saturated engine that one request takes: its prompt's share and
 * its tokens'. */
static double high_noise(const struct km_continuous_question *q, double slots, double limit_per_s)
{
    const struct km_length_mix *mix = q->mix;
    double whole_s = 1.0 / limit_per_s, token_s = km_steps_decode_s(q, (uint32_t)slots) / slots;
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

static void add_state(struct sums *sums, double mass, uint32_t m, const struct km_steps_at *at)
{
    sums->mass += mass;
    sums->decoding += mass * m;
    sums->wait_s += mass * at->residual_s;
    sums->ttft_s += mass * (at->residual_s + at->ahead_s + at->own_s);
    sums->hold_s += mass * at->hold_s;
    sums->share += m ? mass * (1.0 - at->decode_s / at->step_s) : 0.0;
}

static double noise(const struct km_continuous_question *q, const struct km_steps_at *at)
{
    double f = fmin(1.0 - at->decode_s / at->step_s, 0.95), x = f / (1.0 - f);
    double cv2 = q->mix->prompt_square / (q->mix->prompt_mean * q->mix->prompt_mean) - 1.0;
    return x + 0.5 * x * x * (1.0 + cv2);
}

/* Sums over the law of the number in the system, the weight of 0 set to 1 (rescaled on the way). */
static void walk(struct chain *chain, struct sums *sums)
{
    const struct km_continuous_question *q = chain->q;
    double mass = 1.0, flow_up = q->arrival_rate_per_s, most = 1.0;
    struct km_steps_at at;
    *sums = (struct sums){0};
    steps_at(chain, 0, &at);
    add_state(sums, mass, 0, &at);
    for (uint32_t m = 1; m <= chain->slots; m++) {
        steps_at(chain, m, &at);
        double rate = m / (q->mix->decode_mean * at.step_s), c = noise(q, &at);
        mass *= flow_up / (rate * (1.0 + c));
        flow_up = q->arrival_rate_per_s + c * rate;
        add_state(sums, mass, m, &at);
        most = fmax(most, mass);
        if (mass > 1e200) { /* keep the weights in range; none of the sums minds */
            double scale = 1e-200;
            sums->mass *= scale, sums->decoding *= scale, sums->wait_s *= scale;
            sums->ttft_s *= scale, sums->hold_s *= scale, sums->share *= scale;
            mass *= scale;
            most *= scale;
        }
        if (mass < NEGLIGIBLE * most && rate > q->arrival_rate_per_s)
            return;
    }
    double rate = q->arrival_rate_per_s, c = chain->high_noise;
    double ratio = rate * (1.0 + c) / (chain->limit_per_s + c * rate);
    double tail = mass * ratio / (1.0 - ratio);
    add_state(sums, tail, chain->slots, &at);
    sums->waiting = tail / (1.0 - ratio);
}

/* Requests of one output token: prompts alone, one group after another. */
static enum km_status solve_prompts(const struct km_continuous_question *q, struct km_continuous_answer *out,
                                    struct km_error *error)
{
    struct km_steps_at at;
    out->slots = q->max_num_seqs;
    out->stable_below_per_s = km_steps_prompts_per_s(q);
    out->utilization = q->arrival_rate_per_s / out->stable_below_per_s;
    out->stable = out->utilization < 1.0;
    if (!out->stable)
        return km_fail(error, KM_NO, NULL, 0, 0, "unstable: utilization %.4g; stable below %.6g requests/s",
                       out->utilization, out->stable_below_per_s);
    km_steps_at(q, 0, &at);
    out->mean_wait_s = q->ingest_s + at.residual_s;
    out->mean_ttft_s = out->mean_e2e_s = out->mean_wait_s + at.own_s;
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
    out->slots = slots_of(question, &out->slots_by);
    out->stable_below_per_s = limit_at(question, out->slots);
    out->utilization = rate / out->stable_below_per_s;
    out->stable = out->utilization < 1.0;
    if (!out->stable)
        return km_fail(error, KM_NO, NULL, 0, 0, "unstable: utilization %.4g; stable below %.6g requests/s",
                       out->utilization, out->stable_below_per_s);
    struct chain chain = {.q = question,
                          .slots = out->slots < MOST_STATES ? (uint32_t)out->slots : MOST_STATES,
                          .limit_per_s = out->stable_below_per_s,
                          .high_noise = high_noise(question, out->slots, out->stable_below_per_s)};
    struct sums sums;
    walk(&chain, &sums);
    double slot_s = sums.waiting / sums.mass / rate, decoding = sums.decoding / sums.mass;
    out->mean_wait_s = question->ingest_s + slot_s + sums.wait_s / sums.mass;
    out->mean_ttft_s = question->ingest_s + slot_s + sums.ttft_s / sums.mass;
    out->mean_tpot_s = decoding / rate / question->mix->decode_mean;
    out->mean_e2e_s = out->mean_ttft_s + decoding / rate;
    out->mean_running = decoding + rate * sums.hold_s / sums.mass;
    out->mean_waiting = rate * out->mean_wait_s;
    out->prefill_share = sums.share / sums.mass;
    return KM_OK;
}
