/* The shapes of layers that attend. Where layers with a window differ from those without, files write the one or
 * the other in keys of its own. */
#include "model/config.h"

static const char *const *heads_keys(bool windowed)
{
    static const char *const keys[] = {"swa_num_attention_heads", "num_sliding_attention_heads",
                                       "num_attention_heads", "n_head", NULL};
    return keys + (windowed ? 0 : 2);
}

static uint32_t read_kv_heads(struct km_config *config, bool windowed, uint32_t heads)
{
    const struct km_family *f = config->family;
    const char *const *keys = windowed ? KM_KEYS("swa_num_key_value_heads", "num_key_value_heads",
                                                 "num_kv_heads", "n_head_kv", "num_attention_groups")
                                       : KM_KEYS("num_global_key_value_heads", "num_key_value_heads",
                                                 "num_kv_heads", "n_head_kv", "num_attention_groups");
    if (km_config_flag(config, f->multi_query) &&
        !km_config_flag(config, (struct km_flag){false, "new_decoder_architecture"}))
        return 1;
    uint32_t kv_heads = km_config_u32(config, keys, f->kv_heads ? f->kv_heads : heads, 1, KM_MAX_HEADS);
    if (heads % kv_heads != 0) {
        const cJSON *value = km_config_find(config, keys);
        km_config_fail(config, value ? value : config->text, "%u KV heads do not divide %u attention heads",
                       kv_heads, heads);
    }
    return kv_heads;
}

/* As a window does, the chosen tokens bound those attended to, not those kept. */
static void choose(const struct km_model *model, uint32_t tokens, struct km_layer *out)
{
    out->index_topk = tokens;
    out->window = tokens < model->max_position_embeddings ? tokens : 0;
}

static void read_indexer(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    const char *const *index_keys = KM_KEYS("index_n_heads");
    out->index_heads = km_config_u32(config, index_keys, KM_REQUIRED, 1, KM_MAX_HEADS);
    out->index_dim = km_config_u32(config, KM_KEYS("index_head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
    choose(model, km_config_u32(config, KM_KEYS("index_topk"), KM_REQUIRED, 1, KM_MAX_TOKENS), out);
    km_config_check_width(config, km_config_find(config, index_keys), out->index_heads, out->index_dim);
    if (!out->q_lora_rank)
        km_config_fail(config, config->text, "an indexer without q_lora_rank, which its queries come from");
}

void km_config_block_indexer(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    struct km_config inner = *config;
    inner.text = km_json_get(config->text, "sparse_attention_config");
    if (!inner.text)
        return;
    out->index_heads = km_config_u32(&inner, KM_KEYS("sparse_num_index_heads"), KM_REQUIRED, 1, KM_MAX_HEADS);
    out->index_dim = km_config_u32(&inner, KM_KEYS("sparse_index_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
    out->index_block = km_config_u32(&inner, KM_KEYS("sparse_block_size"), KM_REQUIRED, 1, KM_MAX_DIM);
    const uint32_t blocks = km_config_u32(&inner, KM_KEYS("sparse_topk_blocks"), KM_REQUIRED, 1, KM_MAX_DIM);
    config->status = inner.status;
    km_config_check_width(config, inner.text, out->index_heads, out->index_dim);
    km_config_check_width(config, inner.text, blocks, out->index_block);
    if (config->status == KM_OK)
        choose(model, blocks * out->index_block, out);
}

static void read_latents(struct km_config *config, struct km_layer *out)
{
    out->mixer = KM_MLA;
    out->kv_heads = out->heads;
    out->q_lora_rank = km_config_u32(config, KM_KEYS("q_lora_rank"), 0, 1, KM_MAX_DIM);
    out->kv_lora_rank = km_config_u32(config, KM_KEYS("kv_lora_rank"), KM_REQUIRED, 1, KM_MAX_DIM);
    out->qk_nope_dim = km_config_u32(config, KM_KEYS("qk_nope_head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
    out->qk_rope_dim = km_config_u32(config, KM_KEYS("qk_rope_head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
    out->value_dim = km_config_u32(config, KM_KEYS("v_head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
    out->head_dim = out->qk_nope_dim + out->qk_rope_dim;
}

static void read_heads(struct km_config *config, const struct km_model *model, bool windowed,
                       struct km_layer *out)
{
    const struct km_family *f = config->family;
    out->kv_heads = read_kv_heads(config, windowed, out->heads);
    /* Mamba hybrids may use head_dim for their own heads; those files state attention_head_dim. */
    uint32_t head_dim = km_config_u32(config,
                                      windowed ? KM_KEYS("swa_head_dim", "attention_head_dim", "head_dim")
                                               : KM_KEYS("global_head_dim", "attention_head_dim", "head_dim"),
                                      f->head_dim, 1, KM_MAX_DIM);
    if (!head_dim && model->hidden % out->heads != 0)
        km_config_fail(config, km_config_find(config, heads_keys(windowed)),
                       "%u heads do not divide hidden_size %u, and there is no head_dim", out->heads,
                       model->hidden);
    out->head_dim = head_dim ? head_dim : model->hidden / out->heads;
    out->value_dim =
        km_config_u32(config, windowed ? KM_KEYS("swa_v_head_dim", "v_head_dim") : KM_KEYS("v_head_dim"),
                      out->head_dim, 1, KM_MAX_DIM);
    out->value_of_key = !windowed && km_config_flag(config, (struct km_flag){false, "attention_k_eq_v"});
    out->qk_norm = km_config_flag(config, f->qk_norm);
    out->qk_norm_full = out->qk_norm && f->qk_norm_full;
    out->sinks =
        km_config_flag(config, (struct km_flag){f->sinks, windowed ? "add_swa_attention_sink_bias"
                                                                   : "add_full_attention_sink_bias"});
}

static void read_attention(struct km_config *config, const struct km_model *model, bool windowed,
                           struct km_layer *out)
{
    const struct km_family *f = config->family;
    out->mixer = KM_ATTENTION;
    out->kv_source = -1;
    out->heads =
        km_config_u32(config, heads_keys(windowed), f->heads ? f->heads : KM_REQUIRED, 1, KM_MAX_HEADS);
    out->qkv_bias = km_config_flag(config, f->qkv_bias);
    out->output_bias = km_config_flag(config, f->output_bias);
    if (f->mixer == KM_MLA)
        read_latents(config, out);
    else
        read_heads(config, model, windowed, out);
    const cJSON *heads = km_config_find(config, heads_keys(windowed));
    km_config_check_width(config, heads, out->heads, out->head_dim);
    km_config_check_width(config, heads, out->heads, out->value_dim);
    if (f->mixer == KM_MLA && f->sparse)
        read_indexer(config, model, out);
    if (km_config_flag(config, f->output_gate))
        out->gate_width = out->heads * out->value_dim;
    else if (km_config_flag(config, f->head_gate))
        out->gate_width = out->heads;
}

void km_config_attention(struct km_config *config, const struct km_model *model, bool windowed,
                         struct km_layer *out)
{
    const cJSON *other = windowed ? km_json_get(config->text, "attention_other_setting") : NULL;
    if (!other) {
        read_attention(config, model, windowed, out);
        return;
    }
    /* Step-3.5: heads of layers with a window, in an object; the rest is as outside it. */
    read_attention(config, model, windowed, out);
    struct km_config inner = *config;
    inner.text = other;
    out->heads = km_config_u32(&inner, KM_KEYS("num_attention_heads"), out->heads, 1, KM_MAX_HEADS);
    out->kv_heads = km_config_u32(&inner, KM_KEYS("num_attention_groups"), out->kv_heads, 1, KM_MAX_HEADS);
    out->head_dim = out->value_dim = km_config_u32(&inner, KM_KEYS("head_dim"), out->head_dim, 1, KM_MAX_DIM);
    config->status = inner.status;
    km_config_check_width(config, other, out->heads, out->head_dim);
    if (config->status == KM_OK && out->heads % out->kv_heads != 0)
        km_config_fail(config, other, "%u KV heads do not divide %u attention heads", out->kv_heads,
                       out->heads);
    if (out->gate_width)
        out->gate_width = config->family->head_gate.key ? out->heads : out->heads * out->value_dim;
}
