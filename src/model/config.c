#include "model/config.h"

#include "base/file.h"
#include "base/suggest.h"

#include <string.h>

static void unsupported(struct km_config *config, const cJSON *value, const char *type)
{
    struct km_suggestion suggestion = {.word = type};
    const struct km_family *family;
    for (size_t i = 0; (family = km_family_at(i)); i++)
        km_suggest_offer(&suggestion, family->model_type);
    if (km_config_mechanism(type))
        km_config_fail(config, value, "architecture \"%.60s\" is not supported: %s", type,
                       km_config_mechanism(type));
    else if (suggestion.best)
        km_config_fail(config, value, "architecture \"%.60s\" is not supported; did you mean \"%s\"?", type,
                       suggestion.best);
    else
        km_config_fail(config, value,
                       "architecture \"%.60s\" is not supported; kingman list families names those that are",
                       type);
}

/* The row of the object's model_type; `fallback` (NULL = none) when it states no type. */
static const struct km_family *read_family(struct km_config *config, const cJSON *object,
                                           const char *fallback)
{
    const char *type = fallback;
    if (config->status == KM_OK)
        config->status = km_json_string(config->json, object, "model_type",
                                        fallback ? KM_JSON_OPTIONAL : KM_JSON_REQUIRED, &type, config->error);
    if (config->status != KM_OK)
        return NULL;
    const struct km_family *family = km_family_find(type);
    if (!family)
        unsupported(config, km_json_get(object, "model_type"), type);
    return family;
}

/* Find the family, and the language model inside a wrapper that also holds other towers. */
static void enter(struct km_config *config)
{
    config->text = config->root;
    if (!cJSON_IsObject(config->root))
        km_config_fail(config, config->root, "expected an object, a Hugging Face config.json");
    config->family = read_family(config, config->root, NULL);
    const struct km_family *wrapper = config->family;
    /* Some wrappers are called as their language model is. */
    const bool wraps = wrapper && (wrapper->text_type || (km_json_get(config->root, "text_config") &&
                                                          !km_json_get(config->root, "hidden_size")));
    if (!wraps)
        return;
    config->status =
        km_json_object(config->json, config->root, wrapper->text_key ? wrapper->text_key : "text_config",
                       KM_JSON_REQUIRED, &config->text, config->error);
    config->family =
        read_family(config, config->text, wrapper->text_type ? wrapper->text_type : wrapper->model_type);
    if (config->family && config->family->text_type)
        km_config_fail(config, config->text, "expected a language model, got another wrapper");
}

static bool is_tied(struct km_config *config)
{
    /* A wrapper's own word counts when the language model says nothing. */
    const char *key = "tie_word_embeddings";
    bool result = config->family->tied;
    if (config->status == KM_OK)
        config->status =
            km_json_bool(config->json, config->root, key, KM_JSON_OPTIONAL, &result, config->error);
    if (config->status == KM_OK)
        config->status =
            km_json_bool(config->json, config->text, key, KM_JSON_OPTIONAL, &result, config->error);
    return result;
}

static void read_shape(struct km_config *config, struct km_model *model)
{
    const struct km_family *f = config->family;
    model->family = km_arena_strdup(config->arena, f->model_type);
    model->hidden =
        km_config_u32(config, KM_KEYS("hidden_size", "n_embd", "d_model"), KM_REQUIRED, 1, KM_MAX_HIDDEN);
    model->vocab =
        km_config_u32(config, KM_KEYS("vocab_size"), f->vocab ? f->vocab : KM_REQUIRED, 1, KM_MAX_VOCAB);
    model->layer_count = km_config_pattern_layers(config);
    if (!model->layer_count)
        model->layer_count = km_config_u32(config, KM_KEYS("num_hidden_layers", "n_layer", "num_layers"),
                                           KM_REQUIRED, 1, KM_MAX_LAYERS);
    model->max_position_embeddings = km_config_u32(
        config,
        KM_KEYS("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
        f->positions ? f->positions : KM_REQUIRED, 1, KM_MAX_TOKENS);
    if (f->learned_positions)
        model->learned_positions = model->max_position_embeddings + f->position_offset;
    model->embedding_dim = km_config_u32(config, KM_KEYS("word_embed_proj_dim"), 0, 1, KM_MAX_HIDDEN);
    if (model->embedding_dim == model->hidden)
        model->embedding_dim = 0;
    model->norm_bias = km_config_flag(config, f->norm_bias);
    model->final_norm = km_config_flag(config, (struct km_flag){true, "do_layer_norm_before"});
    model->lm_head_bias = km_config_flag(config, f->lm_head_bias);
    model->tied_embeddings = is_tied(config);
}

/* "models/a-7b.json" is named a-7b, "somewhere/a-7b/config.json" too. */
static const char *model_name(struct km_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (strcmp(base, "config.json") == 0 && slash && slash > path) {
        const char *start = slash;
        while (start > path && start[-1] != '/')
            start--;
        return km_arena_printf(arena, "%.*s", (int)(slash - start), start);
    }
    const char *dot = strrchr(base, '.');
    return km_arena_printf(arena, "%.*s", (int)(dot && dot > base ? (size_t)(dot - base) : strlen(base)),
                           base);
}

static enum km_status read_model(const struct km_json *json, const struct km_json *beside, const char *path,
                                 struct km_arena *arena, struct km_model *out, struct km_error *error)
{
    struct km_config config = {
        .json = json, .beside = beside, .root = json->root, .arena = arena, .error = error};
    *out = (struct km_model){0};
    enter(&config);
    if (config.status == KM_OK)
        km_config_check_keys(&config);
    if (config.status != KM_OK)
        return config.status;
    read_shape(&config, out);
    if (config.status != KM_OK)
        return config.status;
    struct km_layer *layers = km_arena_alloc(arena, out->layer_count * sizeof *layers);
    out->layers = layers;
    km_config_mixers(&config, out, layers);
    km_config_mlps(&config, out, layers);
    km_config_precision(&config, out, layers);
    km_config_towers(&config, out);
    out->path = km_arena_strdup(arena, path ? path : "");
    out->name = model_name(arena, out->path);
    return config.status;
}

/* "X_config.json" has "X_hf_quant_config.json" beside it, "config.json" "hf_quant_config.json"; NULL for other
 * names, and where there is none. */
static const char *path_beside(const char *path, struct km_arena *arena)
{
    static const char name[] = "config.json";
    const size_t length = strlen(path), tail = sizeof name - 1;
    if (length < tail || strcmp(path + length - tail, name) != 0)
        return NULL;
    const char *beside = km_arena_printf(arena, "%.*shf_quant_%s", (int)(length - tail), path, name);
    return km_file_exists(beside) ? beside : NULL;
}

enum km_status km_model_read(const char *path, struct km_arena *arena, struct km_model *out,
                             struct km_error *error)
{
    struct km_json json, beside = {0};
    const char *beside_path = path_beside(path, arena);
    enum km_status status = km_json_read_python(path, &json, error);
    if (status != KM_OK)
        return status;
    if (beside_path)
        status = km_json_read_python(beside_path, &beside, error);
    if (status == KM_OK)
        status = read_model(&json, beside_path ? &beside : NULL, path, arena, out, error);
    km_json_release(&json);
    km_json_release(&beside);
    return status;
}

enum km_status km_model_parse(const char *text, size_t bytes, const char *path, struct km_arena *arena,
                              struct km_model *out, struct km_error *error)
{
    struct km_json json;
    enum km_status status = km_json_parse_python(text, bytes, path, &json, error);
    if (status != KM_OK)
        return status;
    status = read_model(&json, NULL, path, arena, out, error);
    km_json_release(&json);
    return status;
}
