#include "advisor/advisor.h"

#include <math.h>

#define WORTH_SHARING 1.05 /* replicas that add less than 5 % are not advised */

/* --- what a step is bound by --------------------------------------------------------------------------- */

struct bounds {
    double compute_s, memory_s, all_s;
};

static void add_operator(void *context, const struct km_op_cost *cost)
{
    struct bounds *bounds = context;
    bounds->all_s += cost->time_s;
    if (cost->bound_by == KM_BOUND_COMPUTE)
        bounds->compute_s += cost->time_s;
    else if (cost->bound_by != KM_BOUND_LAUNCH)
        bounds->memory_s += cost->time_s;
}

static void add_step(const struct km_setup *setup, const void *state, const struct km_step_shape *shape,
                     double steps, struct bounds *sum)
{
    struct bounds step = {0};
    setup->cost->breakdown(state, shape, add_operator, &step);
    sum->compute_s += steps * step.compute_s;
    sum->memory_s += steps * step.memory_s;
    sum->all_s += steps * step.all_s;
}

#define MOST_CHUNKS 64u

/* The steps of the run at the advised batch, at mean lengths: with prompts and without, in the run's
 * proportion. `batch`: of one data-parallel rank. */
static void typical_steps(const struct km_setup *setup, const void *state, const struct km_advice *a,
                          uint32_t batch, struct bounds *out)
{
    const struct km_advice_point *p = &a->points[a->advised];
    uint32_t window = km_setup_window(&setup->scenario->model);
    uint64_t context = (uint64_t)(a->mean_prompt_tokens + a->mean_output_tokens / 2 + 1);
    struct km_step_shape shape = {
        .sampled = batch,
        .decode =
            {
                .count = batch,
                .sum_context = batch * context,
                .sum_windowed = batch * (window && window < context ? window : context),
                .below_window = !window || context < window ? batch : 0,
                .max_context = context,
            },
    };
    add_step(setup, state, &shape, 1 - p->prompt_step_share, out);
    double tokens =
        fmin(a->mean_prompt_tokens * p->prompts_a_step, setup->scenario->engine.max_num_batched_tokens);
    uint32_t count = (uint32_t)fmin(MOST_CHUNKS, fmax(1, p->prompts_a_step + 0.5));
    struct km_chunk chunks[MOST_CHUNKS];
    for (uint32_t i = 0; i < count; i++)
        chunks[i] = (struct km_chunk){(uint32_t)ceil(tokens / count), 0};
    shape.chunks = chunks;
    shape.chunk_count = count;
    shape.prefill_tokens = chunks[0].tokens * count;
    add_step(setup, state, &shape, p->prompt_step_share, out);
}

/* Without a breakdown all device time may be bound by anything. */
static enum km_status find_shares(const struct km_setup *setup, struct km_advice *a, struct km_error *error)
{
    const struct km_advice_point *p = &a->points[a->advised];
    uint32_t data = setup->scenario->cluster.data_parallel_size;
    a->busy_share = fmin(1, p->busy);
    a->memory_share = a->busy_share;
    a->compute_share = 0;
    if (!setup->cost->breakdown)
        return KM_OK;
    void *state;
    struct bounds bounds = {0};
    enum km_status status = setup->cost->create(&setup->cost_config, &state, error);
    if (status != KM_OK)
        return status;
    typical_steps(setup, state, a, (p->batch + data - 1) / data, &bounds);
    setup->cost->destroy(state);
    a->compute_share = a->busy_share * bounds.compute_s / bounds.all_s;
    a->memory_share = a->busy_share * bounds.memory_s / bounds.all_s;
    return KM_OK;
}

/* --- memory and replicas ------------------------------------------------------------------------------- */

static void weigh_memory(const struct km_setup *setup, struct km_advice *out)
{
    const struct km_memory_map *map = &setup->memory;
    const struct km_scenario *scenario = setup->scenario;
    out->budget_bytes = map->budget_bytes;
    out->weight_bytes = map->weight_bytes;
    out->other_bytes = km_memory_others(map);
    out->blocks = setup->blocks;
    /* Smaller batches leave a little more memory to the cache than the scenario's own. */
    uint64_t peak = out->points[out->advised].peak_blocks;
    out->needed_blocks = peak < out->blocks ? peak : out->blocks;
    double data = scenario->cluster.data_parallel_size; /* each such rank has blocks of its own */
    out->kv_bytes = (double)out->blocks / data * map->block_bytes;
    out->kv_needed_bytes = (double)out->needed_blocks / data * map->block_bytes;
    out->kv_freed_bytes = out->kv_bytes - out->kv_needed_bytes;
    out->needed_utilization =
        (out->weight_bytes + out->other_bytes + out->kv_needed_bytes) / scenario->device.memory_bytes;
}

static void share(const struct km_setup *setup, struct km_advice *a)
{
    const struct km_advice_point *p = &a->points[a->advised];
    double solo = p->output_tokens_per_s, graphs = setup->memory.graph_bytes, best = solo;
    const double used[KM_SHARING_COUNT] = {
        [KM_SHARING_SLICED] = a->busy_share,
        [KM_SHARING_ADDING] = a->compute_share + a->memory_share,
        [KM_SHARING_OVERLAP] = fmax(a->compute_share, a->memory_share),
    };
    a->advised_replicas = 1;
    for (uint32_t r = 1; r <= KM_ADVICE_SHARES; r++) {
        struct km_advice_share *s = &a->shares[a->share_count++];
        *s = (struct km_advice_share){.replicas = r};
        s->memory_bytes = r * (a->weight_bytes + a->other_bytes + graphs + a->kv_needed_bytes);
        s->fits = r == 1 || s->memory_bytes <= a->budget_bytes + graphs;
        for (int model = 0; model < KM_SHARING_COUNT; model++) {
            s->output_tokens_per_s[model] = fmin(r * solo, solo / used[model]);
            s->itl_mean_s[model] = p->itl_mean_s * r * solo / s->output_tokens_per_s[model];
        }
        double adding = s->output_tokens_per_s[KM_SHARING_ADDING];
        s->slo_met = p->slo_ratio * r * solo / adding <= 1;
        if (r > 1 && s->fits && s->slo_met && adding >= best * WORTH_SHARING) {
            best = adding;
            a->advised_replicas = r;
        }
        if (!s->fits)
            break;
    }
}

enum km_status km_advise_sharing(const struct km_setup *setup, struct km_advice *advice,
                                 struct km_error *error)
{
    weigh_memory(setup, advice);
    enum km_status status = find_shares(setup, advice, error);
    if (status == KM_OK)
        share(setup, advice);
    return status;
}
