/* The scanner behind json.c: checks a text against RFC 8259 and finds where its n-th value begins. Private to
 * base. */
#ifndef KM_BASE_JSON_SCAN_H
#define KM_BASE_JSON_SCAN_H

#include <stddef.h>

/* Scan `bytes` of terminated `text`. Values are numbered from 0 in document order (an array or object before
 * its members; keys are no values). Scanning stops at value `stop_at`, or with SIZE_MAX runs through the
 * whole text. Returns NULL when it got there and a description of the fault otherwise; either way *offset is
 * the place. */
const char *km_json_scan(const char *text, size_t bytes, int depth_limit, size_t stop_at, size_t *offset);

/* Line and column (from 1, in characters) of an offset. */
void km_json_line_column(const char *text, size_t offset, int *line, int *column);

#endif
