#include "calibration/import/import.h"

#include "calibration/compact.h"

#include <string.h>

extern const struct km_importer km_import_csv, km_import_llmservingsim, km_import_vidur,
    km_import_aiconfigurator;

const struct km_entry *const km_import_registry[] = {
    &km_import_llmservingsim.entry,
    &km_import_vidur.entry,
    &km_import_aiconfigurator.entry,
    &km_import_csv.entry,
    NULL,
};

static enum km_status finish(struct km_profile *profile, const struct km_import_config *config,
                             struct km_error *error)
{
    struct km_profile_twins twins;
    size_t rows = 0;
    if (!km_profile_finish(profile, &twins))
        return km_fail(error, KM_BAD_INPUT, twins.second.origin, (int)twins.second.line, 0,
                       "%s: the same dims as line %u of %s", km_profile_schemas[twins.class].name,
                       twins.first.line, (const char *)twins.first.origin);
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++)
        rows += profile->tables[class].count;
    return rows ? KM_OK
                : km_fail(error, KM_BAD_INPUT, config->source, 0, 0, "there are no times of operators in it");
}

enum km_status km_import(const struct km_importer *importer, const struct km_import_config *config,
                         size_t limit_bytes, struct km_text *json, struct km_error *error)
{
    struct km_profile profile = {.path = config->source, .device = config->device->name};
    struct km_text provenance = {0};
    enum km_status status = importer->import(config, &profile, &provenance, error);
    if (status == KM_OK)
        status = finish(&profile, config, error);
    if (status == KM_OK && limit_bytes) {
        double tolerance = km_compact(&profile, config->device, limit_bytes);
        if (tolerance > 0.0)
            km_text_printf(&provenance, ", \"thinned_to_error\": %.3g", tolerance);
    }
    if (status == KM_OK) {
        profile.provenance = km_arena_printf(&profile.arena, "{%s}", km_text_c(&provenance));
        km_profile_write(&profile, json);
    }
    km_text_release(&provenance);
    km_profile_release(&profile);
    return status;
}
