/* Files that give each layer a shape of its own (block_configs: Puzzle, arXiv 2411.19146; vllm/model_executor/
 * models/nemotron_nas.py): KV heads, the MLP's width, and whether there is an attention or an MLP at all. */
#include "model/config.h"

#include <math.h>

/* The `part` of block i; false (and failed) where something else has taken its place. */
static bool find_part(struct km_config *config, uint32_t i, const char *part, const cJSON **out, bool *none)
{
    static const char *const replaced[] = {"replace_with_linear", "sparsify", "num_sink_tokens",
                                           "window_length", "unshifted_sink"};
    const cJSON *blocks = km_json_get(config->text, "block_configs");
    const cJSON *block = cJSON_GetArrayItem(blocks, (int)i);
    *out = block ? km_json_get(block, part) : NULL;
    if (!cJSON_IsObject(*out)) {
        km_config_fail(config, block ? block : blocks,
                       "expected an object with attention and ffn for layer %u", i);
        return false;
    }
    for (size_t r = 0; r < sizeof replaced / sizeof *replaced; r++) {
        const cJSON *value = km_json_get(*out, replaced[r]);
        if (value && !cJSON_IsNull(value) && !cJSON_IsFalse(value)) {
            km_config_fail(config, value, "%s of a block is not supported", replaced[r]);
            return false;
        }
    }
    *none = cJSON_IsTrue(km_json_get(*out, "no_op"));
    return true;
}

void km_config_block_mixer(struct km_config *config, uint32_t i, struct km_layer *layer)
{
    const cJSON *part;
    bool none;
    struct km_config inner = *config;
    if (config->status != KM_OK || !find_part(config, i, "attention", &part, &none))
        return;
    if (none) {
        *layer = (struct km_layer){.mixer = KM_NO_MIXER, .kv_source = -1};
        return;
    }
    inner.text = part;
    const uint32_t group = km_config_u32(&inner, KM_KEYS("n_heads_in_group"), KM_REQUIRED, 1, KM_MAX_HEADS);
    config->status = inner.status;
    if (config->status == KM_OK && layer->heads % group != 0)
        km_config_fail(config, part, "groups of %u heads do not divide %u attention heads", group,
                       layer->heads);
    if (config->status == KM_OK)
        layer->kv_heads = layer->heads / group;
}

/* Width: 2/3 of ffn_mult times hidden, to the next multiple of 256; 0 = there is no MLP. */
uint32_t km_config_block_width(struct km_config *config, uint32_t i, uint32_t hidden)
{
    const cJSON *part;
    bool none;
    if (config->status != KM_OK || !find_part(config, i, "ffn", &part, &none) || none)
        return 0;
    const cJSON *multiple = km_json_get(part, "ffn_mult");
    if (!cJSON_IsNumber(multiple) || !(multiple->valuedouble > 0.0) || multiple->valuedouble > 64.0) {
        km_config_fail(config, multiple ? multiple : part, "expected ffn_mult above 0 and up to 64");
        return 0;
    }
    const double width = floor(2.0 * multiple->valuedouble * hidden / 3.0);
    return (uint32_t)(ceil(width / 256.0) * 256.0);
}
