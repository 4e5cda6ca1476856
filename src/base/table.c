#include "base/table.h"

#include "base/file.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_SIZE 9007199254740992.0 /* 2^53 */
#define LONGEST_US   1e9                /* as a profile's (cost/profile/read.c) */

enum km_status km_table_fail(const struct km_table *table, uint32_t column, struct km_error *error,
                             const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return km_fail(error, KM_BAD_INPUT, table->path, (int)table->line,
                   column < table->cell_count ? (int)table->columns[column] : 1, "%s%s%s",
                   column < table->header_count ? table->header[column] : "",
                   column < table->header_count ? ": " : "", message);
}

/* Cut the line at table->next; false at the end of the text. */
static bool cut_line(struct km_table *table, enum km_status *status, struct km_error *error)
{
    char *line = table->next;
    if (!line || !*line)
        return false;
    char *end = strchr(line, '\n');
    table->next = end ? end + 1 : NULL;
    if (end)
        *end = '\0';
    table->line++;
    size_t length = strlen(line);
    if (length > 0 && line[length - 1] == '\r')
        line[length - 1] = '\0';
    table->cell_count = 0;
    for (char *cell = line; cell;) {
        if (table->cell_count == KM_TABLE_COLUMNS) {
            *status = km_fail(error, KM_BAD_INPUT, table->path, (int)table->line, 0, "more than %d columns",
                              KM_TABLE_COLUMNS);
            return false;
        }
        char *comma = strchr(cell, ',');
        if (comma)
            *comma = '\0';
        table->columns[table->cell_count] = (uint32_t)(cell - line) + 1;
        table->cells[table->cell_count++] = cell;
        cell = comma ? comma + 1 : NULL;
    }
    return true;
}

static bool is_blank(const struct km_table *table)
{
    return table->cells[0][0] == '#' || (table->cell_count == 1 && table->cells[0][0] == '\0');
}

enum km_status km_table_next(struct km_table *table, bool *more, struct km_error *error)
{
    enum km_status status = KM_OK;
    do
        *more = cut_line(table, &status, error);
    while (*more && is_blank(table));
    if (*more && table->header_count && table->cell_count != table->header_count)
        return km_fail(error, KM_BAD_INPUT, table->path, (int)table->line, 0, "%u cells under a header of %u",
                       table->cell_count, table->header_count);
    return status;
}

enum km_status km_table_take_header(struct km_table *table, struct km_error *error)
{
    table->header_count = 0; /* so that errors do not name columns */
    for (uint32_t i = 0; i < table->cell_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(table->cells[i], table->cells[j]) == 0)
                return km_table_fail(table, i, error, "column \"%.60s\" appears twice", table->cells[i]);
    memcpy(table->header, table->cells, table->cell_count * sizeof table->header[0]);
    table->header_count = table->cell_count;
    return KM_OK;
}

enum km_status km_table_open(const char *path, bool has_header, struct km_table *out, struct km_error *error)
{
    size_t bytes;
    bool more;
    *out = (struct km_table){.path = path};
    enum km_status status = km_file_read(path, KM_TABLE_LIMIT_BYTES, &out->text, &bytes, error);
    if (status != KM_OK)
        return status;
    out->next = out->text;
    if (strlen(out->text) != bytes)
        status = km_fail(error, KM_BAD_INPUT, path, 0, 0, "a NUL byte in a text file");
    if (status == KM_OK && has_header) {
        status = km_table_next(out, &more, error);
        if (status == KM_OK && !more)
            status = km_fail(error, KM_BAD_INPUT, path, 1, 0, "no header: the file is empty");
        if (status == KM_OK)
            status = km_table_take_header(out, error);
    }
    if (status != KM_OK)
        km_table_close(out);
    return status;
}

void km_table_close(struct km_table *table)
{
    free(table->text);
    *table = (struct km_table){0};
}

bool km_table_find(const struct km_table *table, const char *name, uint32_t *out)
{
    for (*out = 0; *out < table->header_count; ++*out)
        if (strcmp(table->header[*out], name) == 0)
            return true;
    return false;
}

enum km_status km_table_column(const struct km_table *table, const char *name, uint32_t *out,
                               struct km_error *error)
{
    if (km_table_find(table, name, out))
        return KM_OK;
    return km_fail(error, KM_BAD_INPUT, table->path, 1, 0, "no column \"%s\"", name);
}

enum km_status km_table_number(const struct km_table *table, uint32_t column, double min, double max,
                               double *out, struct km_error *error)
{
    const char *cell = table->cells[column];
    char *end;
    errno = 0;
    double value = strtod(cell, &end);
    /* strtod also takes "nan", "inf", "0x10" and leading blanks */
    if (end == cell || *end || strspn(cell, "0123456789+-.eE") != strlen(cell) || !isfinite(value))
        return km_table_fail(table, column, error, "expected a number, got \"%.60s\"", cell);
    if (value < min || value > max)
        return km_table_fail(table, column, error, "expected a number from %g to %g, got %.60s", min, max,
                             cell);
    *out = value;
    return KM_OK;
}

enum km_status km_table_size(const struct km_table *table, uint32_t column, double *out,
                             struct km_error *error)
{
    enum km_status status = km_table_number(table, column, 0.0, LARGEST_SIZE, out, error);
    if (status == KM_OK && *out != floor(*out))
        return km_table_fail(table, column, error, "expected a whole number, got %.60s",
                             table->cells[column]);
    return status;
}

enum km_status km_table_time(const struct km_table *table, uint32_t column, double unit_us, double *out_us,
                             struct km_error *error)
{
    enum km_status status = km_table_number(table, column, 0.0, LONGEST_US, out_us, error);
    if (status == KM_OK && *out_us <= 0.0)
        return km_table_fail(table, column, error, "a time must be above 0, got %.60s", table->cells[column]);
    *out_us *= unit_us;
    return status;
}
