/* Scanning the fields of trace files: decimal numbers and times, exactly, without the C locale.
 *
 * A time is a whole number of seconds and picoseconds of the next, so that wall-clock stamps (seconds since
 * 1970) keep full precision; more than twelve decimal places are rounded to the nearest picosecond. */
#ifndef KM_WORKLOAD_TRACE_SCAN_H
#define KM_WORKLOAD_TRACE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct km_trace_time {
    int64_t s;
    uint64_t ps; /* < KM_PS_PER_S */
};

/* A piece of a line: not terminated, borrowed. */
struct km_span {
    const char *text;
    size_t length;
};

/* Each returns false unless the whole span is one such number. */
bool km_scan_u64(struct km_span span, uint64_t *out);
bool km_scan_i64(struct km_span span, int64_t *out);
/* A decimal number of seconds >= 0, with optional point and exponent, below 1e12. */
bool km_scan_seconds(struct km_span span, struct km_trace_time *out);
/* "YYYY-MM-DD HH:MM:SS" with an optional fraction and an optional zone ("Z", "+HH:MM"); seconds since 1970
 * UTC. Gregorian calendar, years 1 to 9999; no zone means UTC. */
bool km_scan_timestamp(struct km_span span, struct km_trace_time *out);

/* The reverse: seconds with as many of twelve decimals as needed; a time stamp with seven decimals (the time
 * is rounded to 100 ns, as in the Azure traces). `ps` counts from 0 or from 1970. */
void km_print_seconds(FILE *stream, uint64_t ps);
void km_print_timestamp(FILE *stream, uint64_t ps);

#endif
