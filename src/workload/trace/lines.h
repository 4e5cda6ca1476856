/* Lines of a trace, one at a time, from a stream of any length. */
#ifndef KM_WORKLOAD_TRACE_LINES_H
#define KM_WORKLOAD_TRACE_LINES_H

#include "workload/trace/trace.h"

struct km_trace_lines {
    FILE *stream; /* owned */
    char *buffer;
    size_t capacity, start, end; /* unread bytes are buffer[start..end) */
    size_t line_start;           /* of the last line, for unread */
    uint64_t number;             /* of the last line */
    uint64_t file_bytes;         /* 0 = unknown */
    uint64_t read_bytes;
    bool at_end;
};

void km_trace_lines_init(struct km_trace_lines *lines, FILE *stream);
void km_trace_lines_release(struct km_trace_lines *lines); /* closes the stream */

/* The next line without its end, valid until the next call; fills text, length and number (line->file names
 * the file in errors). A last line without an end counts. */
enum km_status km_trace_lines_next(struct km_trace_lines *lines, struct km_trace_line *line, bool *found,
                                   struct km_error *error);
/* Have the line just read come again. */
void km_trace_lines_unread(struct km_trace_lines *lines);
double km_trace_lines_progress(const struct km_trace_lines *lines);

#endif
