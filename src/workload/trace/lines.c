#include "workload/trace/lines.h"

#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIRST_BUFFER_BYTES ((size_t)256 << 10)

void km_trace_lines_init(struct km_trace_lines *lines, FILE *stream)
{
    struct stat info;
    int descriptor = fileno(stream); /* -1 for a stream in memory */
    *lines = (struct km_trace_lines){.stream = stream, .capacity = FIRST_BUFFER_BYTES};
    lines->buffer = km_alloc(lines->capacity);
    if (descriptor >= 0 && fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode))
        lines->file_bytes = (uint64_t)info.st_size;
}

void km_trace_lines_release(struct km_trace_lines *lines)
{
    fclose(lines->stream);
    free(lines->buffer);
}

/* Read more behind the unread bytes, moving them to the front first. */
static enum km_status refill(struct km_trace_lines *lines, const struct km_trace_line *line,
                             struct km_error *error)
{
    memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
    lines->end -= lines->start;
    lines->start = 0;
    if (lines->end == lines->capacity)
        lines->buffer = km_grow(lines->buffer, &lines->capacity, lines->end + 1, 1);
    errno = 0;
    size_t got = fread(lines->buffer + lines->end, 1, lines->capacity - lines->end, lines->stream);
    if (got == 0 && ferror(lines->stream))
        return km_fail(error, KM_BAD_INPUT, line->file, 0, 0, "cannot read: %s", strerror(errno));
    bool first = lines->read_bytes == 0;
    lines->at_end = got == 0;
    lines->end += got;
    lines->read_bytes += got;
    if (first && lines->end >= 3 && memcmp(lines->buffer, "\xef\xbb\xbf", 3) == 0)
        lines->start = 3; /* UTF-8 byte order mark */
    return KM_OK;
}

enum km_status km_trace_lines_next(struct km_trace_lines *lines, struct km_trace_line *line, bool *found,
                                   struct km_error *error)
{
    size_t searched = 0;
    const char *newline = NULL;
    for (;;) {
        size_t length = lines->end - lines->start;
        const char *text = lines->buffer + lines->start;
        newline = searched < length ? memchr(text + searched, '\n', length - searched) : NULL;
        size_t line_bytes = newline ? (size_t)(newline - text) : length;
        if (line_bytes > KM_TRACE_LINE_BYTES) {
            struct km_trace_line here = {line->file, lines->number + 1, text, 0};
            return km_trace_fail(&here, NULL, error, "the line is longer than %zu bytes",
                                 KM_TRACE_LINE_BYTES);
        }
        if (newline || lines->at_end)
            break;
        searched = length;
        size_t before = lines->start;
        enum km_status status = refill(lines, line, error);
        if (status != KM_OK)
            return status;
        if (before == 0 && lines->start == 3)
            searched = 0;
    }
    const char *text = lines->buffer + lines->start;
    size_t length = newline ? (size_t)(newline - text) : lines->end - lines->start;
    *found = newline || length > 0;
    if (!*found)
        return KM_OK;
    lines->line_start = lines->start;
    lines->start += length + (newline ? 1 : 0);
    lines->number++;
    if (length && text[length - 1] == '\r')
        length--;
    line->text = text;
    line->length = length;
    line->number = lines->number;
    return KM_OK;
}

void km_trace_lines_unread(struct km_trace_lines *lines)
{
    lines->start = lines->line_start;
    lines->number--;
}

double km_trace_lines_progress(const struct km_trace_lines *lines)
{
    if (lines->file_bytes == 0)
        return -1;
    double share = (double)(lines->read_bytes - (lines->end - lines->start)) / (double)lines->file_bytes;
    return share < 1 ? share : 1;
}
