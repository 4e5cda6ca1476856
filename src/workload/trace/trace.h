/* Traces: reading and writing recorded request streams.
 *
 * A trace is a text file of one request a line, in one of the registered formats, found by its first line. It
 * is read in one pass; memory holds one line (at most KM_TRACE_LINE_BYTES) and a reorder window of
 * KM_TRACE_WINDOW requests, never the file. Requests come out ordered by (time, line); a request later than
 * the window can mend is an error. Times are rebased so that the first request arrives at 0, and counted in
 * whole picoseconds; a trace may last 52 days.
 *
 * Zero prompt or output tokens are refused with their line: neither public trace has any, recorders write 0
 * for requests that failed, and a simulator must not guess what those would have cost. Blank lines and a byte
 * order mark are skipped, LF and CRLF both end a line. CSV columns may stand in any order; a column the
 * format does not know is refused. */
#ifndef KM_WORKLOAD_TRACE_TRACE_H
#define KM_WORKLOAD_TRACE_TRACE_H

#include "base/error.h"
#include "base/registry.h"
#include "workload/request.h"
#include "workload/trace/scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define KM_TRACE_LINE_BYTES  ((size_t)16 << 20)
#define KM_TRACE_WINDOW      4096u
#define KM_TRACE_CLASS_LIMIT 1024u /* distinct request classes */

/* What a request may carry beyond time and lengths, as a set. */
enum km_trace_field {
    KM_TRACE_ID = 1,
    KM_TRACE_SESSION = 2,
    KM_TRACE_CLASS = 4,
    KM_TRACE_HASHES = 8,
    KM_TRACE_PRIORITY = 16,
    KM_TRACE_MAX_TOKENS = 32,
    KM_TRACE_DELAY = 64,
};

/* --- formats ---------------------------------------------------------------------------------------------
 */

struct km_trace_line {
    const char *file;
    uint64_t number; /* from 1 */
    const char *text;
    size_t length; /* without the line end */
};

struct km_trace_columns; /* private to the CSV formats */
struct km_trace_classes; /* names of the classes seen */

/* What a format's parser keeps between lines. */
struct km_trace_parser {
    struct km_trace_columns *columns; /* owned, from header(); freed with the reader */
    struct km_trace_classes *classes;
    unsigned fields; /* enum km_trace_field that this file has; set by header(), else the format's */
};

struct km_trace_format {
    struct km_entry entry;
    unsigned fields; /* enum km_trace_field that the format can hold */
    bool (*detect)(struct km_span first_line);
    /* Optional: which of `fields` a file has that begins with this line of a request; without it, all. */
    unsigned (*fields_in)(struct km_span first_line);
    /* Optional: the first line is a header. */
    enum km_status (*header)(struct km_trace_parser *parser, const struct km_trace_line *line,
                             struct km_error *error);
    /* Fill everything of `out` but id and arrival_ps; an untimed request leaves `at` alone. On failure the caller
     * releases `out`. */
    enum km_status (*parse)(struct km_trace_parser *parser, const struct km_trace_line *line,
                            struct km_request *out, struct km_trace_time *at, struct km_error *error);
    /* Optional. `fields`: those the writer was opened with. */
    void (*write_header)(FILE *stream, unsigned fields);
    enum km_status (*write)(FILE *stream, unsigned fields, const struct km_request *request,
                            const char *class_name, struct km_error *error);
};

extern const struct km_entry *const km_trace_registry[];

/* --- reading ---------------------------------------------------------------------------------------------
 */

struct km_trace_reader; /* opaque */

/* `format`: a registered name, or NULL to detect. The first line is read here. */
enum km_status km_trace_open(const char *path, const char *format, struct km_trace_reader **out,
                             struct km_error *error);
/* The same from an open stream, which the reader then owns and closes (on failure too); `name` for messages.
 */
enum km_status km_trace_open_stream(FILE *stream, const char *name, const char *format,
                                    struct km_trace_reader **out, struct km_error *error);
void km_trace_close(struct km_trace_reader *reader);

/* The next request, owned by the caller; *found is false at the end. After a failure only km_trace_close().
 */
enum km_status km_trace_next(struct km_trace_reader *reader, struct km_request *out, bool *found,
                             struct km_error *error);

const struct km_trace_format *km_trace_format_of(const struct km_trace_reader *reader);
unsigned km_trace_fields_of(const struct km_trace_reader *reader); /* enum km_trace_field in this file */
/* [0] is "", the class of requests that name none. */
const char *km_trace_class_name(const struct km_trace_reader *reader, uint32_t class_index);
uint32_t km_trace_class_count(const struct km_trace_reader *reader);
/* Share of the file's bytes read, 0..1; negative when its size is unknown (a pipe). */
double km_trace_progress(const struct km_trace_reader *reader);

/* --- for the formats' parsers ----------------------------------------------------------------------------
 */

/* An error at a place in the line: `at` points into line->text (NULL: no column). */
enum km_status km_trace_fail(const struct km_trace_line *line, const char *at, struct km_error *error,
                             const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Index of a class by name, added when new. */
enum km_status km_trace_class(struct km_trace_parser *parser, const struct km_trace_line *line,
                              struct km_span name, uint32_t *out, struct km_error *error);

#endif
