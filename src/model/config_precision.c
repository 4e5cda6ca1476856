#include "model/config_quantization.h"

static enum km_dtype read_dtype(struct km_config *config, enum km_dtype fallback)
{
    enum km_dtype result = fallback;
    const cJSON *value = km_config_find(config, KM_KEYS("torch_dtype", "dtype"));
    if (!value)
        value = km_json_get(config->root, "torch_dtype");
    if (!value)
        value = km_json_get(config->root, "dtype");
    if (!value)
        return result;
    if (!cJSON_IsString(value) || !km_dtype_find(value->valuestring, &result) || !km_dtype_is_wide(result))
        km_config_fail(config, value, "expected \"float32\", \"bfloat16\" or \"float16\"");
    return result;
}

static const cJSON *find_quantization(const struct km_config *config)
{
    static const char *const keys[] = {"quantization_config", "compression_config"};
    const cJSON *found = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !found; i++) {
        found = km_json_get(config->text, keys[i]);
        if (!found)
            found = km_json_get(config->root, keys[i]);
    }
    return found;
}

void km_config_precision(struct km_config *config, struct km_model *model, struct km_layer *layers)
{
    if (config->status != KM_OK)
        return;
    const cJSON *quantization = find_quantization(config);
    /* transformers loads a file that states no dtype as float32, a quantised one (gpt-oss) as bfloat16. */
    const enum km_dtype base = read_dtype(config, quantization || config->beside ? KM_BF16 : KM_FP32);
    model->precision = (struct km_precision){base, base, base, base, base};
    if (config->status != KM_OK || (!quantization && !config->beside))
        return;
    struct km_quantization formats = {.base = {base, base}, .usual = {base, base}, .kv_cache = base};
    km_config_quantization(config, quantization, &formats);
    km_config_modules(config, &formats, model, layers);
}
