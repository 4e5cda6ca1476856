#include "planner/work_bound.h"

#include <math.h>

#define TRIES 10u /* values of each price tried; the last is its greatest */

/* One stage with the limits. */
struct question {
    const struct km_step_bound *bound;
    const struct km_step_stage *stage;
    const struct km_work_limits *limits;
    uint32_t token_points; /* within step_tokens */
};

static uint32_t points_within(const struct km_step_bound *bound, double tokens)
{
    uint32_t count = bound->token_points;
    while (tokens > 0.0 && count > 1 && bound->stages[0].tokens[count - 2].size >= tokens)
        count--;
    return count;
}

/* The greatest price of a prompt token: the least time a token of any step. */
static double most_token_s(const struct question *q)
{
    double least = (double)INFINITY;
    for (uint32_t k = 0; k < q->token_points; k++)
        least = fmin(least, (q->stage->tokens[k].ops_s + q->stage->tokens[k].collectives_s) /
                                q->stage->tokens[k].size);
    return least;
}

/* At least ops(r) + collectives(r) - token_s * r for every r in the grid's k-th interval. In it a row's time
 * is no less than at the end, so ops(r) - token_s * r >= (ops(end) / end - token_s) * r. */
static double left_over(const struct question *q, uint32_t k, double token_s)
{
    const struct km_step_point *point = &q->stage->tokens[k];
    double begin = k ? q->stage->tokens[k - 1].size + 1.0 : 1.0;
    if (point->size <= q->bound->captured_tokens)
        begin = point->size; /* the same time, and the most tokens to sell it by */
    double a_row = point->ops_s / point->size - token_s;
    return a_row * (a_row > 0.0 ? begin : point->size) + point->collectives_s;
}

/* The greatest price of a decode beside the two others: of all steps with d decodes, what is left over their
 * tokens, with the sampling, less what full KV blocks are charged, shared by d. */
static double most_decode_s(const struct question *q, double token_s, double full_context_s)
{
    double least = (double)INFINITY, left = (double)INFINITY;
    uint32_t k = q->token_points;
    for (uint32_t i = q->bound->sampled_points; i-- > 0;) {
        const struct km_step_point *point = &q->stage->sampled[i];
        double begin = i ? q->stage->sampled[i - 1].size + 1.0 : 1.0, end = point->size;
        /* Steps of at least `begin` tokens; smaller ones cannot hold so many decodes. */
        while (k > 0 && q->stage->tokens[k - 1].size >= begin)
            left = fmin(left, left_over(q, --k, token_s));
        double sampling_s = fmax(point->ops_s * begin / end, i ? q->stage->sampled[i - 1].ops_s : 0.0);
        double rest = left + sampling_s - full_context_s;
        least = fmin(least, rest / (rest > 0.0 ? end : begin));
    }
    return token_s + least;
}

static void consider(const struct question *q, const struct km_work_amount *load, double token_s,
                     double full_context_s, uint32_t stage, double *most, struct km_work_prices *out)
{
    double scale = q->bound->time_scale;
    double charged_s = q->limits->context_tokens > 0.0 ? full_context_s / q->limits->context_tokens : 0.0;
    const struct km_work_prices prices = {.stage = stage,
                                          .decode_s = scale * most_decode_s(q, token_s, full_context_s),
                                          .token_s = scale * token_s,
                                          .context_s = scale * (q->stage->context_s + charged_s)};
    double price = km_work_price(&prices, load);
    /* Schedules may decode more than they must: no price may fall below nothing. */
    if (prices.decode_s >= 0.0 && price > *most) {
        *most = price;
        *out = prices;
    }
}

void km_work_prices_find(const struct km_step_bound *bound, const struct km_work_limits *limits,
                         const struct km_work_amount *load, struct km_work_prices *out)
{
    double most = -1.0;
    *out = (struct km_work_prices){0};
    for (uint32_t s = 0; s < bound->stage_count; s++) {
        const struct question q = {bound, &bound->stages[s], limits,
                                   points_within(bound, limits->step_tokens)};
        double token_s = most_token_s(&q);
        /* A step that is charged for all blocks cannot be charged more than it takes with one sequence. */
        double step_s =
            q.stage->tokens[0].ops_s + q.stage->tokens[0].collectives_s + q.stage->sampled[0].ops_s;
        uint32_t charges = limits->context_tokens > 0.0 ? TRIES : 1;
        for (uint32_t i = 0; i < TRIES; i++)
            for (uint32_t j = 0; j < charges; j++)
                consider(&q, load, token_s * i / (TRIES - 1), step_s * j / TRIES, s, &most, out);
    }
}
