#include "queueing/continuous/continuous_groups.h"

#include <math.h>

/* A group is drawn this often, lengths spread evenly over as many strata of the prompt lengths; larger groups
 * differ little. */
#define STRATA        12u
#define DRAWN_PROMPTS 8u
/* Groups of more steps than the first are not drawn but taken as even, of more than the second as so much
 * longer. */
#define DRAWN_STEPS 3.0
#define EVEN_STEPS  12.0

void km_group_load_init(struct km_group_load *load, const struct km_continuous_question *q, uint32_t m)
{
    uint32_t batches = q->clock->pace.stages;
    *load = (struct km_group_load){.q = q,
                                   .m = m,
                                   .lane_m = (m + batches - 1) / batches,
                                   .context = km_length_mix_context(q->mix),
                                   .windowed = km_length_mix_windowed(q->mix, q->clock->window),
                                   .longest = km_length_mix_longest(q->mix)};
    load->prompts = *q->mix;
    load->pieces = 1.0;
    if (q->long_prefill_token_threshold) {
        load->pieces = km_length_mix_pieces(q->mix, q->long_prefill_token_threshold, &load->prompts);
        load->past = (uint32_t)(0.5 * (load->pieces - 1.0) * q->long_prefill_token_threshold);
    }
    if (m)
        km_step_decode(q->clock, load->lane_m, load->context, load->windowed, load->longest, &load->decode);
}

struct km_decode_shape km_group_decodes(const struct km_group_load *load)
{
    double window = load->q->clock->window;
    uint32_t count = load->lane_m;
    return (struct km_decode_shape){.count = count,
                                    .sum_context = (uint64_t)(count * load->context + 0.5),
                                    .sum_windowed = (uint64_t)(count * load->windowed + 0.5),
                                    .below_window = window <= 0.0 || load->context < window ? count : 0,
                                    .max_context = (uint64_t)(load->longest + 0.5)};
}

double km_group_decode_s(const struct km_group_load *load)
{
    return load->m ? km_step_pace_s(&load->q->clock->pace, &load->decode) / load->q->clock->pace.stages : 0.0;
}

/* Prompt tokens of a step. */
static uint32_t token_budget(const struct km_group_load *load)
{
    uint32_t all = load->q->max_num_batched_tokens;
    return all > load->lane_m ? all - load->lane_m : 1;
}

/* A step with prompts adds this to the time line. */
static void mixed_step(const struct km_group_load *load, const struct km_step_shape *shape, bool first,
                       struct km_prompt_group *out)
{
    const struct km_step_clock *clock = load->q->clock;
    struct km_step_seconds step;
    clock->time(clock->context, shape, &step);
    double like_s = km_step_pace_s(&clock->pace, &step), after_s = like_s;
    if (load->m && clock->pace.stages > 1) {
        /* A long batch holds up the slowest stage, or the whole cycle by its own way through the pipeline. */
        double cycle_s = km_step_pace_s(&clock->pace, &load->decode);
        double held_s =
            fmax(step.slowest_s - load->decode.slowest_s, km_step_through_s(&clock->pace, &step) - cycle_s);
        like_s = after_s = cycle_s / clock->pace.stages + fmax(held_s, 0.0);
    } else if (load->m == 0) {
        like_s = after_s = km_step_alone_s(&step); /* nothing ran when it was formed */
    } else if (first) {
        after_s = km_step_after_s(&clock->pace, &step, &load->decode);
    }
    out->after_group_s += like_s;
    out->after_decode_s += after_s;
    out->steps += 1.0;
}

/* The group of `count` prompts of the given lengths. */
static struct km_prompt_group run_group(const struct km_group_load *load, const double *prompts,
                                        uint32_t count)
{
    struct km_chunk chunks[KM_GROUP_MOST];
    uint32_t rest[KM_GROUP_MOST], past[KM_GROUP_MOST], done = 0;
    uint32_t all = token_budget(load);
    for (uint32_t i = 0; i < count; i++) {
        rest[i] = prompts[i] < 1.5 ? 1 : (uint32_t)(prompts[i] + 0.5);
        past[i] = load->past;
    }
    struct km_prompt_group group = {0};
    for (bool first = true; done < count; first = false) {
        struct km_step_shape shape = {.chunks = chunks, .decode = km_group_decodes(load)};
        shape.sampled = shape.decode.count;
        uint32_t budget = all;
        for (uint32_t i = 0; i < count && budget; i++) {
            uint32_t tokens = rest[i] < budget ? rest[i] : budget;
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

static void draw_few(const struct km_group_load *load, uint32_t count, struct km_chain_size *out)
{
    double prompts[STRATA][DRAWN_PROMPTS];
    uint32_t state = 2463534242u, order[STRATA], width = KM_LENGTH_CLASSES / STRATA;
    for (uint32_t i = 0; i < count; i++) {
        shuffle(&state, order);
        for (uint32_t draw = 0; draw < STRATA; draw++) {
            prompts[draw][i] = 0.0;
            for (uint32_t c = 0; c < width; c++)
                prompts[draw][i] += load->prompts.prompt_class[order[draw] * width + c] / width;
        }
    }
    out->count = STRATA;
    for (uint32_t draw = 0; draw < STRATA; draw++) {
        out->weight[draw] = 1.0 / STRATA;
        out->drawn[draw] = run_group(load, prompts[draw], count);
    }
}

struct km_prompt_group km_group_even(const struct km_group_load *load, uint32_t count)
{
    double prompts[KM_GROUP_MOST], sum = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (i * 7u + 3u) % count; /* neighbours in the queue are not neighbours in length */
        prompts[i] = load->prompts.prompt_class[(size_t)((at + 0.5) * KM_LENGTH_CLASSES / count)];
        sum += prompts[i];
    }
    for (uint32_t i = 0; i < count; i++)
        prompts[i] *= load->prompts.prompt_mean * count / sum;
    return run_group(load, prompts, count);
}

static void draw_single(const struct km_group_load *load, struct km_chain_size *out)
{
    const struct km_length_mix *mix = &load->prompts;
    out->count = KM_GROUP_DRAWS;
    for (uint32_t c = 0; c < KM_GROUP_DRAWS; c++) {
        bool top = c + 1 >= KM_LENGTH_CLASSES;
        uint32_t part = top ? c + 1 - KM_LENGTH_CLASSES : 0;
        out->drawn[c] = run_group(load, top ? &mix->prompt_top[part] : &mix->prompt_class[c], 1);
        out->weight[c] = (top ? km_length_top_share(part) : 1.0) / KM_LENGTH_CLASSES;
    }
}

static void size_fill(const struct km_group_load *load, uint32_t count, struct km_chain_size *out)
{
    double steps = count * load->prompts.prompt_mean / token_budget(load);
    out->count = 1;
    out->weight[0] = 1.0;
    if (count == 1) {
        draw_single(load, out);
    } else if (count <= DRAWN_PROMPTS && steps <= DRAWN_STEPS) {
        draw_few(load, count, out);
    } else if (steps <= EVEN_STEPS || count <= 4) {
        out->drawn[0] = km_group_even(load, count);
    } else {
        double least = fmax(4.0, EVEN_STEPS / steps * count), scale = count / floor(least);
        struct km_prompt_group part = km_group_even(load, (uint32_t)least);
        out->drawn[0] = (struct km_prompt_group){scale * part.after_decode_s, scale * part.after_group_s,
                                                 scale * part.steps};
    }
}

static struct km_prompt_group between(const struct km_prompt_group *a, const struct km_prompt_group *b,
                                      double t)
{
    return (struct km_prompt_group){
        .after_decode_s = a->after_decode_s + t * (b->after_decode_s - a->after_decode_s),
        .after_group_s = a->after_group_s + t * (b->after_group_s - a->after_group_s),
        .steps = a->steps + t * (b->steps - a->steps)};
}

void km_groups_fill(const struct km_group_load *load, uint32_t from, uint32_t most,
                    struct km_prompt_groups *out)
{
    out->most = most;
    if (from == 0) {
        double decode_s = km_group_decode_s(load);
        out->of[0] =
            (struct km_chain_size){.drawn = {{decode_s, decode_s, 1.0}}, .weight = {1.0}, .count = 1};
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

double km_group_s(const struct km_prompt_group *group, double decode_before)
{
    return decode_before * group->after_decode_s + (1.0 - decode_before) * group->after_group_s;
}
