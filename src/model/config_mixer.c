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
    uint32_t share_factor;   /* layers that share one KV */
    const cJSON *windows;    /* hybrid_layer_pattern: 1 a layer with a window */
    const cJSON *sparse;     /* sparse_attention_freq: 1 a layer whose tokens an indexer chooses */
    uint32_t residual_block; /* layers of a block of attention residuals; 0 = none */
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

/* The blocks of one layer, again and again. */
static const char *letters_of_layers(struct km_config *config, const char *each)
{
    const size_t length = strlen(each);
    const uint32_t layers =
        km_config_u32(config, KM_KEYS("num_hidden_layers"), KM_REQUIRED, 1, KM_MAX_LAYERS);
    char *letters = km_arena_alloc(config->arena, layers * length + 1);
    for (uint32_t i = 0; i < layers; i++)
        memcpy(letters + i * length, each, length);
    return letters;
}

uint32_t km_config_pattern_layers(struct km_config *config)
{
    const char *const *keys = KM_KEYS("hybrid_override_pattern", "layers_block_type");
    const cJSON *value = km_config_find(config, keys);
    uint32_t layers = 0;
    if (config->family->each) {
        config->letters = letters_of_layers(config, config->family->each);
        value = config->text;
    } else if (cJSON_IsString(value)) {
        config->letters = value->valuestring;
    } else if (value) {
        const cJSON *words = km_config_array(config, "layers_block_type", -1);
        if (words)
            config->letters = letters_of_words(config, words);
    } else {
        if (config->family->lettered)
            km_config_fail(
                config, config->text,
                "neither hybrid_override_pattern nor layers_block_type says which blocks there are");
        return 0;
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
        if (km_config_lists(config, full, i) == km_config_lists(config, out->recurrent_indices, i))
            km_config_fail(config, inner.text, "layer %u is not in one of full_attn_layers and kda_layers",
                           i);
}

static void read_sparse_layers(struct km_config *config, int count, struct layout *out)
{
    struct km_config inner = *config;
    inner.text = km_json_get(config->text, "sparse_attention_config");
    if (!inner.text)
        return;
    out->sparse = km_config_layers_array(&inner, "sparse_attention_freq", count);
    config->status = inner.status;
    if (!out->sparse)
        km_config_fail(config, inner.text, "no sparse_attention_freq says which layers are sparse");
}

static void read_layout(struct km_config *config, const struct km_model *model, struct layout *out)
{
    const struct km_family *f = config->family;
    int count = (int)model->layer_count;
    if (!config->letters)
        out->types = km_config_layers_array(config, "layer_types", count);
    if (f->window != KM_WINDOW_NONE)
        out->windows = km_config_layers_array(config, "hybrid_layer_pattern", count);
    if (f->sparse && f->mixer != KM_MLA)
        read_sparse_layers(config, count, out);
    if (f->recurrent == KM_KDA)
        out->residual_block = km_config_u32(config, KM_KEYS("attn_res_block_size"), 0, 1, KM_MAX_LAYERS);
    out->attention_indices = km_config_array(config, "attn_layer_indices", -1);
    if (!out->attention_indices)
        out->attention_indices = km_config_array(config, "full_attn_idxs", -1);
    out->attention_period = km_config_u32(config, KM_KEYS("attn_layer_period", "full_attention_interval"),
                                          f->interval, 1, KM_MAX_LAYERS);
    /* of an interval the last layer attends */
    out->attention_offset = km_config_u32(config, KM_KEYS("attn_layer_offset"),
                                          f->interval ? out->attention_period - 1 : 0, 0, KM_MAX_LAYERS);
    if (f->recurrent == KM_KDA)
        read_kda_layers(config, model->layer_count, out);

    bool used = km_config_flag(config, (struct km_flag){f->window != KM_WINDOW_LAST, "use_sliding_window"});
    if (used && (f->window != KM_WINDOW_NONE || out->types))
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

/* What files call a recurrent layer of each kind. */
static const char *recurrent_word(enum km_mixer mixer)
{
    switch (mixer) {
    case KM_SSM:
    case KM_SSD:
        return "mamba";
    case KM_GDN:
    case KM_KDA:
        return "linear_attention";
    case KM_CONV:
        return "conv";
    case KM_ATTENTION:
    case KM_MLA:
    case KM_NO_MIXER:
        break;
    }
    return NULL;
}

static enum layer_type read_type(struct km_config *config, const cJSON *word)
{
    static const struct {
        const char *name;
        enum layer_type type;
    } types[] = {
        {"full_attention", TYPE_FULL},
        {"attention", TYPE_FULL},
        {"sliding_attention", TYPE_WINDOW},
        {"chunked_attention", TYPE_WINDOW},
    };
    const char *name = cJSON_IsString(word) ? word->valuestring : "";
    const char *recurrent = recurrent_word(config->family->recurrent);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].type;
    if (recurrent && strcmp(recurrent, name) == 0)
        return TYPE_MIXER;
    km_config_fail(config, word,
                   "expected full_attention, sliding_attention, chunked_attention%s attention%s%s%s%.40s",
                   recurrent ? "," : " or", recurrent ? " or " : "", recurrent ? recurrent : "",
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
        return !km_config_lists(config, layout->recurrent_indices, i + 1); /* counted from 1 */
    if (layout->attention_period)
        return i % layout->attention_period == layout->attention_offset % layout->attention_period;
    return layout->attention_indices && km_config_lists(config, layout->attention_indices, i);
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

static bool has_window(struct km_config *config, const struct layout *layout, enum layer_type type, bool rope,
                       uint32_t i)
{
    if (type != TYPE_UNSAID)
        return type == TYPE_WINDOW;
    if (layout->windows)
        return km_config_listed_flag(config, layout->windows, i);
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

/* Each shape is read once, when a layer first needs it. */
struct shapes {
    struct km_layer attention, windowed, recurrent;
};

static struct km_layer read_attending(struct km_config *config, const struct km_model *model, bool windowed,
                                      struct shapes *shapes)
{
    struct km_layer *shape = windowed ? &shapes->windowed : &shapes->attention;
    if (!shape->heads)
        km_config_attention(config, model, windowed, shape);
    return *shape;
}

static void read_attention_layer(struct km_config *config, const struct km_model *model,
                                 const struct layout *layout, enum layer_type type, uint32_t i,
                                 struct shapes *shapes, struct km_layer *out)
{
    const struct km_family *f = config->family;
    const bool window_rope = f->rope == KM_ROPE_WINDOW;
    const bool rope = !window_rope && has_rope(config, layout, false, i);
    const bool window = has_window(config, layout, type, rope, i);
    *out = read_attending(config, model, window, shapes);
    out->rope = window_rope ? window : rope;
    if (!f->sparse)
        out->window = window ? layout->window : 0;
    else if (f->mixer != KM_MLA && km_config_listed_flag(config, layout->sparse, i))
        km_config_block_indexer(config, model, out);
    else if (f->mixer == KM_MLA && !has_indexer(config, i))
        out->index_heads = out->index_dim = 0;
    out->chunked = out->window && f->window == KM_WINDOW_ROPE;
    if (i % layout->share_factor != 0)
        out->kv_source = (int32_t)(i - i % layout->share_factor);
    if (f->blocks)
        km_config_block_mixer(config, i, out);
}

void km_config_mixers(struct km_config *config, const struct km_model *model, struct km_layer *layers)
{
    struct layout layout = {0};
    struct shapes shapes = {0};
    read_layout(config, model, &layout);
    const char *letter = config->letters;
    const cJSON *word = layout.types ? layout.types->child : NULL;
    for (uint32_t i = 0; i < model->layer_count && config->status == KM_OK; i++) {
        enum layer_type type = word ? read_type(config, word) : TYPE_UNSAID;
        word = word ? word->next : NULL;
        while (letter && !is_mixer(*letter))
            letter++;
        if (is_attention(config, &layout, type, letter ? *letter : '\0', i)) {
            read_attention_layer(config, model, &layout, type, i, &shapes, &layers[i]);
        } else {
            if (!shapes.recurrent.ssm_conv)
                km_config_recurrent(config, model, &shapes.recurrent);
            layers[i] = shapes.recurrent;
        }
        /* Every so many layers a block's output joins those before it, the embedding first. */
        if (layout.residual_block)
            layers[i].residual_sources = i / layout.residual_block + 2;
        letter = letter ? letter + 1 : NULL;
    }
}
