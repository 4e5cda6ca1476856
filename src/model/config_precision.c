#include "model/config.h"

#include <string.h>

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
    if (!cJSON_IsString(value) || !km_dtype_find(value->valuestring, &result) ||
        (result != KM_FP32 && result != KM_BF16 && result != KM_FP16))
        km_config_fail(config, value, "expected \"float32\", \"bfloat16\" or \"float16\"");
    return result;
}

/* The quantised type of a whole number or float of so many bits; false when there is none. */
static bool from_bits(int64_t bits, bool is_float, enum km_dtype *out)
{
    if (bits != 4 && bits != 8)
        return false;
    *out = bits == 8 ? (is_float ? KM_FP8 : KM_INT8) : (is_float ? KM_NVFP4 : KM_INT4);
    return true;
}

/* {"num_bits": 8, "type": "float", ...} of compressed-tensors. */
static bool scheme_dtype(const cJSON *scheme, enum km_dtype *out)
{
    const cJSON *bits = km_json_get(scheme, "num_bits"), *type = km_json_get(scheme, "type");
    return cJSON_IsNumber(bits) && (bits->valuedouble == 4 || bits->valuedouble == 8) &&
           from_bits((int64_t)bits->valuedouble,
                     cJSON_IsString(type) && strcmp(type->valuestring, "float") == 0, out);
}

static void read_compressed(struct km_config *config, const cJSON *quantization, struct km_precision *out)
{
    const cJSON *groups = km_json_get(quantization, "config_groups");
    const cJSON *group = cJSON_IsObject(groups) ? groups->child : NULL;
    if (!scheme_dtype(km_json_get(group, "weights"), &out->weights)) {
        km_config_fail(config, group ? group : quantization,
                       "expected config_groups with weights of 4 or 8 num_bits");
        return;
    }
    const cJSON *inputs = km_json_get(group, "input_activations");
    if (inputs && !scheme_dtype(inputs, &out->activations))
        km_config_fail(config, inputs, "expected 4 or 8 num_bits");
    const cJSON *cache = km_json_get(quantization, "kv_cache_scheme");
    if (cache && !scheme_dtype(cache, &out->kv_cache))
        km_config_fail(config, cache, "expected 4 or 8 num_bits");
}

static void read_bits(struct km_config *config, const cJSON *quantization, struct km_precision *out)
{
    const cJSON *bits = km_json_get(quantization, "bits");
    if (!bits)
        bits = km_json_get(quantization, "w_bit");
    bool known = bits && cJSON_IsNumber(bits) && (bits->valuedouble == 4 || bits->valuedouble == 8);
    if (known)
        from_bits((int64_t)bits->valuedouble, false, &out->weights);
    else
        km_config_fail(config, bits ? bits : quantization, "only 4 and 8 bits are supported");
}

/* Checkpoints that quantise experts only say so by leaving out everything named self_attn. */
static bool skips_attention(const cJSON *quantization)
{
    const cJSON *names = km_json_get(quantization, "modules_to_not_convert"), *name;
    if (!names)
        names = km_json_get(quantization, "ignore");
    cJSON_ArrayForEach(name, names)
    {
        if (cJSON_IsString(name) && strchr(name->valuestring, '*') && strstr(name->valuestring, "self_attn"))
            return true;
    }
    return false;
}

void km_config_precision(struct km_config *config, struct km_precision *out)
{
    if (config->status != KM_OK)
        return;
    const cJSON *quantization = km_config_find(config, KM_KEYS("quantization_config"));
    if (!quantization)
        quantization = km_json_get(config->root, "quantization_config");
    /* transformers loads a file that states no dtype as float32, a quantised one (gpt-oss) as bfloat16. */
    enum km_dtype base = read_dtype(config, quantization ? KM_BF16 : KM_FP32);
    *out = (struct km_precision){base, base, base, base, base};
    if (!quantization)
        return;
    const char *method = NULL;
    if (config->status == KM_OK)
        config->status = km_json_string(config->json, quantization, "quant_method", KM_JSON_REQUIRED, &method,
                                        config->error);
    if (config->status != KM_OK)
        return;
    if (strcmp(method, "fp8") == 0 || strcmp(method, "fbgemm_fp8") == 0)
        out->weights = out->activations = KM_FP8;
    else if (strcmp(method, "mxfp4") == 0)
        out->weights = KM_MXFP4;
    else if (strcmp(method, "awq") == 0 || strcmp(method, "gptq") == 0)
        read_bits(config, quantization, out);
    else if (strcmp(method, "compressed-tensors") == 0)
        read_compressed(config, quantization, out);
    else
        km_config_fail(config, km_json_get(quantization, "quant_method"),
                       "quantisation \"%.60s\" is not supported; supported are fp8 fbgemm_fp8 mxfp4 awq gptq "
                       "compressed-tensors",
                       method);
    out->attention = skips_attention(quantization) ? base : out->weights;
}
