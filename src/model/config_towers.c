/* Towers beside the language model (vision, audio): their parameters stand in memory, their work is not costed.
 *
 * A tower is a plain transformer: L layers of attention (4 d^2) and an MLP of two matrices (2 d m), or three where
 * it is gated; patches to d; positions; and what projects its output to the language model: Qwen's mergers take
 * merge^2 patches together, square that and project (d merge^2 (d merge^2 + out)), once more for each layer whose
 * output is also used (transformers, modeling_qwen3_vl.py); others are one matrix. Norms and biases are left out:
 * under 0.2 %. */
#include "model/config.h"

#include <string.h>

/* The first of `keys` that `object` has as a number above 0; else 0. */
static double number_of(const cJSON *object, const char *const *keys)
{
    for (; *keys; keys++) {
        const cJSON *value = km_json_get(object, *keys);
        if (cJSON_IsNumber(value) && value->valuedouble > 0.0 && value->valuedouble < KM_MAX_WIDTH)
            return value->valuedouble;
    }
    return 0.0;
}

static bool is_gated(const cJSON *tower)
{
    static const char *const gated[] = {"gemma4_vision", "pixtral", "qwen2_5_vl", "glm4v_vision"};
    const cJSON *type = km_json_get(tower, "model_type");
    for (size_t i = 0; cJSON_IsString(type) && i < sizeof gated / sizeof *gated; i++)
        if (strcmp(type->valuestring, gated[i]) == 0)
            return true;
    return false;
}

/* 0 when the object does not say. */
static double count_tower(const cJSON *tower, double hidden)
{
    const double layers = number_of(tower,
                                    KM_KEYS("num_hidden_layers", "depth", "vt_num_hidden_layers", "layers")),
                 width = number_of(tower, KM_KEYS("vt_hidden_size", "hidden_size", "width")),
                 inner = number_of(tower, KM_KEYS("vt_intermediate_size", "intermediate_size")),
                 qkv = number_of(tower, KM_KEYS("qkv_hidden_size")),
                 patch = number_of(tower, KM_KEYS("patch_size")),
                 image = number_of(tower, KM_KEYS("image_size")),
                 positions = number_of(tower, KM_KEYS("num_position_embeddings", "position_embedding_size")),
                 merge = number_of(tower, KM_KEYS("spatial_merge_size")),
                 out = number_of(tower, KM_KEYS("out_hidden_size"));
    if (!(layers > 0.0) || !(width > 0.0) || !(inner > 0.0))
        return 0.0;
    const double side = patch > 0.0 ? image / patch : 0.0;
    const double extra = cJSON_GetArraySize(km_json_get(tower, "deepstack_visual_indexes"));
    const double merged = width * merge * merge;
    double count =
        layers * (4.0 * width * (qkv > 0.0 ? qkv : width) + (is_gated(tower) ? 3.0 : 2.0) * width * inner);
    count += 3.0 * patch * patch * width + (positions > 0.0 ? positions : side * side) * width;
    return count + (merge > 0.0 && out > 0.0 ? (1.0 + extra) * merged * (merged + out) : width * hidden);
}

void km_config_towers(struct km_config *config, struct km_model *model)
{
    static const struct {
        const char *key, *name;
    } kinds[] = {{"vision_config", "vision"}, {"audio_config", "audio"}};
    if (config->text == config->root)
        return;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const cJSON *tower = km_json_get(config->root, kinds[i].key);
        if (!cJSON_IsObject(tower))
            continue;
        const double count = count_tower(tower, model->hidden);
        model->tower_parameters += count;
        model->towers = km_arena_printf(config->arena, "%s%s%s%s", model->towers ? model->towers : "",
                                        model->towers ? ", " : "", kinds[i].name,
                                        count > 0.0 ? "" : " (of unknown size)");
    }
}
