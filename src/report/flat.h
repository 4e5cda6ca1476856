/* A report as one row: every figure of the result object by its path ("ttft_s.p99"), for tables of many runs.
 *
 * Left out: what says how the run went rather than what came of it (schema, seed, partial, simulator), the
 * scenario, and lists, but for the notes, which become one text. So two runs of the same question have the
 * same row. */
#ifndef KM_REPORT_FLAT_H
#define KM_REPORT_FLAT_H

#include "base/memory.h"
#include "report/report.h"

struct km_flat {
    const char *const *names;  /* [count] in the order of the result object */
    const char *const *values; /* [count] as JSON: numbers, texts, true, false, null */
    uint32_t count;
};

/* Everything in `arena`. */
void km_report_flatten(const struct km_report *report, struct km_arena *arena, struct km_flat *out);
/* The names alone, which are those of any report. */
void km_report_flat_names(struct km_arena *arena, struct km_flat *out);

/* The value of a name, "null" when there is none. */
const char *km_flat_value(const struct km_flat *flat, const char *name);

#endif
