#include "model/config_quantization.h"

#include <string.h>

/* A format of a method, by the method's own word. */
struct named_format {
    const char *name;
    enum km_dtype weights, activations;
    bool weights_only; /* activations stay as they were */
};

static void set_format(const struct named_format *named, enum km_dtype base, struct km_format *out)
{
    *out = (struct km_format){named->weights, named->weights_only ? base : named->activations};
}

static const struct named_format *find_format(const struct named_format *table, size_t count,
                                              const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

#define COUNT(table) (sizeof(table) / sizeof *(table))

static void fail_at(struct km_config *config, const struct km_json *json, const cJSON *value,
                    const char *method, const char *name)
{
    if (config->status == KM_OK)
        config->status =
            km_json_fail(json, value, config->error, "%s's \"%.60s\" is not supported", method, name);
}

static void add_rule(struct km_config *config, struct km_quantization *q, const char *pattern,
                     struct km_format format, const cJSON *place)
{
    if ((q->rule_count & (q->rule_count - 1)) == 0) { /* grown at each power of two */
        const size_t room = q->rule_count ? 2 * q->rule_count : 1;
        struct km_format_rule *rules = km_arena_alloc(config->arena, room * sizeof *rules);
        if (q->rule_count)
            memcpy(rules, q->rules, q->rule_count * sizeof *rules);
        q->rules = rules;
    }
    q->rules[q->rule_count++] = (struct km_format_rule){pattern, format, place};
}

static void add_names(struct km_config *config, struct km_quantization *q, const cJSON *names,
                      struct km_format format)
{
    const cJSON *name;
    cJSON_ArrayForEach(name, names)
    {
        if (cJSON_IsString(name))
            add_rule(config, q, name->valuestring, format, name);
    }
}

/* What stays as it was, under every method's key for it. */
static void add_kept(struct km_config *config, struct km_quantization *q, const cJSON *object)
{
    static const char *const keys[] = {"modules_to_not_convert", "ignore", "exclude_modules", "exclude",
                                       "llm_int8_skip_modules"};
    for (size_t i = 0; i < COUNT(keys); i++)
        add_names(config, q, km_json_get(object, keys[i]), q->base);
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *value = object ? km_json_get(object, key) : NULL;
    return cJSON_IsString(value) ? value->valuestring : "";
}

static bool truth_of(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(km_json_get(object, key));
}

/* --- compressed-tensors --------------------------------------------------------------------------------- */

/* {"num_bits": 8, "type": "float", ...}. Four bits of float are MXFP4 in groups of 32, NVFP4 in groups of 16
 * (compressed-tensors' formats mxfp4-pack-quantized and nvfp4-pack-quantized). */
static bool scheme_dtype(const cJSON *scheme, enum km_dtype *out)
{
    const cJSON *bits = km_json_get(scheme, "num_bits"), *group = km_json_get(scheme, "group_size");
    const bool is_float = strcmp(text_of(scheme, "type"), "float") == 0;
    if (!cJSON_IsNumber(bits) || (bits->valuedouble != 4 && bits->valuedouble != 8))
        return false;
    if (bits->valuedouble == 8)
        *out = is_float ? KM_FP8 : KM_INT8;
    else if (!is_float)
        *out = cJSON_IsNumber(group) && group->valuedouble == 32 ? KM_INT4_G32 : KM_INT4;
    else
        *out = cJSON_IsNumber(group) && group->valuedouble == 32 ? KM_MXFP4 : KM_NVFP4;
    return true;
}

static void read_group(struct km_config *config, const struct km_json *json, const cJSON *group,
                       struct km_quantization *q, struct km_format *out)
{
    const cJSON *inputs = km_json_get(group, "input_activations");
    *out = q->base;
    if (!scheme_dtype(km_json_get(group, "weights"), &out->weights))
        config->status = km_json_fail(json, group, config->error, "expected weights of 4 or 8 num_bits");
    else if (inputs && !scheme_dtype(inputs, &out->activations))
        config->status = km_json_fail(json, inputs, config->error, "expected 4 or 8 num_bits");
}

/* Groups of modules: "Linear" is all, others are named. */
static void read_compressed(struct km_config *config, const cJSON *object, struct km_quantization *q)
{
    const cJSON *groups = km_json_get(object, "config_groups"), *group, *target;
    if (!cJSON_IsObject(groups) || !groups->child)
        km_config_fail(config, groups ? groups : object,
                       "expected config_groups with weights of 4 or 8 num_bits");
    cJSON_ArrayForEach(group, groups)
    {
        struct km_format format;
        if (config->status != KM_OK)
            return;
        read_group(config, config->json, group, q, &format);
        const cJSON *targets = km_json_get(group, "targets");
        if (!targets)
            q->usual = format;
        cJSON_ArrayForEach(target, targets)
        {
            if (cJSON_IsString(target) && strcmp(target->valuestring, "Linear") == 0)
                q->usual = format;
            else if (cJSON_IsString(target))
                add_rule(config, q, target->valuestring, format, target);
        }
    }
    const cJSON *cache = km_json_get(object, "kv_cache_scheme");
    if (cache && !scheme_dtype(cache, &q->kv_cache))
        km_config_fail(config, cache, "expected 4 or 8 num_bits");
}

/* --- ModelOpt ------------------------------------------------------------------------------------------- */

static const struct named_format modelopt_algos[] = {
    {"FP8", KM_FP8, KM_FP8, false},
    {"FP8_PB_WO", KM_FP8, KM_FP8, false},
    {"FP8_PER_CHANNEL_PER_TOKEN", KM_FP8, KM_FP8, false},
    {"NVFP4", KM_NVFP4, KM_NVFP4, false},
    {"NVFP4_AWQ", KM_NVFP4, KM_NVFP4, false},
    {"W4A16_NVFP4", KM_NVFP4, KM_BF16, true},
    {"W4A16_AWQ", KM_INT4, KM_BF16, true},
};

static bool read_algo(struct km_config *config, const struct km_json *json, const cJSON *object,
                      enum km_dtype base, struct km_format *out)
{
    const char *name = NULL;
    if (config->status == KM_OK)
        config->status = km_json_string(json, object, "quant_algo", KM_JSON_REQUIRED, &name, config->error);
    if (config->status != KM_OK)
        return false;
    const struct named_format *found = find_format(modelopt_algos, COUNT(modelopt_algos), name);
    if (found)
        set_format(found, base, out);
    else
        fail_at(config, json, km_json_get(object, "quant_algo"), "ModelOpt", name);
    return found;
}

/* NVIDIA's ModelOpt says `quant_algo`, `kv_cache_quant_algo` and `exclude_modules` in a file of its own, or
 * the same inside quantization_config, with `ignore` (vllm/model_executor/layers/quantization/modelopt.py). With
 * MIXED_PRECISION every quantised module is listed with its own. */
static void read_modelopt(struct km_config *config, const struct km_json *json, const cJSON *object,
                          struct km_quantization *q)
{
    const cJSON *listed = km_json_get(object, "quantized_layers"), *module;
    if (strcmp(text_of(object, "quant_algo"), "MIXED_PRECISION") != 0) {
        read_algo(config, json, object, q->base.weights, &q->usual);
    } else if (!listed || !listed->child) {
        config->status =
            km_json_fail(json, km_json_get(object, "quant_algo"), config->error,
                         "MIXED_PRECISION without quantized_layers, which would say what is what");
    } else {
        cJSON_ArrayForEach(module, listed)
        {
            struct km_format format;
            if (read_algo(config, json, module, q->base.weights, &format))
                add_rule(config, q, module->string, format, module);
        }
    }
    add_kept(config, q, object);
}

static void read_modelopt_cache(struct km_config *config, const struct km_json *json, const cJSON *object,
                                struct km_quantization *q)
{
    const cJSON *scheme = km_json_get(object, "kv_cache_scheme"),
                *algo = km_json_get(object, "kv_cache_quant_algo");
    const cJSON *value = scheme ? scheme : algo;
    if (config->status != KM_OK || !value || (cJSON_IsObject(value) && scheme_dtype(value, &q->kv_cache)))
        return;
    if (cJSON_IsString(value) && strcmp(value->valuestring, "FP8") == 0)
        q->kv_cache = KM_FP8;
    else if (cJSON_IsObject(value))
        config->status = km_json_fail(json, value, config->error, "expected 4 or 8 num_bits");
    else
        config->status = km_json_fail(json, value, config->error, "expected \"FP8\"");
}

/* --- others --------------------------------------------------------------------------------------------- */

static void read_bits(struct km_config *config, const cJSON *object, struct km_quantization *q)
{
    const cJSON *bits = km_json_get(object, "bits"), *rule, *rules = km_json_get(object, "dynamic"),
                *group = km_json_get(object, "group_size");
    if (!bits)
        bits = km_json_get(object, "w_bit");
    if (!bits || !cJSON_IsNumber(bits) || (bits->valuedouble != 4 && bits->valuedouble != 8))
        km_config_fail(config, bits ? bits : object, "only 4 and 8 bits are supported");
    else
        q->usual.weights = bits->valuedouble != 4                              ? KM_INT8
                           : cJSON_IsNumber(group) && group->valuedouble == 32 ? KM_INT4_G32
                                                                               : KM_INT4;
    /* GPTQModel: "-:" and a regular expression leaves modules out; others would change bits. */
    cJSON_ArrayForEach(rule, rules)
    {
        if (strncmp(rule->string, "-:", 2) == 0)
            add_rule(config, q, km_arena_printf(config->arena, "re:%s", rule->string + 2), q->base, rule);
        else
            km_config_fail(config, rule, "only rules that leave modules out (-:) are supported");
    }
}

/* bitsandbytes: LLM.int8 (arXiv 2208.07339) multiplies in int8; NF4 (QLoRA, arXiv 2305.14314, section 3) is 4 bits
 * and a 32-bit scale for 64 values, or, doubly quantised, 8 + 32/256 bits for 64: as int4 here. */
static void read_bitsandbytes(struct km_config *config, const cJSON *object, struct km_quantization *q)
{
    if (truth_of(object, "load_in_4bit") || truth_of(object, "_load_in_4bit"))
        q->usual.weights = truth_of(object, "bnb_4bit_use_double_quant") ? KM_INT4 : KM_NF4;
    else if (truth_of(object, "load_in_8bit") || truth_of(object, "_load_in_8bit"))
        q->usual = (struct km_format){KM_INT8, KM_INT8};
    else
        km_config_fail(config, object, "expected load_in_4bit or load_in_8bit");
}

/* AMD's Quark (quark's config.json, read by vllm/model_executor/layers/quantization/quark/quark.py). */
static bool quark_dtype(const cJSON *tensor, enum km_dtype *out)
{
    static const struct named_format types[] = {{"fp8_e4m3", KM_FP8, KM_FP8, false},
                                                {"int8", KM_INT8, KM_INT8, false},
                                                {"int4", KM_INT4, KM_INT4, false},
                                                {"uint4", KM_INT4, KM_INT4, false},
                                                {"fp4", KM_MXFP4, KM_MXFP4, false}};
    const struct named_format *found = find_format(types, COUNT(types), text_of(tensor, "dtype"));
    if (found)
        *out = found->weights;
    return found;
}

static void read_quark_layer(struct km_config *config, const cJSON *object, const struct km_quantization *q,
                             struct km_format *out)
{
    const cJSON *weight = km_json_get(object, "weight"), *inputs = km_json_get(object, "input_tensors");
    *out = q->base;
    if (!quark_dtype(weight, &out->weights))
        fail_at(config, config->json, weight ? weight : object, "Quark", text_of(weight, "dtype"));
    else if (inputs && !quark_dtype(inputs, &out->activations))
        fail_at(config, config->json, inputs, "Quark", text_of(inputs, "dtype"));
}

static void read_quark(struct km_config *config, const cJSON *object, struct km_quantization *q)
{
    const cJSON *global = km_json_get(object, "global_quant_config"), *layer,
                *cache = km_json_get(object, "kv_cache_quant_config");
    if (global)
        read_quark_layer(config, global, q, &q->usual);
    cJSON_ArrayForEach(layer, km_json_get(object, "layer_quant_config"))
    {
        struct km_format format;
        if (config->status != KM_OK)
            return;
        read_quark_layer(config, layer, q, &format);
        add_rule(config, q, layer->string, format, layer);
    }
    if (cache && cache->child && !quark_dtype(km_json_get(cache->child, "output_tensors"), &q->kv_cache))
        fail_at(config, config->json, cache, "Quark", "kv_cache_quant_config");
}

/* torchao names a class of its own (torchao/quantization/quant_api.py). */
static void read_torchao(struct km_config *config, const cJSON *object, struct km_quantization *q)
{
    static const struct named_format types[] = {
        {"Int4WeightOnlyConfig", KM_INT4, KM_BF16, true},
        {"Int8WeightOnlyConfig", KM_INT8, KM_BF16, true},
        {"Float8WeightOnlyConfig", KM_FP8, KM_BF16, true},
        {"Float8DynamicActivationFloat8WeightConfig", KM_FP8, KM_FP8, false},
        {"Int8DynamicActivationInt8WeightConfig", KM_INT8, KM_INT8, false}};
    const cJSON *type = km_json_get(object, "quant_type");
    const cJSON *inner = cJSON_IsObject(type) ? km_json_get(type, "default") : NULL;
    const char *name = inner ? text_of(inner, "_type") : cJSON_IsString(type) ? type->valuestring : "";
    const struct named_format *found = find_format(types, COUNT(types), name);
    if (found)
        set_format(found, q->base.weights, &q->usual);
    else
        fail_at(config, config->json, type ? type : object, "torchao", name);
}

static void read_fp8(struct km_config *config, const cJSON *object, struct km_quantization *q)
{
    (void)config;
    (void)object;
    q->usual = (struct km_format){KM_FP8, KM_FP8};
}

static void read_mxfp4(struct km_config *config, const cJSON *object, struct km_quantization *q)
{
    (void)config;
    (void)object;
    q->usual.weights = KM_MXFP4;
}

static const struct {
    const char *name;
    void (*read)(struct km_config *config, const cJSON *object, struct km_quantization *q);
} methods[] = {
    {"fp8", read_fp8},
    {"fbgemm_fp8", read_fp8},
    {"mxfp4", read_mxfp4},
    {"awq", read_bits},
    {"gptq", read_bits},
    {"auto-round", read_bits},
    {"compressed-tensors", read_compressed},
    {"bitsandbytes", read_bitsandbytes},
    {"quark", read_quark},
    {"torchao", read_torchao},
};

static bool is_modelopt(const cJSON *object)
{
    const char *method = text_of(object, "quant_method");
    return *method ? strncmp(method, "modelopt", 8) == 0 : km_json_get(object, "quant_algo") != NULL;
}

void km_config_quantization(struct km_config *config, const cJSON *object, struct km_quantization *out)
{
    const cJSON *beside = config->beside ? km_json_get(config->beside->root, "quantization") : NULL;
    if (!object && !beside) {
        config->status = km_json_fail(config->beside, config->beside->root, config->error,
                                      "expected ModelOpt's object \"quantization\"");
        return;
    }
    if (!object || is_modelopt(object)) {
        if (beside)
            read_modelopt_cache(config, config->beside, beside, out);
        if (object && (km_json_get(object, "quant_algo") || !beside)) {
            read_modelopt_cache(config, config->json, object, out);
            read_modelopt(config, config->json, object, out);
        } else {
            read_modelopt(config, config->beside, beside, out);
        }
        return;
    }
    const char *name = NULL;
    config->status =
        km_json_string(config->json, object, "quant_method", KM_JSON_REQUIRED, &name, config->error);
    for (size_t i = 0; config->status == KM_OK && i < COUNT(methods); i++)
        if (strcmp(methods[i].name, name) == 0) {
            methods[i].read(config, object, out);
            add_kept(config, out, object);
            return;
        }
    km_config_fail(config, km_json_get(object, "quant_method"),
                   "quantisation \"%.60s\" is not supported; supported are fp8 fbgemm_fp8 mxfp4 awq gptq "
                   "auto-round compressed-tensors bitsandbytes quark torchao modelopt",
                   name);
}
