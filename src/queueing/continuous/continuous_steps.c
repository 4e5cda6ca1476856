#include "queueing/continuous/continuous_steps.h"

#include "base/memory.h"
#include "queueing/continuous/continuous_groups.h"

#include <math.h>
#include <stdlib.h>

#define MOST_ROUNDS      60
#define MOST_CORRECTIONS 4

/* out[j] += weight * P(Poisson(mean) = j), j = 0 .. most, the mass beyond on `most`. */
static void add_poisson(double mean, double weight, uint32_t most, double *out)
{
    double mass = exp(-mean), left = 1.0;
    for (uint32_t j = 0; j < most; j++) {
        out[j] += weight * mass;
        left -= mass;
        mass *= mean / (j + 1.0);
    }
    out[most] += weight * fmax(left, 0.0);
}

static uint32_t enough(double mean)
{
    double most = ceil(mean + 7.0 * sqrt(mean) + 6.0);
    return most < KM_GROUP_MOST ? (uint32_t)most : KM_GROUP_MOST;
}

/* Moments of a group over the law of sizes. */
struct moments {
    double before; /* share of groups that follow a step of decodes alone */
    double time_s, square, steps;
    /* Summed over the steps of a group: time of prompts not yet computed, time since the group formed. */
    double left_s, age_s;
};

static void take_moments(const struct km_prompt_groups *groups, const double *law, struct moments *out)
{
    double decode_s = groups->of[0].drawn[0].after_decode_s;
    *out = (struct moments){.before = law[0]};
    for (uint32_t j = 0; j <= groups->most; j++)
        for (uint32_t d = 0; d < groups->of[j].count; d++) {
            const struct km_prompt_group *group = &groups->of[j].drawn[d];
            double s = km_group_s(group, out->before), weight = law[j] * groups->of[j].weight[d];
            out->time_s += weight * s;
            out->square += weight * s * s;
            out->steps += weight * group->steps;
            out->left_s += weight * (s - group->steps * decode_s) * 0.5 * (group->steps - 1.0);
            out->age_s += weight * s * 0.5 * (group->steps + 1.0);
        }
}

/* Stationary law of group sizes. The share of groups after decodes alone enters the times and is corrected a
 * few times. */
static void stationary(const struct km_prompt_groups *groups, double rate_per_s, double *law)
{
    const uint32_t most = groups->most, states = most + 1;
    double *to = km_alloc((size_t)states * states * sizeof *to), next[KM_GROUP_MOST + 1];
    for (uint32_t j = 0; j <= most; j++)
        law[j] = j == 0;
    for (int correction = 0; correction < MOST_CORRECTIONS; correction++) {
        double before = law[0];
        for (size_t i = 0; i < (size_t)states * states; i++)
            to[i] = 0.0;
        for (uint32_t j = 0; j <= most; j++)
            for (uint32_t d = 0; d < groups->of[j].count; d++)
                add_poisson(rate_per_s * km_group_s(&groups->of[j].drawn[d], before), groups->of[j].weight[d],
                            most, to + (size_t)j * states);
        for (int round = 0; round < MOST_ROUNDS; round++) {
            double change = 0.0;
            for (uint32_t i = 0; i <= most; i++)
                next[i] = 0.0;
            for (uint32_t j = 0; j <= most; j++)
                for (uint32_t i = 0; law[j] > 1e-12 && i <= most; i++)
                    next[i] += law[j] * to[(size_t)j * states + i];
            for (uint32_t i = 0; i <= most; i++) {
                change += fabs(next[i] - law[i]);
                law[i] = next[i];
            }
            if (change < 1e-8)
                break;
        }
        if (fabs(law[0] - before) < 1e-4)
            break;
    }
    free(to);
}

/* A request's own group, of j prompts in all. */
struct own {
    double first_s; /* until its first token; it may be any of the j */
    double whole_s;
    double left_s; /* time of the group's prompts after it */
};

static void add_own(const struct km_prompt_groups *groups, uint32_t j, double decode_before, double weight,
                    struct own *out)
{
    const struct km_chain_size *size = &groups->of[j];
    double decode_s = groups->of[0].drawn[0].after_decode_s;
    for (uint32_t d = 0; d < size->count; d++) {
        double steps = size->drawn[d].steps, whole_s = km_group_s(&size->drawn[d], decode_before);
        double share = fmax(steps <= 1.0 ? 1.0 : (j + 1.0) / (2.0 * j), 1.0 / steps),
               w = weight * size->weight[d];
        out->first_s += w * share * whole_s;
        out->whole_s += w * whole_s;
        out->left_s += w * (1.0 - share) * (whole_s - steps * decode_s);
    }
}

/* Results of a step that starts prompts are taken after its end; a step that is not overlapped includes that.
 */
static double process_s(const struct km_group_load *load)
{
    if (!load->q->clock->pace.overlapped)
        return 0.0;
    const struct km_chunk chunk = {1, 0};
    const struct km_step_shape shape = {.chunks = &chunk,
                                        .chunk_count = 1,
                                        .prefill_tokens = 1,
                                        .sampled = load->lane_m + 1,
                                        .decode = km_group_decodes(load)};
    struct km_step_seconds step;
    load->q->clock->time(load->q->clock->context, &shape, &step);
    return step.process_s;
}

/* An engine without decodes when a request comes: mostly idle, else in a group of one. */
static void idle_steps(const struct km_continuous_question *q, const struct km_group_load *load,
                       struct km_steps_at *out)
{
    struct km_prompt_groups *groups = km_alloc(sizeof *groups);
    struct own own = {0};
    struct moments single;
    const double one[2] = {0.0, 1.0};
    km_groups_fill(load, 0, 1, groups);
    take_moments(groups, one, &single);
    double busy = 1.0 - exp(-q->arrival_rate_per_s * single.time_s);
    out->residual_s = busy * single.square / (2.0 * single.time_s);
    add_own(groups, 1, 1.0, 1.0, &own);
    out->own_s = load->pieces * own.first_s;
    out->hold_s = load->pieces * own.whole_s;
    free(groups);
}

/* Requests that never decode: group after group, and idle between them. An idle engine starts the next
 * arrival by itself. */
static void prompt_steps(const struct km_continuous_question *q, const struct km_group_load *load,
                         struct km_steps_at *out)
{
    double rate = q->arrival_rate_per_s * load->pieces, law[KM_GROUP_MOST + 1],
           company[KM_GROUP_MOST + 1] = {0};
    struct km_prompt_groups *groups = km_alloc(sizeof *groups);
    struct own own = {0};
    struct moments mean;
    km_groups_fill(load, 0, KM_GROUP_MOST, groups);
    struct km_chain_size idle = groups->of[0];
    groups->of[0] = groups->of[1]; /* the group after an idle time: same time, and nobody else came */
    stationary(groups, rate, law);
    take_moments(groups, law, &mean);
    double idle_s = law[0] / rate, whole_s = mean.time_s + idle_s;
    out->residual_s = mean.square / (2.0 * whole_s);
    company[0] = idle_s / whole_s;
    for (uint32_t j = 0; j <= groups->most; j++)
        for (uint32_t d = 0; d < groups->of[j].count && law[j] > 1e-12; d++) {
            double s = km_group_s(&groups->of[j].drawn[d], mean.before);
            add_poisson(rate * s, law[j] * groups->of[j].weight[d] * s / whole_s, groups->most, company);
        }
    groups->of[0] = idle;
    for (uint32_t j = 0; j <= groups->most; j++)
        add_own(groups, j < groups->most ? j + 1 : groups->most, mean.before, company[j], &own);
    out->own_s = load->pieces * own.first_s;
    out->hold_s = load->pieces * own.whole_s;
    free(groups);
}

void km_steps_at(const struct km_continuous_question *q, uint32_t m, struct km_steps_at *out)
{
    struct km_group_load load;
    double law[KM_GROUP_MOST + 1], company[KM_GROUP_MOST + 1] = {0};
    *out = (struct km_steps_at){0};
    km_group_load_init(&load, q, m);
    double rate = q->arrival_rate_per_s * load.pieces;
    if (m == 0) {
        (q->mix->decode_mean > 0.0 ? idle_steps : prompt_steps)(q, &load, out);
        return;
    }
    struct km_prompt_groups *groups = km_alloc(sizeof *groups);
    km_groups_fill(&load, 0, 1, groups);
    struct moments first, mean;
    const double one[2] = {0.0, 1.0};
    take_moments(groups, one, &first);
    out->decode_s = groups->of[0].drawn[0].after_decode_s;
    double room = 1.0 - rate * (first.time_s - out->decode_s);
    km_groups_fill(&load, 2, enough(room > 0.01 ? rate * first.time_s / room : 1e9), groups);
    stationary(groups, rate, law);
    take_moments(groups, law, &mean);
    out->step_s = mean.time_s / mean.steps;
    out->residual_s = mean.square / (2.0 * mean.time_s);
    const struct km_pace *pace = &q->clock->pace;
    const bool ahead = pace->stages == 1 ? pace->overlapped : pace->placeholders;
    out->ahead_s = ahead ? out->step_s : 0.0;
    struct own own = {0};
    /* Who starts with an arrival came in the same group, of which longer ones see more arrivals. */
    for (uint32_t j = 0; j <= groups->most; j++)
        for (uint32_t d = 0; d < groups->of[j].count && law[j] > 1e-12; d++) {
            double s = km_group_s(&groups->of[j].drawn[d], mean.before);
            add_poisson(rate * s, law[j] * groups->of[j].weight[d] * s / mean.time_s, groups->most, company);
        }
    for (uint32_t j = 0; j <= groups->most; j++)
        add_own(groups, j < groups->most ? j + 1 : groups->most, mean.before, company[j], &own);
    out->own_s = load.pieces * own.first_s + process_s(&load);
    if (pace->stages > 1) /* the rest of the pipeline behind the batch's own share of the cycle */
        out->own_s += fmax(km_step_alone_s(&load.decode) - out->decode_s, 0.0);
    out->hold_s = load.pieces * own.whole_s + out->ahead_s;
    double share = 1.0 - out->decode_s / out->step_s;
    double behind_s = own.left_s + share * own.first_s,
           usual_s = (mean.left_s + share * mean.age_s) / mean.steps;
    out->burden_s = share < 1.0 ? (behind_s - usual_s) / (1.0 - share) : 0.0;
    free(groups);
}

double km_steps_decode_s(const struct km_continuous_question *q, uint32_t m)
{
    struct km_group_load load;
    km_group_load_init(&load, q, m);
    return km_group_decode_s(&load);
}

double km_steps_saturated_s(const struct km_continuous_question *q, uint32_t m, double recomputed)
{
    struct km_group_load load;
    struct km_prompt_groups *groups = km_alloc(sizeof *groups);
    km_group_load_init(&load, q, m);
    double per_step = (1.0 + recomputed) * load.pieces * m / (q->clock->pace.stages * q->mix->decode_mean),
           mean = per_step, step_s = 0.0;
    for (int round = 0; round < 8; round++) {
        double law[KM_GROUP_MOST + 1] = {0};
        struct moments moments;
        km_groups_fill(&load, 0, enough(mean), groups);
        add_poisson(fmin(mean, KM_GROUP_MOST), 1.0, groups->most, law);
        take_moments(groups, law, &moments);
        step_s = moments.time_s / moments.steps;
        double next = per_step * moments.steps;
        bool settled = fabs(next - mean) < 1e-6 * mean;
        mean = next;
        if (settled)
            break;
    }
    free(groups);
    return step_s;
}

double km_steps_full_per_s(const struct km_continuous_question *q, uint32_t m)
{
    struct km_group_load load;
    km_group_load_init(&load, q, m);
    uint32_t count = q->max_num_seqs < KM_GROUP_MOST ? q->max_num_seqs : KM_GROUP_MOST;
    struct km_prompt_group group = km_group_even(&load, count);
    return count / (load.pieces * group.after_group_s);
}
