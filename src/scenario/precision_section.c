/* Number formats: the section, what follows where it is silent, and what a device can multiply. */
#include "base/suggest.h"
#include "base/text.h"
#include "scenario/sections.h"

#include <stddef.h>
#include <stdio.h>

static enum km_status read_dtype(const struct km_yaml *value, void *field,
                                 const struct km_settings_context *context, struct km_error *error)
{
    (void)context;
    const char *name;
    enum km_status status = km_settings_text(value, "a number format", &name, error);
    if (status != KM_OK || km_dtype_find(name, field))
        return status;
    struct km_suggestion suggestion = {.word = name};
    struct km_text known = {0};
    for (int dtype = 0; dtype < KM_DTYPE_COUNT; dtype++) {
        km_suggest_offer(&suggestion, km_dtype_name((enum km_dtype)dtype));
        km_text_printf(&known, "%s%s", dtype ? ", " : "", km_dtype_name((enum km_dtype)dtype));
    }
    status = km_settings_unknown_name(value, suggestion.best, km_text_c(&known), error);
    km_text_release(&known);
    return status;
}

static void write_dtype(const void *field, struct km_text *out)
{
    km_settings_write_string(km_dtype_name(*(const enum km_dtype *)field), out);
}

#define PRECISION(member) offsetof(struct km_precision, member)
const struct km_setting km_precision_section[] = {
    {"weights", KM_SETTING_CUSTOM, PRECISION(weights), .optional = true, .read = read_dtype,
     .write = write_dtype, .doc = "of linear layers and experts"},
    {"attention", KM_SETTING_CUSTOM, PRECISION(attention), .optional = true, .read = read_dtype,
     .write = write_dtype, .doc = "of the attention's and other mixers' projections; as weights"},
    {"activations", KM_SETTING_CUSTOM, PRECISION(activations), .optional = true, .read = read_dtype,
     .write = write_dtype, .doc = "operands of the matrix multiplications"},
    {"kv_cache", KM_SETTING_CUSTOM, PRECISION(kv_cache), .optional = true, .read = read_dtype,
     .write = write_dtype, .doc = "of the KV cache"},
    {"embeddings", KM_SETTING_CUSTOM, PRECISION(embeddings), .optional = true, .read = read_dtype,
     .write = write_dtype, .doc = "of embedding and LM head"},
    {0},
};

/* As vLLM's Marlin kernels do for fp8 before Ada and Hopper and for nvfp4 and mxfp4 before Blackwell (vllm/
 * model_executor/layers/quantization/utils/marlin_utils_fp8.py, marlin_utils_fp4.py). */
bool km_precision_widen(const struct km_device *device, struct km_precision *precision)
{
    double rate;
    const enum km_dtype weights = precision->weights,
                        wide = km_dtype_is_wide(precision->embeddings) ? precision->embeddings : KM_BF16;
    if ((weights != KM_FP8 && weights != KM_NVFP4 && weights != KM_MXFP4) ||
        km_device_peak(device, weights, precision->activations, &rate) ||
        !km_device_peak(device, weights, wide, &rate))
        return false;
    precision->activations = wide;
    return true;
}

const char *km_scenario_weight_only(const struct km_scenario *scenario, struct km_arena *arena)
{
    if (!scenario->weight_only)
        return NULL;
    return km_arena_printf(arena,
                           "%s has no %s products: weights are widened to %s on the way (weight-only, as "
                           "vLLM's Marlin kernels do)",
                           scenario->device.name, km_dtype_name(scenario->precision.weights),
                           km_dtype_name(scenario->precision.activations));
}

void km_precision_follow(const struct km_yaml *stated, const struct km_precision *served,
                         struct km_precision *precision)
{
    if (!stated || !km_yaml_get(stated, "weights"))
        return;
    /* A checkpoint that leaves its mixers wide keeps doing so as long as the weights are its own. */
    if (!km_yaml_get(stated, "attention") && precision->weights != served->weights)
        precision->attention = precision->weights;
    if (!km_dtype_is_wide(precision->weights))
        return;
    if (!km_yaml_get(stated, "activations"))
        precision->activations = precision->weights;
    if (!km_yaml_get(stated, "embeddings"))
        precision->embeddings = precision->weights;
    if (!km_yaml_get(stated, "kv_cache") && km_dtype_is_wide(precision->kv_cache))
        precision->kv_cache = precision->weights;
}

static enum km_status check_pair(const struct km_yaml *root, const struct km_scenario *s, const char *key,
                                 enum km_dtype weights, enum km_dtype activations, struct km_error *error)
{
    double rate;
    char message[KM_DEVICE_PAIR_MESSAGE];
    if (km_device_peak(&s->device, weights, activations, &rate))
        return KM_OK;
    km_device_explain_pair(&s->device, weights, activations, message, sizeof message);
    return km_scenario_refuse(root, key, error, "%s", message);
}

enum km_status km_precision_check(const struct km_yaml *root, const struct km_scenario *s,
                                  struct km_error *error)
{
    const struct km_precision *p = &s->precision;
    enum km_status status =
        s->device.peak_flops_per_s[p->activations] > 0.0
            ? check_pair(root, s, "precision.weights", p->weights, p->activations, error)
            : check_pair(root, s, "precision.activations", p->activations, p->activations, error);
    if (status == KM_OK)
        status = check_pair(root, s, "precision.attention", p->attention,
                            km_dtype_is_wide(p->attention) ? p->attention : p->activations, error);
    if (status == KM_OK && km_dtype_is_wide(p->embeddings))
        status = check_pair(root, s, "precision.embeddings", p->embeddings, p->embeddings, error);
    return status;
}
