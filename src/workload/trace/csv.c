#include "workload/trace/csv.h"

#include "base/memory.h"
#include "base/suggest.h"
#include "workload/distribution.h"

#include <string.h>

bool km_span_is(struct km_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.text, text, span.length) == 0;
}

/* The field starting at `text`, up to a comma or `end`, without surrounding blanks. */
static struct km_span field_at(const char *text, const char *end)
{
    const char *comma = memchr(text, ',', (size_t)(end - text));
    const char *stop = comma ? comma : end;
    while (text < stop && *text == ' ')
        text++;
    while (stop > text && stop[-1] == ' ')
        stop--;
    return (struct km_span){text, (size_t)(stop - text)};
}

static struct km_span first_field(struct km_span line)
{
    return field_at(line.text, line.text + line.length);
}

static enum km_status add_column(struct km_trace_columns *columns, const struct km_trace_line *line,
                                 struct km_span name, struct km_error *error)
{
    const struct km_trace_column *table = columns->table;
    char word[64];
    for (int i = 0; table[i].name; i++) {
        if (!km_span_is(name, table[i].name))
            continue;
        if (columns->present[i])
            return km_trace_fail(line, name.text, error, "column %s is there twice", table[i].name);
        columns->present[i] = true;
        columns->meaning[columns->count++] = i;
        return KM_OK;
    }
    snprintf(word, sizeof word, "%.*s", KM_SPAN_ARGS(name));
    struct km_suggestion suggestion = {.word = word};
    for (int i = 0; table[i].name; i++)
        km_suggest_offer(&suggestion, table[i].name);
    if (suggestion.best)
        return km_trace_fail(line, name.text, error, "unknown column \"%s\"; did you mean %s?", word,
                             suggestion.best);
    return km_trace_fail(line, name.text, error, "unknown column \"%s\"", word);
}

enum km_status km_trace_csv_header(struct km_trace_parser *parser, const struct km_trace_column *table,
                                   const struct km_trace_line *line, struct km_error *error)
{
    struct km_trace_columns *columns = km_alloc(sizeof *columns);
    const char *end = line->text + line->length;
    parser->columns = columns;
    columns->table = table;
    for (const char *at = line->text;;) {
        enum km_status status = add_column(columns, line, field_at(at, end), error);
        if (status != KM_OK)
            return status;
        at = memchr(at, ',', (size_t)(end - at));
        if (!at)
            break;
        at++;
    }
    for (int i = 0; table[i].name; i++)
        if (!columns->present[i] && !table[i].optional)
            return km_trace_fail(line, NULL, error, "column %s is missing", table[i].name);
    return KM_OK;
}

enum km_status km_trace_csv_split(const struct km_trace_columns *columns, const struct km_trace_line *line,
                                  struct km_span *fields, struct km_error *error)
{
    const char *at = line->text, *end = line->text + line->length;
    int i = 0;
    while (at) {
        struct km_span field = field_at(at, end);
        if (i == columns->count)
            return km_trace_fail(line, at, error, "more fields than the header's %d columns", columns->count);
        if (field.length && field.text[0] == '"')
            return km_trace_fail(line, field.text, error, "quoted fields are not supported");
        fields[columns->meaning[i++]] = field;
        at = memchr(at, ',', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    if (i < columns->count)
        return km_trace_fail(line, end, error, "expected %d fields, got %d", columns->count, i);
    return KM_OK;
}

enum km_status km_trace_csv_tokens(const struct km_trace_line *line, const char *name, struct km_span field,
                                   uint32_t *out, struct km_error *error)
{
    uint64_t value;
    if (!km_scan_u64(field, &value) || value == 0 || value > KM_TOKENS_LIMIT)
        return km_trace_fail(line, field.text, error, "%s: expected an integer from 1 to %u, got \"%.*s\"",
                             name, KM_TOKENS_LIMIT, KM_SPAN_ARGS(field));
    *out = (uint32_t)value;
    return KM_OK;
}

bool km_trace_csv_detect(const struct km_trace_column *table, struct km_span first_line)
{
    struct km_span name = first_field(first_line);
    for (int i = 0; table[i].name; i++)
        if (km_span_is(name, table[i].name))
            return true;
    return false;
}
