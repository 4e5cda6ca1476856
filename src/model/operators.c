#include "model/operators.h"

#include <math.h>
#include <string.h>

/* The list under construction, with the constants that every operator needs. */
struct builder {
    const struct km_model *model;
    const struct km_precision *precision;
    const struct km_layout *layout;
    struct km_arena *arena;
    struct km_op *ops;
    uint32_t count, capacity;
    double ranks, hidden;
    double activation_bytes;
};

static bool same(const struct km_op *a, const struct km_op *b)
{
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->rows == b->rows && a->n == b->n &&
           a->k == b->k && a->experts == b->experts && a->routed_per_row == b->routed_per_row &&
           a->pair_flops == b->pair_flops && a->kv_bytes == b->kv_bytes && a->window == b->window &&
           a->bytes_per_row == b->bytes_per_row && a->bytes_fixed == b->bytes_fixed &&
           a->message_bytes_per_row == b->message_bytes_per_row && a->weights == b->weights;
}

static void add(struct builder *b, struct km_op op)
{
    op.count = 1;
    for (uint32_t i = 0; i < b->count; i++)
        if (same(&b->ops[i], &op)) {
            b->ops[i].count++;
            return;
        }
    if (b->count == b->capacity) {
        uint32_t capacity = b->capacity ? 2 * b->capacity : 32;
        struct km_op *ops = km_arena_alloc(b->arena, capacity * sizeof *ops);
        if (b->count)
            memcpy(ops, b->ops, b->count * sizeof *ops);
        b->ops = ops;
        b->capacity = capacity;
    }
    b->ops[b->count++] = op;
}

static void add_gemm_of(struct builder *b, const char *name, double n, double k, enum km_dtype weights)
{
    add(b, (struct km_op){.name = name,
                          .kind = KM_OP_GEMM,
                          .n = n,
                          .k = k,
                          .weights = weights,
                          .activations = b->precision->activations});
}

/* A projection of a mixer. */
static void add_gemm(struct builder *b, const char *name, double n, double k)
{
    add_gemm_of(b, name, n, k, b->precision->attention);
}

/* Element-wise kernel: `values` activations read and written per row. */
static void add_stream(struct builder *b, const char *name, double values)
{
    add(b, (struct km_op){.name = name, .kind = KM_OP_STREAM, .bytes_per_row = values * b->activation_bytes});
}

/* Sum of partial results of all tensor ranks: [rows, hidden]. */
static void add_all_reduce(struct builder *b)
{
    if (b->layout->tensor_parallel < 2)
        return;
    add(b, (struct km_op){.name = "all_reduce",
                          .kind = KM_OP_COLLECTIVE,
                          .collective = KM_ALL_REDUCE,
                          .ranks = b->layout->tensor_parallel,
                          .message_bytes_per_row = b->hidden * b->activation_bytes});
}

/* Residual add and norm in one kernel: reads input and residual, writes both. */
static void add_norm(struct builder *b)
{
    add_stream(b, "norm", 4.0 * b->hidden);
}

static void add_attention(struct builder *b, const struct km_layer *layer)
{
    uint32_t ranks = b->layout->tensor_parallel;
    double heads = layer->heads / b->ranks, kv_heads = km_layout_kv_heads(layer, ranks);
    double dims = (double)layer->head_dim + layer->value_dim;
    double kv_values =
        layer->kv_source < 0 ? kv_heads * dims : 0.0; /* computed here; a shared layer only reads */
    add_gemm(b, "qkv_proj", heads * layer->head_dim + kv_values, b->hidden);
    if (layer->qk_norm)
        add_stream(b, "qk_norm", 2.0 * (heads + (kv_values > 0 ? kv_heads : 0)) * layer->head_dim);
    if (layer->rope)
        add_stream(b, "rope", 2.0 * (heads + (kv_values > 0 ? kv_heads : 0)) * layer->head_dim);
    double cache_bytes = kv_heads * dims * km_dtype_bytes(b->precision->kv_cache);
    if (kv_values > 0)
        add(b, (struct km_op){.name = "kv_write",
                              .kind = KM_OP_STREAM,
                              .bytes_per_row = kv_values * b->activation_bytes + cache_bytes});
    add(b, (struct km_op){.name = layer->window ? "attention_windowed" : "attention",
                          .kind = KM_OP_ATTENTION,
                          .pair_flops = 2.0 * heads * dims,
                          .tile_flops = 2.0 * heads * dims,
                          .kv_bytes = cache_bytes,
                          .query_bytes = heads * dims * b->activation_bytes,
                          .activations = b->precision->activations,
                          .window = layer->window});
    add_gemm(b, "o_proj", b->hidden, heads * layer->value_dim);
}

/* Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1; absorbed form of appendix C): the
 * cache holds one latent of kv_lora_rank + qk_rope_dim values a token, shared by all heads and replicated on
 * every rank. Decodes attend in latent space with the up-projections absorbed into query and output, so a
 * pair costs 2*(latent + rope) + 2*latent FLOPs a head. Prefill expands keys and values; we charge pairs in
 * the same operator at the latent cost for decodes, and prompts at the expanded cost. */
static void add_mla(struct builder *b, const struct km_layer *layer)
{
    double heads = layer->heads / b->ranks, latent = layer->kv_lora_rank, rope = layer->qk_rope_dim;
    double query_in = b->hidden;
    add_gemm(b, "kv_a_proj", latent + rope, b->hidden);
    add_stream(b, "kv_norm", 2.0 * latent);
    if (layer->q_lora_rank) {
        add_gemm(b, "q_a_proj", layer->q_lora_rank, b->hidden);
        add_stream(b, "q_norm", 2.0 * layer->q_lora_rank);
        query_in = layer->q_lora_rank;
    }
    add_gemm(b, "q_b_proj", heads * layer->head_dim, query_in);
    add_stream(b, "rope", 2.0 * (heads + 1.0) * rope);
    double cache_bytes = (latent + rope) * km_dtype_bytes(b->precision->kv_cache);
    add(b, (struct km_op){.name = "kv_write",
                          .kind = KM_OP_STREAM,
                          .bytes_per_row = (latent + rope) * b->activation_bytes + cache_bytes});
    /* W_UK absorbed into the query, W_UV into the output: one batched product per head each. */
    add_gemm(b, "q_absorb", heads * latent, layer->qk_nope_dim);
    add(b, (struct km_op){.name = "mla_attention",
                          .kind = KM_OP_ATTENTION,
                          .pair_flops = heads * 2.0 * ((double)layer->head_dim + layer->value_dim),
                          .tile_flops = heads * 2.0 * (2.0 * latent + rope),
                          .kv_bytes = cache_bytes,
                          .query_bytes = heads * (2.0 * latent + rope) * b->activation_bytes,
                          .activations = b->precision->activations,
                          .window = layer->window});
    add_gemm(b, "v_absorb", heads * layer->value_dim, latent);
    add_gemm(b, "o_proj", b->hidden, heads * layer->value_dim);
}

/* State-space mixer: projections, a short convolution and a scan over constant state (Mamba, arXiv
 * 2312.00752; Mamba-2, arXiv 2405.21060). The scan streams its inputs and outputs and reads and writes the
 * state. */
static void add_state_space(struct builder *b, const struct km_layer *layer)
{
    double inner = layer->ssm_inner / b->ranks, state = layer->ssm_state;
    double state_bytes = km_layer_state_values(layer) / b->ranks * b->activation_bytes;
    if (layer->mixer == KM_SSM) {
        double dt = layer->ssm_dt_rank;
        add_gemm(b, "ssm_in_proj", 2.0 * inner, b->hidden);
        add_gemm(b, "ssm_x_proj", dt + 2.0 * state, inner);
        add_gemm(b, "ssm_dt_proj", inner, dt);
    } else {
        double groups = layer->ssm_groups;
        add_gemm(b, "ssm_in_proj", 2.0 * inner + 2.0 * groups * state + layer->ssm_heads / b->ranks,
                 b->hidden);
    }
    add(b, (struct km_op){.name = "ssm_scan",
                          .kind = KM_OP_STREAM,
                          .bytes_per_row = 6.0 * inner * b->activation_bytes + 2.0 * state_bytes,
                          .flops_per_row = 9.0 * inner * state});
    add_gemm(b, "ssm_out_proj", b->hidden, inner);
}

static void add_dense_mlp(struct builder *b, const char *up, const char *activation, const char *down,
                          double width, bool gated)
{
    add_gemm_of(b, up, (gated ? 2.0 : 1.0) * width, b->hidden, b->precision->weights);
    add_stream(b, activation, (gated ? 3.0 : 2.0) * width);
    add_gemm_of(b, down, b->hidden, width, b->precision->weights);
}

static void add_experts(struct builder *b, const char *name, const struct km_layer *layer, double n, double k)
{
    double experts = layer->experts, share = b->layout->expert_parallel ? b->ranks : 1.0;
    add(b, (struct km_op){.name = name,
                          .kind = KM_OP_EXPERTS,
                          .n = n,
                          .k = k,
                          .weights = b->precision->weights,
                          .activations = b->precision->activations,
                          .experts = (uint32_t)(experts / share),
                          .routed_per_row = layer->experts_per_token / share,
                          .hit_probability = layer->experts_per_token / experts});
}

static void add_moe(struct builder *b, const struct km_layer *layer)
{
    double width = layer->expert_intermediate / (b->layout->expert_parallel ? 1.0 : b->ranks);
    double routed = layer->experts_per_token / (b->layout->expert_parallel ? b->ranks : 1.0);
    add(b, (struct km_op){.name = "router",
                          .kind = KM_OP_GEMM,
                          .n = layer->experts,
                          .k = b->hidden,
                          .weights = b->precision->embeddings,
                          .activations = b->precision->activations});
    add_stream(b, "route", routed * b->hidden + b->hidden); /* gather rows of each expert */
    add_experts(b, "experts_up", layer, (layer->gated ? 2.0 : 1.0) * width, b->hidden);
    add_stream(b, "experts_act", routed * (layer->gated ? 3.0 : 2.0) * width);
    add_experts(b, "experts_down", layer, b->hidden, width);
    add_stream(b, "combine", (routed + 1.0) * b->hidden);
    if (layer->shared_intermediate)
        add_dense_mlp(b, "shared_up", "shared_act", "shared_down", layer->shared_intermediate / b->ranks,
                      layer->gated);
}

static void add_layer(struct builder *b, const struct km_layer *layer)
{
    add_norm(b);
    if (layer->mixer == KM_ATTENTION)
        add_attention(b, layer);
    else if (layer->mixer == KM_MLA)
        add_mla(b, layer);
    else
        add_state_space(b, layer);
    bool two_sums = !layer->parallel_block && layer->mlp != KM_MLP_NONE;
    if (two_sums) {
        add_all_reduce(b);
        add_norm(b);
    }
    for (uint32_t extra = 2; extra < layer->norms; extra++)
        add_norm(b);
    if (layer->mlp == KM_MLP_DENSE)
        add_dense_mlp(b, layer->gated ? "gate_up_proj" : "up_proj", "activation", "down_proj",
                      layer->intermediate / b->ranks, layer->gated);
    else if (layer->mlp == KM_MLP_MOE)
        add_moe(b, layer);
    add_all_reduce(b);
}

void km_operators_build(const struct km_model *model, const struct km_precision *precision,
                        const struct km_layout *layout, uint32_t stage, struct km_arena *arena,
                        struct km_stage_operators *out)
{
    struct builder b = {
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
        add_stream(&b, "embed", 2.0 * b.hidden);
        add_all_reduce(&b);
    } else {
        add(&b, (struct km_op){.name = "receive",
                               .kind = KM_OP_COLLECTIVE,
                               .collective = KM_SEND_RECV,
                               .ranks = 2,
                               .message_bytes_per_row = b.hidden * b.activation_bytes});
    }
    for (uint32_t i = 0; i < count; i++)
        add_layer(&b, &model->layers[first + i]);
    if (stage + 1 == layout->pipeline_parallel) {
        double vocab = ceil(model->vocab / b.ranks);
        add(&b, (struct km_op){.name = "final_norm",
                               .kind = KM_OP_STREAM,
                               .rows = KM_ROWS_SAMPLED,
                               .bytes_per_row = 2.0 * b.hidden * b.activation_bytes});
        add(&b, (struct km_op){.name = "lm_head",
                               .kind = KM_OP_GEMM,
                               .rows = KM_ROWS_SAMPLED,
                               .n = vocab,
                               .k = b.hidden,
                               .weights = precision->embeddings,
                               .activations = precision->embeddings});
        if (layout->tensor_parallel > 1)
            add(&b, (struct km_op){.name = "gather_logits",
                                   .kind = KM_OP_COLLECTIVE,
                                   .rows = KM_ROWS_SAMPLED,
                                   .collective = KM_ALL_GATHER,
                                   .ranks = layout->tensor_parallel,
                                   .message_bytes_per_row = vocab * b.activation_bytes});
        /* Greedy choice: the logits are read once in 32 bits. */
        add(&b, (struct km_op){.name = "sample",
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
        double hit = op->experts * -expm1(rows * log1p(-op->hit_probability));
        return (op->hit_probability >= 1.0 ? op->experts : hit) * op->n * op->k * km_dtype_bytes(op->weights);
    }
    return 0.0;
}
