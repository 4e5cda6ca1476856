#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

enum km_status km_fail(struct km_error *error, enum km_status status, const char *file, int line, int column,
                       const char *format, ...)
{
    if (!error)
        return status;
    error->status = status;
    error->line = line;
    error->column = column;
    snprintf(error->file, sizeof error->file, "%s", file ? file : "");
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    /* An error is one line, whatever a user's file put into it. */
    for (char *c = error->message; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return status;
}

void km_error_format(const struct km_error *error, char *out, unsigned long size)
{
    if (!error->file[0])
        snprintf(out, size, "%s", error->message);
    else if (error->line <= 0)
        snprintf(out, size, "%s: %s", error->file, error->message);
    else if (error->column <= 0)
        snprintf(out, size, "%s:%d: %s", error->file, error->line, error->message);
    else
        snprintf(out, size, "%s:%d:%d: %s", error->file, error->line, error->column, error->message);
}
