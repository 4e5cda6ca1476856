#include "cost/profile/profile.h"

#include <string.h>

static void write_dim(const struct km_profile *profile, const struct km_profile_dim *dim, double value,
                      struct km_text *out)
{
    if (dim->kind == KM_DIM_SIZE)
        km_text_printf(out, "%.0f", value);
    else if (dim->kind == KM_DIM_DTYPE)
        km_text_printf(out, "\"%s\"", km_dtype_name((enum km_dtype)value));
    else
        km_text_printf(out, "\"%s\"", dim->words ? dim->words[(size_t)value] : profile->names[(size_t)value]);
}

static void write_block(const struct km_profile *profile, const struct km_profile_schema *schema,
                        const struct km_profile_row *rows, size_t count, struct km_text *out)
{
    km_text_puts(out, "{");
    for (uint32_t d = 0; d < schema->block_dims; d++) {
        km_text_printf(out, "%s\"%s\": ", d ? ", " : "\"fixed\": {", schema->dims[d].name);
        write_dim(profile, &schema->dims[d], rows->dims[d], out);
    }
    km_text_puts(out, schema->block_dims ? "}, \"dims\": [" : "\"dims\": [");
    for (uint32_t d = schema->block_dims; d < schema->dim_count; d++)
        km_text_printf(out, "%s\"%s\"", d > schema->block_dims ? ", " : "", schema->dims[d].name);
    km_text_puts(out, "], \"rows\": [");
    for (size_t i = 0; i < count; i++) {
        bool same_line = i > 0 && schema->dim_count > schema->block_dims + 1 &&
                         rows[i].dims[schema->block_dims] == rows[i - 1].dims[schema->block_dims];
        km_text_puts(out, i == 0 ? "\n[" : same_line ? ",[" : ",\n[");
        for (uint32_t d = schema->block_dims; d < schema->dim_count; d++) {
            write_dim(profile, &schema->dims[d], rows[i].dims[d], out);
            km_text_puts(out, ",");
        }
        km_text_printf(out, schema->value ? "%.6g" : "%.4g", rows[i].us);
        if (rows[i].spread_us > 0.0)
            km_text_printf(out, ",%.2g", rows[i].spread_us);
        km_text_puts(out, "]");
    }
    km_text_puts(out, "]}");
}

static size_t block_length(const struct km_profile_schema *schema, const struct km_profile_row *rows,
                           size_t count)
{
    size_t length = 1;
    while (length < count &&
           memcmp(rows[0].dims, rows[length].dims, schema->block_dims * sizeof rows[0].dims[0]) == 0)
        length++;
    return length;
}

void km_profile_write(const struct km_profile *profile, struct km_text *out)
{
    km_text_printf(out, "{\n\"schema\": %d,\n\"device\": \"%s\",\n", KM_PROFILE_SCHEMA, profile->device);
    if (profile->supplement)
        km_text_printf(out, "\"supplement\": \"%s\",\n", profile->supplement);
    km_text_printf(out, "\"provenance\": %s,\n\"tables\": {", profile->provenance);
    bool first = true;
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        const struct km_profile_schema *schema = &km_profile_schemas[class];
        const struct km_profile_table *table = &profile->tables[class];
        if (table->count == 0)
            continue;
        km_text_printf(out, "%s\n\"%s\": [", first ? "" : ",", schema->name);
        first = false;
        for (size_t i = 0; i < table->count;) {
            size_t length = block_length(schema, table->rows + i, table->count - i);
            km_text_puts(out, i ? ",\n" : "\n");
            write_block(profile, schema, table->rows + i, length, out);
            i += length;
        }
        km_text_puts(out, "]");
    }
    km_text_puts(out, "\n}\n}\n");
}
