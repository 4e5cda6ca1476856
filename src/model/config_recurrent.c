/* The shapes of layers that keep a constant state. */
#include "model/config.h"

#include <string.h>

static bool has_wide_state(struct km_config *config)
{
    enum km_dtype dtype = config->family->state_fp32 ? KM_FP32 : KM_BF16;
    const cJSON *value = km_config_find(config, KM_KEYS("mamba_ssm_cache_dtype", "mamba_ssm_dtype"));
    if (value &&
        (!cJSON_IsString(value) || !km_dtype_find(value->valuestring, &dtype) || km_dtype_bits(dtype) < 16))
        km_config_fail(config, value, "expected \"float32\", \"bfloat16\" or \"float16\"");
    return dtype == KM_FP32;
}

/* The delta rule's shape: of Gated DeltaNet in keys of its own, of Kimi Delta Attention in an object. */
static void read_delta(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    (void)model;
    struct km_config inner = *config;
    const bool kda = config->family->recurrent == KM_KDA;
    inner.text = kda ? km_json_get(config->text, "linear_attn_config") : config->text;
    out->mixer = config->family->recurrent;
    out->kv_source = -1;
    const char *const *heads_keys = KM_KEYS("linear_num_value_heads", "num_heads");
    out->delta_value_heads = km_config_u32(&inner, heads_keys, KM_REQUIRED, 1, KM_MAX_HEADS);
    out->delta_value_dim =
        km_config_u32(&inner, KM_KEYS("linear_value_head_dim", "head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
    out->delta_key_heads =
        km_config_u32(&inner, KM_KEYS("linear_num_key_heads"),
                      kda ? (int64_t)out->delta_value_heads : KM_REQUIRED, 1, KM_MAX_HEADS);
    out->delta_key_dim = km_config_u32(&inner, KM_KEYS("linear_key_head_dim"),
                                       kda ? (int64_t)out->delta_value_dim : KM_REQUIRED, 1, KM_MAX_DIM);
    out->ssm_conv =
        km_config_u32(&inner, KM_KEYS("linear_conv_kernel_dim", "short_conv_kernel_size"), 4, 1, 64);
    if (kda && !km_config_flag(&inner, (struct km_flag){false, "use_full_rank_gate"}))
        out->delta_gate_rank = out->delta_value_dim;
    out->state_fp32 = kda || has_wide_state(&inner);
    config->status = inner.status;
    km_config_check_width(config, inner.text, out->delta_value_heads, out->delta_value_dim);
    km_config_check_width(config, inner.text, out->delta_key_heads, out->delta_key_dim);
    if (out->delta_value_heads % out->delta_key_heads != 0)
        km_config_fail(config, inner.text, "%u key heads do not divide %u value heads", out->delta_key_heads,
                       out->delta_value_heads);
}

static void read_state_space(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    const struct km_family *f = config->family;
    out->mixer = f->recurrent;
    out->kv_source = -1;
    out->state_fp32 = has_wide_state(config);
    out->ssm_state = km_config_u32(config, KM_KEYS("mamba_d_state", "ssm_state_size", "state_size"),
                                   KM_REQUIRED, 1, KM_MAX_DIM);
    out->ssm_conv = km_config_u32(config, KM_KEYS("mamba_d_conv", "conv_kernel", "d_conv"), 4, 1, 64);
    out->ssm_conv_bias = km_config_flag(config, (struct km_flag){true, "use_conv_bias"}) &&
                         km_config_flag(config, (struct km_flag){true, "mamba_conv_bias"});
    out->ssm_proj_bias = km_config_flag(config, (struct km_flag){false, "use_bias"}) ||
                         km_config_flag(config, (struct km_flag){false, "mamba_proj_bias"});
    out->ssm_inner_norms = f->ssm_inner_norms;
    uint32_t expand = km_config_u32(config, KM_KEYS("mamba_expand", "expand"), 2, 1, 16);
    out->ssm_inner = expand * model->hidden;
    if (f->recurrent == KM_SSM) {
        const char *const *keys = KM_KEYS("mamba_dt_rank", "time_step_rank");
        const cJSON *rank = km_config_find(config, keys);
        uint32_t automatic = (model->hidden + 15) / 16; /* Mamba's "auto" */
        bool said = rank && !(cJSON_IsString(rank) && strcmp(rank->valuestring, "auto") == 0);
        out->ssm_dt_rank = said ? km_config_u32(config, keys, automatic, 1, KM_MAX_DIM) : automatic;
        return;
    }
    const char *const *keys = KM_KEYS("mamba_n_heads", "mamba_num_heads", "num_heads");
    out->ssm_heads = km_config_u32(config, keys, KM_REQUIRED, 1, KM_MAX_HEADS);
    const cJSON *dim = config->status == KM_OK
                           ? km_config_find(config, KM_KEYS("mamba_d_head", "mamba_head_dim", "head_dim"))
                           : NULL;
    if (cJSON_IsNumber(dim)) {
        uint32_t size = km_config_u32(config, KM_KEYS("mamba_d_head", "mamba_head_dim", "head_dim"),
                                      KM_REQUIRED, 1, KM_MAX_DIM);
        km_config_check_width(config, dim, out->ssm_heads, size);
        out->ssm_inner = config->status == KM_OK ? out->ssm_heads * size : 1;
    } else if (out->ssm_inner % out->ssm_heads != 0) { /* absent or "auto" */
        km_config_fail(config, km_config_find(config, keys), "%u heads do not divide the inner width %u",
                       out->ssm_heads, out->ssm_inner);
    }
    out->ssm_groups = km_config_u32(config, KM_KEYS("mamba_n_groups", "n_groups"), 1, 1, KM_MAX_HEADS);
    km_config_check_width(config, config->text, out->ssm_groups, out->ssm_state);
}

static void read_conv(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    out->mixer = KM_CONV;
    out->kv_source = -1;
    out->ssm_inner = model->hidden;
    out->ssm_conv = km_config_u32(config, KM_KEYS("conv_L_cache"), 3, 2, 64);
    out->ssm_conv_bias = out->ssm_proj_bias = km_config_flag(config, (struct km_flag){false, "conv_bias"});
}

void km_config_recurrent(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    const enum km_mixer kind = config->family->recurrent;
    if (kind == KM_CONV)
        read_conv(config, model, out);
    else
        (kind == KM_GDN || kind == KM_KDA ? read_delta : read_state_space)(config, model, out);
}
