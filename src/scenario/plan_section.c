/* The plan's sections: number formats and parallel layout, and what of them a model and a device can do. */
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

static enum km_status check_precision(const struct km_yaml *root, const struct km_scenario *s,
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

/* Cost and simulation follow each sequence's context inside one window. */
static enum km_status check_windows(const struct km_yaml *root, const struct km_scenario *s,
                                    struct km_error *error)
{
    uint32_t window = 0;
    for (uint32_t i = 0; i < s->model.layer_count; i++) {
        uint32_t own = s->model.layers[i].window;
        if (own && window && own != window)
            return km_scenario_refuse(
                root, "model", error,
                "%s has layers with windows of %u and of %u tokens; one size is supported", s->model.name,
                window, own);
        window = own ? own : window;
    }
    return KM_OK;
}

enum km_status km_plan_check(const struct km_yaml *root, const struct km_scenario *s, struct km_error *error)
{
    const struct km_layout layout = km_scenario_layout(s);
    struct km_layout_problem problem;
    char key[64];
    enum km_status status = check_windows(root, s, error);
    if (status == KM_OK && !km_layout_possible(&s->model, &layout, &problem)) {
        snprintf(key, sizeof key, "cluster.%s", problem.key);
        status = km_scenario_refuse(root, key, error, "%s", problem.message);
    }
    if (status == KM_OK)
        status = check_precision(root, s, error);
    return status;
}

struct km_layout km_scenario_layout(const struct km_scenario *scenario)
{
    const struct km_cluster *cluster = &scenario->cluster;
    return (struct km_layout){.tensor_parallel = cluster->tensor_parallel_size,
                              .pipeline_parallel = cluster->pipeline_parallel_size,
                              .expert_parallel = cluster->enable_expert_parallel,
                              .data_parallel = cluster->data_parallel_size,
                              .prefill_context_parallel = cluster->prefill_context_parallel_size,
                              .context_method = cluster->context_parallel_method,
                              .decode_context_parallel = cluster->decode_context_parallel_size,
                              .kv_parallel = cluster->kv_parallel_size,
                              .gpus_per_node = scenario->device.node.gpus_per_node};
}
