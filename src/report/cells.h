/* Numbers as people read them, for tables. Each writes into `out`, of KM_CELL bytes, and returns it. */
#ifndef KM_REPORT_CELLS_H
#define KM_REPORT_CELLS_H

#include "base/text.h"

#include <stdint.h>

#define KM_CELL 24

/* Digits grouped by three: 1234567 -> 1,234,567. `decimals` as in %.*f. */
const char *km_cell_grouped(char *out, double value, int decimals);
const char *km_cell_rounded(char *out, double value);   /* about three significant digits, grouped */
const char *km_cell_count(char *out, uint64_t value);   /* grouped */
const char *km_cell_seconds(char *out, double value_s); /* "6.91 ms"; NAN: "-" */
const char *km_cell_percent(char *out, double share);   /* 0.163 -> "16.3 %"; NAN: "-" */
const char *km_cell_bytes(char *out, double bytes);     /* powers of 1024: "109.5 GiB" */
const char *km_cell_scaled(char *out, double value);    /* powers of 1000, three digits: "481 G" */

/* Words and a line's end; what goes beyond column `width` goes on from `column` in further lines. */
void km_put_wrapped(const char *words, unsigned column, unsigned width, struct km_text *out);

#endif
