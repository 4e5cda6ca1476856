/* Softmax attention as operators: over keys and values, over latents, over tokens that an indexer finds. */
#include "model/operators_build.h"

#include <math.h>

/* Attention multiplies in 8 bits only where both the queries and the cache are fp8 (FlashAttention 3, arXiv
 * 2407.08608, section 3.3); narrower caches are widened. */
static enum km_dtype attention_type(const struct km_builder *b)
{
    bool narrow = b->precision->activations == KM_FP8 && b->precision->kv_cache == KM_FP8;
    return narrow ? KM_FP8 : km_build_wide_type(b);
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
static void add_shared_attention(struct km_builder *b, const struct attention *a)
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
    km_build_collective(b, "gather_context", KM_ALL_GATHER, share_group, KM_ROWS_PAST, cache_bytes / shares);
    km_build_collective(b, "gather_queries", KM_ALL_GATHER, share_group, KM_ROWS_DECODE,
                        a->heads * a->query_dims * act);
    if (by_heads)
        km_build_collective(b, "scatter_heads", KM_ALL_TO_ALL, context_group, KM_ROWS_PREFILL,
                            (a->heads * a->query_dims + a->kv_values) * act);
    km_build_op(b, op);
    if (by_heads) {
        km_build_collective(b, "gather_heads", KM_ALL_TO_ALL, context_group, KM_ROWS_PREFILL,
                            a->heads * a->output_dims * act);
        km_build_collective(b, "gather_outputs", KM_ALL_GATHER, context_group, KM_ROWS_DECODE,
                            a->heads / context * a->output_dims * act);
    } else {
        km_build_collective(b, "combine_context", KM_ALL_REDUCE, context_group, KM_ROWS_DECODE,
                            partial_bytes);
    }
    km_build_collective(b, "combine_queries", KM_REDUCE_SCATTER, share_group, KM_ROWS_DECODE,
                        partial_bytes * shares);
    km_build_collective(b, "combine_groups", KM_ALL_REDUCE, kv_group, KM_ROWS_TOKENS, partial_bytes);
}

/* Of the tokens a rank computes it keeps those of its share. */
static double written_share(const struct km_builder *b)
{
    return 1.0 / (km_layout_kv_groups(b->layout) * (double)km_layout_decode_context(b->layout));
}

/* A sigmoid of the input on what attention puts out. */
static void add_output_gate(struct km_builder *b, const struct km_layer *layer)
{
    if (layer->gate_width)
        km_build_stream(b, "output_gate",
                        (2.0 * layer->heads * (double)layer->value_dim + layer->gate_width) / b->ranks);
}

/* The indexer of sparse attention: queries from `query_in` values, one key a token, score every token of the
 * context.
 *
 * DeepSeek-V3.2 (vllm/model_executor/models/deepseek_v2.py, Indexer): all heads on every rank, in fp8; the scores
 * are written and read again to find the highest (8 bytes a token and decode; of prompts, where a pair's
 * 2 * heads * dim FLOPs take longer, they are left out). By block (MiniMax-M3, vllm/models/minimax_m3/common/
 * indexer.py): heads are shared out, in 16 bits, and a block of tokens leaves one score a head. */
static void add_indexer(struct km_builder *b, const struct km_layer *layer, double query_in)
{
    const bool blocks = layer->index_block > 0;
    const double heads = blocks ? fmax(1.0, layer->index_heads / b->ranks) : layer->index_heads;
    const double dim = layer->index_dim, act = b->activation_bytes, value_bytes = blocks ? act : 1.0;
    const double key_bytes = km_layer_index_bytes(layer);
    km_build_gemm(b, "index_q_proj", heads * dim, query_in);
    km_build_gemm(b, "index_k_proj", dim + (blocks ? 0.0 : heads), b->hidden);
    km_build_op(b, (struct km_op){.name = "index_write",
                                  .kind = KM_OP_STREAM,
                                  .bytes_per_row = (heads * dim + dim) * (act + value_bytes) + key_bytes});
    km_build_op(b, (struct km_op){.name = "index_scores",
                                  .kind = KM_OP_ATTENTION,
                                  .pair_flops = 2.0 * heads * dim,
                                  .tile_flops = 2.0 * heads * dim,
                                  .heads = heads,
                                  .kv_heads = 1.0,
                                  .kv_bytes = key_bytes + (blocks ? 8.0 * heads / layer->index_block : 8.0),
                                  .prefill_kv_bytes = key_bytes,
                                  .query_bytes = heads * dim * value_bytes,
                                  .prefill_query_bytes = heads * dim * value_bytes,
                                  .activations = blocks ? km_build_wide_type(b) : KM_FP8});
}

void km_build_attention(struct km_builder *b, const struct km_layer *layer)
{
    uint32_t ranks = b->layout->tensor_parallel;
    double heads = layer->heads / b->ranks, kv_heads = km_layout_kv_heads(layer, ranks);
    double dims = (double)layer->head_dim + layer->value_dim;
    double kv_values =
        layer->kv_source < 0 ? kv_heads * dims : 0.0; /* computed here; a shared layer only reads */
    const double computed = kv_values > 0 && layer->value_of_key ? kv_heads * layer->head_dim : kv_values;
    km_build_gemm(b, "qkv_proj", heads * layer->head_dim + computed + layer->gate_width / b->ranks,
                  b->hidden);
    if (layer->qk_norm)
        km_build_stream(b, "qk_norm", 2.0 * (heads + (kv_values > 0 ? kv_heads : 0)) * layer->head_dim);
    if (layer->rope)
        km_build_stream(b, "rope", 2.0 * (heads + (kv_values > 0 ? kv_heads : 0)) * layer->head_dim);
    double cache_bytes = kv_heads * dims * km_dtype_bytes(b->precision->kv_cache);
    if (kv_values > 0)
        km_build_op(b, (struct km_op){.name = "kv_write",
                                      .kind = KM_OP_STREAM,
                                      .bytes_per_row =
                                          kv_values * b->activation_bytes + cache_bytes * written_share(b)});
    if (layer->index_heads)
        add_indexer(b, layer, b->hidden);
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
    add_output_gate(b, layer);
    km_build_gemm(b, "o_proj", b->hidden, heads * layer->value_dim);
}

/* Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1; absorbed form of appendix C): the
 * cache holds one latent of kv_lora_rank + qk_rope_dim values a token, shared by all heads and replicated on
 * every rank. Decodes attend to the latents, the up-projections absorbed into query and output: 2*(latent +
 * rope) + 2*latent FLOPs a head and pair. Prompts attend to expanded keys and values: 2*(head_dim +
 * value_dim). */
void km_build_mla(struct km_builder *b, const struct km_layer *layer)
{
    double heads = layer->heads / b->ranks, latent = layer->kv_lora_rank, rope = layer->qk_rope_dim;
    double query_in = b->hidden;
    km_build_gemm(b, "kv_a_proj", latent + rope, b->hidden);
    km_build_stream(b, "kv_norm", 2.0 * latent);
    if (layer->q_lora_rank) {
        km_build_gemm(b, "q_a_proj", layer->q_lora_rank, b->hidden);
        km_build_stream(b, "q_norm", 2.0 * layer->q_lora_rank);
        query_in = layer->q_lora_rank;
    }
    km_build_gemm(b, "q_b_proj", heads * layer->head_dim, query_in);
    if (layer->rope)
        km_build_stream(b, "rope", 2.0 * (heads + 1.0) * rope);
    double cache_bytes = (latent + rope) * km_dtype_bytes(b->precision->kv_cache);
    km_build_op(b, (struct km_op){.name = "kv_write",
                                  .kind = KM_OP_STREAM,
                                  .bytes_per_row = (latent + rope) * b->activation_bytes +
                                                   cache_bytes * written_share(b)});
    if (layer->index_heads)
        add_indexer(b, layer, layer->q_lora_rank);
    /* W_UK absorbed into the query, W_UV into the output: one batched product per head each. */
    km_build_gemm(b, "q_absorb", heads * latent, layer->qk_nope_dim);
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
    km_build_gemm(b, "v_absorb", heads * layer->value_dim, latent);
    if (layer->gate_width)
        km_build_gemm(b, "gate_proj", layer->gate_width / b->ranks, b->hidden);
    add_output_gate(b, layer);
    km_build_gemm(b, "o_proj", b->hidden, heads * layer->value_dim);
}
