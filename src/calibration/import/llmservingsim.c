#include "calibration/import/llmservingsim.h"

#include <string.h>

const char *km_llmservingsim_path(const struct km_llmservingsim *in, const char *name)
{
    return km_arena_printf(&in->profile->arena, "%s/%s", in->config->source, name);
}

enum km_status km_llmservingsim_columns(const struct km_table *table, const char *const *names,
                                        uint32_t count, uint32_t *columns, struct km_error *error)
{
    enum km_status status = KM_OK;
    for (uint32_t i = 0; i < count && status == KM_OK; i++)
        status = km_table_column(table, names[i], &columns[i], error);
    return status;
}

bool km_llmservingsim_other_layer(const struct km_table *table, const char *layer)
{
    uint32_t column;
    return km_table_find(table, "layer", &column) && strcmp(table->cells[column], layer) != 0;
}

void km_llmservingsim_scalar(struct km_profile *profile, const char *name, double value)
{
    struct km_profile_row row = {.us = value, .origin = "scalars"};
    km_profile_word(profile, &km_profile_schemas[KM_PROFILE_SCALAR].dims[0], name, &row.dims[0]);
    km_profile_add(profile, KM_PROFILE_SCALAR, &row);
}
