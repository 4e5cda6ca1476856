#include "planner/step_bound.h"

#include "base/memory.h"
#include "cost/collective.h"
#include "cost/profile/profile.h"
#include "cost/share.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FAR_TOKENS  67108864.0 /* 2^26: more than any step */
#define GRID_RATIO  1.02       /* between points outside the graphs */
#define PROBE_CHUNK 4194304u   /* tokens of a prompt whose attention is nothing but pairs */
#define PROBE_PAST  1073741824u
#define PROBE_SUM   1000000000000000ull
#define SLOPE_SLACK (1.0 - 1e-5) /* what is not proportional in those probes, and more */

/* What the operators are timed by. */
struct timer {
    const struct km_cost_config *config;
    const struct km_cost_model *cost;
    void *state;
    bool owned; /* a roofline at the profile's ceiling, not the setup's own model */
    bool products_only;
    bool attention;
    struct km_cost_config ceiling_config;
    struct km_device ceiling_device;
};

/* --- the setup's own cost model, or a ceiling of what it measured -----------------------------------------
 */

static double greatest_share(const struct km_profile *profile)
{
    const struct km_profile_table *table = &profile->tables[KM_PROFILE_GEMM];
    double most = 0.0;
    for (size_t i = 0; i < table->count; i++)
        most = fmax(most, table->answers[i]);
    return exp(most);
}

static enum km_status ceiling_create(const struct km_setup *setup, struct timer *timer,
                                     struct km_error *error)
{
    struct km_profile profile;
    enum km_status status = km_profile_read(setup->cost_config.profile, &profile, error);
    if (status != KM_OK)
        return status;
    km_profile_bind(&profile, setup->cost_config.device);
    double share = greatest_share(&profile);
    km_profile_release(&profile);
    timer->ceiling_device = *setup->cost_config.device;
    timer->ceiling_device.gemm_efficiency = timer->ceiling_device.memory_efficiency = share;
    timer->ceiling_device.gemm_fixed_s = timer->ceiling_device.kernel_graph_s = 0.0;
    timer->ceiling_config = setup->cost_config;
    timer->ceiling_config.device = &timer->ceiling_device;
    timer->config = &timer->ceiling_config;
    timer->cost = km_cost_find("roofline");
    timer->products_only = timer->owned = true;
    return timer->cost->create(timer->config, &timer->state, error);
}

/* The simulated executor keeps its cost model to itself; a second one costs little. */
static enum km_status timer_create(const struct km_setup *setup, struct timer *timer, struct km_error *error)
{
    *timer = (struct timer){.config = &setup->cost_config, .cost = setup->cost, .owned = true};
    if (setup->cost_config.profile && strcmp(setup->scenario->cost_model, "profile") == 0)
        return ceiling_create(setup, timer, error);
    timer->attention = setup->cost_config.engine->composition.rule == KM_COMPOSE_AS_RUN;
    return timer->cost->create(timer->config, &timer->state, error);
}

/* --- reading it ----------------------------------------------------------------------------------------- */

struct sums {
    const struct timer *timer;
    double tokens_s[KM_MAX_STAGES], collectives_s[KM_MAX_STAGES], sampled_s[KM_MAX_STAGES],
        attention_s[KM_MAX_STAGES];
};

/* The least a collective takes for its rows or more: where the engine changes the algorithm it may get
 * faster. */
static double least_collective_s(const struct km_cost_config *config, const struct km_op_cost *cost)
{
    const struct km_op *op = cost->op;
    const struct km_engine *engine = config->engine;
    double bytes = op->message_bytes_per_row * cost->rows, least_s = cost->time_s;
    for (uint32_t i = 0; op->collective == KM_ALL_REDUCE && i < engine->all_reduce_count; i++) {
        double below = engine->all_reduce[i].below_bytes;
        if (below > bytes)
            least_s = fmin(least_s, op->count * km_collective_s(&config->device->node, engine, op->collective,
                                                                op->group, below));
    }
    return least_s;
}

static void add_op(void *context, const struct km_op_cost *cost)
{
    struct sums *sums = context;
    const struct km_op *op = cost->op;
    if (sums->timer->products_only && op->kind != KM_OP_GEMM)
        return;
    if (op->kind == KM_OP_ATTENTION) {
        if (op->window == 0)
            sums->attention_s[cost->stage] += cost->time_s;
    } else if (op->rows == KM_ROWS_SAMPLED) {
        if (op->kind != KM_OP_COLLECTIVE)
            sums->sampled_s[cost->stage] += cost->time_s;
    } else if (op->rows != KM_ROWS_TOKENS && op->rows != KM_ROWS_ALL) {
        return;
    } else if (op->kind == KM_OP_COLLECTIVE) {
        sums->collectives_s[cost->stage] += least_collective_s(sums->timer->config, cost);
    } else {
        sums->tokens_s[cost->stage] += cost->time_s;
    }
}

static void ask(const struct timer *timer, const struct km_step_shape *shape, struct sums *out)
{
    memset(out, 0, sizeof *out);
    out->timer = timer;
    timer->cost->breakdown(timer->state, shape, add_op, out);
}

/* `tokens` shared out evenly: as prompts, since context-parallel ranks share those out, too. */
static void ask_tokens(const struct timer *timer, double tokens, struct sums *out)
{
    uint32_t data = km_layout_data(&timer->config->layout);
    struct km_chunk *chunks = km_alloc(data * sizeof *chunks);
    uint32_t left = (uint32_t)tokens, count = 0;
    for (; count < data && left > 0; count++) {
        chunks[count].tokens = (left + (data - count) - 1) / (data - count);
        left -= chunks[count].tokens;
    }
    const struct km_step_shape shape = {
        .chunks = chunks, .chunk_count = count, .prefill_tokens = (uint32_t)tokens};
    ask(timer, &shape, out);
    free(chunks);
}

/* --- the tables ----------------------------------------------------------------------------------------- */

static void put_tokens(struct km_step_bound *bound, const struct timer *timer, double size)
{
    struct sums at, after = {0};
    uint32_t k = bound->token_points++;
    double before = k ? bound->stages[0].tokens[k - 1].size : 0.0;
    ask_tokens(timer, size, &at);
    ask_tokens(timer, before + 1.0, &after);
    for (uint32_t s = 0; s < bound->stage_count; s++)
        bound->stages[s].tokens[k] = (struct km_step_point){
            .size = size, .ops_s = at.tokens_s[s], .collectives_s = after.collectives_s[s]};
}

static double next_size(double size)
{
    return fmax(size + 1.0, floor(size * GRID_RATIO));
}

/* Whole tokens for every share: outside the graphs an even step then has no row that an uneven one of as many
 * tokens has not. */
static double next_even(double size, double shares)
{
    return shares * next_size(ceil(size / shares));
}

static void fill_tokens(struct km_step_bound *bound, const struct timer *timer, double most_tokens)
{
    const struct km_engine *engine = timer->config->engine;
    const struct km_layout *layout = &timer->config->layout;
    double shares = (double)km_layout_data(layout) * km_layout_context(layout), size = 0.0;
    uint32_t room = KM_STEP_BOUND_POINTS - 4;
    for (uint32_t i = 0; i < engine->graph_size_count && bound->token_points < room / 2; i++) {
        size = engine->graph_sizes[i] * shares;
        put_tokens(bound, timer, size);
    }
    bound->captured_tokens = size;
    for (size = next_even(size, shares); size < most_tokens && bound->token_points < room;
         size = next_even(size, shares))
        put_tokens(bound, timer, size);
    put_tokens(bound, timer, fmax(size, shares * ceil(most_tokens / shares)));
    put_tokens(bound, timer, FAR_TOKENS);
}

/* The busiest data-parallel rank may be one that samples nothing: of what all sample the mean over the ranks
 * counts, which is no more than the slowest takes. */
static void fill_sampled(struct km_step_bound *bound, const struct timer *timer, double most_sequences)
{
    const double data = km_layout_data(&timer->config->layout);
    double size = 1.0;
    for (;; size = fmin(next_size(size), most_sequences)) {
        uint32_t k = bound->sampled_points++;
        struct sums at = {0};
        const struct km_step_shape shape = {.sampled = (uint32_t)size, .decode = {.count = (uint32_t)size}};
        if (timer->cost->breakdown)
            ask(timer, &shape, &at);
        else
            timer->cost->decode_fixed(timer->state, (uint32_t)size, at.sampled_s);
        for (uint32_t s = 0; s < bound->stage_count; s++)
            bound->stages[s].sampled[k] =
                (struct km_step_point){.size = size, .ops_s = at.sampled_s[s] / data};
        if (size >= most_sequences || bound->sampled_points == KM_STEP_BOUND_POINTS)
            return;
    }
}

/* Slopes of attention, alone and beside the other kind, by a decode or by the last token of a recomputation:
 * whichever is least. */
static void fill_attention(struct km_step_bound *bound, const struct timer *timer)
{
    struct km_chunk one = {.tokens = 1}, after = {.tokens = 1, .past = PROBE_PAST - 1},
                    whole = {.tokens = PROBE_CHUNK};
    const struct km_decode_shape far = {
        .count = 1, .sum_context = PROBE_SUM, .below_window = 0, .max_context = PROBE_SUM};
    const struct km_decode_shape near = {.count = 1, .sum_context = 1, .max_context = 1};
    const struct km_step_shape decodes[2] = {
        {.sampled = 1, .decode = far},
        {.chunks = &one, .chunk_count = 1, .prefill_tokens = 1, .sampled = 2, .decode = far}};
    const struct km_step_shape prompts[2] = {
        {.chunks = &whole, .chunk_count = 1, .prefill_tokens = PROBE_CHUNK, .sampled = 1},
        {.chunks = &whole, .chunk_count = 1, .prefill_tokens = PROBE_CHUNK, .sampled = 2, .decode = near}};
    const struct km_step_shape last = {
        .chunks = &after, .chunk_count = 1, .prefill_tokens = 1, .sampled = 1}; /* of a recomputation */
    const double pairs = PROBE_CHUNK * (PROBE_CHUNK + 1.0) / 2.0,
                 data = km_layout_data(&timer->config->layout);
    struct sums a, b, c;
    ask(timer, &decodes[0], &a);
    ask(timer, &decodes[1], &b);
    ask(timer, &last, &c);
    for (uint32_t s = 0; s < bound->stage_count; s++)
        bound->stages[s].context_s = fmin(fmin(a.attention_s[s], b.attention_s[s]) / (double)PROBE_SUM,
                                          c.attention_s[s] / (PROBE_PAST * data)) *
                                     SLOPE_SLACK;
    ask(timer, &prompts[0], &a);
    ask(timer, &prompts[1], &b);
    for (uint32_t s = 0; s < bound->stage_count; s++)
        bound->stages[s].pairs_s = fmin(a.attention_s[s], b.attention_s[s]) / (pairs * data) * SLOPE_SLACK;
}

enum km_status km_step_bound_create(const struct km_setup *setup, struct km_step_bound *out,
                                    struct km_error *error)
{
    const struct km_engine *engine = setup->cost_config.engine;
    const struct km_layout *layout = &setup->cost_config.layout;
    struct timer timer;
    *out = (struct km_step_bound){.stage_count = layout->pipeline_parallel,
                                  .time_scale = setup->cost_config.time_scale};
    enum km_status status = timer_create(setup, &timer, error);
    if (status != KM_OK)
        return status;
    double data = km_layout_data(layout);
    out->stages = km_alloc(out->stage_count * sizeof *out->stages);
    if (timer.cost->breakdown) {
        fill_tokens(out, &timer, engine->max_num_batched_tokens * data);
        if (timer.attention)
            fill_attention(out, &timer);
    } else {
        out->token_points = 1;
        for (uint32_t s = 0; s < out->stage_count; s++)
            out->stages[s].tokens[0].size = FAR_TOKENS;
    }
    fill_sampled(out, &timer, fmax(1.0, engine->max_num_seqs * data));
    timer.cost->destroy(timer.state);
    return KM_OK;
}

void km_step_bound_release(struct km_step_bound *bound)
{
    free(bound->stages);
    *bound = (struct km_step_bound){0};
}

/* --- one sequence --------------------------------------------------------------------------------------- */

/* Times never fall with rows, and a row's time never rises: with f at the points around n, f(n) is at least
 * the lower point's, and at least n / upper of the upper point's. What has both properties is subadditive,
 * so that no cut of n rows into several steps takes less. */
static double least_ops_s(const struct km_step_point *points, uint32_t count, double rows)
{
    uint32_t k = 0, end = count - 1;
    while (k < end) {
        uint32_t middle = k + (end - k) / 2;
        if (points[middle].size < rows)
            k = middle + 1;
        else
            end = middle;
    }
    double share = points[k].ops_s * fmin(1.0, rows / points[k].size);
    return k ? fmax(share, points[k - 1].ops_s) : share;
}

double km_step_bound_tokens_s(const struct km_step_bound *bound, double tokens)
{
    double time_s = 0.0;
    for (uint32_t s = 0; s < bound->stage_count; s++)
        time_s += least_ops_s(bound->stages[s].tokens, bound->token_points, tokens) +
                  bound->stages[s].tokens[0].collectives_s;
    return time_s * bound->time_scale;
}

double km_step_bound_sample_s(const struct km_step_bound *bound)
{
    double time_s = 0.0;
    for (uint32_t s = 0; s < bound->stage_count; s++)
        time_s += bound->stages[s].sampled[0].ops_s;
    return time_s * bound->time_scale;
}

double km_step_bound_context_s(const struct km_step_bound *bound)
{
    double time_s = 0.0;
    for (uint32_t s = 0; s < bound->stage_count; s++)
        time_s += bound->stages[s].context_s;
    return time_s * bound->time_scale;
}

double km_step_bound_pair_s(const struct km_step_bound *bound)
{
    double time_s = 0.0;
    for (uint32_t s = 0; s < bound->stage_count; s++)
        time_s += bound->stages[s].pairs_s;
    return time_s * bound->time_scale;
}
