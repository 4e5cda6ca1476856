/* Rows of a sweep's output: one line a run, CSV (RFC 4180, a header line) or JSONL (an object a line, its
 * keys in the order of the columns).
 *
 * The first column is `run`, the number of the run; the last is `sweep`, the fingerprint of the question. Behind
 * it every line ends with `check`, the fingerprint of its bytes before it. So a line tells by itself whether it is
 * whole and as it was written, and where it belongs. */
#ifndef KM_SWEEP_ROWS_H
#define KM_SWEEP_ROWS_H

#include "base/memory.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

enum km_rows_format { KM_ROWS_CSV, KM_ROWS_JSONL };

struct km_rows {
    enum km_rows_format format;
    const char *const *names; /* [count] of the columns, `check` not among them */
    uint32_t count;           /* >= 2 */
    const char *fingerprint;
};

/* The header line; nothing for JSONL. Appends. */
void km_rows_write_header(const struct km_rows *rows, struct km_text *out);
/* One line. cells: [count] JSON values; null is an empty cell of a CSV. Appends. */
void km_rows_write(const struct km_rows *rows, const char *const *cells, struct km_text *out);

/* Read a line back: cells [count], the texts of its values ("" for null), in `arena`. False when it is no
 * whole row of this sweep, or changed since it was written. */
bool km_rows_read(const struct km_rows *rows, const char *line, size_t length, struct km_arena *arena,
                  const char **cells);
/* The number in the column `run` of cells read; UINT64_MAX when it is none. */
uint64_t km_rows_run(const char *const *cells);

/* A value of an axis, written in YAML, as a JSON value: numbers, booleans, quoted texts and lists of them as
 * they are, everything else as a text. In `arena`. */
const char *km_rows_value(const char *yaml, struct km_arena *arena);

#endif
