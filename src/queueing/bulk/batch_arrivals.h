/* How many requests arrive while a batch is served: P(A_b = j) = E[Poisson(j; lambda T_b)].
 *
 * Padded: a mixture of Poisson masses over l = max N. As a function of l a Poisson mass is smooth, so it is
 * interpolated at Chebyshev nodes common to all b (barycentric form: Berrut and Trefethen 2004,
 * doi:10.1137/S0036144502417715) and the sums over l shrink to the nodes' weights. Elastic: the transform at
 * s = lambda (1 - z) on a circle around the unit circle, inverted by FFT. Absolute error about 1e-15 a mass,
 * less where masses are small. */
#ifndef KM_QUEUEING_BULK_BATCH_ARRIVALS_H
#define KM_QUEUEING_BULK_BATCH_ARRIVALS_H

#include "queueing/bulk/batch_law.h"

struct km_batch_arrivals {
    uint32_t from, to;
    size_t columns; /* the mass beyond is below 1e-12 in every row */
    double *mass;   /* [(to - from + 1) * columns]; owned */
};

/* Rows b = from .. to, 1 <= from <= to. KM_BAD_INPUT when more than 2^15 requests would arrive during one
 * batch. */
enum km_status km_batch_arrivals_init(struct km_batch_arrivals *arrivals, const struct km_batch_law *law,
                                      double rate_per_s, uint32_t from, uint32_t to, struct km_error *error);
void km_batch_arrivals_release(struct km_batch_arrivals *arrivals);
/* [columns] */
const double *km_batch_arrivals_row(const struct km_batch_arrivals *arrivals, uint32_t b);

#endif
