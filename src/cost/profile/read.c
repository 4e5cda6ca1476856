#include "base/json.h"
#include "cost/profile/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_SIZE 9007199254740992.0 /* 2^53: whole numbers are exact up to there */
/* No kernel takes less than a cycle or more than the quarter of an hour that a long prompt would; rates and
 * powers, where a table holds them, are those of devices (hardware/device_read.c). */
#define SHORTEST_US 1e-4
#define LONGEST_US  1e9

/* One table of the file, being read. */
struct block {
    const struct km_json *json;
    struct km_profile *profile;
    enum km_profile_class class;
    const struct km_profile_schema *schema;
    struct km_profile_row common;      /* fixed and left-out dims */
    uint32_t columns[KM_PROFILE_DIMS]; /* dim of each of the row's first values */
    uint32_t column_count;
};

static enum km_status read_value(const struct block *b, uint32_t dim, const cJSON *value, double *out,
                                 struct km_error *error)
{
    const struct km_profile_dim *d = &b->schema->dims[dim];
    if (d->kind == KM_DIM_SIZE) {
        int64_t size;
        enum km_status status = km_json_value_integer(b->json, value, 0, (int64_t)LARGEST_SIZE, &size, error);
        if (status == KM_OK)
            *out = (double)size;
        return status;
    }
    if (!cJSON_IsString(value) || !value->valuestring[0])
        return km_json_fail(b->json, value, error, "expected a string for %s", d->name);
    if (!km_profile_word(b->profile, d, value->valuestring, out))
        return km_json_fail(b->json, value, error, "unknown %s \"%.60s\"", d->name, value->valuestring);
    return KM_OK;
}

static bool find_dim(const struct km_profile_schema *schema, const char *name, uint32_t *out)
{
    for (*out = 0; *out < schema->dim_count; ++*out)
        if (strcmp(schema->dims[*out].name, name) == 0)
            return true;
    return false;
}

/* Which dim each column holds; every dim exactly once, in `fixed` or in `dims`. */
static enum km_status read_dims(struct block *b, const cJSON *table, struct km_error *error)
{
    bool seen[KM_PROFILE_DIMS] = {false};
    const cJSON *fixed = NULL, *dims = NULL, *item;
    enum km_status status = km_json_object(b->json, table, "fixed", KM_JSON_OPTIONAL, &fixed, error);
    if (status == KM_OK)
        status = km_json_array(b->json, table, "dims", KM_JSON_REQUIRED, &dims, error);
    if (status != KM_OK)
        return status;
    uint32_t dim;
    cJSON_ArrayForEach(item, fixed)
    {
        if (!find_dim(b->schema, item->string, &dim))
            return km_json_fail(b->json, item, error, "%s has no dim of this name", b->schema->name);
        status = read_value(b, dim, item, &b->common.dims[dim], error);
        if (status != KM_OK)
            return status;
        seen[dim] = true;
    }
    cJSON_ArrayForEach(item, dims)
    {
        if (!cJSON_IsString(item))
            return km_json_fail(b->json, item, error, "expected the name of a dim");
        if (!find_dim(b->schema, item->valuestring, &dim))
            return km_json_fail(b->json, item, error, "%s has no dim \"%.60s\"", b->schema->name,
                                item->valuestring);
        if (seen[dim])
            return km_json_fail(b->json, item, error, "dim %s is given twice", b->schema->dims[dim].name);
        seen[dim] = true;
        b->columns[b->column_count++] = dim;
    }
    for (dim = 0; dim < b->schema->dim_count; dim++) {
        if (!seen[dim] && !b->schema->dims[dim].optional)
            return km_json_fail(b->json, dims, error, "%s needs the dim %s", b->schema->name,
                                b->schema->dims[dim].name);
        if (!seen[dim])
            b->common.dims[dim] = b->schema->dims[dim].fallback;
    }
    return KM_OK;
}

static enum km_status read_row(const struct block *b, const cJSON *values, struct km_error *error)
{
    uint32_t n = b->column_count;
    int count = cJSON_GetArraySize(values);
    if (!cJSON_IsArray(values) || count < (int)n + 1 || count > (int)n + 2)
        return km_json_fail(b->json, values, error, "expected a row of %u dims, a %s and perhaps a spread", n,
                            b->schema->value ? "value" : "time");
    struct km_profile_row row = b->common;
    const cJSON *value = values->child;
    for (uint32_t i = 0; i < n; i++, value = value->next) {
        enum km_status status = read_value(b, b->columns[i], value, &row.dims[b->columns[i]], error);
        if (status != KM_OK)
            return status;
    }
    enum km_status status =
        km_json_value_number(b->json, value, 0.0, b->schema->value ? 1e18 : LONGEST_US, &row.us, error);
    if (status == KM_OK && !b->schema->value && row.us <= 0.0)
        return km_json_fail(b->json, value, error, "a time must be above 0");
    if (status == KM_OK && !b->schema->value && row.us < SHORTEST_US)
        return km_json_fail(b->json, value, error, "expected microseconds, at least %g", SHORTEST_US);
    if (status == KM_OK && value->next)
        status = km_json_value_number(b->json, value->next, 0.0, LONGEST_US, &row.spread_us, error);
    if (status != KM_OK)
        return status;
    row.origin = values;
    km_profile_add(b->profile, b->class, &row);
    return KM_OK;
}

static enum km_status read_block(const struct km_json *json, struct km_profile *profile,
                                 enum km_profile_class class, const cJSON *table, struct km_error *error)
{
    static const char *const keys[] = {"fixed", "dims", "rows", NULL};
    struct block b = {.json = json, .profile = profile, .class = class, .schema = &km_profile_schemas[class]};
    if (!cJSON_IsObject(table))
        return km_json_fail(json, table, error, "expected a table: an object with dims and rows");
    const cJSON *rows = NULL, *row;
    enum km_status status = km_json_known_keys(json, table, keys, error);
    if (status == KM_OK)
        status = read_dims(&b, table, error);
    if (status == KM_OK)
        status = km_json_array(json, table, "rows", KM_JSON_REQUIRED, &rows, error);
    if (status != KM_OK)
        return status;
    cJSON_ArrayForEach(row, rows)
    {
        if (profile->tables[class].count == KM_PROFILE_MAX_ROWS)
            return km_json_fail(json, row, error, "more than %u rows of %s", KM_PROFILE_MAX_ROWS,
                                b.schema->name);
        status = read_row(&b, row, error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}

static enum km_status read_tables(const struct km_json *json, struct km_profile *profile,
                                  struct km_error *error)
{
    const cJSON *tables = NULL, *table, *block;
    enum km_status status = km_json_object(json, json->root, "tables", KM_JSON_REQUIRED, &tables, error);
    if (status != KM_OK)
        return status;
    cJSON_ArrayForEach(table, tables)
    {
        enum km_profile_class class = km_profile_class_find(table->string);
        if (class == KM_PROFILE_CLASSES)
            return km_json_fail(json, table, error, "unknown class of operators");
        if (!cJSON_IsArray(table))
            status = read_block(json, profile, class, table, error);
        else
            cJSON_ArrayForEach(block, table)
            {
                status = read_block(json, profile, class, block, error);
                if (status != KM_OK)
                    break;
            }
        if (status != KM_OK)
            return status;
    }
    struct km_profile_twins twins;
    if (km_profile_finish(profile, &twins))
        return KM_OK;
    int line, column;
    km_json_position(json, twins.first.origin, &line, &column);
    return km_json_fail(json, twins.second.origin, error, "the same dims as the row in line %d, column %d",
                        line, column);
}

/* The head of the document, then its tables. */
static enum km_status read_document(const struct km_json *json, struct km_profile *profile,
                                    struct km_error *error)
{
    static const char *const keys[] = {"schema", "device", "supplement", "provenance", "tables", NULL};
    int64_t schema = 0;
    const char *device = NULL, *source = NULL, *kernels_of = NULL, *supplement = NULL;
    const cJSON *provenance = NULL;
    if (!cJSON_IsObject(json->root))
        return km_json_fail(json, json->root, error, "a profile is an object");
    enum km_status status =
        km_json_integer(json, json->root, "schema", KM_JSON_REQUIRED, 0, INT32_MAX, &schema, error);
    if (status == KM_OK && schema != KM_PROFILE_SCHEMA)
        return km_json_fail(json, km_json_get(json->root, "schema"), error,
                            "profile version %lld is unknown; this program reads version %d",
                            (long long)schema, KM_PROFILE_SCHEMA);
    if (status == KM_OK)
        status = km_json_known_keys(json, json->root, keys, error);
    if (status == KM_OK)
        status = km_json_string(json, json->root, "device", KM_JSON_REQUIRED, &device, error);
    if (status == KM_OK)
        status = km_json_string(json, json->root, "supplement", KM_JSON_OPTIONAL, &supplement, error);
    if (status == KM_OK)
        status = km_json_object(json, json->root, "provenance", KM_JSON_REQUIRED, &provenance, error);
    if (status == KM_OK)
        status = km_json_string(json, provenance, "source", KM_JSON_REQUIRED, &source, error);
    if (status == KM_OK)
        status = km_json_string(json, provenance, "kernels_of", KM_JSON_OPTIONAL, &kernels_of, error);
    if (status != KM_OK)
        return status;
    if (kernels_of && !kernels_of[0])
        return km_json_fail(json, km_json_get(provenance, "kernels_of"), error, "expected a program's name");
    if (supplement && (!supplement[0] || strpbrk(supplement, "/\"\\")))
        return km_json_fail(json, km_json_get(json->root, "supplement"), error,
                            "expected the name of a profile in the same folder");
    char *text = cJSON_Print(provenance);
    if (!text)
        km_out_of_memory();
    profile->device = km_arena_strdup(&profile->arena, device);
    profile->provenance = km_arena_strdup(&profile->arena, text);
    profile->supplement = supplement ? km_arena_strdup(&profile->arena, supplement) : NULL;
    profile->kernels_of = kernels_of ? km_arena_strdup(&profile->arena, kernels_of) : NULL;
    cJSON_free(text);
    return read_tables(json, profile, error);
}

static enum km_status read_and_release(struct km_json *json, const char *path, struct km_profile *out,
                                       struct km_error *error)
{
    out->path = km_arena_strdup(&out->arena, path ? path : "");
    enum km_status status = read_document(json, out, error);
    km_json_release(json);
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++)
        for (size_t i = 0; i < out->tables[class].count; i++)
            out->tables[class].rows[i].origin = NULL;
    if (status != KM_OK)
        km_profile_release(out);
    return status;
}

enum km_status km_profile_read(const char *path, struct km_profile *out, struct km_error *error)
{
    struct km_json json;
    *out = (struct km_profile){0};
    enum km_status status = km_json_read(path, &json, error);
    return status == KM_OK ? read_and_release(&json, path, out, error) : status;
}

enum km_status km_profile_parse(const char *text, size_t bytes, const char *path, struct km_profile *out,
                                struct km_error *error)
{
    struct km_json json;
    *out = (struct km_profile){0};
    enum km_status status = km_json_parse(text, bytes, path, &json, error);
    return status == KM_OK ? read_and_release(&json, path, out, error) : status;
}
