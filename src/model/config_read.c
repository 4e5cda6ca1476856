/* Values of a config.json, and what is said of one that cannot be. */
#include "model/config.h"

#include <stdarg.h>
#include <stdio.h>

const cJSON *km_config_find(const struct km_config *config, const char *const *keys)
{
    const cJSON *value = NULL;
    while (*keys && !value)
        value = km_json_get(config->text, *keys++);
    return value;
}

void km_config_fail(struct km_config *config, const cJSON *value, const char *format, ...)
{
    if (config->status != KM_OK)
        return;
    char message[720];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    config->status = km_json_fail(config->json, value, config->error, "%s", message);
}

/* One value a layer, all of them the same (Hunyuan's files): that value. Layers that differ are refused. */
static const cJSON *one_of_all(struct km_config *config, const cJSON *array)
{
    const cJSON *element;
    cJSON_ArrayForEach(element, array)
    {
        if (!cJSON_Compare(element, array->child, true)) {
            km_config_fail(config, element, "differs from the layers before it, which is not supported");
            return NULL;
        }
    }
    return array->child ? array->child : array;
}

uint32_t km_config_u32(struct km_config *config, const char *const *keys, int64_t fallback, uint32_t min,
                       uint32_t max)
{
    int64_t result = fallback == KM_REQUIRED ? min : fallback;
    if (config->status != KM_OK)
        return (uint32_t)result;
    const cJSON *value = km_config_find(config, keys);
    if (cJSON_IsArray(value))
        value = one_of_all(config, value);
    if (value && config->status == KM_OK)
        config->status = km_json_value_integer(config->json, value, min, max, &result, config->error);
    else if (fallback == KM_REQUIRED && config->status == KM_OK)
        config->status = km_json_fail_member(config->json, config->text, keys[0], config->error, "missing");
    return (uint32_t)result;
}

bool km_config_flag(struct km_config *config, struct km_flag flag)
{
    bool result = flag.fallback;
    if (config->status == KM_OK && flag.key)
        config->status =
            km_json_bool(config->json, config->text, flag.key, KM_JSON_OPTIONAL, &result, config->error);
    return result;
}

const cJSON *km_config_array(struct km_config *config, const char *key, int count)
{
    const cJSON *array = NULL;
    if (config->status != KM_OK)
        return NULL;
    config->status = km_json_array(config->json, config->text, key, KM_JSON_OPTIONAL, &array, config->error);
    int size = array ? cJSON_GetArraySize(array) : 0;
    if (array && count >= 0 && size != count) {
        km_config_fail(config, array, "expected one element for each of the %d layers, got %d", count, size);
        return NULL;
    }
    if (size > (int)KM_MAX_LAYERS) { /* read once a layer: keep that bounded */
        km_config_fail(config, array, "expected at most %u elements, got %d", KM_MAX_LAYERS, size);
        return NULL;
    }
    return array;
}

const cJSON *km_config_layers_array(struct km_config *config, const char *key, int count)
{
    const cJSON *array = km_config_array(config, key, -1);
    const uint32_t further =
        km_config_u32(config, KM_KEYS("num_nextn_predict_layers", "num_mtp_modules"), 0, 0, KM_MAX_LAYERS);
    if (!array || cJSON_GetArraySize(array) == count + (int)further)
        return array;
    return km_config_array(config, key, count);
}

bool km_config_listed_flag(struct km_config *config, const cJSON *array, uint32_t i)
{
    int64_t flag = 0;
    if (array && config->status == KM_OK)
        config->status = km_json_value_integer(config->json, cJSON_GetArrayItem(array, (int)i), 0, 1, &flag,
                                               config->error);
    return flag != 0;
}

void km_config_check_width(struct km_config *config, const cJSON *value, uint32_t count, uint32_t size)
{
    if ((uint64_t)count * size > KM_MAX_WIDTH)
        km_config_fail(config, value ? value : config->text, "%u heads of %u are wider than %u", count, size,
                       KM_MAX_WIDTH);
}

bool km_config_lists(struct km_config *config, const cJSON *list, uint32_t i)
{
    const cJSON *element;
    cJSON_ArrayForEach(element, list)
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
