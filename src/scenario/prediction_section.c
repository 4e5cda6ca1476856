/* The section `prediction`: what is predicted of a request, and by what. */
#include "scenario/sections.h"

#include <stddef.h>
#include <string.h>

static enum km_status read_kind(const struct km_yaml *value, void *field,
                                const struct km_settings_context *context, struct km_error *error)
{
    struct km_prediction *prediction = field;
    *prediction = (struct km_prediction){0};
    if (km_yaml_is_null(value))
        return KM_OK;
    if (value->kind != KM_YAML_MAPPING)
        return km_yaml_fail(value, error, "expected {kind: ...} or null");
    const struct km_yaml *name = km_yaml_get(value, "kind");
    if (!name)
        return km_yaml_fail_missing(value, "kind", error);
    enum km_status status = km_settings_check_name(name, km_prediction_registry, error);
    if (status != KM_OK)
        return status;
    const struct km_prediction_kind *kind =
        (const struct km_prediction_kind *)(const void *)km_registry_find(km_prediction_registry, name->text);
    void *settings = km_arena_alloc(context->arena, kind->settings_bytes);
    memcpy(settings, kind->defaults, kind->settings_bytes);
    *prediction = (struct km_prediction){kind, settings};
    return km_settings_read(value, kind->settings, KM_SETTINGS_WHOLE, settings, NULL, context, error);
}

static void write_kind(const void *field, struct km_text *out)
{
    const struct km_prediction *prediction = field;
    if (prediction->kind)
        km_settings_write_json(prediction->kind->settings, prediction->settings, out);
    else
        km_text_puts(out, "null");
}

bool km_prediction_absent(const void *field)
{
    return !((const struct km_prediction *)field)->kind;
}

const struct km_setting km_prediction_section[] = {
    {"output_tokens", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_kind, .write = write_kind,
     .doc = "{kind: ...} and its settings (kingman list prediction): lengths of outputs, for routers and "
            "policies"},
    {0},
};
