/* What the CSV trace formats share: a header naming the columns, and fields without quotes. */
#ifndef KM_WORKLOAD_TRACE_CSV_H
#define KM_WORKLOAD_TRACE_CSV_H

#include "workload/trace/trace.h"

#define KM_TRACE_COLUMN_LIMIT 16

/* A column of a format: position in the format's own table is its meaning. */
struct km_trace_column {
    const char *name; /* NULL ends the table */
    bool optional;
};

struct km_trace_columns {
    const struct km_trace_column *table;
    int count;                           /* columns in the file */
    int meaning[KM_TRACE_COLUMN_LIMIT];  /* [count] index into table */
    bool present[KM_TRACE_COLUMN_LIMIT]; /* by meaning */
};

/* Read the header line; unknown, repeated and missing columns are errors. */
enum km_status km_trace_csv_header(struct km_trace_parser *parser, const struct km_trace_column *table,
                                   const struct km_trace_line *line, struct km_error *error);
/* Split a line: fields[meaning] is set for every column of the file, others are left as they are. */
enum km_status km_trace_csv_split(const struct km_trace_columns *columns, const struct km_trace_line *line,
                                  struct km_span *fields, struct km_error *error);
/* A token count from 1 to KM_TOKENS_LIMIT. */
enum km_status km_trace_csv_tokens(const struct km_trace_line *line, const char *name, struct km_span field,
                                   uint32_t *out, struct km_error *error);
/* Does the line begin with the name of a column? */
bool km_trace_csv_detect(const struct km_trace_column *table, struct km_span first_line);
bool km_span_is(struct km_span span, const char *text);

/* printf arguments for "%.*s" of at most 40 bytes of a user's text. */
#define KM_SPAN_ARGS(span) (int)((span).length < 40 ? (span).length : 40), (span).text

#endif
