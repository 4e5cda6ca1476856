#include "model/config.h"

#include <string.h>

#define YES                                                                                                  \
    {                                                                                                        \
        .fallback = true                                                                                     \
    }
#define KEY(k)                                                                                               \
    {                                                                                                        \
        .key = (k)                                                                                           \
    }
#define UNLESS(k)                                                                                            \
    {                                                                                                        \
        .fallback = true, .key = (k)                                                                         \
    }

/* One row a family: what its Hugging Face class (transformers, configuration_*.py and modeling_*.py of that
 * name) takes for granted. Everything not said is the common case: RMSNorm twice a layer, gated MLP, no
 * biases, rotary embedding everywhere, full attention, LM head of its own. */
static const struct km_family families[] = {
    /* dense */
    {"llama", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .mlp_bias = KEY("mlp_bias")},
    {"mistral", .window = KM_WINDOW_ALL},
    {"mistral3", .text_type = "mistral"},
    {"qwen2", .qkv_bias = YES, .window = KM_WINDOW_LAST},
    {"qwen3", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES,
     .window = KM_WINDOW_LAST},
    {"gemma", .tied = true, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .head_dim = 256},
    {"gemma2", .tied = true, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .norms = 4, .window = KM_WINDOW_PATTERN, .pattern = 2, .head_dim = 256},
    {"gemma3_text", .tied = true, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .norms = 4, .qk_norm = YES, .window = KM_WINDOW_PATTERN, .pattern = 6, .heads = 8, .kv_heads = 4,
     .head_dim = 256, .vocab = 262208, .positions = 131072},
    {"gemma3", .text_type = "gemma3_text"},
    {"phi3", .window = KM_WINDOW_ALL},
    {"granite", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .mlp_bias = KEY("mlp_bias")},
    {"olmo2", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES,
     .qk_norm_full = true},
    {"olmo3", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES,
     .qk_norm_full = true, .window = KM_WINDOW_PATTERN, .pattern = 4},
    {"cohere", .tied = true, .parallel = YES, .qkv_bias = KEY("attention_bias"),
     .output_bias = KEY("attention_bias"), .qk_norm = KEY("use_qk_norm"), .qk_norm_full = true},
    {"cohere2", .tied = true, .parallel = YES, .qkv_bias = KEY("attention_bias"),
     .output_bias = KEY("attention_bias"), .window = KM_WINDOW_PATTERN, .pattern = 4, .rope = KM_ROPE_WINDOW},
    {"starcoder2", .tied = true, .norm_bias = YES, .ungated = YES, .qkv_bias = UNLESS("use_bias"),
     .output_bias = UNLESS("use_bias"), .mlp_bias = UNLESS("use_bias"), .window = KM_WINDOW_ALL},
    {"smollm3", .tied = true, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .mlp_bias = KEY("mlp_bias"), .rope = KM_ROPE_INTERVAL},
    {"seed_oss", .qkv_bias = UNLESS("attention_bias"), .output_bias = KEY("attention_out_bias"),
     .mlp_bias = KEY("mlp_bias")},
    {"glm4", .qkv_bias = KEY("attention_bias"), .norms = 4},
    {"nemotron-nas", .blocks = true, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .mlp_bias = KEY("mlp_bias")},
    {"internvl", .text_type = "qwen3"},
    {"internvl_chat", .text_type = "qwen3", .text_key = "llm_config"},
    {"internlm2", .qkv_bias = KEY("bias"), .output_bias = KEY("bias")},
    {"ernie4_5", .tied = true, .qkv_bias = KEY("use_bias"), .output_bias = KEY("use_bias"),
     .mlp_bias = KEY("use_bias")},
    {"nemotron", .norm_bias = YES, .ungated = YES, .qkv_bias = KEY("attention_bias"),
     .output_bias = KEY("attention_bias"), .mlp_bias = KEY("mlp_bias")},
    /* older dense families: LayerNorm, plain MLP, many biases */
    {"falcon", .tied = true, .norm_bias = YES, .ungated = YES, .parallel = UNLESS("parallel_attn"),
     .qkv_bias = KEY("bias"), .output_bias = KEY("bias"), .mlp_bias = KEY("bias"),
     .multi_query = UNLESS("multi_query"), .alibi = KEY("alibi"), .mlp_ratio = 4, .positions = 2048},
    {"gptj", .norm_bias = YES, .ungated = YES, .parallel = YES, .mlp_bias = YES, .lm_head_bias = YES,
     .mlp_ratio = 4},
    {"gpt_neox", .norm_bias = YES, .ungated = YES, .parallel = UNLESS("use_parallel_residual"), .norms = 2,
     .qkv_bias = UNLESS("attention_bias"), .output_bias = UNLESS("attention_bias"), .mlp_bias = YES},
    {"phi", .norm_bias = YES, .ungated = YES, .parallel = YES, .qkv_bias = YES, .output_bias = YES,
     .mlp_bias = YES, .lm_head_bias = YES, .mlp_ratio = 4},
    {"opt", .tied = true, .norm_bias = UNLESS("layer_norm_elementwise_affine"), .ungated = YES,
     .qkv_bias = UNLESS("enable_bias"), .output_bias = UNLESS("enable_bias"),
     .mlp_bias = UNLESS("enable_bias"), .rope = KM_ROPE_NONE, .learned_positions = true,
     .position_offset = 2},
    {"gpt2", .tied = true, .norm_bias = YES, .ungated = YES, .qkv_bias = YES, .output_bias = YES,
     .mlp_bias = YES, .rope = KM_ROPE_NONE, .learned_positions = true, .mlp_ratio = 4},
    {"gpt_bigcode", .tied = true, .norm_bias = YES, .ungated = YES, .qkv_bias = YES, .output_bias = YES,
     .mlp_bias = YES, .multi_query = UNLESS("multi_query"), .rope = KM_ROPE_NONE, .learned_positions = true,
     .mlp_ratio = 4},
    /* mixture of experts */
    {"mixtral", .window = KM_WINDOW_ALL, .moe = KM_MOE_ALWAYS},
    {"qwen2_moe", .qkv_bias = UNLESS("qkv_bias"), .window = KM_WINDOW_LAST, .moe = KM_MOE_ALWAYS,
     .shared_gate = true},
    {"qwen3_vl", .text_type = "qwen3"},
    {"qwen3_vl_moe", .text_type = "qwen3_moe"},
    {"qwen3_moe", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES,
     .window = KM_WINDOW_LAST, .moe = KM_MOE_ALWAYS},
    {"llama4_text", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .window = KM_WINDOW_ROPE, .rope = KM_ROPE_INTERVAL, .moe = KM_MOE_ALWAYS, .shared_expert = true},
    {"llama4", .text_type = "llama4_text"},
    {"gpt_oss", .qkv_bias = UNLESS("attention_bias"), .output_bias = UNLESS("attention_bias"), .sinks = true,
     .window = KM_WINDOW_PATTERN, .pattern = 2, .moe = KM_MOE_ALWAYS, .router_bias = true,
     .expert_bias = true},
    {"glm4_moe", .qkv_bias = KEY("attention_bias"), .qk_norm = KEY("use_qk_norm"), .moe = KM_MOE_ALWAYS,
     .router_bias = true},
    {"granitemoe", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .moe = KM_MOE_ALWAYS},
    {"olmoe", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES,
     .qk_norm_full = true, .moe = KM_MOE_ALWAYS},
    {"phimoe", .norm_bias = YES, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .lm_head_bias = KEY("lm_head_bias"), .window = KM_WINDOW_ALL, .moe = KM_MOE_ALWAYS},
    {"minimax_m2", .qk_norm = UNLESS("use_qk_norm"), .qk_norm_full = true, .moe = KM_MOE_ALWAYS,
     .router_bias = true},
    {"ernie4_5_moe", .tied = true, .qkv_bias = KEY("use_bias"), .output_bias = KEY("use_bias"),
     .mlp_bias = KEY("use_bias"), .moe = KM_MOE_ALWAYS, .router_bias = true},
    {"hunyuan", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .mlp_bias = KEY("mlp_bias"), .qk_norm = KEY("use_qk_norm"), .moe = KM_MOE_ALWAYS},
    {"hunyuan_v1_dense", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .mlp_bias = KEY("mlp_bias"), .qk_norm = KEY("use_qk_norm")},
    {"hunyuan_v1_moe", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .mlp_bias = KEY("mlp_bias"), .qk_norm = UNLESS("use_qk_norm"), .moe = KM_MOE_ALWAYS},
    {"mimo_v2_flash", .qkv_bias = KEY("attention_bias"), .window = KM_WINDOW_PATTERN, .pattern = 1,
     .moe = KM_MOE_ALWAYS, .router_bias = true},
    {"step3p5", .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES,
     .head_gate = UNLESS("use_head_wise_attn_gate"), .window = KM_WINDOW_PATTERN, .pattern = 1,
     .moe = KM_MOE_ALWAYS, .router_bias = true},
    {"minimax_m3", .qk_norm = UNLESS("use_qk_norm"), .sparse = true, .moe = KM_MOE_ALWAYS,
     .router_bias = true},
    {"gemma4", .text_type = "gemma4_text"},
    {"gemma4_text", .tied = true, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .norms = 4, .qk_norm = YES, .window = KM_WINDOW_PATTERN, .pattern = 6, .moe = KM_MOE_OPTIONAL,
     .dense_beside = true, .moe_norms = 4},
    /* latent attention */
    {"deepseek_v2", .mixer = KM_MLA, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .moe = KM_MOE_ALWAYS},
    {"deepseek_v3", .mixer = KM_MLA, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .moe = KM_MOE_ALWAYS, .router_bias = true},
    {"deepseek_v32", .mixer = KM_MLA, .sparse = true, .qkv_bias = KEY("attention_bias"),
     .output_bias = KEY("attention_bias"), .moe = KM_MOE_ALWAYS, .router_bias = true},
    {"glm_moe_dsa", .mixer = KM_MLA, .sparse = true, .qkv_bias = KEY("attention_bias"),
     .output_bias = KEY("attention_bias"), .moe = KM_MOE_ALWAYS, .router_bias = true},
    {"kimi_k2", .mixer = KM_MLA, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .moe = KM_MOE_ALWAYS, .router_bias = true},
    {"kimi_k25", .text_type = "kimi_k2"},
    /* state space and hybrids */
    {"mamba", .recurrent = KM_SSM, .no_mlp = true, .norms = 1, .tied = true, .positions = KM_MAX_HIDDEN},
    {"falcon_mamba", .recurrent = KM_SSM, .no_mlp = true, .norms = 1, .tied = true,
     .positions = KM_MAX_HIDDEN},
    {"mamba2", .recurrent = KM_SSD, .no_mlp = true, .norms = 1, .positions = KM_MAX_HIDDEN},
    {"jamba", .recurrent = KM_SSM, .ssm_inner_norms = true, .rope = KM_ROPE_NONE, .moe = KM_MOE_ALWAYS},
    {"bamba", .recurrent = KM_SSD, .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"),
     .mlp_bias = KEY("mlp_bias")},
    {"granitemoehybrid", .recurrent = KM_SSD, .tied = true, .qkv_bias = KEY("attention_bias"),
     .output_bias = KEY("attention_bias"), .rope = KM_ROPE_NONE, .moe = KM_MOE_OPTIONAL},
    {"nemotron_h", .recurrent = KM_SSD, .state_fp32 = true, .lettered = true, .moe = KM_MOE_OPTIONAL,
     .router_bias = true, .ungated = YES, .qkv_bias = KEY("attention_bias"),
     .output_bias = KEY("attention_bias"), .mlp_bias = KEY("mlp_bias"), .rope = KM_ROPE_NONE},
    /* State space and attention beside each other: costed one after the other, as two layers. */
    {"falcon_h1", .recurrent = KM_SSD, .each = "M*-", .qkv_bias = KEY("attention_bias"),
     .output_bias = KEY("attention_bias"), .mlp_bias = KEY("mlp_bias")},
    /* linear attention between layers of softmax attention */
    {"qwen3_next", .recurrent = KM_GDN, .interval = 4, .output_gate = UNLESS("attn_output_gate"),
     .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES,
     .moe = KM_MOE_ALWAYS, .shared_gate = true},
    {"qwen3_5", .text_type = "qwen3_5_text"},
    {"qwen3_5_text", .recurrent = KM_GDN, .interval = 4, .output_gate = UNLESS("attn_output_gate"),
     .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES},
    {"qwen3_5_moe", .text_type = "qwen3_5_moe_text"},
    {"qwen3_5_moe_text", .recurrent = KM_GDN, .interval = 4, .output_gate = UNLESS("attn_output_gate"),
     .qkv_bias = KEY("attention_bias"), .output_bias = KEY("attention_bias"), .qk_norm = YES,
     .moe = KM_MOE_ALWAYS, .shared_gate = true},
    {"lfm2", .tied = true, .recurrent = KM_CONV, .qk_norm = YES, .two_thirds = true},
    {"kimi_k3", .text_type = "kimi_linear"},
    {"kimi_linear", .mixer = KM_MLA, .recurrent = KM_KDA, .output_gate = KEY("mla_use_output_gate"),
     .rope = KM_ROPE_NONE, .moe = KM_MOE_ALWAYS, .router_bias = true},
};

const struct km_family *km_family_at(size_t i)
{
    return i < sizeof families / sizeof families[0] ? &families[i] : NULL;
}

const char *km_model_family(size_t i)
{
    return km_family_at(i) ? families[i].model_type : NULL;
}

/* Types whose classes take for granted what another's do. */
static const struct {
    const char *model_type, *like;
} aliases[] = {
    {"qwen3_vl_text", "qwen3"}, {"qwen3_vl_moe_text", "qwen3_moe"},
    {"step3p7", "step3p5"},     {"glm4_moe_lite", "deepseek_v3"},
    {"mimo", "qwen2"}, /* MiMo-7B: Qwen2 with layers for predicting several tokens, which stay unused */
};

const struct km_family *km_family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcmp(aliases[i].model_type, model_type) == 0)
            return km_family_find(aliases[i].like);
    for (size_t i = 0; km_family_at(i); i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}
