/* A table of comma-separated values with a header, read line by line: what importers and step logs are read
 * from.
 *
 * Plain values only: no quotes, no line breaks inside. Lines may end in CR LF. */
#ifndef KM_BASE_TABLE_H
#define KM_BASE_TABLE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_TABLE_COLUMNS     256
#define KM_TABLE_LIMIT_BYTES ((size_t)256 << 20)

struct km_table {
    const char *path; /* borrowed */
    char *text;       /* owned; cut up in place */
    char *next;
    uint32_t line; /* of `cells` */
    uint32_t header_count, cell_count;
    const char *header[KM_TABLE_COLUMNS];
    const char *cells[KM_TABLE_COLUMNS];
    uint32_t columns[KM_TABLE_COLUMNS]; /* where each cell begins, from 1 */
};

/* Open and, with `has_header`, read the header. */
enum km_status km_table_open(const char *path, bool has_header, struct km_table *out, struct km_error *error);
void km_table_close(struct km_table *table);

/* The next line that is neither empty nor a comment ("#"); *more says whether there was one. With a header,
 * a line of another number of cells is an error. */
enum km_status km_table_next(struct km_table *table, bool *more, struct km_error *error);
/* Make the current line the header. */
enum km_status km_table_take_header(struct km_table *table, struct km_error *error);

/* The position of a column; false when there is none. */
bool km_table_find(const struct km_table *table, const char *name, uint32_t *out);
/* The same for one that must be there. */
enum km_status km_table_column(const struct km_table *table, const char *name, uint32_t *out,
                               struct km_error *error);

/* Cells of the current line. Numbers are finite and within [min, max]. */
enum km_status km_table_number(const struct km_table *table, uint32_t column, double min, double max,
                               double *out, struct km_error *error);
enum km_status km_table_size(const struct km_table *table, uint32_t column, double *out,
                             struct km_error *error); /* a whole number >= 0 */
/* A time above 0, in microseconds: the cell times `unit_us`. */
enum km_status km_table_time(const struct km_table *table, uint32_t column, double unit_us, double *out_us,
                             struct km_error *error);
enum km_status km_table_fail(const struct km_table *table, uint32_t column, struct km_error *error,
                             const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
