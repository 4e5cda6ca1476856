/* Cost model `roofline`: each operator takes the longer of its arithmetic and its memory traffic, each at a
 * stated share of the datasheet's rate, plus a fixed time (Williams, Waterman, Patterson 2009,
 * doi:10.1145/1498765.1498785): t = max(flops / (peak * e_c), bytes / (bandwidth * e_m)) + fixed where
 * `fixed` is the device's time of a small kernel (times the engine's op_overhead_scale), or of starting and
 * finishing a matrix multiplication. */
#include "base/memory.h"
#include "cost/attention_load.h"
#include "cost/attention_tail.h"
#include "cost/collective.h"
#include "cost/cost.h"
#include "cost/profile/measured.h"
#include "cost/share.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct roofline {
    struct km_cost_config config;
    struct km_arena arena;
    struct km_stage_operators *stages; /* [pipeline_parallel] */
    double kernel_s;
    struct km_measured *measured; /* cost model profile: asked first; NULL = none */
    struct km_coverage *coverage; /* of the steps asked for */
};

/* Operands multiply at the rate of the wider type; weight-only formats are widened to the activations' type
 * first. */
static double peak_flops(const struct roofline *r, enum km_dtype weights, enum km_dtype activations)
{
    double rate = 0.0;
    if (km_device_peak(r->config.device, weights, activations, &rate))
        return rate;
    return 0.0; /* refused at creation */
}

static double op_time(double fixed_s, double flops, double flops_rate, double bytes, double bytes_rate,
                      enum km_bound *bound_by)
{
    double compute_s = flops > 0.0 ? flops / flops_rate : 0.0, memory_s = bytes / bytes_rate;
    double longer_s = fmax(compute_s, memory_s);
    *bound_by = longer_s < fixed_s     ? KM_BOUND_LAUNCH
                : compute_s > memory_s ? KM_BOUND_COMPUTE
                                       : KM_BOUND_MEMORY;
    return longer_s + fixed_s;
}

static double attention_time(const struct roofline *r, const struct km_op *op,
                             const struct km_attention_load *load, struct km_op_cost *cost)
{
    const struct km_device *device = r->config.device;
    const struct km_engine *engine = r->config.engine;
    double compute_rate =
        peak_flops(r, op->activations, op->activations) * device->attention_prefill_efficiency;
    double memory_rate = device->bandwidth_bytes_per_s * device->attention_decode_efficiency;
    double time_s = 0.0;
    cost->bound_by = KM_BOUND_LAUNCH;
    cost->origin = KM_ORIGIN_MODEL;
    if (load->prefill_tokens > 0.0) {
        double flops = op->pair_flops * load->prefill_pairs;
        double bytes =
            op->prefill_kv_bytes * load->prefill_context + op->prefill_query_bytes * load->prefill_tokens;
        time_s += load->prefill_scale *
                  op_time(r->kernel_s, flops, compute_rate, bytes, memory_rate, &cost->bound_by);
        cost->flops += flops;
        cost->bytes += bytes;
        if (op->group.ranks > 1) { /* the blocks that go around arrive while others are attended to */
            double block_bytes = op->message_bytes_per_row * load->prefill_context / op->group.ranks;
            double ring_s = km_ring_pass_s(&device->node, engine, op->group, block_bytes);
            if (ring_s > time_s) {
                time_s = ring_s;
                cost->bound_by = KM_BOUND_NETWORK;
            }
        }
    }
    if (load->decodes > 0.0) {
        double flops = op->tile_flops * load->decode_context;
        double bytes = op->kv_bytes * load->decode_context + op->query_bytes * load->decodes;
        /* A mixed step runs its decodes in the prefill kernel, where each single query row fills a whole
         * tile. */
        double tile_rows = load->mixed ? km_mixed_tile_rows(engine, op) : 1.0;
        enum km_bound bound_by;
        double decode_s = load->decode_scale * op_time(r->kernel_s, flops * tile_rows, compute_rate, bytes,
                                                       memory_rate, &bound_by);
        time_s += decode_s - (load->mixed ? r->kernel_s : 0.0) +
                  load->decodes * engine->attention_sequence_s +
                  km_attention_tail_s(device, engine, op, load);
        if (!load->mixed || decode_s > time_s / 2.0)
            cost->bound_by = bound_by;
        cost->flops += flops;
        cost->bytes += bytes;
    }
    return time_s;
}

static double row_op_time(const struct roofline *r, const struct km_op *op, double rows,
                          struct km_op_cost *cost)
{
    const struct km_device *device = r->config.device;
    double memory_rate = device->bandwidth_bytes_per_s * device->memory_efficiency;
    double operand_bytes = km_dtype_bytes(op->activations) * rows;
    double rate = 1.0, fixed_s = r->kernel_s;
    cost->origin = KM_ORIGIN_MODEL;
    switch (op->kind) {
    case KM_OP_GEMM:
        cost->flops = 2.0 * rows * op->n * op->k;
        cost->bytes = km_op_weight_bytes(op, rows) + operand_bytes * (op->n + op->k);
        rate = peak_flops(r, op->weights, op->activations) * device->gemm_efficiency;
        fixed_s = device->gemm_fixed_s;
        break;
    case KM_OP_EXPERTS:
        cost->flops = 2.0 * rows * op->routed_per_row * op->n * op->k;
        cost->bytes = km_op_weight_bytes(op, rows) + operand_bytes * op->routed_per_row * (op->n + op->k);
        rate = peak_flops(r, op->weights, op->activations) * device->gemm_efficiency;
        fixed_s = device->gemm_fixed_s;
        break;
    case KM_OP_STREAM:
        cost->flops = op->flops_per_row * rows;
        cost->bytes = op->bytes_fixed + op->bytes_per_row * rows;
        rate = peak_flops(r, op->activations, op->activations);
        if (op->activations != KM_FP32) /* matrix products inside a fused kernel */
            rate *= device->attention_prefill_efficiency;
        break;
    case KM_OP_COLLECTIVE:
        cost->bytes = op->message_bytes_per_row * rows;
        cost->bound_by = KM_BOUND_NETWORK;
        return km_collective_s(&device->node, r->config.engine, op->collective, op->group, cost->bytes);
    case KM_OP_ATTENTION:
        break;
    }
    return op_time(fixed_s, cost->flops, rate, cost->bytes, memory_rate, &cost->bound_by);
}

static bool computes(const struct km_op_cost *cost)
{
    return (cost->op->kind == KM_OP_GEMM || cost->op->kind == KM_OP_EXPERTS) &&
           cost->bound_by == KM_BOUND_COMPUTE;
}

/* What the engine says of products bound by arithmetic; none gets faster than its bytes. */
static void scale_product(const struct roofline *r, struct km_op_cost *cost)
{
    double scale = r->config.engine->gemm_time_scale;
    if (scale <= 0.0 || !computes(cost))
        return;
    double bytes_s =
        cost->bytes / (r->config.device->bandwidth_bytes_per_s * r->config.device->memory_efficiency);
    cost->time_s = fmax(cost->time_s * scale, fmin(cost->time_s, bytes_s));
}

/* Before or after the layers. */
static bool outside_layers(const struct km_op *op)
{
    return op->rows == KM_ROWS_SAMPLED || strcmp(op->name, "embed") == 0;
}

static void each_op(const struct roofline *r, const struct km_step_shape *shape, bool with_attention,
                    void (*each)(void *context, const struct km_op_cost *cost), void *context)
{
    struct km_rank_share share;
    km_rank_share(&r->config.layout, shape, &share);
    double rows[KM_ROWS_COUNT];
    km_share_rows(r->config.engine, &share, rows);
    for (uint32_t s = 0; s < r->config.layout.pipeline_parallel; s++) {
        for (uint32_t i = 0; i < r->stages[s].count; i++) {
            const struct km_op *op = &r->stages[s].ops[i];
            struct km_op_cost cost = {.op = op, .stage = s, .rows = rows[op->rows]};
            if (r->config.engine->composition.layers_only && outside_layers(op))
                continue;
            if (op->kind == KM_OP_ATTENTION) {
                if (!with_attention)
                    continue;
                struct km_attention_load load;
                km_attention_load(&r->config.layout, r->config.engine, op, shape, &load);
                cost.formula_s = cost.time_s = attention_time(r, op, &load, &cost);
                if (r->measured && op->group.ranks < 2)
                    km_measured_attention(r->measured, op, &load, &cost.time_s, &cost.origin,
                                          &cost.supplement);
            } else {
                if (cost.rows <= 0.0)
                    continue;
                cost.formula_s = cost.time_s = row_op_time(r, op, cost.rows, &cost);
                if (r->measured)
                    km_measured_rows(r->measured, op, cost.rows, &cost.time_s, &cost.origin,
                                     &cost.supplement);
                scale_product(r, &cost);
            }
            cost.time_s *= op->count;
            cost.formula_s *= op->count;
            cost.flops *= op->count;
            cost.bytes *= op->count;
            each(context, &cost);
        }
    }
}

struct sums {
    double *stage_s;
    struct km_coverage *coverage; /* NULL = not counted */
};

static void sum_stage(void *context, const struct km_op_cost *cost)
{
    struct sums *sums = context;
    if (sums->stage_s)
        sums->stage_s[cost->stage] += cost->time_s;
    if (sums->coverage)
        km_coverage_add(sums->coverage, cost->op->name, cost->origin, cost->time_s, cost->formula_s,
                        cost->supplement);
}

static void clear(const struct roofline *r, double *stage_s)
{
    for (uint32_t s = 0; s < r->config.layout.pipeline_parallel; s++)
        stage_s[s] = 0.0;
}

static void roofline_step(const void *state, const struct km_step_shape *shape, double *stage_s)
{
    const struct roofline *r = state;
    clear(r, stage_s);
    each_op(r, shape, true, sum_stage, &(struct sums){stage_s, r->coverage});
}

struct limited {
    const struct roofline *roofline;
    double *stage_s, *longer_s;
};

/* The engine's figure, of products alone, counts before what was measured of this very shape, and of large
 * products: measured clocks slow attention down as well. */
static void sum_compute(void *context, const struct km_op_cost *cost)
{
    const struct limited *limited = context;
    const struct roofline *r = limited->roofline;
    double rise = r->config.engine->gemm_power_rise;
    const bool measured = rise <= 0.0 && r->measured;
    if (measured ? cost->bound_by != KM_BOUND_COMPUTE : !computes(cost))
        return;
    if (measured)
        rise = km_measured_rise(r->measured, cost->op, cost->rows);
    limited->stage_s[cost->stage] += cost->time_s;
    limited->longer_s[cost->stage] += cost->time_s * rise;
}

static void roofline_compute_bound(const void *state, const struct km_step_shape *shape, double *stage_s,
                                   double *longer_s)
{
    clear(state, stage_s);
    clear(state, longer_s);
    each_op(state, shape, true, sum_compute, &(struct limited){state, stage_s, longer_s});
}

static void profile_power(const void *state, struct km_power_use *out)
{
    km_measured_power(((const struct roofline *)state)->measured, out);
}

/* Not counted: callers keep the answer. Its share counts with the attention of every run of steps. */
static void roofline_decode_fixed(const void *state, uint32_t count, double *stage_s)
{
    const struct km_step_shape shape = {.sampled = count, .decode = {.count = count}};
    clear(state, stage_s);
    each_op(state, &shape, false, sum_stage, &(struct sums){stage_s, NULL});
}

static void roofline_decode_attention(const void *state, const struct km_decode_shape *decode,
                                      double *stage_s)
{
    const struct roofline *r = state;
    clear(r, stage_s);
    const struct km_step_shape shape = {.sampled = decode->count, .decode = *decode};
    struct sums sums = {stage_s, r->coverage};
    for (uint32_t s = 0; s < r->config.layout.pipeline_parallel; s++)
        for (uint32_t i = 0; i < r->stages[s].count; i++) {
            const struct km_op *op = &r->stages[s].ops[i];
            if (op->kind != KM_OP_ATTENTION)
                continue;
            struct km_attention_load load;
            struct km_op_cost cost = {.op = op, .stage = s};
            km_attention_load(&r->config.layout, r->config.engine, op, &shape, &load);
            cost.formula_s = cost.time_s = attention_time(r, op, &load, &cost);
            if (r->measured && op->group.ranks < 2)
                km_measured_attention(r->measured, op, &load, &cost.time_s, &cost.origin, &cost.supplement);
            cost.time_s *= op->count;
            cost.formula_s *= op->count;
            sum_stage(&sums, &cost);
        }
    if (r->measured)
        each_op(r, &shape, false, sum_stage, &(struct sums){NULL, r->coverage});
}

static void roofline_coverage(const void *state, struct km_coverage *out)
{
    *out = *((const struct roofline *)state)->coverage;
}

static double roofline_weight_bytes(const void *state, uint32_t tokens, uint32_t sampled)
{
    const struct roofline *r = state;
    const struct km_step_shape shape = {.sampled = sampled, .decode = {.count = tokens}};
    struct km_rank_share share;
    double bytes = 0.0, data = km_layout_data(&r->config.layout);
    km_rank_share(&r->config.layout, &shape, &share);
    for (uint32_t s = 0; s < r->config.layout.pipeline_parallel; s++)
        for (uint32_t i = 0; i < r->stages[s].count; i++) {
            const struct km_op *op = &r->stages[s].ops[i];
            double rows = op->rows == KM_ROWS_SAMPLED ? share.sampled
                          : op->rows == KM_ROWS_ALL   ? share.decodes * data
                                                      : share.decodes;
            bytes += op->count * km_op_weight_bytes(op, rows);
        }
    return bytes;
}

static void roofline_breakdown(const void *state, const struct km_step_shape *shape,
                               void (*each)(void *context, const struct km_op_cost *cost), void *context)
{
    each_op(state, shape, true, each, context);
}

static void roofline_destroy(void *state)
{
    struct roofline *r = state;
    if (!r)
        return;
    km_measured_destroy(r->measured);
    km_arena_release(&r->arena);
    free(r);
}

static enum km_status roofline_create(const struct km_cost_config *config, void **state,
                                      struct km_error *error)
{
    struct roofline *r = km_alloc(sizeof *r);
    *state = r;
    r->config = *config;
    r->kernel_s = config->device->kernel_graph_s * config->engine->op_overhead_scale;
    r->coverage = km_arena_alloc(&r->arena, sizeof *r->coverage);
    r->stages = km_arena_alloc(&r->arena, config->layout.pipeline_parallel * sizeof *r->stages);
    for (uint32_t s = 0; s < config->layout.pipeline_parallel; s++) {
        km_operators_build(config->model, &r->config.precision, &r->config.layout, s, &r->arena,
                           &r->stages[s]);
        for (uint32_t i = 0; i < r->stages[s].count; i++) {
            const struct km_op *op = &r->stages[s].ops[i];
            double rate;
            bool multiplies = op->kind == KM_OP_GEMM || op->kind == KM_OP_EXPERTS;
            enum km_dtype weights = multiplies ? op->weights : op->activations;
            if ((multiplies || op->kind == KM_OP_ATTENTION) &&
                !km_device_peak(config->device, weights, op->activations, &rate)) {
                char message[KM_DEVICE_PAIR_MESSAGE];
                km_device_explain_pair(config->device, weights, op->activations, message, sizeof message);
                enum km_status status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "%s: %s", op->name, message);
                roofline_destroy(r);
                *state = NULL;
                return status;
            }
        }
    }
    return KM_OK;
}

static enum km_status profile_create(const struct km_cost_config *config, void **state,
                                     struct km_error *error)
{
    enum km_status status = roofline_create(config, state, error);
    if (status != KM_OK)
        return status;
    struct roofline *r = *state;
    status = km_measured_create(&r->config, &r->measured, error);
    if (status != KM_OK) {
        roofline_destroy(r);
        *state = NULL;
    }
    return status;
}

const struct km_cost_model km_cost_roofline = {
    .entry = {"roofline", "each operator at a stated share of the datasheet's rates (default)"},
    .create = roofline_create,
    .destroy = roofline_destroy,
    .step = roofline_step,
    .compute_bound = roofline_compute_bound,
    .decode_fixed = roofline_decode_fixed,
    .decode_attention = roofline_decode_attention,
    .weight_bytes = roofline_weight_bytes,
    .breakdown = roofline_breakdown,
};

/* Cost model `profile`: the same walk; operators that were measured take their measured times. */
const struct km_cost_model km_cost_profile = {
    .entry = {"profile", "measured operators, interpolated; the roofline for what was not measured"},
    .create = profile_create,
    .destroy = roofline_destroy,
    .step = roofline_step,
    .compute_bound = roofline_compute_bound,
    .power = profile_power,
    .decode_fixed = roofline_decode_fixed,
    .decode_attention = roofline_decode_attention,
    .weight_bytes = roofline_weight_bytes,
    .breakdown = roofline_breakdown,
    .coverage = roofline_coverage,
};
