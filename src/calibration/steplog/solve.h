/* Robust linear least squares for km_steps_fit(), and what the solution says of itself. */
#ifndef KM_CALIBRATION_STEPLOG_SOLVE_H
#define KM_CALIBRATION_STEPLOG_SOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_STEP_COLUMNS_MOST 24

struct km_step_solution {
    double by[KM_STEP_COLUMNS_MOST];
    double se[KM_STEP_COLUMNS_MOST];
    /* variance over what it were if the other columns were not there */
    double inflation[KM_STEP_COLUMNS_MOST];
    size_t twin[KM_STEP_COLUMNS_MOST]; /* the column whose estimate goes most with it; itself when alone */
    double noise;                      /* standard deviation of a row, by the median */
    size_t outliers;                   /* rows that count less than half */
    /* the columns, or too few rows, do not determine it; only `inflation` and `twin` are set */
    bool singular;
};

struct km_step_range {
    size_t from, to;
};

/* Minimise Huber's loss of rest - columns by: columns [rows][count], rest [rows]; rows in `without`
 * (may be NULL) do not take part. */
void km_step_solve(const double *columns, const double *rest, const struct km_step_range *without,
                   size_t rows, size_t count, struct km_step_solution *out);

/* Huber's loss: a square, linear beyond 1.345 times the noise. */
double km_step_loss(double residual, double noise);

/* Reorders `values`; 0 of none. */
double km_step_median(double *values, size_t count);

#endif
