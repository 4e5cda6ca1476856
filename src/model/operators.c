#include "model/operators.h"

#include "model/operators_build.h"

#include <math.h>
#include <string.h>

/* Sum of partial results of all tensor ranks: [rows, hidden]. */
static void add_all_reduce(struct km_builder *b)
{
    km_build_collective(b, "all_reduce", KM_ALL_REDUCE, km_build_tensor_group(b), KM_ROWS_TOKENS,
                        b->hidden * b->activation_bytes);
}

/* Residual add and norm in one kernel: reads input and residual, writes both. */
static void add_norm(struct km_builder *b)
{
    km_build_stream(b, "norm", 4.0 * b->hidden);
}

static void add_dense_mlp(struct km_builder *b, const char *up, const char *activation, const char *down,
                          double width, bool gated, struct km_format format)
{
    km_build_gemm_of(b, up, (gated ? 2.0 : 1.0) * width, b->hidden, format);
    km_build_stream(b, activation, (gated ? 3.0 : 2.0) * width);
    km_build_gemm_of(b, down, b->hidden, width, format);
}

/* Experts stand whole on the ranks, or every rank has a slice of each; with data-parallel ranks the rows are
 * those of all of them. */
static void add_experts(struct km_builder *b, const char *name, const struct km_layer *layer, double n,
                        double k)
{
    double experts = layer->experts,
           distinct = b->model->distinct_experts ? fmin(b->model->distinct_experts, experts) : experts,
           share = b->layout->expert_parallel ? km_layout_expert_ranks(b->layout) : 1.0;
    km_build_op(b, (struct km_op){.name = name,
                                  .kind = KM_OP_EXPERTS,
                                  .rows = km_layout_data(b->layout) > 1 ? KM_ROWS_ALL : KM_ROWS_TOKENS,
                                  .n = n,
                                  .k = k,
                                  .weights = b->formats[KM_MODULE_EXPERTS].weights,
                                  .activations = b->formats[KM_MODULE_EXPERTS].activations,
                                  .experts = (uint32_t)(experts / share),
                                  .routed_per_row = layer->experts_per_token / share,
                                  .distinct = distinct / share,
                                  .hit_probability = layer->experts_per_token / distinct});
}

/* Rows travel to the data ranks' experts.
 *
 * Whole experts: each tensor rank sends a share of its data rank's rows, once to each of the R ranks that
 * hold one of a row's k experts: R (1 - (1 - 1/R)^k) on average (as DeepSeek-V3's dispatch does, arXiv
 * 2412.19437, section 3.2.2), in the activations' format. Sliced experts: every rank needs every row. */
static void add_dispatch(struct km_builder *b, const struct km_layer *layer)
{
    const struct km_layout *layout = b->layout;
    double ranks = km_layout_expert_ranks(layout), data = km_layout_data(layout);
    double row_bytes = (layer->expert_hidden ? layer->expert_hidden : b->hidden) *
                       km_dtype_bytes(b->formats[KM_MODULE_EXPERTS].activations);
    struct km_group experts = {.ranks = km_layout_expert_ranks(layout), .stride = 1};
    struct km_group datas = {.ranks = km_layout_data(layout), .stride = layout->tensor_parallel};
    if (data < 2.0)
        return;
    if (layout->expert_parallel) {
        double copies = ranks * -expm1(layer->experts_per_token * log1p(-1.0 / ranks));
        km_build_collective(b, "dispatch", KM_ALL_TO_ALL, experts, KM_ROWS_ALL, copies * row_bytes / ranks);
    } else {
        km_build_collective(b, "gather_rows", KM_ALL_GATHER, datas, KM_ROWS_ALL, row_bytes / data);
    }
}

/* And back, in the format of sums, followed by what makes the rows whole again on every tensor rank. */
static void add_combine(struct km_builder *b, const struct km_layer *layer)
{
    const struct km_layout *layout = b->layout;
    double ranks = km_layout_expert_ranks(layout), data = km_layout_data(layout);
    double row_bytes = (layer->expert_hidden ? layer->expert_hidden : b->hidden) * b->activation_bytes;
    struct km_group experts = {.ranks = km_layout_expert_ranks(layout), .stride = 1};
    struct km_group datas = {.ranks = km_layout_data(layout), .stride = layout->tensor_parallel};
    if (data > 1.0 && layout->expert_parallel) {
        double copies = ranks * -expm1(layer->experts_per_token * log1p(-1.0 / ranks));
        km_build_collective(b, "collect", KM_ALL_TO_ALL, experts, KM_ROWS_ALL, copies * row_bytes / ranks);
        if (!layer->shared_intermediate) { /* else the shared expert's sum brings these rows along */
            km_build_collective(b, "gather_rows", KM_ALL_GATHER, km_build_tensor_group(b), KM_ROWS_TOKENS,
                                row_bytes / layout->tensor_parallel);
            return;
        }
    } else if (data > 1.0) {
        km_build_collective(b, "scatter_rows", KM_REDUCE_SCATTER, datas, KM_ROWS_ALL, row_bytes);
    }
    add_all_reduce(b);
}

static void add_moe(struct km_builder *b, const struct km_layer *layer)
{
    const struct km_layout *layout = b->layout;
    double share = layout->expert_parallel ? km_layout_expert_ranks(layout) : 1.0;
    double width =
        layer->expert_intermediate * (layout->expert_parallel ? 1.0 : 1.0 / km_layout_expert_ranks(layout));
    /* Products on this rank for each row of its own. */
    double routed = layer->experts_per_token / share * km_layout_data(layout);
    const struct km_format wide = {b->precision->embeddings,
                                   km_dtype_operand(b->precision->embeddings, b->precision->activations)};
    km_build_gemm_of(b, "router", layer->experts, b->hidden, wide);
    const double inside = layer->expert_hidden ? layer->expert_hidden : b->hidden;
    if (layer->expert_hidden)
        km_build_gemm_of(b, "latent_down", inside, b->hidden, b->formats[KM_MODULE_SHARED]);
    add_dispatch(b, layer);
    km_build_stream(b, "route", routed * inside + inside); /* gather rows of each expert */
    add_experts(b, "experts_up", layer, (layer->gated ? 2.0 : 1.0) * width, inside);
    km_build_stream(b, "experts_act", routed * (layer->gated ? 3.0 : 2.0) * width);
    add_experts(b, "experts_down", layer, inside, width);
    km_build_stream(b, "combine", (routed + 1.0) * inside);
    if (layer->expert_hidden)
        km_build_gemm_of(b, "latent_up", b->hidden, inside, b->formats[KM_MODULE_SHARED]);
    if (layer->shared_intermediate)
        add_dense_mlp(b, "shared_up", "shared_act", "shared_down", layer->shared_intermediate / b->ranks,
                      layer->gated, b->formats[KM_MODULE_SHARED]);
    add_combine(b, layer);
}

/* Weights of earlier blocks' outputs, and their sum. */
static void add_residual_mix(struct km_builder *b, const struct km_layer *layer)
{
    if (layer->residual_sources)
        km_build_stream(b, "residual_mix", (layer->residual_sources + 1.0) * b->hidden);
}

static void add_mixer(struct km_builder *b, const struct km_layer *layer)
{
    switch (layer->mixer) {
    case KM_ATTENTION:
        km_build_attention(b, layer);
        break;
    case KM_MLA:
        km_build_mla(b, layer);
        break;
    case KM_SSM:
    case KM_SSD:
        km_build_state_space(b, layer);
        break;
    case KM_GDN:
    case KM_KDA:
        km_build_delta(b, layer);
        break;
    case KM_CONV:
        km_build_conv(b, layer);
        break;
    case KM_NO_MIXER:
        break;
    }
}

static void add_layer(struct km_builder *b, const struct km_layer *layer)
{
    const bool mixes = layer->mixer != KM_NO_MIXER, has_mlp = layer->mlp != KM_MLP_NONE;
    if (!mixes && !has_mlp)
        return;
    for (int m = 0; m < KM_MODULE_COUNT; m++)
        b->formats[m] = km_layer_format(b->model, layer, (enum km_module)m, b->precision);
    add_residual_mix(b, layer);
    add_norm(b);
    add_mixer(b, layer);
    if (mixes && has_mlp && !layer->parallel_block) {
        add_all_reduce(b);
        add_residual_mix(b, layer);
        add_norm(b);
    }
    for (uint32_t extra = 2; extra < layer->norms; extra++)
        add_norm(b);
    if (layer->mlp == KM_MLP_DENSE)
        add_dense_mlp(b, layer->gated ? "gate_up_proj" : "up_proj", "activation", "down_proj",
                      layer->intermediate / b->ranks, layer->gated, b->formats[KM_MODULE_DENSE_MLP]);
    if (layer->mlp == KM_MLP_MOE)
        add_moe(b, layer);
    else
        add_all_reduce(b);
}

/* From the same rank of the stage before: with tensor parallelism each sends its share of the rows, and the
 * receiving ranks gather them (vLLM's send_tensor_dict). */
static void add_receive(struct km_builder *b, uint32_t stage)
{
    uint32_t ranks = km_layout_stage_ranks(b->layout);
    struct km_group pair = {.ranks = 2, .stride = ranks, .first = (stage - 1) * ranks};
    double row_bytes = b->hidden * b->activation_bytes / b->ranks;
    km_build_collective(b, "receive", KM_SEND_RECV, pair, KM_ROWS_TOKENS, row_bytes);
    km_build_collective(b, "gather_received", KM_ALL_GATHER, km_build_tensor_group(b), KM_ROWS_TOKENS,
                        row_bytes);
}

void km_operators_build(const struct km_model *model, const struct km_precision *precision,
                        const struct km_layout *layout, uint32_t stage, struct km_arena *arena,
                        struct km_stage_operators *out)
{
    struct km_builder b = {
        .model = model,
        .precision = precision,
        .layout = layout,
        .arena = arena,
        .ranks = layout->tensor_parallel,
        .hidden = model->hidden,
        /* Element-wise kernels and sums run in 16 bits even when matrix products take narrower operands. */
        .activation_bytes = precision->activations == KM_FP32 ? 4.0 : 2.0,
    };
    uint32_t first, count;
    km_layout_stage(model, layout, stage, &first, &count);
    if (stage == 0) {
        km_build_stream(&b, "embed", 2.0 * b.hidden);
        add_all_reduce(&b);
    } else {
        add_receive(&b, stage);
    }
    for (uint32_t i = 0; i < count; i++)
        add_layer(&b, &model->layers[first + i]);
    if (stage + 1 == layout->pipeline_parallel) {
        double vocab = ceil(model->vocab / b.ranks);
        km_build_op(&b, (struct km_op){.name = "final_norm",
                                       .kind = KM_OP_STREAM,
                                       .rows = KM_ROWS_SAMPLED,
                                       .bytes_per_row = 2.0 * b.hidden * b.activation_bytes});
        enum km_dtype head = km_lm_head_format(model, precision).weights;
        km_build_op(&b,
                    (struct km_op){.name = "lm_head",
                                   .kind = KM_OP_GEMM,
                                   .rows = KM_ROWS_SAMPLED,
                                   .n = vocab,
                                   .k = b.hidden,
                                   .weights = head,
                                   .activations = km_dtype_is_wide(head) ? head : km_build_wide_type(&b)});
        km_build_collective(&b, "gather_logits", KM_ALL_GATHER, km_build_tensor_group(&b), KM_ROWS_SAMPLED,
                            vocab * b.activation_bytes);
        /* Greedy choice: the logits are read once in 32 bits. */
        km_build_op(&b, (struct km_op){.name = "sample",
                                       .kind = KM_OP_STREAM,
                                       .rows = KM_ROWS_SAMPLED,
                                       .bytes_per_row = 4.0 * model->vocab});
    }
    *out = (struct km_stage_operators){.ops = b.ops, .count = b.count, .layers = count};
}

double km_op_weight_bytes(const struct km_op *op, double rows)
{
    if (op->kind == KM_OP_GEMM)
        return op->n * op->k * km_dtype_bytes(op->weights);
    if (op->kind == KM_OP_EXPERTS) {
        /* Experts hit by rows routed independently: E * (1 - (1 - k/E)^rows) (design section 4). */
        double hit = op->distinct * -expm1(rows * log1p(-op->hit_probability));
        return (op->hit_probability >= 1.0 ? op->distinct : hit) * op->n * op->k *
               km_dtype_bytes(op->weights);
    }
    return 0.0;
}
