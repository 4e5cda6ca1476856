#include "model/config.h"

#include <string.h>

/* Which mixer, window and rotary embedding each layer has is written in several ways; this is all of them. */
struct layout {
    const cJSON *types;   /* layer_types: one word a layer */
    const cJSON *no_rope; /* no_rope_layers: 1 where there *is* a rotary embedding */
    const cJSON *attention_indices;
    const cJSON *recurrent_indices;
    uint32_t attention_period, attention_offset; /* 0 = none */
    uint32_t window, pattern, window_from;
    uint32_t rope_interval;
    uint32_t share_factor; /* layers that share one KV */
};

static bool is_mixer(char letter)
{
    return letter == 'M' || letter == '*';
}

/* layers_block_type, one word a block, as the letters of hybrid_override_pattern. */
static const char *letters_of_words(struct km_config *config, const cJSON *words)
{
    static const struct {
        const char *word;
        char letter;
    } kinds[] = {{"mamba", 'M'}, {"attention", '*'}, {"mlp", '-'}, {"moe", 'E'}};
    const int count = cJSON_GetArraySize(words);
    char *letters = km_arena_alloc(config->arena, (size_t)count + 1);
    const cJSON *word;
    int n = 0;
    cJSON_ArrayForEach(word, words)
    {
        const char *name = cJSON_IsString(word) ? word->valuestring : "";
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (strcmp(kinds[k].word, name) == 0)
                letters[n] = kinds[k].letter;
        if (!letters[n++]) {
            km_config_fail(config, word, "expected mamba, attention, mlp or moe%s%.40s",
                           name[0] ? ", got " : "", name);
            return "";
        }
    }
    return letters;
}

uint32_t km_config_pattern_layers(struct km_config *config)
{
    const char *const *keys = KM_KEYS("hybrid_override_pattern", "layers_block_type");
    const cJSON *value = km_config_find(config, keys);
    uint32_t layers = 0;
    if (!value) {
        if (config->family->lettered)
            km_config_fail(
                config, config->text,
                "neither hybrid_override_pattern nor layers_block_type says which blocks there are");
        return 0;
    }
    if (cJSON_IsString(value)) {
        config->letters = value->valuestring;
    } else {
        const cJSON *words = km_config_array(config, "layers_block_type", -1);
        if (words)
            config->letters = letters_of_words(config, words);
    }
    for (const char *c = config->letters; c && *c; c++) {
        bool mixer = is_mixer(*c);
        if (!mixer && *c != '-' && *c != 'E')
            km_config_fail(config, value, "expected only the letters M, *, - and E, got \"%.1s\"", c);
        else if (!mixer && (c == config->letters || !is_mixer(c[-1])))
            km_config_fail(config, value, "an MLP (- or E) must follow a mixer (M or *)");
        layers += mixer;
    }
    if (layers == 0 || layers > KM_MAX_LAYERS)
        km_config_fail(config, value, "expected 1 to %u mixers, got %u", KM_MAX_LAYERS, layers);
    return layers;
}

static bool has_index(struct km_config *config, const cJSON *indices, uint32_t i)
{
    const cJSON *element;
    cJSON_ArrayForEach(element, indices)
    {
        int64_t index = -1;
        if (config->status == KM_OK)
            config->status =
                km_json_value_integer(config->json, element, 0, KM_MAX_LAYERS, &index, config->error);
        if (index == (int64_t)i)
            return true;
    }
    return false;
}

/* linear_attn_config names every layer, counted from 1, in one of two lists. */
static void read_kda_layers(struct km_config *config, uint32_t count, struct layout *out)
{
    struct km_config inner = *config;
    inner.text = km_json_get(config->text, "linear_attn_config");
    if (!inner.text) {
        km_config_fail(config, config->text, "no linear_attn_config says which layers attend");
        return;
    }
    const cJSON *full = km_config_array(&inner, "full_attn_layers", -1);
    out->recurrent_indices = km_config_array(&inner, "kda_layers", -1);
    config->status = inner.status;
    const int listed = cJSON_GetArraySize(full) + cJSON_GetArraySize(out->recurrent_indices);
    if (config->status == KM_OK && listed != (int)count)
        km_config_fail(config, inner.text, "full_attn_layers and kda_layers name %d layers of %u", listed,
                       count);
    for (uint32_t i = 1; i <= count && config->status == KM_OK; i++)
        if (has_index(config, full, i) == has_index(config, out->recurrent_indices, i))
            km_config_fail(config, inner.text, "layer %u is not in one of full_attn_layers and kda_layers",
                           i);
}

static void read_layout(struct km_config *config, const struct km_model *model, struct layout *out)
{
    const struct km_family *f = config->family;
    int count = (int)model->layer_count;
    if (!config->letters)
        out->types = km_config_array(config, "layer_types", count);
    out->attention_indices = km_config_array(config, "attn_layer_indices", -1);
    out->attention_period = km_config_u32(config, KM_KEYS("attn_layer_period", "full_attention_interval"),
                                          f->interval, 1, KM_MAX_LAYERS);
    /* of an interval the last layer attends */
    out->attention_offset = km_config_u32(config, KM_KEYS("attn_layer_offset"),
                                          f->interval ? out->attention_period - 1 : 0, 0, KM_MAX_LAYERS);
    if (f->recurrent == KM_KDA)
        read_kda_layers(config, model->layer_count, out);

    bool used = km_config_flag(config, (struct km_flag){f->window != KM_WINDOW_LAST, "use_sliding_window"});
    if (used && f->window != KM_WINDOW_NONE)
        out->window = km_config_u32(
            config, f->window == KM_WINDOW_ROPE ? KM_KEYS("attention_chunk_size") : KM_KEYS("sliding_window"),
            0, 1, KM_MAX_TOKENS);
    if (out->window >= model->max_position_embeddings)
        out->window = 0; /* never reached */
    if (f->window == KM_WINDOW_LAST)
        out->window_from = km_config_u32(config, KM_KEYS("max_window_layers"), 0, 0, KM_MAX_LAYERS);
    out->pattern = 1;
    if (f->window == KM_WINDOW_PATTERN)
        out->pattern = km_config_u32(config, KM_KEYS("sliding_window_pattern"), f->pattern, 1, KM_MAX_LAYERS);

    out->rope_interval = 4;
    if (f->rope == KM_ROPE_INTERVAL) {
        const cJSON *list = km_config_array(config, "no_rope_layers", -1);
        if (list && cJSON_GetArraySize(list) > 0) /* an empty list means the usual interval */
            out->no_rope = km_config_array(config, "no_rope_layers", count);
        out->rope_interval =
            km_config_u32(config, KM_KEYS("no_rope_layer_interval"), out->rope_interval, 1, KM_MAX_LAYERS);
    }
    out->share_factor = 1;
    if (km_config_flag(config, (struct km_flag){false, "use_cla"}))
        out->share_factor = km_config_u32(config, KM_KEYS("cla_share_factor"), KM_REQUIRED, 1, KM_MAX_LAYERS);
}

enum layer_type { TYPE_UNSAID, TYPE_FULL, TYPE_WINDOW, TYPE_MIXER };

static enum layer_type read_type(struct km_config *config, const cJSON *word)
{
    static const struct {
        const char *name;
        enum layer_type type;
    } types[] = {
        {"full_attention", TYPE_FULL},      {"attention", TYPE_FULL}, {"sliding_attention", TYPE_WINDOW},
        {"chunked_attention", TYPE_WINDOW}, {"mamba", TYPE_MIXER},    {"linear_attention", TYPE_MIXER},
    };
    const char *name = cJSON_IsString(word) ? word->valuestring : "";
    const bool recurrent = config->family->recurrent != KM_ATTENTION;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0 && (recurrent || types[i].type != TYPE_MIXER))
            return types[i].type;
    km_config_fail(config, word,
                   "expected full_attention, sliding_attention, chunked_attention%s attention%s%s%.40s",
                   recurrent ? "," : " or", recurrent ? ", linear_attention or mamba" : "",
                   name[0] ? ", got " : "", name);
    return TYPE_UNSAID;
}

static bool is_attention(struct km_config *config, const struct layout *layout, enum layer_type type,
                         char letter, uint32_t i)
{
    if (config->family->recurrent == KM_ATTENTION)
        return true;
    if (type != TYPE_UNSAID)
        return type != TYPE_MIXER;
    if (letter)
        return letter == '*';
    if (layout->recurrent_indices)
        return !has_index(config, layout->recurrent_indices, i + 1); /* counted from 1 */
    if (layout->attention_period)
        return i % layout->attention_period == layout->attention_offset % layout->attention_period;
    return layout->attention_indices && has_index(config, layout->attention_indices, i);
}

static bool has_rope(struct km_config *config, const struct layout *layout, bool windowed, uint32_t i)
{
    if (km_config_flag(config, config->family->alibi))
        return false;
    switch (config->family->rope) {
    case KM_ROPE_NONE:
        return false;
    case KM_ROPE_WINDOW:
        return windowed;
    case KM_ROPE_INTERVAL:
        if (layout->no_rope) {
            int64_t flag = 0;
            if (config->status == KM_OK)
                config->status = km_json_value_integer(
                    config->json, cJSON_GetArrayItem(layout->no_rope, (int)i), 0, 1, &flag, config->error);
            return flag != 0;
        }
        return (i + 1) % layout->rope_interval != 0;
    case KM_ROPE_ALL:
        break;
    }
    return true;
}

static bool has_window(const struct km_config *config, const struct layout *layout, enum layer_type type,
                       bool rope, uint32_t i)
{
    if (type != TYPE_UNSAID)
        return type == TYPE_WINDOW;
    switch (config->family->window) {
    case KM_WINDOW_ALL:
        return true;
    case KM_WINDOW_LAST:
        return i >= layout->window_from;
    case KM_WINDOW_PATTERN:
        return (i + 1) % layout->pattern != 0;
    case KM_WINDOW_ROPE:
        return rope;
    case KM_WINDOW_NONE:
        break;
    }
    return false;
}

static uint32_t read_kv_heads(struct km_config *config, uint32_t heads)
{
    const struct km_family *f = config->family;
    const char *const *keys = KM_KEYS("num_key_value_heads", "num_kv_heads", "n_head_kv");
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

static void check_width(struct km_config *config, const cJSON *value, uint32_t count, uint32_t size)
{
    if ((uint64_t)count * size > KM_MAX_WIDTH)
        km_config_fail(config, value ? value : config->text, "%u heads of %u are wider than %u", count, size,
                       KM_MAX_WIDTH);
}

static void read_indexer(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    const char *const *heads_keys = KM_KEYS("index_n_heads");
    out->index_heads = km_config_u32(config, heads_keys, KM_REQUIRED, 1, KM_MAX_HEADS);
    out->index_dim = km_config_u32(config, KM_KEYS("index_head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
    out->index_topk = km_config_u32(config, KM_KEYS("index_topk"), KM_REQUIRED, 1, KM_MAX_TOKENS);
    check_width(config, km_config_find(config, heads_keys), out->index_heads, out->index_dim);
    if (!out->q_lora_rank)
        km_config_fail(config, config->text, "an indexer without q_lora_rank, which its queries come from");
    /* As a window does, it bounds the tokens attended to, not those kept. */
    out->window = out->index_topk < model->max_position_embeddings ? out->index_topk : 0;
}

/* Does the layer find its own tokens, or take those of a layer before it? By a letter each (F, S), or every
 * so many layers (vllm/model_executor/models/deepseek_v2.py). */
static bool has_indexer(struct km_config *config, uint32_t i)
{
    const char *letters = NULL;
    const uint32_t every = km_config_u32(config, KM_KEYS("index_topk_freq"), 1, 1, KM_MAX_LAYERS),
                   offset = km_config_u32(config, KM_KEYS("index_skip_topk_offset"), 2, 0, KM_MAX_LAYERS);
    if (config->status == KM_OK)
        config->status = km_json_string(config->json, config->text, "index_topk_pattern", KM_JSON_OPTIONAL,
                                        &letters, config->error);
    if (letters)
        return i >= strlen(letters) || letters[i] != 'S';
    return i + 1 < offset || (i + 1 - offset) % every == 0;
}

static void read_attention(struct km_config *config, const struct km_model *model, struct km_layer *out)
{
    const struct km_family *f = config->family;
    const char *const *heads_keys = KM_KEYS("num_attention_heads", "n_head");
    out->mixer = KM_ATTENTION;
    out->heads = km_config_u32(config, heads_keys, f->heads ? f->heads : KM_REQUIRED, 1, KM_MAX_HEADS);
    const cJSON *heads_value = km_config_find(config, heads_keys);
    out->qkv_bias = km_config_flag(config, f->qkv_bias);
    out->output_bias = km_config_flag(config, f->output_bias);
    out->kv_source = -1;
    if (f->mixer == KM_MLA) {
        out->mixer = KM_MLA;
        out->kv_heads = out->heads;
        out->q_lora_rank = km_config_u32(config, KM_KEYS("q_lora_rank"), 0, 1, KM_MAX_DIM);
        out->kv_lora_rank = km_config_u32(config, KM_KEYS("kv_lora_rank"), KM_REQUIRED, 1, KM_MAX_DIM);
        out->qk_nope_dim = km_config_u32(config, KM_KEYS("qk_nope_head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
        out->qk_rope_dim = km_config_u32(config, KM_KEYS("qk_rope_head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
        out->value_dim = km_config_u32(config, KM_KEYS("v_head_dim"), KM_REQUIRED, 1, KM_MAX_DIM);
        out->head_dim = out->qk_nope_dim + out->qk_rope_dim;
        check_width(config, heads_value, out->heads, out->head_dim);
        check_width(config, heads_value, out->heads, out->value_dim);
        if (f->sparse)
            read_indexer(config, model, out);
        out->gate_width = km_config_flag(config, f->output_gate) ? out->heads * out->value_dim : 0;
        return;
    }
    out->kv_heads = read_kv_heads(config, out->heads);
    /* Mamba hybrids may use head_dim for their own heads; those files state attention_head_dim. */
    uint32_t head_dim =
        km_config_u32(config, KM_KEYS("attention_head_dim", "head_dim"), f->head_dim, 1, KM_MAX_DIM);
    if (!head_dim && model->hidden % out->heads != 0)
        km_config_fail(config, heads_value, "%u heads do not divide hidden_size %u, and there is no head_dim",
                       out->heads, model->hidden);
    out->head_dim = head_dim ? head_dim : model->hidden / out->heads;
    out->value_dim = out->head_dim;
    out->qk_norm = km_config_flag(config, f->qk_norm);
    out->qk_norm_full = out->qk_norm && f->qk_norm_full;
    out->sinks = f->sinks;
    out->gate_width = km_config_flag(config, f->output_gate) ? out->heads * out->value_dim : 0;
    check_width(config, heads_value, out->heads, out->head_dim);
}

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
    check_width(config, inner.text, out->delta_value_heads, out->delta_value_dim);
    check_width(config, inner.text, out->delta_key_heads, out->delta_key_dim);
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
        check_width(config, dim, out->ssm_heads, size);
        out->ssm_inner = config->status == KM_OK ? out->ssm_heads * size : 1;
    } else if (out->ssm_inner % out->ssm_heads != 0) { /* absent or "auto" */
        km_config_fail(config, km_config_find(config, keys), "%u heads do not divide the inner width %u",
                       out->ssm_heads, out->ssm_inner);
    }
    out->ssm_groups = km_config_u32(config, KM_KEYS("mamba_n_groups", "n_groups"), 1, 1, KM_MAX_HEADS);
    check_width(config, config->text, out->ssm_groups, out->ssm_state);
}

static bool is_delta(const struct km_config *config)
{
    return config->family->recurrent == KM_GDN || config->family->recurrent == KM_KDA;
}

void km_config_mixers(struct km_config *config, const struct km_model *model, struct km_layer *layers)
{
    struct layout layout = {0};
    struct km_layer attention = {0}, recurrent = {0};
    read_layout(config, model, &layout);
    const char *letter = config->letters;
    const cJSON *word = layout.types ? layout.types->child : NULL;
    for (uint32_t i = 0; i < model->layer_count && config->status == KM_OK; i++) {
        enum layer_type type = word ? read_type(config, word) : TYPE_UNSAID;
        word = word ? word->next : NULL;
        while (letter && !is_mixer(*letter))
            letter++;
        if (is_attention(config, &layout, type, letter ? *letter : '\0', i)) {
            if (!attention.heads)
                read_attention(config, model, &attention);
            layers[i] = attention;
            bool window_rope = config->family->rope == KM_ROPE_WINDOW;
            bool rope = !window_rope && has_rope(config, &layout, false, i);
            bool window = has_window(config, &layout, type, rope, i);
            layers[i].rope = window_rope ? window : rope;
            if (!config->family->sparse)
                layers[i].window = window ? layout.window : 0;
            else if (!has_indexer(config, i))
                layers[i].index_heads = layers[i].index_dim = 0;
            if (i % layout.share_factor != 0)
                layers[i].kv_source = (int32_t)(i - i % layout.share_factor);
        } else {
            if (!recurrent.ssm_conv)
                (is_delta(config) ? read_delta : read_state_space)(config, model, &recurrent);
            layers[i] = recurrent;
        }
        letter = letter ? letter + 1 : NULL;
    }
}
