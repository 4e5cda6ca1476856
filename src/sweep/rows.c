#include "sweep/rows.h"

#include "base/fingerprint.h"
#include "base/json.h"
#include "base/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK "check"

/* The end of a line whose check is behind it. */
static void print_check(enum km_rows_format format, const char *line, size_t length, char end[40])
{
    const uint64_t print = km_fingerprint_add(KM_FINGERPRINT_START, line, length);
    snprintf(end, 40, format == KM_ROWS_CSV ? ",%016" PRIx64 "\n" : ", \"" CHECK "\": \"%016" PRIx64 "\"}\n",
             print);
}

/* --- writing -------------------------------------------------------------------------------------------- */

/* A row stays one line: what would break it becomes a space. */
static void write_csv_text(const char *text, struct km_text *out)
{
    bool quote = strpbrk(text, ",\"") != NULL;
    km_text_puts(out, quote ? "\"" : "");
    for (; *text; text++) {
        if (*text == '"')
            km_text_puts(out, "\"");
        km_text_append(out, (unsigned char)*text < 0x20 ? " " : text, 1);
    }
    km_text_puts(out, quote ? "\"" : "");
}

static void write_csv_cell(const char *value, struct km_text *out)
{
    if (strcmp(value, "null") == 0)
        return;
    cJSON *string = *value == '"' ? cJSON_Parse(value) : NULL;
    write_csv_text(string ? cJSON_GetStringValue(string) : value, out);
    cJSON_Delete(string);
}

void km_rows_write_header(const struct km_rows *rows, struct km_text *out)
{
    for (uint32_t i = 0; rows->format == KM_ROWS_CSV && i < rows->count; i++) {
        write_csv_text(rows->names[i], out);
        km_text_puts(out, i + 1 < rows->count ? "," : "," CHECK "\n");
    }
}

void km_rows_write(const struct km_rows *rows, const char *const *cells, struct km_text *out)
{
    bool csv = rows->format == KM_ROWS_CSV;
    const size_t begin = out->length;
    char end[40];
    for (uint32_t i = 0; i < rows->count; i++) {
        if (csv) {
            write_csv_cell(cells[i], out);
        } else {
            km_text_puts(out, i ? "" : "{");
            km_settings_write_string(rows->names[i], out);
            km_text_puts(out, ": ");
            km_text_puts(out, cells[i]);
        }
        if (i + 1 < rows->count)
            km_text_puts(out, csv ? "," : ", ");
    }
    print_check(rows->format, out->bytes + begin, out->length - begin, end);
    km_text_puts(out, end);
}

const char *km_rows_value(const char *yaml, struct km_arena *arena)
{
    struct km_json json;
    struct km_text text = {0};
    if (km_json_parse(yaml, strlen(yaml), NULL, &json, NULL) == KM_OK) {
        km_json_release(&json);
        return km_arena_strdup(arena, yaml);
    }
    km_settings_write_string(yaml, &text);
    const char *value = km_arena_strdup(arena, km_text_c(&text));
    km_text_release(&text);
    return value;
}

/* --- reading -------------------------------------------------------------------------------------------- */

/* One cell of a CSV line that ends at `end`; moves *at behind its comma, or to NULL after the last. */
static const char *read_csv_cell(const char **at, const char *end, struct km_arena *arena)
{
    const char *from = *at;
    char *cell = km_arena_alloc(arena, (size_t)(end - from) + 1), *out = cell;
    bool quoted = from < end && *from == '"';
    from += quoted;
    while (from < end && (quoted || *from != ',')) {
        if (quoted && *from == '"') {
            if (from + 1 == end || from[1] != '"') {
                quoted = false;
                from++;
                break;
            }
            from++;
        }
        *out++ = *from++;
    }
    if (quoted || (from < end && *from != ','))
        return NULL;
    *at = from < end ? from + 1 : NULL;
    return cell;
}

static bool read_csv(const struct km_rows *rows, const char *line, const char *end, struct km_arena *arena,
                     const char **cells)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        if (!line || !(cells[i] = read_csv_cell(&line, end, arena)))
            return false;
    }
    return line && read_csv_cell(&line, end, arena) && !line;
}

static const char *json_text(const cJSON *value, struct km_arena *arena)
{
    if (cJSON_IsNull(value))
        return "";
    if (cJSON_IsString(value))
        return km_arena_strdup(arena, value->valuestring);
    struct km_text text = {0};
    char *printed = cJSON_IsNumber(value) ? NULL : cJSON_PrintUnformatted(value);
    if (cJSON_IsNumber(value))
        km_settings_write_number(value->valuedouble, &text);
    const char *copy = km_arena_strdup(arena, printed ? printed : km_text_c(&text));
    cJSON_free(printed);
    km_text_release(&text);
    return copy;
}

static bool read_json(const struct km_rows *rows, const char *line, size_t length, struct km_arena *arena,
                      const char **cells)
{
    struct km_json json;
    if (km_json_parse(line, length, NULL, &json, NULL) != KM_OK)
        return false;
    const cJSON *value = cJSON_IsObject(json.root) ? json.root->child : NULL;
    uint32_t count = 0;
    for (; value && count < rows->count && strcmp(value->string, rows->names[count]) == 0;
         value = value->next)
        cells[count++] = json_text(value, arena);
    bool whole = count == rows->count && value && strcmp(value->string, CHECK) == 0 && !value->next;
    km_json_release(&json);
    return whole;
}

static bool is_as_written(enum km_rows_format format, const char *line, size_t length)
{
    char end[40];
    print_check(format, line, 0, end);
    const size_t tail = strlen(end);
    if (length <= tail)
        return false;
    print_check(format, line, length - tail, end);
    return memcmp(line + length - tail, end, tail) == 0;
}

bool km_rows_read(const struct km_rows *rows, const char *line, size_t length, struct km_arena *arena,
                  const char **cells)
{
    if (length < 2 || line[length - 1] != '\n' || memchr(line, '\0', length))
        return false;
    return (rows->format == KM_ROWS_CSV ? read_csv(rows, line, line + length - 1, arena, cells)
                                        : read_json(rows, line, length - 1, arena, cells)) &&
           is_as_written(rows->format, line, length);
}

uint64_t km_rows_run(const char *const *cells)
{
    const char *text = cells[0];
    if (strspn(text, "0123456789") != strlen(text) || !*text || strlen(text) > 18)
        return UINT64_MAX;
    return strtoull(text, NULL, 10);
}
