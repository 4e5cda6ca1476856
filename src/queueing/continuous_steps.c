#include "queueing/continuous_steps.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

/* Largest group of prompts looked at; what lies beyond is put there. */
#define MOST_PROMPTS 160u
/* A group is drawn this often, lengths spread evenly over as many strata of the prompt lengths; larger groups
 * differ little. */
#define STRATA        12u
#define DRAWN_PROMPTS 8u
/* Groups of more steps than the first are not drawn but taken as even, of more than the second as so much
 * longer. */
#define DRAWN_STEPS      3.0
#define EVEN_STEPS       12.0
#define MOST_ROUNDS      60
#define MOST_CORRECTIONS 4

/* A group of prompts that start together. */
struct group {
    double after_decode_s, after_group_s; /* by what ran before */
    double steps;
};

/* All groups of one size. */
#define MOST_DRAWS (KM_LENGTH_CLASSES + KM_LENGTH_TOP - 1)
struct size {
    struct group drawn[MOST_DRAWS];
    double weight[MOST_DRAWS]; /* sum to 1 */
    uint32_t count;
};

struct groups {
    uint32_t most;
    struct size of[MOST_PROMPTS + 1]; /* [0]: one step of decodes alone */
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

/* A step of decodes alone: with pipeline stages, of one of the batches in flight. */
static double decode_batch_s(const struct load *load)
{
    return load->m ? km_step_pace_s(load->q->clock, &load->decode) / km_step_batches(load->q->clock) : 0.0;
}

/* Prompt tokens of a step. */
static uint32_t token_budget(const struct load *load)
{
    uint32_t all = load->q->max_num_batched_tokens;
    return all > load->lane_m ? all - load->lane_m : 1;
}

/* A step with prompts adds this to the time line. */
static void mixed_step(const struct load *load, const struct km_step_shape *shape, bool first,
                       struct group *out)
{
    const struct km_step_clock *clock = load->q->clock;
    struct km_step_seconds step;
    clock->time(clock->context, shape, &step);
    double like_s = km_step_pace_s(clock, &step), after_s = like_s;
    if (load->m && clock->stages > 1) {
        /* A long batch holds up the slowest stage, or the whole cycle by its own way through the pipeline. */
        double cycle_s = km_step_pace_s(clock, &load->decode);
        double held_s = fmax(step.slowest_s - load->decode.slowest_s, km_step_alone_s(&step) - cycle_s);
        like_s = after_s = cycle_s / km_step_batches(clock) + fmax(held_s, 0.0);
    } else if (load->m == 0) {
        like_s = after_s = km_step_alone_s(&step); /* nothing ran when it was formed */
    } else if (first) {
        after_s = km_step_after_s(clock, &step, &load->decode);
    }
    out->after_group_s += like_s;
    out->after_decode_s += after_s;
    out->steps += 1.0;
}

/* The group of `count` prompts of the given lengths. */
static struct group run_group(const struct load *load, const double *prompts, uint32_t count)
{
    const struct km_continuous_question *q = load->q;
    struct km_chunk chunks[MOST_PROMPTS];
    uint32_t rest[MOST_PROMPTS], past[MOST_PROMPTS], done = 0;
    uint32_t all = token_budget(load);
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

/* A permutation of 0 .. STRATA - 1 from a state that moves on (xorshift, Marsaglia 2003): which stratum a
 * draw takes is arbitrary but always the same. */
static void shuffle(uint32_t *state, uint32_t *out)
{
    for (uint32_t i = 0; i < STRATA; i++) {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        uint32_t at = *state % (i + 1);
        out[i] = out[at];
        out[at] = i;
    }
}

static void draw_few(const struct load *load, uint32_t count, struct size *out)
{
    double prompts[STRATA][DRAWN_PROMPTS];
    uint32_t state = 2463534242u, order[STRATA], width = KM_LENGTH_CLASSES / STRATA;
    for (uint32_t i = 0; i < count; i++) {
        shuffle(&state, order);
        for (uint32_t draw = 0; draw < STRATA; draw++) {
            prompts[draw][i] = 0.0;
            for (uint32_t c = 0; c < width; c++)
                prompts[draw][i] += load->q->mix->prompt_class[order[draw] * width + c] / width;
        }
    }
    out->count = STRATA;
    for (uint32_t draw = 0; draw < STRATA; draw++) {
        out->weight[draw] = 1.0 / STRATA;
        out->drawn[draw] = run_group(load, prompts[draw], count);
    }
}

/* `count` prompts spread evenly over the classes, with the workload's mean. */
static struct group even_group(const struct load *load, uint32_t count)
{
    double prompts[MOST_PROMPTS], sum = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (i * 7u + 3u) % count; /* neighbours in the queue are not neighbours in length */
        prompts[i] = load->q->mix->prompt_class[(size_t)((at + 0.5) * KM_LENGTH_CLASSES / count)];
        sum += prompts[i];
    }
    for (uint32_t i = 0; i < count; i++)
        prompts[i] *= load->q->mix->prompt_mean * count / sum;
    return run_group(load, prompts, count);
}

static void draw_single(const struct load *load, struct size *out)
{
    const struct km_length_mix *mix = load->q->mix;
    out->count = MOST_DRAWS;
    for (uint32_t c = 0; c < MOST_DRAWS; c++) {
        bool top = c + 1 >= KM_LENGTH_CLASSES;
        uint32_t part = top ? c + 1 - KM_LENGTH_CLASSES : 0;
        out->drawn[c] = run_group(load, top ? &mix->prompt_top[part] : &mix->prompt_class[c], 1);
        out->weight[c] = (top ? km_length_top_share(part) : 1.0) / KM_LENGTH_CLASSES;
    }
}

static void size_fill(const struct load *load, uint32_t count, struct size *out)
{
    double steps = count * load->q->mix->prompt_mean / token_budget(load);
    out->count = 1;
    out->weight[0] = 1.0;
    if (count == 1) {
        draw_single(load, out);
    } else if (count <= DRAWN_PROMPTS && steps <= DRAWN_STEPS) {
        draw_few(load, count, out);
    } else if (steps <= EVEN_STEPS || count <= 4) {
        out->drawn[0] = even_group(load, count);
    } else {
        double least = fmax(4.0, EVEN_STEPS / steps * count), scale = count / floor(least);
        struct group part = even_group(load, (uint32_t)least);
        out->drawn[0] =
            (struct group){scale * part.after_decode_s, scale * part.after_group_s, scale * part.steps};
    }
}

static struct group between(const struct group *a, const struct group *b, double t)
{
    return (struct group){.after_decode_s = a->after_decode_s + t * (b->after_decode_s - a->after_decode_s),
                          .after_group_s = a->after_group_s + t * (b->after_group_s - a->after_group_s),
                          .steps = a->steps + t * (b->steps - a->steps)};
}

/* Groups of `from` .. `most` prompts: every small size, larger ones at some sizes with straight lines
 * between. */
static void groups_fill(const struct load *load, uint32_t from, uint32_t most, struct groups *out)
{
    out->most = most;
    if (from == 0) {
        double decode_s = decode_batch_s(load);
        out->of[0] = (struct size){.drawn = {{decode_s, decode_s, 1.0}}, .weight = {1.0}, .count = 1};
        from = 1;
    }
    for (uint32_t j = from; j <= most;) {
        size_fill(load, j, &out->of[j]);
        if (j <= DRAWN_PROMPTS || j == most) {
            j++;
            continue;
        }
        uint32_t next = j + j / 2 < most ? j + j / 2 : most;
        size_fill(load, next, &out->of[next]);
        for (uint32_t i = j + 1; i < next; i++) {
            out->of[i].count = 1;
            out->of[i].weight[0] = 1.0;
            out->of[i].drawn[0] =
                between(&out->of[j].drawn[0], &out->of[next].drawn[0], (double)(i - j) / (next - j));
        }
        j = next == most ? most + 1 : next;
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

/* Moments of a group over the law of sizes. */
struct moments {
    double before; /* share of groups that follow a step of decodes alone */
    double time_s, square, steps;
    /* Summed over the steps of a group: time of prompts not yet computed, time since the group formed. */
    double left_s, age_s;
};

static void take_moments(const struct groups *groups, const double *law, struct moments *out)
{
    double decode_s = groups->of[0].drawn[0].after_decode_s;
    *out = (struct moments){.before = law[0]};
    for (uint32_t j = 0; j <= groups->most; j++)
        for (uint32_t d = 0; d < groups->of[j].count; d++) {
            const struct group *group = &groups->of[j].drawn[d];
            double s = group_s(group, out->before), weight = law[j] * groups->of[j].weight[d];
            out->time_s += weight * s;
            out->square += weight * s * s;
            out->steps += weight * group->steps;
            out->left_s += weight * (s - group->steps * decode_s) * 0.5 * (group->steps - 1.0);
            out->age_s += weight * s * 0.5 * (group->steps + 1.0);
        }
}

/* Stationary law of group sizes. The share of groups after decodes alone enters the times and is corrected a
 * few times. */
static void stationary(const struct groups *groups, double rate_per_s, double *law)
{
    const uint32_t most = groups->most, states = most + 1;
    double *to = km_alloc((size_t)states * states * sizeof *to), next[MOST_PROMPTS + 1];
    for (uint32_t j = 0; j <= most; j++)
        law[j] = j == 0;
    for (int correction = 0; correction < MOST_CORRECTIONS; correction++) {
        double before = law[0];
        for (size_t i = 0; i < (size_t)states * states; i++)
            to[i] = 0.0;
        for (uint32_t j = 0; j <= most; j++)
            for (uint32_t d = 0; d < groups->of[j].count; d++)
                add_poisson(rate_per_s * group_s(&groups->of[j].drawn[d], before), groups->of[j].weight[d],
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

static void add_own(const struct groups *groups, uint32_t j, double decode_before, double weight,
                    struct own *out)
{
    const struct size *size = &groups->of[j];
    double decode_s = groups->of[0].drawn[0].after_decode_s;
    for (uint32_t d = 0; d < size->count; d++) {
        double steps = size->drawn[d].steps, whole_s = group_s(&size->drawn[d], decode_before);
        double share = fmax(steps <= 1.0 ? 1.0 : (j + 1.0) / (2.0 * j), 1.0 / steps),
               w = weight * size->weight[d];
        out->first_s += w * share * whole_s;
        out->whole_s += w * whole_s;
        out->left_s += w * (1.0 - share) * (whole_s - steps * decode_s);
    }
}

/* Results of a step that starts prompts are taken after its end; a step that is not overlapped includes that.
 */
static double process_s(const struct load *load)
{
    if (!load->q->clock->overlapped)
        return 0.0;
    const struct km_chunk chunk = {1, 0};
    const struct km_step_shape shape = {.chunks = &chunk,
                                        .chunk_count = 1,
                                        .prefill_tokens = 1,
                                        .sampled = load->lane_m + 1,
                                        .decode = decodes(load)};
    struct km_step_seconds step;
    load->q->clock->time(load->q->clock->context, &shape, &step);
    return step.process_s;
}

/* An engine without decodes when a request comes: mostly idle, else in a group of one. */
static void idle_steps(const struct km_continuous_question *q, const struct load *load,
                       struct km_steps_at *out)
{
    struct groups *groups = km_alloc(sizeof *groups);
    struct own own = {0};
    struct moments single;
    const double one[2] = {0.0, 1.0};
    groups_fill(load, 0, 1, groups);
    take_moments(groups, one, &single);
    double busy = 1.0 - exp(-q->arrival_rate_per_s * single.time_s);
    out->residual_s = busy * single.square / (2.0 * single.time_s);
    add_own(groups, 1, 1.0, 1.0, &own);
    out->own_s = own.first_s;
    out->hold_s = own.whole_s;
    free(groups);
}

/* Requests that never decode: group after group, and idle between them. An idle engine starts the next
 * arrival by itself. */
static void prompt_steps(const struct km_continuous_question *q, const struct load *load,
                         struct km_steps_at *out)
{
    double rate = q->arrival_rate_per_s, law[MOST_PROMPTS + 1], company[MOST_PROMPTS + 1] = {0};
    struct groups *groups = km_alloc(sizeof *groups);
    struct own own = {0};
    struct moments mean;
    groups_fill(load, 0, MOST_PROMPTS, groups);
    struct size idle = groups->of[0];
    groups->of[0] = groups->of[1]; /* the group after an idle time: same time, and nobody else came */
    stationary(groups, rate, law);
    take_moments(groups, law, &mean);
    double idle_s = law[0] / rate, whole_s = mean.time_s + idle_s;
    out->residual_s = mean.square / (2.0 * whole_s);
    company[0] = idle_s / whole_s;
    for (uint32_t j = 0; j <= groups->most; j++)
        for (uint32_t d = 0; d < groups->of[j].count && law[j] > 1e-12; d++) {
            double s = group_s(&groups->of[j].drawn[d], mean.before);
            add_poisson(rate * s, law[j] * groups->of[j].weight[d] * s / whole_s, groups->most, company);
        }
    groups->of[0] = idle;
    for (uint32_t j = 0; j <= groups->most; j++)
        add_own(groups, j < groups->most ? j + 1 : groups->most, mean.before, company[j], &own);
    out->own_s = own.first_s;
    out->hold_s = own.whole_s;
    free(groups);
}

void km_steps_at(const struct km_continuous_question *q, uint32_t m, struct km_steps_at *out)
{
    struct load load;
    double law[MOST_PROMPTS + 1], company[MOST_PROMPTS + 1] = {0}, rate = q->arrival_rate_per_s;
    *out = (struct km_steps_at){0};
    load_init(&load, q, m);
    if (m == 0) {
        (q->mix->decode_mean > 0.0 ? idle_steps : prompt_steps)(q, &load, out);
        return;
    }
    struct groups *groups = km_alloc(sizeof *groups);
    groups_fill(&load, 0, 1, groups);
    struct moments first, mean;
    const double one[2] = {0.0, 1.0};
    take_moments(groups, one, &first);
    out->decode_s = groups->of[0].drawn[0].after_decode_s;
    double room = 1.0 - rate * (first.time_s - out->decode_s);
    groups_fill(&load, 2, enough(room > 0.01 ? rate * first.time_s / room : 1e9), groups);
    stationary(groups, rate, law);
    take_moments(groups, law, &mean);
    out->step_s = mean.time_s / mean.steps;
    out->residual_s = mean.square / (2.0 * mean.time_s);
    out->ahead_s = q->clock->overlapped ? out->step_s : 0.0;
    struct own own = {0};
    /* Who starts with an arrival came in the same group, of which longer ones see more arrivals. */
    for (uint32_t j = 0; j <= groups->most; j++)
        for (uint32_t d = 0; d < groups->of[j].count && law[j] > 1e-12; d++) {
            double s = group_s(&groups->of[j].drawn[d], mean.before);
            add_poisson(rate * s, law[j] * groups->of[j].weight[d] * s / mean.time_s, groups->most, company);
        }
    for (uint32_t j = 0; j <= groups->most; j++)
        add_own(groups, j < groups->most ? j + 1 : groups->most, mean.before, company[j], &own);
    out->own_s = own.first_s + process_s(&load);
    if (q->clock->stages > 1) /* the rest of the pipeline behind the batch's own share of the cycle */
        out->own_s += fmax(km_step_alone_s(&load.decode) - out->decode_s, 0.0);
    out->hold_s = own.whole_s + out->ahead_s;
    double share = 1.0 - out->decode_s / out->step_s;
    double behind_s = own.left_s + share * own.first_s,
           usual_s = (mean.left_s + share * mean.age_s) / mean.steps;
    out->burden_s = share < 1.0 ? (behind_s - usual_s) / (1.0 - share) : 0.0;
    free(groups);
}

double km_steps_decode_s(const struct km_continuous_question *q, uint32_t m)
{
    struct load load;
    load_init(&load, q, m);
    return decode_batch_s(&load);
}

double km_steps_saturated_s(const struct km_continuous_question *q, uint32_t m, double recomputed)
{
    struct load load;
    struct groups *groups = km_alloc(sizeof *groups);
    load_init(&load, q, m);
    double per_step = (1.0 + recomputed) * m / (km_step_batches(q->clock) * q->mix->decode_mean),
           mean = per_step, step_s = 0.0;
    for (int round = 0; round < 8; round++) {
        double law[MOST_PROMPTS + 1] = {0};
        struct moments moments;
        groups_fill(&load, 0, enough(mean), groups);
        add_poisson(fmin(mean, MOST_PROMPTS), 1.0, groups->most, law);
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
    struct load load;
    load_init(&load, q, m);
    uint32_t count = q->max_num_seqs < MOST_PROMPTS ? q->max_num_seqs : MOST_PROMPTS;
    struct group group = even_group(&load, count);
    return count / group.after_group_s;
}
