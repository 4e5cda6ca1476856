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
           a->message_bytes_per_row == b->message_bytes_per_row && a->weights == b->weights &&
           a->activations == b->activations && a->collective == b->collective &&
           a->group.ranks == b->group.ranks && a->group.stride == b->group.stride &&
           a->prefill_kv_bytes == b->prefill_kv_bytes && a->query_bytes == b->query_bytes &&
           a->tile_flops == b->tile_flops && a->flops_per_row == b->flops_per_row && a->heads == b->heads &&
           a->kv_heads == b->kv_heads;
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

static bool is_wide(enum km_dtype dtype)
{
    return dtype == KM_FP32 || dtype == KM_BF16 || dtype == KM_FP16;
}

/* What a product with these weights takes as its other operand: the run's activations, unless the weights
 * were left in 16 or 32 bits: those multiply with their own kind. */
static enum km_dtype operand(const struct builder *b, enum km_dtype weights)
{
    enum km_dtype activations = b->precision->activations;
    return is_wide(weights) && km_dtype_bits(weights) >= km_dtype_bits(activations) ? weights : activations;
}

/* The format of what is not quantised: attention scores, the LM head's input. */
static enum km_dtype wide_type(const struct builder *b)
{
    if (is_wide(b->precision->activations))
        return b->precision->activations;
    return is_wide(b->precision->embeddings) ? b->precision->embeddings : KM_BF16;
}

/* Attention multiplies in 8 bits only where both the queries and the cache are fp8 (FlashAttention 3, arXiv
 * 2407.08608, section 3.3); narrower caches are widened. */
static enum km_dtype attention_type(const struct builder *b)
{
    bool narrow = b->precision->activations == KM_FP8 && b->precision->kv_cache == KM_FP8;
    return narrow ? KM_FP8 : wide_type(b);
}

static void add_gemm_of(struct builder *b, const char *name, double n, double k, enum km_dtype weights)
{
    add(b, (struct km_op){.name = name,
                          .kind = KM_OP_GEMM,
                          .n = n,
                          .k = k,
                          .weights = weights,
                          .activations = operand(b, weights)});
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

static void add_collective(struct builder *b, const char *name, enum km_collective collective,
                           struct km_group group, enum km_op_rows rows, double message_bytes_per_row)
{
    if (group.ranks < 2)
        return;
    add(b, (struct km_op){.name = name,
                          .kind = KM_OP_COLLECTIVE,
                          .rows = rows,
                          .collective = collective,
                          .group = group,
                          .message_bytes_per_row = message_bytes_per_row});
}

static struct km_group tensor_group(const struct builder *b)
{
    return (struct km_group){.ranks = b->layout->tensor_parallel, .stride = 1};
}

/* Sum of partial results of all tensor ranks: [rows, hidden]. */
static void add_all_reduce(struct builder *b)
{
    add_collective(b, "all_reduce", KM_ALL_REDUCE, tensor_group(b), KM_ROWS_TOKENS,
                   b->hidden * b->activation_bytes);
}

/* Residual add and norm in one kernel: reads input and residual, writes both. */
static void add_norm(struct builder *b)
{
    add_stream(b, "norm", 4.0 * b->hidden);
}

/* The attention of a rank by itself, to be shared out. */
struct attention {
    const char *name;
    double heads, kv_heads;
    double query_dims, output_dims; /* of a head, as decodes see them */
    double prefill_pair_flops, decode_pair_flops;
    double kv_values; /* a token of context */
    uint32_t window;
};

/* Attention over a KV cache of which this rank may hold a share only.
 *
 * With P prefill-context groups, K KV groups and D decode-context ranks, a rank's share of a decode is
 *     flops = pairs * heads * 2 (dq + dv) / (P K)          bytes = context * kv_bytes / (P K D)
 * since the D ranks gather each other's queries: D times the heads, a D-th of the context. Partial outputs
 * o_i combine by their log-sum-exps l_i as sum_i exp(l_i) o_i / sum_i exp(l_i) (arXiv 2409.17264, section 4;
 * flash-decoding): one all-reduce of heads * (dv values and one 32-bit l) a token. */
static void add_shared_attention(struct builder *b, const struct attention *a)
{
    const struct km_layout *layout = b->layout;
    double context = km_layout_context(layout), groups = km_layout_kv_groups(layout),
           shares = km_layout_decode_context(layout), act = b->activation_bytes;
    double cache_bytes = a->kv_values * km_dtype_bytes(b->precision->kv_cache);
    bool by_heads = layout->context_method == KM_CONTEXT_ULYSSES;
    uint32_t tensor = layout->tensor_parallel;
    struct km_group context_group = {.ranks = km_layout_context(layout), .stride = tensor};
    struct km_group kv_group = {.ranks = km_layout_kv_groups(layout), .stride = tensor * context_group.ranks};
    struct km_group share_group = {.ranks = km_layout_decode_context(layout), .stride = 1};
    double partial_bytes = a->heads * (a->output_dims * act + 4.0);
    struct km_op op = {
        .name = a->name,
        .kind = KM_OP_ATTENTION,
        .pair_flops = a->prefill_pair_flops / (context * groups),
        .tile_flops = a->decode_pair_flops / (context * groups),
        .heads = a->heads,
        .kv_heads = a->kv_heads,
        .kv_bytes = cache_bytes / (context * groups * shares),
        .prefill_kv_bytes = cache_bytes / (groups * (by_heads ? context : 1.0)),
        .query_bytes = a->heads * (a->query_dims + a->output_dims) * act * shares,
        .prefill_query_bytes = a->heads * (a->query_dims + a->output_dims) * act,
        .activations = attention_type(b),
        .window = a->window,
    };
    if (context_group.ranks > 1 && !by_heads) {
        op.group = context_group;
        op.message_bytes_per_row = cache_bytes / groups;
    }
    /* Decode context gathers what a prompt's earlier chunks left on the other ranks; decodes' queries. */
    add_collective(b, "gather_context", KM_ALL_GATHER, share_group, KM_ROWS_PAST, cache_bytes / shares);
    add_collective(b, "gather_queries", KM_ALL_GATHER, share_group, KM_ROWS_DECODE,
                   a->heads * a->query_dims * act);
    if (by_heads)
        add_collective(b, "scatter_heads", KM_ALL_TO_ALL, context_group, KM_ROWS_PREFILL,
                       (a->heads * a->query_dims + a->kv_values) * act);
    add(b, op);
    if (by_heads) {
        add_collective(b, "gather_heads", KM_ALL_TO_ALL, context_group, KM_ROWS_PREFILL,
                       a->heads * a->output_dims * act);
        add_collective(b, "gather_outputs", KM_ALL_GATHER, context_group, KM_ROWS_DECODE,
                       a->heads / context * a->output_dims * act);
    } else {
        add_collective(b, "combine_context", KM_ALL_REDUCE, context_group, KM_ROWS_DECODE, partial_bytes);
    }
    add_collective(b, "combine_queries", KM_REDUCE_SCATTER, share_group, KM_ROWS_DECODE,
                   partial_bytes * shares);
    add_collective(b, "combine_groups", KM_ALL_REDUCE, kv_group, KM_ROWS_TOKENS, partial_bytes);
}

/* Of the tokens a rank computes it keeps those of its share. */
static double written_share(const struct builder *b)
{
    return 1.0 / (km_layout_kv_groups(b->layout) * (double)km_layout_decode_context(b->layout));
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
                              .bytes_per_row =
                                  kv_values * b->activation_bytes + cache_bytes * written_share(b)});
    const struct attention attention = {.name = layer->window ? "attention_windowed" : "attention",
                                        .heads = heads,
                                        .kv_heads = kv_heads,
                                        .query_dims = layer->head_dim,
                                        .output_dims = layer->value_dim,
                                        .prefill_pair_flops = 2.0 * heads * dims,
                                        .decode_pair_flops = 2.0 * heads * dims,
                                        .kv_values = kv_heads * dims,
                                        .window = layer->window};
    add_shared_attention(b, &attention);
    add_gemm(b, "o_proj", b->hidden, heads * layer->value_dim);
}

/* Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1; absorbed form of appendix C): the
 * cache holds one latent of kv_lora_rank + qk_rope_dim values a token, shared by all heads and replicated on
 * every rank. Decodes attend to the latents, the up-projections absorbed into query and output: 2*(latent +
 * rope) + 2*latent FLOPs a head and pair. Prompts attend to expanded keys and values: 2*(head_dim +
 * value_dim). */
/* DeepSeek-V3.2's indexer (vllm/model_executor/models/deepseek_v2.py, Indexer): index_heads queries from the
 * query's latent and one key a token, all in fp8, score every token of the context on every rank; the scores
 * are written and read again to find the highest (8 bytes a token and decode; of prompts, where a pair's
 * 2 * heads * dim FLOPs take longer, they are left out). */
static void add_indexer(struct builder *b, const struct km_layer *layer)
{
    const double heads = layer->index_heads, dim = layer->index_dim, act = b->activation_bytes;
    const double key_bytes = km_layer_index_bytes(layer);
    add_gemm(b, "index_q_proj", heads * dim, layer->q_lora_rank);
    add_gemm(b, "index_k_proj", dim + heads, b->hidden);
    add(b, (struct km_op){.name = "index_write",
                          .kind = KM_OP_STREAM,
                          .bytes_per_row = (heads * dim + dim) * (act + 1.0) + key_bytes});
    add(b, (struct km_op){.name = "index_scores",
                          .kind = KM_OP_ATTENTION,
                          .pair_flops = 2.0 * heads * dim,
                          .tile_flops = 2.0 * heads * dim,
                          .heads = heads,
                          .kv_heads = 1.0,
                          .kv_bytes = key_bytes + 8.0,
                          .prefill_kv_bytes = key_bytes,
                          .query_bytes = heads * dim,
                          .prefill_query_bytes = heads * dim,
                          .activations = KM_FP8});
}

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
                          .bytes_per_row =
                              (latent + rope) * b->activation_bytes + cache_bytes * written_share(b)});
    /* W_UK absorbed into the query, W_UV into the output: one batched product per head each. */
    if (layer->index_heads)
        add_indexer(b, layer);
    add_gemm(b, "q_absorb", heads * latent, layer->qk_nope_dim);
    const struct attention attention = {.name = "mla_attention",
                                        .heads = heads,
                                        .kv_heads = 1.0,
                                        .query_dims = latent + rope,
                                        .output_dims = latent,
                                        .prefill_pair_flops =
                                            heads * 2.0 * ((double)layer->head_dim + layer->value_dim),
                                        .decode_pair_flops = heads * 2.0 * (2.0 * latent + rope),
                                        .kv_values = latent + rope,
                                        .window = layer->window};
    add_shared_attention(b, &attention);
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
                          .bytes_per_row = 6.0 * inner * b->activation_bytes,
                          .flops_per_row = 9.0 * inner * state});
    /* The state stays on the chip along a chunk: it is read and written once a sequence. */
    add(b, (struct km_op){.name = "ssm_state",
                          .kind = KM_OP_STREAM,
                          .rows = KM_ROWS_SEQUENCES,
                          .bytes_per_row = 2.0 * state_bytes});
    add_gemm(b, "ssm_out_proj", b->hidden, inner);
}

static void add_dense_mlp(struct builder *b, const char *up, const char *activation, const char *down,
                          double width, bool gated)
{
    add_gemm_of(b, up, (gated ? 2.0 : 1.0) * width, b->hidden, b->precision->weights);
    add_stream(b, activation, (gated ? 3.0 : 2.0) * width);
    add_gemm_of(b, down, b->hidden, width, b->precision->weights);
}

/* Experts stand whole on the ranks, or every rank has a slice of each; with data-parallel ranks the rows are
 * those of all of them. */
static void add_experts(struct builder *b, const char *name, const struct km_layer *layer, double n, double k)
{
    double experts = layer->experts,
           share = b->layout->expert_parallel ? km_layout_expert_ranks(b->layout) : 1.0;
    add(b, (struct km_op){.name = name,
                          .kind = KM_OP_EXPERTS,
                          .rows = km_layout_data(b->layout) > 1 ? KM_ROWS_ALL : KM_ROWS_TOKENS,
                          .n = n,
                          .k = k,
                          .weights = b->precision->weights,
                          .activations = operand(b, b->precision->weights),
                          .experts = (uint32_t)(experts / share),
                          .routed_per_row = layer->experts_per_token / share,
                          .hit_probability = layer->experts_per_token / experts});
}

/* Rows travel to the data ranks' experts.
 *
 * Whole experts: each tensor rank sends a share of its data rank's rows, once to each of the R ranks that
 * hold one of a row's k experts: R (1 - (1 - 1/R)^k) on average (as DeepSeek-V3's dispatch does, arXiv
 * 2412.19437, section 3.2.2), in the activations' format. Sliced experts: every rank needs every row. */
static void add_dispatch(struct builder *b, const struct km_layer *layer)
{
    const struct km_layout *layout = b->layout;
    double ranks = km_layout_expert_ranks(layout), data = km_layout_data(layout);
    double row_bytes = (layer->expert_hidden ? layer->expert_hidden : b->hidden) *
                       km_dtype_bytes(operand(b, b->precision->weights));
    struct km_group experts = {.ranks = km_layout_expert_ranks(layout), .stride = 1};
    struct km_group datas = {.ranks = km_layout_data(layout), .stride = layout->tensor_parallel};
    if (data < 2.0)
        return;
    if (layout->expert_parallel) {
        double copies = ranks * -expm1(layer->experts_per_token * log1p(-1.0 / ranks));
        add_collective(b, "dispatch", KM_ALL_TO_ALL, experts, KM_ROWS_ALL, copies * row_bytes / ranks);
    } else {
        add_collective(b, "gather_rows", KM_ALL_GATHER, datas, KM_ROWS_ALL, row_bytes / data);
    }
}

/* And back, in the format of sums, followed by what makes the rows whole again on every tensor rank. */
static void add_combine(struct builder *b, const struct km_layer *layer)
{
    const struct km_layout *layout = b->layout;
    double ranks = km_layout_expert_ranks(layout), data = km_layout_data(layout);
    double row_bytes = (layer->expert_hidden ? layer->expert_hidden : b->hidden) * b->activation_bytes;
    struct km_group experts = {.ranks = km_layout_expert_ranks(layout), .stride = 1};
    struct km_group datas = {.ranks = km_layout_data(layout), .stride = layout->tensor_parallel};
    if (data > 1.0 && layout->expert_parallel) {
        double copies = ranks * -expm1(layer->experts_per_token * log1p(-1.0 / ranks));
        add_collective(b, "collect", KM_ALL_TO_ALL, experts, KM_ROWS_ALL, copies * row_bytes / ranks);
        if (!layer->shared_intermediate) { /* else the shared expert's sum brings these rows along */
            add_collective(b, "gather_rows", KM_ALL_GATHER, tensor_group(b), KM_ROWS_TOKENS,
                           row_bytes / layout->tensor_parallel);
            return;
        }
    } else if (data > 1.0) {
        add_collective(b, "scatter_rows", KM_REDUCE_SCATTER, datas, KM_ROWS_ALL, row_bytes);
    }
    add_all_reduce(b);
}

static void add_moe(struct builder *b, const struct km_layer *layer)
{
    const struct km_layout *layout = b->layout;
    double share = layout->expert_parallel ? km_layout_expert_ranks(layout) : 1.0;
    double width =
        layer->expert_intermediate * (layout->expert_parallel ? 1.0 : 1.0 / km_layout_expert_ranks(layout));
    /* Products on this rank for each row of its own. */
    double routed = layer->experts_per_token / share * km_layout_data(layout);
    add_gemm_of(b, "router", layer->experts, b->hidden, b->precision->embeddings);
    const double inside = layer->expert_hidden ? layer->expert_hidden : b->hidden;
    if (layer->expert_hidden)
        add_gemm_of(b, "latent_down", inside, b->hidden, b->precision->weights);
    add_dispatch(b, layer);
    add_stream(b, "route", routed * inside + inside); /* gather rows of each expert */
    add_experts(b, "experts_up", layer, (layer->gated ? 2.0 : 1.0) * width, inside);
    add_stream(b, "experts_act", routed * (layer->gated ? 3.0 : 2.0) * width);
    add_experts(b, "experts_down", layer, inside, width);
    add_stream(b, "combine", (routed + 1.0) * inside);
    if (layer->expert_hidden)
        add_gemm_of(b, "latent_up", b->hidden, inside, b->precision->weights);
    if (layer->shared_intermediate)
        add_dense_mlp(b, "shared_up", "shared_act", "shared_down", layer->shared_intermediate / b->ranks,
                      layer->gated);
    add_combine(b, layer);
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
    if (layer->mlp == KM_MLP_MOE)
        add_moe(b, layer);
    else
        add_all_reduce(b);
}

/* From the same rank of the stage before: with tensor parallelism each sends its share of the rows, and the
 * receiving ranks gather them (vLLM's send_tensor_dict). */
static void add_receive(struct builder *b, uint32_t stage)
{
    uint32_t ranks = km_layout_stage_ranks(b->layout);
    struct km_group pair = {.ranks = 2, .stride = ranks, .first = (stage - 1) * ranks};
    double row_bytes = b->hidden * b->activation_bytes / b->ranks;
    add_collective(b, "receive", KM_SEND_RECV, pair, KM_ROWS_TOKENS, row_bytes);
    add_collective(b, "gather_received", KM_ALL_GATHER, tensor_group(b), KM_ROWS_TOKENS, row_bytes);
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
        add_receive(&b, stage);
    }
    for (uint32_t i = 0; i < count; i++)
        add_layer(&b, &model->layers[first + i]);
    if (stage + 1 == layout->pipeline_parallel) {
        double vocab = ceil(model->vocab / b.ranks);
        add(&b, (struct km_op){.name = "final_norm",
                               .kind = KM_OP_STREAM,
                               .rows = KM_ROWS_SAMPLED,
                               .bytes_per_row = 2.0 * b.hidden * b.activation_bytes});
        enum km_dtype head = precision->embeddings;
        add(&b, (struct km_op){.name = "lm_head",
                               .kind = KM_OP_GEMM,
                               .rows = KM_ROWS_SAMPLED,
                               .n = vocab,
                               .k = b.hidden,
                               .weights = head,
                               .activations = is_wide(head) ? head : wide_type(&b)});
        add_collective(&b, "gather_logits", KM_ALL_GATHER, tensor_group(&b), KM_ROWS_SAMPLED,
                       vocab * b.activation_bytes);
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
