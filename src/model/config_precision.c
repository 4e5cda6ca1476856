#include "base/memory.h"
#include "model/config.h"

#include <stdlib.h>
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

/* --- what stays as it was ------------------------------------------------------------------------------- */

/* The N of "...layers.N.rest"; -1 without one. */
static long layer_of(const char *name)
{
    const char *at = strstr(name, "layers.");
    char *end = NULL;
    const long layer = at ? strtol(at + 7, &end, 10) : -1;
    return at && end != at + 7 && (*end == '.' || *end == '\0') ? layer : -1;
}

/* Its products: norms are never quantised, and an indexer is small. */
static bool names_attention(const char *name)
{
    return (strstr(name, "self_attn") || strstr(name, "linear_attn") || strstr(name, "q_proj")) &&
           !strstr(name, "norm") && !strstr(name, "indexer");
}

/* Does the list leave attention out? By a pattern without a layer ("*self_attn*", "re:.*self_attn.*"), or by
 * name in at least half of the layers: precision is one for all of them. */
static bool skips_attention(const cJSON *names, uint32_t layer_count)
{
    const cJSON *name;
    uint32_t named = 0;
    bool *seen = km_alloc(layer_count * sizeof *seen);
    bool all = false;
    cJSON_ArrayForEach(name, names)
    {
        if (!cJSON_IsString(name) || !names_attention(name->valuestring))
            continue;
        const long layer = layer_of(name->valuestring);
        all = all || layer < 0;
        if (layer >= 0 && layer < (long)layer_count && !seen[layer]) {
            seen[layer] = true;
            named++;
        }
    }
    free(seen);
    return all || (named > 0 && 2 * named >= layer_count);
}

/* --- ModelOpt ------------------------------------------------------------------------------------------- */

/* NVIDIA's ModelOpt says `quant_algo`, `kv_cache_quant_algo` and `exclude_modules` in a file of its own, or
 * the same inside quantization_config, with `ignore` (vllm/model_executor/layers/quantization/modelopt.py). */
static void read_modelopt(struct km_config *config, const struct km_json *json, const cJSON *object,
                          enum km_dtype base, uint32_t layer_count, struct km_precision *out)
{
    static const struct {
        const char *name;
        enum km_dtype weights, activations;
        bool weights_only;
    } algos[] = {
        {"FP8", KM_FP8, KM_FP8, false},
        {"FP8_PB_WO", KM_FP8, KM_FP8, false},
        {"FP8_PER_CHANNEL_PER_TOKEN", KM_FP8, KM_FP8, false},
        {"NVFP4", KM_NVFP4, KM_NVFP4, false},
        {"NVFP4_AWQ", KM_NVFP4, KM_NVFP4, false},
        {"W4A16_NVFP4", KM_NVFP4, KM_NVFP4, true},
        {"W4A16_AWQ", KM_INT4, KM_INT4, true},
    };
    const char *name = NULL, *cache = NULL;
    const cJSON *scheme = km_json_get(object, "kv_cache_scheme");
    config->status = km_json_string(json, object, "quant_algo", KM_JSON_REQUIRED, &name, config->error);
    if (config->status == KM_OK)
        config->status =
            km_json_string(json, object, "kv_cache_quant_algo", KM_JSON_OPTIONAL, &cache, config->error);
    if (config->status != KM_OK)
        return;
    size_t i = 0;
    while (i < sizeof algos / sizeof *algos && strcmp(algos[i].name, name) != 0)
        i++;
    if (i == sizeof algos / sizeof *algos) {
        config->status = km_json_fail(json, km_json_get(object, "quant_algo"), config->error,
                                      "ModelOpt's \"%.60s\" is not supported; supported are FP8 FP8_PB_WO "
                                      "FP8_PER_CHANNEL_PER_TOKEN NVFP4 NVFP4_AWQ W4A16_NVFP4 W4A16_AWQ",
                                      name);
        return;
    }
    out->weights = algos[i].weights;
    out->activations = algos[i].weights_only ? base : algos[i].activations;
    if (cJSON_IsString(scheme))
        cache = scheme->valuestring;
    else if (scheme && !scheme_dtype(scheme, &out->kv_cache))
        config->status = km_json_fail(json, scheme, config->error, "expected 4 or 8 num_bits");
    if (cache && strcmp(cache, "FP8") == 0)
        out->kv_cache = KM_FP8;
    else if (cache && config->status == KM_OK)
        config->status = km_json_fail(json, scheme ? scheme : km_json_get(object, "kv_cache_quant_algo"),
                                      config->error, "expected \"FP8\"");
    const cJSON *names = km_json_get(object, "exclude_modules");
    if (!names)
        names = km_json_get(object, "ignore");
    out->attention = skips_attention(names, layer_count) ? base : out->weights;
}

static bool is_modelopt(const cJSON *quantization)
{
    const cJSON *method = km_json_get(quantization, "quant_method");
    if (cJSON_IsString(method))
        return strncmp(method->valuestring, "modelopt", 8) == 0;
    return km_json_get(quantization, "quant_algo") != NULL;
}

/* --- all of them ---------------------------------------------------------------------------------------- */

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

void km_config_precision(struct km_config *config, uint32_t layer_count, struct km_precision *out)
{
    if (config->status != KM_OK)
        return;
    const cJSON *quantization = find_quantization(config);
    const cJSON *beside = config->beside ? km_json_get(config->beside->root, "quantization") : NULL;
    /* transformers loads a file that states no dtype as float32, a quantised one (gpt-oss) as bfloat16. */
    enum km_dtype base = read_dtype(config, quantization || beside ? KM_BF16 : KM_FP32);
    *out = (struct km_precision){base, base, base, base, base};
    if (config->beside && !quantization && !beside)
        config->status = km_json_fail(config->beside, config->beside->root, config->error,
                                      "expected ModelOpt's object \"quantization\"");
    if (config->status != KM_OK || (!quantization && !beside))
        return;
    if (!quantization || is_modelopt(quantization)) {
        const bool own = quantization && km_json_get(quantization, "quant_algo");
        if (own || !beside)
            read_modelopt(config, config->json, quantization, base, layer_count, out);
        else
            read_modelopt(config, config->beside, beside, base, layer_count, out);
        return;
    }
    const char *method = NULL;
    config->status =
        km_json_string(config->json, quantization, "quant_method", KM_JSON_REQUIRED, &method, config->error);
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
                       "compressed-tensors modelopt",
                       method);
    const cJSON *names = km_json_get(quantization, "modules_to_not_convert");
    if (!names)
        names = km_json_get(quantization, "ignore");
    out->attention = skips_attention(names, layer_count) ? base : out->weights;
}
