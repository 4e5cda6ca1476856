/* Stationary law of a finite Markov chain by state reduction: only additions, multiplications and divisions
 * of non-negative numbers, so that every probability, however small, keeps its digits (Grassmann, Taksar and
 * Heyman 1985, doi:10.1287/opre.33.5.1107). */
#ifndef KM_QUEUEING_NUMERIC_MARKOV_H
#define KM_QUEUEING_NUMERIC_MARKOV_H

#include <stddef.h>

/* `p`: [states * states] row by row, overwritten; its diagonal is not used. One recurrent class that holds
 * state 0. A state whose ways down are all below the least double is as if it did not exist: of a queue that
 * is stable, it is as far out. `pi`: [states], sums to 1. */
void km_markov_stationary(double *p, size_t states, double *pi);

#endif
