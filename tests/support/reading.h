/* Reading traces from texts. */
#ifndef KM_TESTS_READING_H
#define KM_TESTS_READING_H

#include "workload/trace/trace.h"

const struct km_trace_format *format_named(const char *name);

/* Fails the test when the text is not a trace. */
struct km_trace_reader *open_text(const char *text);
/* The next request; false at the end. Fails the test on an error. */
bool next(struct km_trace_reader *reader, struct km_request *out);

/* Write every request of `reader` in a format and close it; the text is the caller's. */
char *rewrite(struct km_trace_reader *reader, const struct km_trace_format *format);

#endif
