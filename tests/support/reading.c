#include "support/reading.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct km_trace_format *format_named(const char *name)
{
    return (const struct km_trace_format *)km_registry_find(km_trace_registry, name);
}

struct km_trace_reader *open_text(const char *text)
{
    struct km_trace_reader *reader;
    struct km_error error = {0};
    FILE *stream = fmemopen((void *)(uintptr_t)text, strlen(text), "rb");
    assert_non_null(stream);
    if (km_trace_open_stream(stream, "text", NULL, &reader, &error) != KM_OK)
        fail_msg("%s", error.message);
    return reader;
}

bool next(struct km_trace_reader *reader, struct km_request *out)
{
    bool found;
    struct km_error error = {0};
    if (km_trace_next(reader, out, &found, &error) != KM_OK)
        fail_msg("line %d: %s", error.line, error.message);
    return found;
}

char *rewrite(struct km_trace_reader *reader, const struct km_trace_format *format)
{
    char *text = NULL;
    size_t bytes;
    unsigned fields = km_trace_fields_of(reader) & format->fields;
    FILE *out = open_memstream(&text, &bytes);
    struct km_request r;
    if (format->write_header)
        format->write_header(out, fields);
    while (next(reader, &r)) {
        struct km_error error = {0};
        assert_int_equal(format->write(out, fields, &r, km_trace_class_name(reader, r.class_index), &error),
                         KM_OK);
        km_request_release(&r);
    }
    fclose(out);
    km_trace_close(reader);
    return text;
}
