/* What a checkpoint's quantisation says: a format for what it quantises, and exceptions by module name. Private
 * to model. */
#ifndef KM_MODEL_CONFIG_QUANTIZATION_H
#define KM_MODEL_CONFIG_QUANTIZATION_H

#include "model/config.h"

/* A name of a module, a pattern with `*`, or "re:" and a regular expression, as files write them. */
struct km_format_rule {
    const char *pattern;
    struct km_format format;
    const cJSON *place; /* for errors */
};

struct km_quantization {
    struct km_format base;  /* of what is left as it was */
    struct km_format usual; /* of what no rule names */
    enum km_dtype kv_cache;
    struct km_format_rule *rules; /* the last that fits counts */
    size_t rule_count;
};

/* `quantization`: the file's own object, NULL = none; beside it may stand ModelOpt's (config->beside). */
void km_config_quantization(struct km_config *config, const cJSON *quantization, struct km_quantization *out);
/* Which module of which layer the rules name: sets the model's precision and what differs from it. */
void km_config_modules(struct km_config *config, const struct km_quantization *quantization,
                       struct km_model *model, struct km_layer *layers);

#endif
