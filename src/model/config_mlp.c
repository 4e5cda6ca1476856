#include "model/config.h"

#include <stdlib.h>
#include <string.h>

/* Which layers have experts is written in several ways; a layer has them when all that the file says agree.
 */
struct placement {
    uint32_t first, last;           /* no experts before `first` or after `last` */
    uint32_t frequency;             /* i % frequency == 0 */
    uint32_t step;                  /* (i + 1) % step == 0 */
    uint32_t period, period_offset; /* i % period == offset */
    const cJSON *dense, *sparse;    /* lists of layers; NULL = none */
    const cJSON *flags;             /* 1 a layer that has them */
    const char *spelt;              /* "3,4,5": the layers that have them */
};

static void read_placement(struct km_config *config, uint32_t layer_count, struct placement *out)
{
    const uint32_t max = KM_MAX_LAYERS;
    *out = (struct placement){
        .first = km_config_u32(config, KM_KEYS("first_k_dense_replace", "moe_layer_start_index"), 0, 0, max),
        .last = max,
        .step = km_config_u32(
            config, KM_KEYS("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval"), 1, 1,
            max),
        .period = km_config_u32(config, KM_KEYS("expert_layer_period"), 1, 1, max),
        .period_offset = km_config_u32(config, KM_KEYS("expert_layer_offset"), 0, 0, max),
    };
    out->frequency = 1;
    if (cJSON_IsArray(km_json_get(config->text, "moe_layer_freq")))
        out->flags = km_config_layers_array(config, "moe_layer_freq", (int)layer_count);
    else
        out->frequency = km_config_u32(config, KM_KEYS("moe_layer_freq"), 1, 1, max);
    if (config->status == KM_OK)
        config->status = km_json_string(config->json, config->text, "moe_layers_enum", KM_JSON_OPTIONAL,
                                        &out->spelt, config->error);
    const cJSON *last = km_json_get(config->text, "moe_layer_end_index");
    if (!cJSON_IsNumber(last) || last->valuedouble >= 0) /* -1: to the end */
        out->last = km_config_u32(config, KM_KEYS("moe_layer_end_index"), max, 0, max);
    out->dense = km_config_array(config, "mlp_only_layers", -1);
    out->sparse = km_config_array(config, "moe_layers", -1);
    out->period_offset %= out->period;
}

static bool is_spelt(struct km_config *config, const char *list, uint32_t i)
{
    bool found = false;
    for (const char *c = list; *c;) {
        char *end;
        const unsigned long layer = strtoul(c, &end, 10);
        if (end == c || (*end && *end != ',')) {
            km_config_fail(config, km_json_get(config->text, "moe_layers_enum"),
                           "expected numbers of layers with commas between");
            return false;
        }
        found = found || layer == i;
        c = end + (*end == ',');
    }
    return found;
}

static bool has_experts(struct km_config *config, const struct placement *p, uint32_t i)
{
    if (p->flags)
        return km_config_listed_flag(config, p->flags, i);
    if (p->spelt)
        return is_spelt(config, p->spelt, i);
    if (p->sparse && cJSON_GetArraySize(p->sparse) > 0)
        return km_config_lists(config, p->sparse, i);
    return i >= p->first && i <= p->last && i % p->frequency == 0 && (i + 1) % p->step == 0 &&
           i % p->period == p->period_offset && !km_config_lists(config, p->dense, i);
}

static uint32_t read_shared(struct km_config *config, uint32_t expert_width)
{
    const char *const *count_keys =
        KM_KEYS("n_shared_experts", "num_shared_expert", "num_shared_experts", "moe_num_shared_experts");
    uint32_t width = km_config_u32(
        config, KM_KEYS("shared_expert_intermediate_size", "shared_intermediate_size", "share_expert_dim"), 0,
        0, KM_MAX_WIDTH);
    if (width)
        return width;
    uint32_t count = km_config_u32(config, count_keys, config->family->shared_expert, 0, KM_MAX_EXPERTS);
    expert_width =
        km_config_u32(config, KM_KEYS("moe_shared_expert_intermediate_size"), expert_width, 1, KM_MAX_WIDTH);
    if ((uint64_t)count * expert_width > KM_MAX_WIDTH) {
        const cJSON *value = km_config_find(config, count_keys);
        km_config_fail(config, value ? value : config->text, "shared experts together are wider than %u",
                       KM_MAX_WIDTH);
        return 0;
    }
    return count * expert_width;
}

/* LFM2 (modeling_lfm2.py, Lfm2MLP): two thirds of the stated width, to the next multiple. */
static uint32_t adjusted(struct km_config *config, uint32_t width)
{
    if (!km_config_flag(config, (struct km_flag){true, "block_auto_adjust_ff_dim"}))
        return width;
    const uint32_t multiple = km_config_u32(config, KM_KEYS("block_multiple_of"), 256, 1, KM_MAX_WIDTH);
    const cJSON *factor = km_json_get(config->text, "block_ffn_dim_multiplier");
    const double scale = cJSON_IsNumber(factor) ? factor->valuedouble : 1.0;
    if (!(scale > 0.0) || scale > 64.0) {
        km_config_fail(config, factor, "expected a number above 0 and up to 64");
        return width;
    }
    const uint32_t scaled = (uint32_t)(scale * (2 * width / 3));
    return (scaled + multiple - 1) / multiple * multiple;
}

static uint32_t read_width(struct km_config *config, const struct km_model *model)
{
    const struct km_family *f = config->family;
    const char *const *plain = KM_KEYS("block_ff_dim", "dense_intermediate_size", "intermediate_size_mlp",
                                       "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size");
    const char *const *shared = KM_KEYS("shared_intermediate_size", "intermediate_size");
    uint32_t width = km_config_u32(
        config, f->moe == KM_MOE_OPTIONAL && !f->dense_beside ? shared : plain,
        f->mlp_ratio ? (int64_t)f->mlp_ratio * model->hidden : (int64_t)KM_REQUIRED, 1, KM_MAX_WIDTH);
    return f->two_thirds ? adjusted(config, width) : width;
}

static void read_experts(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    const struct km_family *f = config->family;
    const char *const *count_keys =
        KM_KEYS("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts");
    const char *const *top_keys = KM_KEYS("num_experts_per_tok", "experts_per_token", "moe_topk", "moe_k",
                                          "top_k_experts", "moe_top_k", "num_experts_per_token");
    out->experts =
        km_config_u32(config, count_keys, f->moe == KM_MOE_OPTIONAL ? 0 : KM_REQUIRED, 0, KM_MAX_EXPERTS);
    if (!out->experts)
        return;
    if (!km_config_flag(config, (struct km_flag){true, "enable_moe_block"})) {
        out->experts = 0;
        return;
    }
    out->experts_per_token = km_config_u32(config, top_keys, KM_REQUIRED, 1, KM_MAX_EXPERTS);
    if (out->experts_per_token > out->experts)
        km_config_fail(config, km_config_find(config, top_keys), "%u experts a token of only %u",
                       out->experts_per_token, out->experts);
    out->expert_intermediate = km_config_u32(config, KM_KEYS("moe_intermediate_size", "intermediate_size"),
                                             KM_REQUIRED, 1, KM_MAX_WIDTH);
    out->shared_intermediate =
        f->dense_beside ? read_width(config, model) : read_shared(config, out->expert_intermediate);
    out->expert_norm = km_config_flag(config, (struct km_flag){false, "latent_moe_use_norm"});
    out->expert_hidden =
        km_config_u32(config, KM_KEYS("moe_latent_size", "routed_expert_hidden_size"), 0, 1, KM_MAX_HIDDEN);
    out->shared_gate = f->shared_gate && out->shared_intermediate;
    out->router_bias = f->router_bias;
    out->expert_bias = f->expert_bias;
}

/* The letters of a hybrid pattern say which mixers have an MLP behind them. */
static const char *next_letter(const char *letters, char *mlp)
{
    *mlp = letters[1] == '-' || letters[1] == 'E' ? letters[1] : '\0';
    return letters + (*mlp ? 2 : 1);
}

void km_config_mlps(struct km_config *config, const struct km_model *model, struct km_layer *layers)
{
    const struct km_family *f = config->family;
    if (config->status != KM_OK)
        return;
    const char *letters = config->letters;
    struct placement placement = {0};
    struct km_layer experts = {0}, dense = {0};
    bool parallel = km_config_flag(config, f->parallel);
    bool gated = !km_config_flag(config, f->ungated), bias = km_config_flag(config, f->mlp_bias);
    /* Falcon 40B's parallel block has a norm for each half, Falcon 7B's one for both. */
    uint32_t parallel_norms =
        km_config_flag(config, (struct km_flag){false, "new_decoder_architecture"}) ? 2 : 1;
    parallel_norms = km_config_u32(config, KM_KEYS("num_ln_in_parallel_attn"), parallel_norms, 1, 2);
    uint32_t norms = f->norms ? f->norms : parallel ? parallel_norms : 2;
    if (f->moe != KM_MOE_NONE) {
        read_experts(config, model, &experts);
        read_placement(config, model->layer_count, &placement);
    }
    for (uint32_t i = 0; i < model->layer_count && config->status == KM_OK; i++) {
        struct km_layer *layer = &layers[i];
        char letter = '\0';
        if (letters)
            letters = next_letter(letters, &letter);
        const uint32_t width = f->blocks ? km_config_block_width(config, i, model->hidden) : 0;
        const bool has_mlp = config->letters ? letter : f->blocks ? width > 0 : !f->no_mlp;
        layer->norms = has_mlp || f->norms ? norms : 1;
        if (layer->mixer == KM_NO_MIXER)
            layer->norms = has_mlp;
        if (!has_mlp)
            continue;
        layer->parallel_block = parallel;
        layer->gated = gated;
        layer->mlp_bias = bias;
        if (letter == 'E' && experts.experts == 0)
            km_config_fail(config, config->text, "blocks of experts (E, moe) without n_routed_experts");
        if (letter ? letter == 'E' : experts.experts > 1 && has_experts(config, &placement, i)) {
            layer->mlp = KM_MLP_MOE;
            layer->expert_hidden = experts.expert_hidden;
            layer->experts = experts.experts;
            layer->experts_per_token = experts.experts_per_token;
            layer->expert_intermediate = experts.expert_intermediate;
            layer->shared_intermediate = experts.shared_intermediate;
            layer->shared_gate = experts.shared_gate;
            layer->router_bias = experts.router_bias;
            layer->expert_bias = experts.expert_bias;
            layer->expert_norm = experts.expert_norm;
            layer->norms += f->moe_norms;
        } else if (f->blocks) {
            layer->mlp = KM_MLP_DENSE;
            layer->intermediate = width;
        } else {
            if (!dense.intermediate)
                dense.intermediate = read_width(config, model);
            layer->mlp = KM_MLP_DENSE;
            layer->intermediate = dense.intermediate;
        }
    }
}
