/* What the parsers of all formats share. */
#include "workload/trace/classes.h"
#include "workload/trace/trace.h"

#include <stdarg.h>
#include <stdio.h>

enum km_status km_trace_fail(const struct km_trace_line *line, const char *at, struct km_error *error,
                             const char *format, ...)
{
    char message[sizeof error->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return km_fail(error, KM_BAD_INPUT, line->file, line->number < INT32_MAX ? (int)line->number : INT32_MAX,
                   at ? (int)(at - line->text) + 1 : 0, "%s", message);
}

enum km_status km_trace_class(struct km_trace_parser *parser, const struct km_trace_line *line,
                              struct km_span name, uint32_t *out, struct km_error *error)
{
    if (km_trace_classes_intern(parser->classes, name, out))
        return KM_OK;
    return km_trace_fail(line, name.text, error, "class: more than %u different classes",
                         KM_TRACE_CLASS_LIMIT);
}
