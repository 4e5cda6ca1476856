#include "queueing/continuous_steps.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

/* Largest group of prompts looked at; what lies beyond is put there. */
#define MOST_PROMPTS 160u
#define ROUNDS       80

/* j prompts computed in one group. */
struct group {
    double after_decode_s, after_group_s; /* by what ran before */
    double steps;
    double process_s;
};

struct groups {
    uint32_t most;
    struct group of[MOST_PROMPTS + 1]; /* [0]: one step of decodes alone */
};

struct load {
    const struct km_continuous_question *q;
    uint32_t m, lane_m; /* decodes; decodes of one batch among those in flight */
    double context, windowed, longest;
    struct km_step_seconds decode;
};

static void load_init(struct load *load, const struct km_continuous_question *q, uint32_t m)
{
    uint32_t batches = km_step_batches(q->clock);
    *load = (struct load){.q = q,
                          .m = m,
                          .lane_m = (m + batches - 1) / batches,
                          .context = km_length_mix_context(q->mix),
                          .windowed = km_length_mix_windowed(q->mix, q->clock->window),
                          .longest = km_length_mix_longest(q->mix)};
    if (m)
        km_step_decode(q->clock, load->lane_m, load->context, load->windowed, load->longest, &load->decode);
}

static struct km_decode_shape decodes(const struct load *load)
{
    double window = load->q->clock->window;
    uint32_t count = load->lane_m;
    return (struct km_decode_shape){.count = count,
                                    .sum_context = (uint64_t)(count * load->context + 0.5),
                                    .sum_windowed = (uint64_t)(count * load->windowed + 0.5),
                                    .below_window = window <= 0.0 || load->context < window ? count : 0,
                                    .max_context = (uint64_t)(load->longest + 0.5)};
}

/* A step with prompts adds this to the time line. */
static void mixed_step(const struct load *load, const struct km_step_shape *shape, bool first,
                       struct group *out)
{
    const struct km_step_clock *clock = load->q->clock;
    struct km_step_seconds step;
    clock->time(clock->context, shape, &step);
    double like_s = km_step_pace_s(clock, &step), after_s = like_s;
    if (clock->stages > 1) {
        like_s = load->m ? km_step_pace_s(clock, &load->decode) + step.slowest_s - load->decode.slowest_s
                         : km_step_alone_s(&step);
        after_s = like_s;
    } else if (first) {
        after_s = load->m ? km_step_after_s(clock, &step, &load->decode) : km_step_alone_s(&step);
    }
    out->after_group_s += like_s;
    out->after_decode_s += after_s;
    out->steps += 1.0;
    out->process_s = clock->overlapped ? step.process_s : 0.0;
}

/* The group of `count` prompts of the given lengths. */
static struct group run_group(const struct load *load, const double *prompts, uint32_t count)
{
    const struct km_continuous_question *q = load->q;
    struct km_chunk chunks[MOST_PROMPTS];
    uint32_t rest[MOST_PROMPTS], past[MOST_PROMPTS], done = 0;
    uint32_t all = q->max_num_batched_tokens > load->lane_m ? q->max_num_batched_tokens - load->lane_m : 1;
    uint32_t threshold = q->long_prefill_token_threshold ? q->long_prefill_token_threshold : UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        rest[i] = prompts[i] < 1.5 ? 1 : (uint32_t)(prompts[i] + 0.5);
        past[i] = 0;
    }
    struct group group = {0};
    for (bool first = true; done < count; first = false) {
        struct km_step_shape shape = {.chunks = chunks, .decode = decodes(load)};
        shape.sampled = shape.decode.count;
        uint32_t budget = all;
        for (uint32_t i = 0; i < count && budget; i++) {
            uint32_t tokens = rest[i] < budget ? rest[i] : budget;
            tokens = tokens < threshold ? tokens : threshold;
            if (!tokens)
                continue;
            chunks[shape.chunk_count++] = (struct km_chunk){tokens, past[i]};
            shape.prefill_tokens += tokens;
            past[i] += tokens;
            rest[i] -= tokens;
            budget -= tokens;
            shape.sampled += rest[i] == 0;
            done += rest[i] == 0;
        }
        mixed_step(load, &shape, first, &group);
    }
    return group;
}

static struct group mean_single(const struct load *load)
{
    struct group mean = {0};
    for (size_t c = 0; c < KM_LENGTH_CLASSES; c++) {
        struct group one = run_group(load, &load->q->mix->prompt_class[c], 1);
        mean.after_decode_s += one.after_decode_s / KM_LENGTH_CLASSES;
        mean.after_group_s += one.after_group_s / KM_LENGTH_CLASSES;
        mean.steps += one.steps / KM_LENGTH_CLASSES;
        mean.process_s += one.process_s / KM_LENGTH_CLASSES;
    }
    return mean;
}

/* `count` > 1 prompts spread over the classes, with the workload's mean. */
static struct group typical_group(const struct load *load, uint32_t count)
{
    double prompts[MOST_PROMPTS], sum = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        /* Stride coprime to the number of classes: neighbours in the queue are not neighbours in length. */
        uint32_t at = (uint32_t)((i * 7u + 3u) % count);
        prompts[i] = load->q->mix->prompt_class[(size_t)((at + 0.5) * KM_LENGTH_CLASSES / count)];
        sum += prompts[i];
    }
    for (uint32_t i = 0; i < count; i++)
        prompts[i] *= load->q->mix->prompt_mean * count / sum;
    return run_group(load, prompts, count);
}

static struct group between(const struct group *a, const struct group *b, double t)
{
    return (struct group){.after_decode_s = a->after_decode_s + t * (b->after_decode_s - a->after_decode_s),
                          .after_group_s = a->after_group_s + t * (b->after_group_s - a->after_group_s),
                          .steps = a->steps + t * (b->steps - a->steps),
                          .process_s = a->process_s + t * (b->process_s - a->process_s)};
}

static uint32_t next_size(uint32_t j)
{
    return j < 4 ? j + 1 : j + j / 2;
}

/* Groups of 0 .. most prompts: timed at some sizes, straight lines between. */
static void groups_fill(const struct load *load, uint32_t most, struct groups *out)
{
    out->most = most;
    double decode_s = load->m ? km_step_pace_s(load->q->clock, &load->decode) : 0.0;
    out->of[0] = (struct group){decode_s, decode_s, 1.0, 0.0};
    out->of[1] = mean_single(load);
    for (uint32_t j = 1; j < most;) {
        uint32_t next = next_size(j) < most ? next_size(j) : most;
        out->of[next] = typical_group(load, next);
        for (uint32_t i = j + 1; i < next; i++)
            out->of[i] = between(&out->of[j], &out->of[next], (double)(i - j) / (next - j));
        j = next;
    }
}

static double group_s(const struct group *group, double decode_before)
{
    return decode_before * group->after_decode_s + (1.0 - decode_before) * group->after_group_s;
}

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
    return most < MOST_PROMPTS ? (uint32_t)most : MOST_PROMPTS;
}

/* Stationary law of group sizes; returns the share of groups preceded by decodes alone. */
static double stationary(const struct groups *groups, double rate_per_s, double *law)
{
    double next[MOST_PROMPTS + 1];
    for (uint32_t j = 0; j <= groups->most; j++)
        law[j] = j == 0;
    for (int round = 0; round < ROUNDS; round++) {
        double decode_before = law[0], change = 0.0;
        for (uint32_t j = 0; j <= groups->most; j++)
            next[j] = 0.0;
        for (uint32_t j = 0; j <= groups->most; j++)
            if (law[j] > 1e-14)
                add_poisson(rate_per_s * group_s(&groups->of[j], decode_before), law[j], groups->most, next);
        for (uint32_t j = 0; j <= groups->most; j++) {
            change += fabs(next[j] - law[j]);
            law[j] = next[j];
        }
        if (change < 1e-9)
            break;
    }
    return law[0];
}

/* When the first token comes of one of j prompts, at random, that started together. */
static double first_token_s(const struct group *group, uint32_t j, double decode_before)
{
    double whole_s = group_s(group, decode_before), step_s = whole_s / group->steps;
    double served_s = whole_s * (j + 1.0) / (2.0 * j);
    return fmax(group->steps <= 1.0 ? whole_s : served_s, step_s) + group->process_s;
}

static void idle_steps(const struct km_continuous_question *q, const struct load *load,
                       struct km_steps_at *out)
{
    struct groups groups;
    groups_fill(load, 2, &groups);
    double alone_s = groups.of[1].after_decode_s, busy = 1.0 - exp(-q->arrival_rate_per_s * alone_s);
    out->residual_s = busy * alone_s / 2.0;
    out->own_s =
        (1.0 - busy) * first_token_s(&groups.of[1], 1, 1.0) + busy * first_token_s(&groups.of[1], 1, 0.0);
    out->hold_s = alone_s;
}

void km_steps_at(const struct km_continuous_question *q, uint32_t m, struct km_steps_at *out)
{
    struct load load;
    struct groups groups;
    double law[MOST_PROMPTS + 1], rate = q->arrival_rate_per_s;
    *out = (struct km_steps_at){0};
    load_init(&load, q, m);
    if (m == 0) {
        idle_steps(q, &load, out);
        return;
    }
    groups_fill(&load, 1, &groups);
    double decode_s = groups.of[0].after_decode_s, extra_s = groups.of[1].after_decode_s - decode_s;
    double room = 1.0 - rate * extra_s;
    groups_fill(&load, enough(room > 0.01 ? rate * groups.of[1].after_decode_s / room : 1e9), &groups);
    double before = stationary(&groups, rate, law), time_s = 0.0, square = 0.0, steps = 0.0;
    for (uint32_t j = 0; j <= groups.most; j++) {
        double s = group_s(&groups.of[j], before);
        time_s += law[j] * s;
        square += law[j] * s * s;
        steps += law[j] * groups.of[j].steps;
    }
    out->decode_s = decode_s;
    out->step_s = time_s / steps;
    out->residual_s = square / (2.0 * time_s);
    out->ahead_s = q->clock->overlapped ? out->step_s : 0.0;
    double company[MOST_PROMPTS + 1] = {0}, hold_s = 0.0;
    add_poisson(rate * square / time_s, 1.0, groups.most, company);
    for (uint32_t j = 0; j <= groups.most; j++) {
        uint32_t size = j < groups.most ? j + 1 : groups.most;
        out->own_s += company[j] * first_token_s(&groups.of[size], size, before);
        hold_s += company[j] * group_s(&groups.of[size], before);
    }
    out->hold_s = hold_s + out->ahead_s;
}

double km_steps_decode_s(const struct km_continuous_question *q, uint32_t m)
{
    struct load load;
    load_init(&load, q, m);
    return m ? km_step_pace_s(q->clock, &load.decode) : 0.0;
}

double km_steps_saturated_s(const struct km_continuous_question *q, uint32_t m)
{
    struct load load;
    struct groups groups;
    load_init(&load, q, m);
    double per_step = m / q->mix->decode_mean, mean = per_step, step_s = 0.0;
    for (int round = 0; round < 8; round++) {
        double law[MOST_PROMPTS + 1] = {0}, time_s = 0.0, steps = 0.0;
        groups_fill(&load, enough(mean), &groups);
        add_poisson(fmin(mean, MOST_PROMPTS), 1.0, groups.most, law);
        for (uint32_t j = 0; j <= groups.most; j++) {
            time_s += law[j] * group_s(&groups.of[j], law[0]);
            steps += law[j] * groups.of[j].steps;
        }
        step_s = time_s / steps;
        if (fabs(per_step * steps - mean) < 1e-6 * mean)
            break;
        mean = per_step * steps;
    }
    return step_s;
}

double km_steps_prompts_per_s(const struct km_continuous_question *q)
{
    struct load load;
    struct groups groups;
    load_init(&load, q, 0);
    uint32_t most = q->max_num_seqs < MOST_PROMPTS ? q->max_num_seqs : MOST_PROMPTS;
    groups_fill(&load, most, &groups);
    double best = 0.0;
    for (uint32_t j = 1; j <= groups.most; j++)
        best = fmax(best, j / groups.of[j].after_group_s);
    return best;
}
