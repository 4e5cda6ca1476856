#include "calibration/engine_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/yaml.h"

#include <stdlib.h>
#include <string.h>

/* One replacement in the text: bytes [from, to) become `text`. */
struct splice {
    size_t from, to;
    const char *text;
};

struct editor {
    struct km_arena arena;
    char *text;
    size_t bytes;
    struct km_yaml *root;
    struct splice *splices;
    size_t count;
};

static size_t line_start(const struct editor *e, int line)
{
    const char *at = e->text;
    for (int i = 1; i < line; i++) {
        const char *end = strchr(at, '\n');
        at = end ? end + 1 : e->text + e->bytes;
    }
    return (size_t)(at - e->text);
}

static size_t line_end(const struct editor *e, size_t at)
{
    const char *end = memchr(e->text + at, '\n', e->bytes - at);
    return end ? (size_t)(end - e->text) : e->bytes;
}

static void put(struct editor *e, size_t from, size_t to, const char *text)
{
    e->splices[e->count++] = (struct splice){from, to, text};
}

/* A plain scalar takes as many bytes as its text. A comment counts for the whole line, so only where the
 * value ends it. */
static enum km_status replace(struct editor *e, const struct km_yaml *node,
                              const struct km_engine_value *value, struct km_error *error)
{
    if (node->kind != KM_YAML_SCALAR || node->quoted)
        return km_yaml_fail(node, error, "expected a plain value");
    size_t from = line_start(e, node->line) + (size_t)(node->column - 1), to = from + strlen(node->text);
    size_t end = line_end(e, to), rest = to + strspn(e->text + to, " \t");
    bool ends_line = rest >= end || e->text[rest] == '#';
    if (value->comment && ends_line)
        put(e, from, end, km_arena_printf(&e->arena, "%s # %s", value->value, value->comment));
    else
        put(e, from, to, value->value);
    return KM_OK;
}

/* Before the section's first key: on a line of its own in block style, after the bracket in flow style. */
static enum km_status insert(struct editor *e, const struct km_yaml *section, const char *key,
                             const struct km_engine_value *value, struct km_error *error)
{
    if (section->kind != KM_YAML_MAPPING || section->count == 0)
        return km_yaml_fail(section, error, "expected a section with keys");
    const struct km_yaml *first = section->items[0];
    size_t at = line_start(e, first->key_line), indent = (size_t)(first->key_column - 1);
    if (first->key_line == section->key_line) {
        size_t bracket = line_start(e, section->line) + (size_t)section->column;
        put(e, bracket, bracket, km_arena_printf(&e->arena, "%s: %s, ", key, value->value));
        return KM_OK;
    }
    put(e, at, at,
        km_arena_printf(&e->arena, "%*s%s: %s%s%s\n", (int)indent, "", key, value->value,
                        value->comment ? " # " : "", value->comment ? value->comment : ""));
    return KM_OK;
}

static enum km_status edit(struct editor *e, const struct km_engine_value *value, struct km_error *error)
{
    const char *dot = strchr(value->key, '.'), *key = dot ? dot + 1 : value->key;
    const struct km_yaml *section = e->root;
    if (dot) {
        char *name = km_arena_strdup(&e->arena, value->key);
        name[dot - value->key] = '\0';
        section = km_yaml_get(e->root, name);
        if (!section)
            return km_yaml_fail_missing(e->root, name, error);
    }
    const struct km_yaml *node = km_yaml_get(section, key);
    return node ? replace(e, node, value, error) : insert(e, section, key, value, error);
}

static int by_place(const void *a, const void *b)
{
    const struct splice *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static void write(const struct editor *e, const char *heading, struct km_text *out)
{
    size_t at = 0;
    for (const char *line = heading; line && *line;) {
        size_t length = strcspn(line, "\n");
        km_text_puts(out, length ? "# " : "#");
        km_text_append(out, line, length);
        km_text_puts(out, "\n");
        line += length + (line[length] == '\n');
    }
    for (size_t i = 0; i < e->count; i++) {
        km_text_append(out, e->text + at, e->splices[i].from - at);
        km_text_puts(out, e->splices[i].text);
        at = e->splices[i].to;
    }
    km_text_append(out, e->text + at, e->bytes - at);
}

enum km_status km_engine_file_edit(const char *path, const char *heading,
                                   const struct km_engine_value *values, size_t count, struct km_text *out,
                                   struct km_error *error)
{
    struct editor e = {0};
    enum km_status status = km_file_read(path, KM_YAML_LIMIT_BYTES, &e.text, &e.bytes, error);
    if (status == KM_OK)
        status = km_yaml_read(path, &e.arena, &e.root, error);
    e.splices = km_arena_alloc(&e.arena, (count + 1) * sizeof *e.splices);
    for (size_t i = 0; i < count && status == KM_OK; i++)
        status = edit(&e, &values[i], error);
    if (status == KM_OK) {
        qsort(e.splices, e.count, sizeof *e.splices, by_place);
        write(&e, heading, out);
    }
    free(e.text);
    km_arena_release(&e.arena);
    return status;
}
