/* The table that `kingman sweep` closes with: a line a point of the grid, of the rows of its runs. With
 * several replications a figure is their mean and the half-width of its 95 % confidence interval (Student's
 * t: the runs of a point are independent draws); of a recording its own figure, and the interval by resamples
 * of it, or none (sweep/sample.h says which). Quantiles of too few samples are marked (metrics/quantile.h).
 * Figures that no run has are left out, and latencies of a saturated run: they grow as long as the load
 * lasts. */
#ifndef KM_ANSWER_SWEEP_TABLE_H
#define KM_ANSWER_SWEEP_TABLE_H

#include "sweep/rows.h"
#include "sweep/sweep.h"

#define KM_SWEEP_TABLE_POINTS 1000u /* of a larger grid there is no table */

struct km_sweep_table; /* opaque */

/* What `show:` of the section says: KM_BAD_INPUT for a figure that no table has. NULL: the usual ones. */
enum km_status km_sweep_table_check(const struct km_yaml *show, struct km_error *error);
/* Borrows both; `show` is checked. */
struct km_sweep_table *km_sweep_table_create(const struct km_sweep *sweep, const struct km_rows *rows);
void km_sweep_table_destroy(struct km_sweep_table *table);
/* The rows, each once, in the order of their numbers. */
void km_sweep_table_row(struct km_sweep_table *table, const char *const *cells);
void km_sweep_table_print(const struct km_sweep_table *table, struct km_text *out);

#endif
