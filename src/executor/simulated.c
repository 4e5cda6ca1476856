/* The simulated executor: asks the cost model for the device's time and the engine description for the
 * host's.
 *
 * Decode attention is evaluated at fixed knots of the summed context and its time interpolated linearly
 * between them, so that the steps of an unchanged batch form a line. Knots stand at 8 to an octave: 1/16 of
 * the context apart at most, where the curve is as good as straight. */
#include "executor/executor.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "cost/share.h"
#include "engine/launch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KNOTS_PER_OCTAVE_LOG2 3
#define CACHED_COUNTS         8192u
#define STEEPEST_PS           9e18 /* of a step to the next: within 63 bits */

struct simulated {
    const struct km_cost_model *cost;
    void *cost_state;
    struct km_engine engine;
    struct km_layout layout;
    double ps_per_s; /* of the cost model's time: 1e12 times time_scale */
    enum km_power_state power_state;
    struct km_power_use power; /* cost/power.h, share unset; rise 0 = no limit */
    uint32_t stages;
    bool workers;                   /* several GPUs, launched by processes of their own */
    struct km_launch_layers layers; /* of the stage that takes longest to launch */
    bool windowed;                  /* some layer attends inside a window only */
    /* by number of decodes: [CACHED_COUNTS][stages], NAN until first asked for */
    double *fixed_s;
    /* by number of tokens, for steps that sample: [CACHED_COUNTS], NAN until first asked for */
    double *weight_bytes;
};

static uint64_t to_ps(const struct simulated *sim, double seconds)
{
    return km_ps_round(seconds * sim->ps_per_s);
}

/* The knots around `value`: *low <= value < *high. */
static void knots(uint64_t value, uint64_t *low, uint64_t *high)
{
    uint32_t octave = value ? 63u - (uint32_t)__builtin_clzll(value) : 0;
    uint64_t width = octave > KNOTS_PER_OCTAVE_LOG2 ? (uint64_t)1 << (octave - KNOTS_PER_OCTAVE_LOG2) : 1;
    *low = value & ~(width - 1);
    *high = *low + width;
}

static double weight_bytes(struct simulated *sim, uint32_t tokens, uint32_t sampled)
{
    if (!sim->cost->weight_bytes)
        return 0.0;
    if (tokens >= CACHED_COUNTS || sampled == 0)
        return sim->cost->weight_bytes(sim->cost_state, tokens, sampled);
    if (isnan(sim->weight_bytes[tokens]))
        sim->weight_bytes[tokens] = sim->cost->weight_bytes(sim->cost_state, tokens, sampled);
    return sim->weight_bytes[tokens];
}

/* Each data-parallel rank has a host of its own, which launches what the slowest graph mode of all of them
 * allows (vllm/v1/worker/dp_utils.py). */
static void host_time(struct simulated *sim, const struct km_step_shape *shape, struct km_step_time *out)
{
    const struct km_engine *engine = &sim->engine;
    struct km_rank_share share;
    km_rank_share(&sim->layout, shape, &share);
    km_engine_padded_tokens(engine, share.most_tokens, &out->host.captured);
    out->host.form_ps = to_ps(sim, engine->form_step_s + share.sequences * engine->form_sequence_s);
    out->host.process_ps = to_ps(sim, engine->process_step_s + share.sampled * engine->process_sequence_s);
    bool whole;
    const bool prompts = shape->chunk_count > 0 || shape->peers.prompts;
    out->host.launch_ps =
        to_ps(sim, km_engine_launch_s(engine, &sim->layers, out->host.captured, prompts, &whole));
    out->host.captured = whole; /* others run while they are launched */
    out->host.workers = sim->workers;
    out->power = (struct km_power_use){0};
    const uint32_t ranks = shape->peers.ranks;
    const uint64_t tokens = ranks ? shape->peers.all_tokens : km_step_tokens(shape);
    out->weight_bytes = (uint64_t)weight_bytes(sim, (uint32_t)tokens, shape->sampled * (ranks ? ranks : 1));
}

/* Stages do much the same work: one share for all. Under continuous load nothing is left to recent work. */
static void power_use(struct simulated *sim, const struct km_step_shape *shape, double *stage_s,
                      struct km_power_use *out)
{
    double bound_s[KM_MAX_STAGES], longer_s[KM_MAX_STAGES], bound = 0.0, longer = 0.0, whole = 0.0;
    if (sim->power.rise <= 0.0)
        return;
    sim->cost->compute_bound(sim->cost_state, shape, bound_s, longer_s);
    for (uint32_t s = 0; s < sim->stages; s++) {
        bound += bound_s[s];
        longer += longer_s[s];
        whole += stage_s[s];
        if (sim->power_state == KM_POWER_SUSTAINED)
            stage_s[s] += longer_s[s];
    }
    if (sim->power_state == KM_POWER_SUSTAINED || bound <= 0.0)
        return;
    *out = sim->power;
    out->share = bound / whole;
    out->rise = longer / bound;
}

/* What the engine description says of the power limit counts before what the profile does. */
static void choose_power(struct simulated *sim, enum km_power_state state)
{
    sim->power_state = state;
    if (state == KM_POWER_BURST || !sim->cost->compute_bound)
        return;
    sim->power = (struct km_power_use){.rise = sim->engine.gemm_power_rise,
                                       .time_s = sim->engine.gemm_power_time_s,
                                       .stream = sim->engine.stream_power_share};
    if (sim->power.rise <= 0.0 && sim->cost->power)
        sim->cost->power(sim->cost_state, &sim->power);
}

static enum km_status simulated_run(void *state, const struct km_step *step, struct km_step_time *out,
                                    struct km_error *error)
{
    (void)error;
    struct simulated *sim = state;
    const struct km_step_shape *shape = &step->shape;
    double stage_s[KM_MAX_STAGES];
    host_time(sim, shape, out);
    sim->cost->step(sim->cost_state, shape, stage_s);
    power_use(sim, shape, stage_s, &out->power);
    for (uint32_t s = 0; s < sim->stages; s++)
        out->stage_ps[s] = to_ps(sim, stage_s[s]);
    return KM_OK;
}

static const double *fixed_part(struct simulated *sim, uint32_t count, double *scratch)
{
    if (count >= CACHED_COUNTS) {
        sim->cost->decode_fixed(sim->cost_state, count, scratch);
        return scratch;
    }
    double *cached = sim->fixed_s + (size_t)count * sim->stages;
    if (isnan(cached[0]))
        sim->cost->decode_fixed(sim->cost_state, count, cached);
    return cached;
}

/* What every rank would have to decode for an even share to be this. */
static struct km_decode_shape of_all(const struct km_decode_shape *rank, uint32_t ranks)
{
    return (struct km_decode_shape){.count = rank->count * ranks,
                                    .sum_context = rank->sum_context * ranks,
                                    .sum_windowed = rank->sum_windowed * ranks,
                                    .below_window = rank->below_window * ranks,
                                    .max_context = rank->max_context,
                                    .padding = rank->padding * ranks};
}

static void simulated_line(void *state, const struct km_step_shape *step, struct km_step_line *out)
{
    struct simulated *sim = state;
    const uint32_t ranks = step->peers.ranks;
    const struct km_decode_shape copies = of_all(&step->decode, ranks ? ranks : 1), *shape = &copies;
    bool captured;
    km_engine_padded_tokens(&sim->engine, step->peers.most_tokens, &captured);
    if (ranks && (!captured || step->peers.prompts)) { /* depends on each rank's tokens */
        simulated_run(sim, &(struct km_step){.shape = *step}, &out->time, NULL);
        memset(out->slope_ps, 0, sizeof out->slope_ps);
        out->steps = 1;
        return;
    }
    double scratch[KM_MAX_STAGES], at[KM_MAX_STAGES] = {0}, full[KM_MAX_STAGES] = {0},
                                   inside[KM_MAX_STAGES] = {0};
    const uint32_t rows = shape->count + shape->padding;
    const struct km_step_shape whole = {
        .sampled = step->decode.count + step->decode.padding, .decode = step->decode, .peers = step->peers};
    host_time(sim, &whole, &out->time);
    const double *fixed_s = fixed_part(sim, ranks ? step->peers.most_tokens * ranks : rows, scratch);
    double per_token = 0.0, per_inside = 0.0, past_low = 0.0, past_inside_low = 0.0;
    out->steps = UINT64_MAX;
    if (sim->cost->decode_attention) {
        uint64_t low, high, longest_low, longest_high, inside_low, inside_high;
        knots(shape->sum_context, &low, &high);
        knots(shape->max_context, &longest_low, &longest_high);
        knots(shape->sum_windowed, &inside_low, &inside_high);
        struct km_decode_shape knot = *shape;
        knot.max_context = longest_high;
        knot.sum_context = low;
        knot.sum_windowed = sim->windowed ? inside_low : low;
        sim->cost->decode_attention(sim->cost_state, &knot, at);
        knot.sum_context = high;
        sim->cost->decode_attention(sim->cost_state, &knot, full);
        per_token = 1.0 / (double)(high - low);
        past_low = (double)(shape->sum_context - low);
        out->steps = (high - shape->sum_context) / shape->count + 1;
        if (longest_high - shape->max_context < out->steps)
            out->steps = longest_high - shape->max_context;
        if (sim->windowed) {
            knot.sum_context = low;
            knot.sum_windowed = inside_high;
            sim->cost->decode_attention(sim->cost_state, &knot, inside);
            per_inside = 1.0 / (double)(inside_high - inside_low);
            past_inside_low = (double)(shape->sum_windowed - inside_low);
            uint64_t grow = shape->below_window;
            if (grow && (inside_high - shape->sum_windowed) / grow + 1 < out->steps)
                out->steps = (inside_high - shape->sum_windowed) / grow + 1;
        }
    }
    for (uint32_t s = 0; s < sim->stages; s++) {
        double rise = (full[s] - at[s]) * per_token,
               rise_inside = sim->windowed ? (inside[s] - at[s]) * per_inside : 0.0;
        out->time.stage_ps[s] =
            to_ps(sim, fixed_s[s] + at[s] + rise * past_low + rise_inside * past_inside_low);
        double slope_ps = (rise * shape->count + rise_inside * shape->below_window) * sim->ps_per_s;
        /* A step beyond the clock stays there; so does any slope that leads there at once. */
        bool ends = out->time.stage_ps[s] == KM_PS_END || isnan(slope_ps);
        out->slope_ps[s] = ends ? 0 : (int64_t)llround(fmin(fmax(slope_ps, -STEEPEST_PS), STEEPEST_PS));
    }
}

static void simulated_coverage(const void *state, struct km_coverage *out)
{
    const struct simulated *sim = state;
    *out = (struct km_coverage){0};
    if (sim->cost->coverage)
        sim->cost->coverage(sim->cost_state, out);
}

static void simulated_destroy(void *state)
{
    struct simulated *sim = state;
    if (!sim)
        return;
    sim->cost->destroy(sim->cost_state);
    free(sim->fixed_s);
    free(sim->weight_bytes);
    free(sim);
}

static enum km_status simulated_create(const struct km_executor_config *config, void **state,
                                       struct km_error *error)
{
    const struct km_cost_config *priced = config->cost_config;
    struct simulated *sim = km_alloc(sizeof *sim);
    *state = NULL;
    sim->cost = config->cost;
    sim->engine = *config->engine;
    sim->layout = config->layout;
    sim->ps_per_s = 1e12 * (priced->time_scale > 0.0 ? priced->time_scale : 1.0);
    sim->stages = config->layout.pipeline_parallel;
    enum km_status status = sim->cost->create(priced, &sim->cost_state, error);
    if (status != KM_OK) {
        free(sim);
        return status;
    }
    sim->workers = sim->engine.worker_processes && km_layout_ranks(&config->layout) > 1;
    choose_power(sim, priced->power_state);
    for (uint32_t s = 0; s < sim->stages; s++) {
        uint32_t first, count;
        km_layout_stage(config->model, &config->layout, s, &first, &count);
        const struct km_launch_layers layers =
            km_launch_layers(config->model, &priced->precision, first, count);
        bool whole;
        if (s == 0 || km_engine_launch_s(config->engine, &layers, false, true, &whole) >
                          km_engine_launch_s(config->engine, &sim->layers, false, true, &whole))
            sim->layers = layers;
    }
    for (uint32_t i = 0; i < config->model->layer_count; i++)
        sim->windowed |= config->model->layers[i].window > 0;
    sim->fixed_s = km_alloc((size_t)CACHED_COUNTS * sim->stages * sizeof *sim->fixed_s);
    sim->weight_bytes = km_alloc(CACHED_COUNTS * sizeof *sim->weight_bytes);
    for (size_t i = 0; i < (size_t)CACHED_COUNTS * sim->stages; i++)
        sim->fixed_s[i] = (double)NAN;
    for (size_t i = 0; i < CACHED_COUNTS; i++)
        sim->weight_bytes[i] = (double)NAN;
    *state = sim;
    return KM_OK;
}

const struct km_executor km_executor_simulated = {
    .entry = {"simulated", "asks the cost model and the engine description (default)"},
    .create = simulated_create,
    .destroy = simulated_destroy,
    .run = simulated_run,
    .line = simulated_line,
    .coverage = simulated_coverage,
};
