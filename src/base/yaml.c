#include "base/yaml.h"

#include "base/file.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    const char *text;
    size_t bytes;
    const char *name;
    bool positions;
    struct km_arena *arena;
    struct km_error *error;
};

static enum km_status fail_at(struct reader *r, yaml_mark_t mark, const char *message)
{
    bool known = r->positions;
    km_fail(r->error, KM_BAD_INPUT, r->name, known ? (int)mark.line + 1 : 0, known ? (int)mark.column + 1 : 0,
            "%s", message);
    return KM_BAD_INPUT;
}

/* libyaml's decoder knows only a byte offset. */
static yaml_mark_t mark_of_offset(const struct reader *r, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < r->bytes; i++) {
        mark.column++;
        if (r->text[i] == '\n') {
            mark.line++;
            mark.column = 0;
        }
    }
    return mark;
}

static enum km_status fail_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    char message[256];
    if (p->error == YAML_MEMORY_ERROR)
        km_out_of_memory();
    if (p->error == YAML_READER_ERROR) {
        snprintf(message, sizeof message, "%s", p->problem ? p->problem : "not UTF-8 text");
        return fail_at(r, mark_of_offset(r, p->problem_offset), message);
    }
    snprintf(message, sizeof message, "%s%s%s", p->problem ? p->problem : "not YAML", p->context ? " " : "",
             p->context ? p->context : "");
    return fail_at(r, p->problem_mark, message);
}

static enum km_status next_event(struct reader *r, yaml_event_t *event)
{
    return yaml_parser_parse(&r->parser, event) ? KM_OK : fail_syntax(r);
}

static struct km_yaml *new_node(struct reader *r, enum km_yaml_kind kind, yaml_mark_t mark)
{
    struct km_yaml *node = km_arena_alloc(r->arena, sizeof *node);
    node->kind = kind;
    node->file = r->name;
    node->line = r->positions ? (int)mark.line + 1 : 0;
    node->column = r->positions ? (int)mark.column + 1 : 0;
    return node;
}

static enum km_status read_scalar(struct reader *r, const yaml_event_t *event, struct km_yaml **out)
{
    const char *value = (const char *)event->data.scalar.value;
    if (event->data.scalar.anchor)
        return fail_at(r, event->start_mark, "anchors (&) are not supported");
    if (event->data.scalar.tag)
        return fail_at(r, event->start_mark, "tags (!) are not supported");
    if (strlen(value) != event->data.scalar.length)
        return fail_at(r, event->start_mark, "NUL character in text");
    struct km_yaml *node = new_node(r, KM_YAML_SCALAR, event->start_mark);
    node->text = km_arena_strdup(r->arena, value);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    *out = node;
    return KM_OK;
}

static size_t items_bytes(size_t count)
{
    return count * sizeof(struct km_yaml *); /* NOLINT(bugprone-sizeof-expression): an array of pointers */
}

static enum km_status read_node(struct reader *r, const yaml_event_t *event, int depth, struct km_yaml **out);

/* The key of the next pair: `event` is its scalar. */
static enum km_status read_key(struct reader *r, const struct km_yaml *mapping, size_t count,
                               struct km_yaml *const *items, const yaml_event_t *event, struct km_yaml **out)
{
    if (event->type != YAML_SCALAR_EVENT)
        return fail_at(r, event->start_mark, "a key must be plain text");
    enum km_status status = read_scalar(r, event, out);
    if (status != KM_OK)
        return status;
    if (count >= KM_YAML_LIMIT_KEYS)
        return fail_at(r, event->start_mark, "too many keys in one mapping");
    for (size_t i = 0; i < count; i++) {
        if (strcmp(items[i]->key, (*out)->text) != 0)
            continue;
        struct km_yaml twin = **out;
        twin.parent = (struct km_yaml *)mapping;
        twin.key = twin.text;
        if (!r->positions)
            return km_yaml_fail(&twin, r->error, "given twice");
        return km_yaml_fail(&twin, r->error, "given twice, first in line %d", items[i]->key_line);
    }
    return KM_OK;
}

static enum km_status read_items(struct reader *r, struct km_yaml *node, int depth, struct km_yaml ***items,
                                 size_t *capacity)
{
    bool mapping = node->kind == KM_YAML_MAPPING;
    yaml_event_type_t end = mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    for (;;) {
        yaml_event_t event;
        enum km_status status = next_event(r, &event);
        if (status != KM_OK)
            return status;
        if (event.type == end) {
            yaml_event_delete(&event);
            return KM_OK;
        }
        struct km_yaml *key = NULL, *value = NULL;
        if (mapping) {
            status = read_key(r, node, node->count, *items, &event, &key);
            yaml_event_delete(&event);
            if (status == KM_OK)
                status = next_event(r, &event);
            if (status != KM_OK)
                return status;
        }
        status = read_node(r, &event, depth + 1, &value);
        yaml_event_delete(&event);
        if (status != KM_OK)
            return status;
        value->parent = node;
        value->index = node->count;
        if (key) {
            value->key = key->text;
            value->key_file = key->file;
            value->key_line = key->line;
            value->key_column = key->column;
        }
        *items = km_grow(*items, capacity, node->count + 1, items_bytes(1));
        (*items)[node->count++] = value;
    }
}

static enum km_status read_collection(struct reader *r, const yaml_event_t *event, int depth,
                                      struct km_yaml **out)
{
    bool mapping = event->type == YAML_MAPPING_START_EVENT;
    if (mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor)
        return fail_at(r, event->start_mark, "anchors (&) are not supported");
    if (mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag)
        return fail_at(r, event->start_mark, "tags (!) are not supported");
    if (depth >= KM_YAML_LIMIT_DEPTH)
        return fail_at(r, event->start_mark, "nested too deeply");
    struct km_yaml *node = new_node(r, mapping ? KM_YAML_MAPPING : KM_YAML_SEQUENCE, event->start_mark);
    struct km_yaml **items = NULL;
    size_t capacity = 0;
    enum km_status status = read_items(r, node, depth, &items, &capacity);
    if (status == KM_OK && node->count > 0) {
        node->items = km_arena_alloc(r->arena, items_bytes(node->count));
        memcpy(node->items, items, items_bytes(node->count));
    }
    free(items);
    *out = node;
    return status;
}

static enum km_status read_node(struct reader *r, const yaml_event_t *event, int depth, struct km_yaml **out)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, event, out);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return read_collection(r, event, depth, out);
    case YAML_ALIAS_EVENT:
        return fail_at(r, event->start_mark, "aliases (*) are not supported");
    default:
        return fail_at(r, event->start_mark, "expected a value");
    }
}

/* Stream start, one document, stream end. */
static enum km_status read_stream(struct reader *r, struct km_yaml **out)
{
    bool seen = false;
    for (;;) {
        yaml_event_t event;
        enum km_status status = next_event(r, &event);
        if (status != KM_OK)
            return status;
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && seen) {
            status = fail_at(r, event.start_mark, "a second document (---) is not supported");
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
                   type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT) {
            seen = true;
            status = read_node(r, &event, 0, out);
        }
        yaml_event_delete(&event);
        if (status != KM_OK || type == YAML_STREAM_END_EVENT)
            return status;
    }
}

enum km_status km_yaml_parse(const char *text, size_t bytes, const char *name, bool positions,
                             struct km_arena *arena, struct km_yaml **out, struct km_error *error)
{
    struct reader r = {.text = text,
                       .bytes = bytes,
                       .name = km_arena_strdup(arena, name),
                       .positions = positions,
                       .arena = arena,
                       .error = error};
    *out = NULL;
    if (bytes > KM_YAML_LIMIT_BYTES) {
        km_fail(error, KM_BAD_INPUT, name, 0, 0, "larger than %zu bytes", KM_YAML_LIMIT_BYTES);
        return KM_BAD_INPUT;
    }
    if (!yaml_parser_initialize(&r.parser))
        km_out_of_memory();
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
    enum km_status status = read_stream(&r, out);
    yaml_parser_delete(&r.parser);
    if (status == KM_OK && !*out) {
        *out = new_node(&r, KM_YAML_SCALAR, (yaml_mark_t){0});
        (*out)->text = "";
    }
    return status;
}

enum km_status km_yaml_read(const char *path, struct km_arena *arena, struct km_yaml **out,
                            struct km_error *error)
{
    char *text;
    size_t bytes;
    enum km_status status = km_file_read(path, KM_YAML_LIMIT_BYTES, &text, &bytes, error);
    if (status != KM_OK)
        return status;
    status = km_yaml_parse(text, bytes, path, true, arena, out, error);
    free(text);
    return status;
}

struct km_yaml *km_yaml_get(const struct km_yaml *mapping, const char *key)
{
    if (!mapping || mapping->kind != KM_YAML_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->count; i++)
        if (strcmp(mapping->items[i]->key, key) == 0)
            return mapping->items[i];
    return NULL;
}

bool km_yaml_is_null(const struct km_yaml *node)
{
    static const char *const names[] = {"", "~", "null", "Null", "NULL"};
    if (node->kind != KM_YAML_SCALAR || node->quoted)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(node->text, names[i]) == 0)
            return true;
    return false;
}

/* Let `value` stand at `key` of `mapping`, in place of what was there. */
static void put(struct km_yaml *mapping, const char *key, struct km_yaml *value, struct km_arena *arena)
{
    value->parent = mapping;
    value->key = key;
    value->key_file = value->file;
    for (size_t i = 0; i < mapping->count; i++)
        if (strcmp(mapping->items[i]->key, key) == 0) {
            value->index = i;
            mapping->items[i] = value;
            return;
        }
    struct km_yaml **items = km_arena_alloc(arena, items_bytes(mapping->count + 1));
    if (mapping->count > 0)
        memcpy(items, mapping->items, items_bytes(mapping->count));
    value->index = mapping->count;
    items[mapping->count++] = value;
    mapping->items = items;
}

enum km_status km_yaml_set(struct km_yaml *mapping, const char *key, const char *value, const char *label,
                           struct km_arena *arena, struct km_error *error)
{
    struct km_yaml *leaf;
    enum km_status status = km_yaml_parse(value, strlen(value), label, false, arena, &leaf, error);
    if (status == KM_OK && !*key)
        status = km_fail(error, KM_BAD_INPUT, label, 0, 0, "empty key");
    if (status == KM_OK && mapping->kind != KM_YAML_MAPPING) {
        char path[256];
        km_yaml_path(mapping, path, sizeof path);
        status =
            km_fail(error, KM_BAD_INPUT, label, 0, 0, "%s: not a mapping, cannot hold \"%s\"", path, key);
    }
    if (status == KM_OK)
        put(mapping, km_arena_strdup(arena, key), leaf, arena);
    return status;
}

enum km_status km_yaml_override(struct km_yaml *root, const char *key, const char *value, const char *label,
                                struct km_arena *arena, struct km_error *error)
{
    struct km_yaml *leaf;
    enum km_status status = km_yaml_parse(value, strlen(value), label, false, arena, &leaf, error);
    if (status != KM_OK)
        return status;
    struct km_yaml *mapping = root;
    for (char *part = km_arena_strdup(arena, key), *next; part; part = next) {
        next = strchr(part, '.');
        while (next && isdigit((unsigned char)next[1]))
            next = strchr(next + 1, '.');
        if (next)
            *next++ = '\0';
        if (!*part)
            return km_fail(error, KM_BAD_INPUT, label, 0, 0, "empty part in the key \"%s\"", key);
        if (!next) {
            put(mapping, part, leaf, arena);
            return KM_OK;
        }
        struct km_yaml *child = km_yaml_get(mapping, part);
        if (!child || km_yaml_is_null(child)) {
            child = km_arena_alloc(arena, sizeof *child);
            child->kind = KM_YAML_MAPPING;
            child->file = leaf->file;
            put(mapping, part, child, arena);
        }
        if (child->kind != KM_YAML_MAPPING) {
            char path[256];
            km_yaml_path(child, path, sizeof path);
            return km_fail(error, KM_BAD_INPUT, label, 0, 0, "%s: not a mapping, cannot hold \"%s\"", path,
                           next);
        }
        mapping = child;
    }
    return KM_OK;
}

void km_yaml_path(const struct km_yaml *node, char *out, size_t size)
{
    enum { LONGEST = KM_YAML_LIMIT_DEPTH * 2 };
    const struct km_yaml *chain[LONGEST];
    size_t depth = 0, used = 0;
    for (; node && node->parent && depth < LONGEST; node = node->parent)
        chain[depth++] = node;
    out[0] = '\0';
    while (depth > 0) {
        const struct km_yaml *n = chain[--depth];
        int wrote = n->key ? snprintf(out + used, size - used, "%s%s", used ? "." : "", n->key)
                           : snprintf(out + used, size - used, "[%zu]", n->index);
        used += (size_t)wrote;
        if (used >= size) {
            memcpy(out + size - 4, "...", 4);
            return;
        }
    }
}

void km_yaml_describe(const struct km_yaml *node, char *out, size_t size)
{
    if (node->kind != KM_YAML_SCALAR)
        snprintf(out, size, "%s", node->kind == KM_YAML_MAPPING ? "a mapping" : "a list");
    else if (km_yaml_is_null(node))
        snprintf(out, size, "nothing");
    else
        snprintf(out, size, "%s\"%.60s%s\"", node->quoted ? "the text " : "", node->text,
                 strlen(node->text) > 60 ? "..." : "");
}

static enum km_status fail_with_path(const struct km_yaml *node, struct km_error *error, const char *file,
                                     int line, int column, const char *format, va_list args)
    __attribute__((format(printf, 6, 0)));

static enum km_status fail_with_path(const struct km_yaml *node, struct km_error *error, const char *file,
                                     int line, int column, const char *format, va_list args)
{
    char path[256], message[512];
    km_yaml_path(node, path, sizeof path);
    vsnprintf(message, sizeof message, format, args);
    km_fail(error, KM_BAD_INPUT, file, line, column, "%s%s%s", path, path[0] ? ": " : "", message);
    return KM_BAD_INPUT;
}

enum km_status km_yaml_fail(const struct km_yaml *node, struct km_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum km_status status = fail_with_path(node, error, node->file, node->line, node->column, format, args);
    va_end(args);
    return status;
}

enum km_status km_yaml_fail_key(const struct km_yaml *node, struct km_error *error, const char *format, ...)
{
    bool keyed = node->key_file != NULL;
    va_list args;
    va_start(args, format);
    enum km_status status =
        fail_with_path(node, error, keyed ? node->key_file : node->file, keyed ? node->key_line : node->line,
                       keyed ? node->key_column : node->column, format, args);
    va_end(args);
    return status;
}

enum km_status km_yaml_fail_missing(const struct km_yaml *mapping, const char *key, struct km_error *error)
{
    char path[256];
    km_yaml_path(mapping, path, sizeof path);
    return km_fail(error, KM_BAD_INPUT, mapping->file, mapping->line, mapping->column, "%s%s%s: missing",
                   path, path[0] ? "." : "", key);
}
