/* Never something else: keys that give a model another shape are refused where the family's row, or the code that
 * reads it, does not know them; so are families whose mechanism is known and not costed. */
#include "model/config.h"

#include <string.h>

/* Is the value there, and does it switch something on? Numbers do from `least` on. */
static bool is_set(const cJSON *value, double least)
{
    if (!value || cJSON_IsNull(value) || cJSON_IsFalse(value))
        return false;
    if (cJSON_IsNumber(value))
        return value->valuedouble >= least;
    return !cJSON_IsArray(value) || cJSON_GetArraySize(value) > 0;
}

static bool never(const struct km_family *f)
{
    (void)f;
    return false;
}
static bool has_kda(const struct km_family *f)
{
    return f->recurrent == KM_KDA;
}
static bool has_gdn(const struct km_family *f)
{
    return f->recurrent == KM_GDN;
}
static bool recurs(const struct km_family *f)
{
    return f->recurrent != KM_ATTENTION;
}
static bool has_latents(const struct km_family *f)
{
    return f->mixer == KM_MLA;
}
static bool is_sparse(const struct km_family *f)
{
    return f->sparse;
}
static bool has_windows(const struct km_family *f)
{
    return f->window != KM_WINDOW_NONE;
}
static bool has_experts(const struct km_family *f)
{
    return f->moe != KM_MOE_NONE;
}
static bool has_blocks(const struct km_family *f)
{
    return f->blocks;
}
static bool has_head_gate(const struct km_family *f)
{
    return f->head_gate.key != NULL;
}

static const struct {
    const char *key;
    bool (*understood)(const struct km_family *family);
    const char *mechanism;
} keys[] = {
    {"compress_ratios", never, "attention over compressed tokens"},
    {"hc_mult", never, "hyper-connections"},
    {"hidden_size_per_layer_input", never, "embeddings a layer"},
    {"num_kv_shared_layers", never, "layers that share the KV cache of others of their kind"},
    {"altup_num_inputs", never, "AltUp"},
    {"laurel_rank", never, "LAuReL"},
    {"mtp_use_dedicated_embeddings", never, "embeddings of the layers that predict further tokens"},
    {"attn_res_block_size", has_kda, "attention residuals"},
    {"linear_attn_config", has_kda, "linear attention"},
    {"linear_num_value_heads", has_gdn, "linear attention"},
    {"full_attention_interval", recurs, "layers of linear attention"},
    {"hybrid_override_pattern", recurs, "blocks of several kinds"},
    {"layers_block_type", recurs, "blocks of several kinds"},
    {"kv_lora_rank", has_latents, "latent attention"},
    {"index_topk", is_sparse, "sparse attention"},
    {"sparse_attention_config", is_sparse, "sparse attention"},
    {"hybrid_layer_pattern", has_windows, "layers with a window"},
    {"block_configs", has_blocks, "a shape of its own for each layer"},
    {"attention_other_setting", has_head_gate, "other heads in some layers"},
    {"n_routed_experts", has_experts, "experts"},
    {"num_local_experts", has_experts, "experts"},
    {"num_experts", has_experts, "experts"},
};

void km_config_check_keys(struct km_config *config)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *value = km_json_get(config->text, keys[i].key);
        /* one expert is a plain MLP */
        if (is_set(value, keys[i].understood == has_experts ? 2.0 : 1e-9) &&
            !keys[i].understood(config->family))
            km_config_fail(config, value, "%s, which this reader does not know of %s", keys[i].mechanism,
                           config->family->model_type);
    }
}

/* Families that are known, and what of them is not costed. */
static const struct {
    const char *model_type, *mechanism;
} refused[] = {
    {"deepseek_v4", "attention over compressed tokens, and hyper-connections"},
    {"deepseek_ref", "DeepSeek-V4's attention over compressed tokens, and hyper-connections"},
    {"gemma3n", "AltUp, LAuReL and embeddings a layer"},
    {"gemma3n_text", "AltUp, LAuReL and embeddings a layer"},
};

const char *km_config_mechanism(const char *model_type)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strcmp(refused[i].model_type, model_type) == 0)
            return refused[i].mechanism;
    return NULL;
}
