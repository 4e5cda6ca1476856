/* Architecture of an LLM, as read from an unmodified Hugging Face config.json.
 *
 * A model is a list of decoder layers, each a *mixer* (attention of some kind, or a state-space mixer) and an
 * *MLP* (dense or mixture of experts), between an embedding and an LM head. Families differ only in these
 * numbers: nothing outside the reader (config.c) knows a family by name. All counts are of the whole,
 * unsharded model. */
#ifndef KM_MODEL_MODEL_H
#define KM_MODEL_MODEL_H

#include "base/error.h"
#include "base/memory.h"
#include "model/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum km_mixer {
    KM_ATTENTION, /* softmax attention: MHA, GQA, MQA, sliding window */
    KM_MLA, /* multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): the cache holds one latent a token
             */
    KM_SSM, /* selective state space (Mamba, arXiv 2312.00752): constant state a sequence, no KV */
    KM_SSD, /* Mamba-2 (arXiv 2405.21060): heads, constant state a sequence */
    KM_GDN, /* gated delta rule (Gated DeltaNet, arXiv 2412.06464): a matrix a head and sequence */
    KM_KDA, /* the same with a decay a channel (Kimi Delta Attention, arXiv 2510.26692) */
    KM_CONV,     /* a short convolution between two gates (LFM2): its window is all the state */
    KM_NO_MIXER, /* the layer is its MLP alone */
};

enum km_mlp {
    KM_MLP_NONE,
    KM_MLP_DENSE,
    KM_MLP_MOE,
};

/* What of a layer a checkpoint may store in a format of its own. */
enum km_module {
    KM_MODULE_MIXER,
    KM_MODULE_DENSE_MLP,
    KM_MODULE_EXPERTS, /* routed */
    KM_MODULE_SHARED,  /* shared experts */
    KM_MODULE_COUNT,
};

struct km_format {
    enum km_dtype weights, activations; /* operands of their products */
};

/* Differs from the model's precision when `own`. */
struct km_stored {
    bool own;
    struct km_format format;
};

struct km_layer {
    enum km_mixer mixer;
    /* attention */
    uint32_t heads; /* query heads */
    uint32_t kv_heads;
    uint32_t head_dim;  /* of Q and K (MLA: qk_nope_dim + qk_rope_dim) */
    uint32_t value_dim; /* of V */
    uint32_t window;    /* sliding or chunked window in tokens; 0 = full context */
    bool chunked;       /* the window does not slide: chunks of so many tokens attend within themselves */
    /* Sparse attention (DeepSeek-V3.2): a query attends to the index_topk tokens that an indexer of
     * its own scores highest, or to those of the last layer that has one (index_heads 0). 0 = attention to all */
    uint32_t index_topk, index_heads, index_dim;
    /* keys are chosen so many together, and kept in 16 bits (MiniMax-M3); 0 = singly, in 8 */
    uint32_t index_block;
    int32_t kv_source; /* index of the layer whose KV this layer reads (cross-layer sharing); -1 = its own */
    bool value_of_key; /* V is computed from K's projection (Gemma 4): kept, but without weights of its own */
    bool qkv_bias, output_bias;
    bool qk_norm;      /* RMSNorm on each head's q and k */
    bool qk_norm_full; /* with qk_norm: one norm over the q (k) of all heads together (OLMo 2) */
    bool sinks;        /* one learned attention-sink logit a query head (gpt-oss) */
    bool rope;         /* rotary embedding applied here */
    /* values of a learned gate on attention's output (a value each, or a head); 0 = none */
    uint32_t gate_width;
    /* MLA */
    uint32_t q_lora_rank; /* 0 = no low-rank query */
    uint32_t kv_lora_rank, qk_nope_dim, qk_rope_dim;
    /* state space */
    uint32_t ssm_inner, ssm_state, ssm_conv, ssm_dt_rank; /* Mamba */
    uint32_t ssm_heads, ssm_groups;                       /* Mamba-2 */
    bool ssm_conv_bias, ssm_proj_bias; /* biases of the convolution; of the in and out projections */
    bool ssm_inner_norms;              /* RMSNorms on dt, B and C (Jamba) */
    /* delta rule; its convolution is ssm_conv wide */
    uint32_t delta_key_heads, delta_value_heads, delta_key_dim, delta_value_dim;
    uint32_t delta_gate_rank; /* the output gate's projection goes through so many values; 0 = straight */
    bool state_fp32;          /* recurrent states are kept in 32 bits, whatever the model's format */
    /* MLP */
    enum km_mlp mlp;
    bool gated; /* gate, up, down (SwiGLU/GeGLU) rather than up, down */
    bool mlp_bias;
    uint32_t intermediate; /* dense width */
    uint32_t experts, experts_per_token, expert_intermediate;
    /* routed experts work on rows projected to so many values (latent experts); 0 = hidden */
    uint32_t expert_hidden;
    bool expert_norm;             /* a norm on what latent experts put out */
    uint32_t shared_intermediate; /* width of all shared experts together; 0 = none */
    bool shared_gate;             /* a learned scalar gate on the shared expert (Qwen2-MoE) */
    bool router_bias;
    bool expert_bias;
    bool parallel_block; /* attention and MLP read the same normed input and add once (GPT-J, Falcon, phi) */
    /* norm vectors of width hidden in this layer (2 usually, 4 with sandwich norms, 1 parallel) */
    uint32_t norms;
    /* Attention residuals (Kimi-K3, arXiv 2607.24653, section 2.2): before mixer and MLP a token's vector is a
     * weighted sum of so many outputs of earlier blocks. 0 = the residual stream alone */
    uint32_t residual_sources;
    struct km_stored stored[KM_MODULE_COUNT];
};

struct km_model {
    const char *name; /* the file's stem */
    const char *path;
    const char *family; /* model_type, for display only */
    uint32_t hidden, vocab, layer_count;
    const struct km_layer *layers; /* [layer_count] */
    bool tied_embeddings, lm_head_bias;
    bool norm_bias; /* LayerNorm (weight and bias) rather than RMSNorm */
    bool final_norm;
    uint32_t learned_positions; /* rows of a learned position table; 0 = none (rotary) */
    uint32_t embedding_dim;     /* width of the embedding when projected to hidden (OPT-350m); 0 = hidden */
    uint32_t max_position_embeddings;
    /* of a layer's experts tokens choose, at random, among so many; 0 = all. Not of the file: who serves
     * it says so */
    uint32_t distinct_experts;
    struct km_precision precision; /* what the checkpoint stores: torch_dtype and quantization_config */
    struct km_stored lm_head;
    const char *towers;      /* beside the language model: "vision", "audio"; NULL = none */
    double tower_parameters; /* not in km_model_parameters() */
};

/* Read `path`; strings and layers live in `arena`. Unsupported architectures, missing or impossible values
 * are KM_BAD_INPUT with file, line and column. */
enum km_status km_model_read(const char *path, struct km_arena *arena, struct km_model *out,
                             struct km_error *error);

/* The same from memory: `path` (may be NULL) names the text in errors and gives the model its name. */
enum km_status km_model_parse(const char *text, size_t bytes, const char *path, struct km_arena *arena,
                              struct km_model *out, struct km_error *error);

/* The i-th model_type that is read, NULL past the end. */
const char *km_model_family(size_t i);

/* Attention and a dense MLP in every layer: no experts, nothing recurrent. */
bool km_model_is_dense(const struct km_model *model);

/* Bytes of a token that a layer's indexer keeps beside the KV cache, on every rank: a key in 8 bits with a
 * scale for every 128 values (vllm/model_executor/models/deepseek_v2.py, Indexer), or, where they are chosen by
 * block, in 16 (vllm/models/minimax_m3/common/indexer.py). */
double km_layer_index_bytes(const struct km_layer *layer);

/* Parameters by tensor class (counts, not bytes). */
struct km_parameters {
    double embedding, lm_head; /* embedding: with learned positions; lm_head: 0 (or its bias) when tied */
    double attention;          /* every mixer's weights, norms apart */
    double dense_mlp;
    double routed_experts, shared_experts, router;
    double norms; /* of layers, heads (QK-norm), latents (MLA) and the final one */
    double total;
    double active; /* read for one token: total less the experts a token is not routed to (embedding counted
                      once) */
};
void km_model_parameters(const struct km_model *model, struct km_parameters *out);
/* What a model's name says of them: "qwen3-30b-a3b" 30e9 and 3e9, "mixtral-8x7b" 56e9 (of experts that share
 * attention, so it is less); 0 where it says nothing. */
void km_model_name_parameters(const char *name, double *total, double *active);
/* The part of one layer (embedding, lm_head = 0). */
void km_layer_parameters(const struct km_model *model, const struct km_layer *layer,
                         struct km_parameters *out);

/* The formats of a module of a layer in a run of `precision`: the layer's own as long as the run keeps the
 * checkpoint's format for that class (mixers: precision->attention, others ->weights), else the run's. Narrow
 * operands of its own the layer keeps only where the run keeps the checkpoint's. */
struct km_format km_layer_format(const struct km_model *model, const struct km_layer *layer,
                                 enum km_module module, const struct km_precision *precision);
/* The same of the LM head, whose usual format is precision->embeddings. */
struct km_format km_lm_head_format(const struct km_model *model, const struct km_precision *precision);

/* Bytes of all weights; embedding, router and norms are in precision->embeddings. */
double km_model_weight_bytes(const struct km_model *model, const struct km_precision *precision);

/* KV values (not bytes) one token adds in one layer: 2 * kv_heads * dim for attention, latent + rope for MLA,
 * 0 for state space or when the layer reads another's KV. `tensor_parallel` >= 1: per rank, KV heads
 * replicated when there are fewer than ranks; MLA latents are replicated. */
double km_layer_kv_values(const struct km_layer *layer, uint32_t tensor_parallel);
/* KV bytes a token of full context takes on one rank, over all layers, windows ignored. */
double km_model_kv_bytes_per_token(const struct km_model *model, enum km_dtype kv_cache,
                                   uint32_t tensor_parallel);
/* Does the layer attend over keys and values (or latents), rather than keep a constant state? */
static inline bool km_layer_attends(const struct km_layer *layer)
{
    return layer->mixer == KM_ATTENTION || layer->mixer == KM_MLA;
}
/* Bytes of constant state a sequence keeps in one layer, unsharded: the convolution's window in values of
 * `value_bytes`, the recurrent state in the same or in 32 bits (vllm/model_executor/layers/mamba/
 * mamba_utils.py). */
double km_layer_state_bytes(const struct km_layer *layer, double value_bytes);

#endif
