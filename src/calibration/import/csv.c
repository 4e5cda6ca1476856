/* Importer `csv`: our own plain format (configs/profiles/README.md). A line that starts with "op" names the
 * columns of the lines below it; "# key: value" lines before the first one are provenance. */
#include "base/table.h"
#include "calibration/import/import.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

/* Where the columns of the present header belong. */
struct columns {
    enum km_profile_class class; /* whose dims these are; KM_PROFILE_CLASSES = not looked at yet */
    uint32_t us, spread, dims[KM_PROFILE_DIMS];
    bool has_spread, has[KM_PROFILE_DIMS];
};

/* JSON text of a word: only what needs no more than a backslash is let through. */
static void quote(const char *text, struct km_text *out)
{
    km_text_puts(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            km_text_puts(out, "\\");
        if (*text >= ' ' && *text <= '~')
            km_text_append(out, text, 1);
    }
    km_text_puts(out, "\"");
}

#define KEY_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
#define MAX_KEYS       64

/* Cut "# key: value" up; false for prose. */
static bool cut_comment(char *line, const char **key, const char **value)
{
    char *start = line + 1 + strspn(line + 1, " \t");
    size_t length = strspn(start, KEY_CHARACTERS);
    if (length == 0 || start[length] != ':')
        return false;
    start[length] = '\0';
    *key = start;
    *value = start + length + 1 + strspn(start + length + 1, " \t");
    return true;
}

/* The "# key: value" lines at the top. */
static enum km_status read_provenance(const char *path, struct km_text *out, struct km_error *error)
{
    char *text, *next;
    size_t bytes;
    enum km_status status = km_file_read(path, KM_TABLE_LIMIT_BYTES, &text, &bytes, error);
    if (status != KM_OK)
        return status;
    struct km_text others = {0};
    const char *source = NULL, *keys[MAX_KEYS] = {"thinned_to_error"}; /* that one is the importer's */
    size_t count = 1;
    int number = 1;
    for (char *line = text; line && strchr("#\r\n", *line) && *line && status == KM_OK;
         line = next, number++) {
        const char *key, *value;
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line[strcspn(line, "\r")] = '\0';
        if (*line != '#' || !cut_comment(line, &key, &value))
            continue;
        for (size_t i = 0; i < count; i++)
            if (strcmp(keys[i], key) == 0)
                status = km_fail(error, KM_BAD_INPUT, path, number, 0, "%.60s: the key appears twice", key);
        if (status == KM_OK && count == MAX_KEYS)
            status = km_fail(error, KM_BAD_INPUT, path, number, 0, "more than %d keys", MAX_KEYS);
        if (status != KM_OK)
            break;
        keys[count++] = key;
        if (strcmp(key, "source") == 0) {
            source = value;
            continue;
        }
        km_text_puts(&others, ", ");
        quote(key, &others);
        km_text_puts(&others, ": ");
        quote(value, &others);
    }
    km_text_puts(out, "\"source\": ");
    quote(source ? source : path, out);
    km_text_puts(out, km_text_c(&others));
    km_text_release(&others);
    free(text);
    return status;
}

static enum km_status take_columns(const struct km_table *table, enum km_profile_class class,
                                   struct columns *out, struct km_error *error)
{
    const struct km_profile_schema *schema = &km_profile_schemas[class];
    *out = (struct columns){.class = class};
    if (!km_table_find(table, "us", &out->us))
        return km_fail(error, KM_BAD_INPUT, table->path, (int)table->line, 0, "no column \"us\" above");
    out->has_spread = km_table_find(table, "spread", &out->spread);
    uint32_t known = 2u + (out->has_spread ? 1u : 0u);
    for (uint32_t d = 0; d < schema->dim_count; d++) {
        out->has[d] = km_table_find(table, schema->dims[d].name, &out->dims[d]);
        known += out->has[d];
        if (!out->has[d] && !schema->dims[d].optional)
            return km_fail(error, KM_BAD_INPUT, table->path, (int)table->line, 0, "%s needs a column \"%s\"",
                           schema->name, schema->dims[d].name);
    }
    for (uint32_t c = 1; known < table->header_count && c < table->header_count; c++) {
        bool used = c == out->us || (out->has_spread && c == out->spread);
        for (uint32_t d = 0; d < schema->dim_count; d++)
            used |= out->has[d] && c == out->dims[d];
        if (!used)
            return km_fail(error, KM_BAD_INPUT, table->path, (int)table->line, 0, "%s has no dim \"%.60s\"",
                           schema->name, table->header[c]);
    }
    return KM_OK;
}

static enum km_status read_row(const struct km_table *table, const struct columns *columns,
                               struct km_profile *profile, struct km_error *error)
{
    const struct km_profile_schema *schema = &km_profile_schemas[columns->class];
    struct km_profile_row row = {.origin = table->path, .line = table->line};
    enum km_status status = KM_OK;
    for (uint32_t d = 0; d < schema->dim_count && status == KM_OK; d++) {
        const struct km_profile_dim *dim = &schema->dims[d];
        uint32_t column = columns->dims[d];
        if (!columns->has[d])
            row.dims[d] = dim->fallback;
        else if (dim->kind == KM_DIM_SIZE)
            status = km_table_size(table, column, &row.dims[d], error);
        else if (!table->cells[column][0] ||
                 !km_profile_word(profile, dim, table->cells[column], &row.dims[d]))
            status = km_table_fail(table, column, error, "unknown: \"%.60s\"", table->cells[column]);
    }
    if (status == KM_OK && schema->value)
        status = km_table_number(table, columns->us, 0.0, 1e18, &row.us, error);
    else if (status == KM_OK)
        status = km_table_time(table, columns->us, 1.0, &row.us, error);
    if (status == KM_OK && columns->has_spread && table->cells[columns->spread][0])
        status = km_table_number(table, columns->spread, 0.0, 1e12, &row.spread_us, error);
    if (status == KM_OK)
        km_profile_add(profile, columns->class, &row);
    return status;
}

static enum km_status read_rows(struct km_table *table, struct km_profile *profile, struct km_error *error)
{
    struct columns columns = {.class = KM_PROFILE_CLASSES};
    for (;;) {
        bool more;
        /* a header may have another number of columns than the one before */
        uint32_t header_count = table->header_count;
        table->header_count = 0;
        enum km_status status = km_table_next(table, &more, error);
        table->header_count = header_count;
        if (status != KM_OK || !more)
            return status;
        if (strcmp(table->cells[0], "op") == 0) {
            columns.class = KM_PROFILE_CLASSES;
            status = km_table_take_header(table, error);
            if (status != KM_OK)
                return status;
            continue;
        }
        if (header_count == 0)
            return km_fail(error, KM_BAD_INPUT, table->path, (int)table->line, 1,
                           "expected a line of column names that starts with \"op\"");
        if (table->cell_count != header_count)
            return km_fail(error, KM_BAD_INPUT, table->path, (int)table->line, 0,
                           "%u cells under a header of %u", table->cell_count, header_count);
        enum km_profile_class class = km_profile_class_find(table->cells[0]);
        if (class == KM_PROFILE_CLASSES)
            return km_table_fail(table, 0, error, "unknown class of operators \"%.60s\"", table->cells[0]);
        if (class != columns.class)
            status = take_columns(table, class, &columns, error);
        if (status == KM_OK)
            status = read_row(table, &columns, profile, error);
        if (status != KM_OK)
            return status;
    }
}

enum km_status km_import_plain(const char *path, struct km_profile *profile, struct km_text *provenance,
                               struct km_error *error)
{
    struct km_table table;
    enum km_status status = read_provenance(path, provenance, error);
    if (status == KM_OK)
        status = km_table_open(path, false, &table, error);
    if (status != KM_OK)
        return status;
    status = read_rows(&table, profile, error);
    km_table_close(&table);
    return status;
}

static enum km_status import_csv(const struct km_import_config *config, struct km_profile *profile,
                                 struct km_text *provenance, struct km_error *error)
{
    return km_import_plain(config->source, profile, provenance, error);
}

const struct km_importer km_import_csv = {
    .entry = {"csv", "plain table: a line of column names (op, dims, us), lines of values"},
    .import = import_csv,
};
