/* How many samples a quantile takes before it says anything.
 *
 * Of n independent samples about n (1 - q) lie beyond the quantile q, with a standard deviation of sqrt(n q
 * (1 - q)) (binomial). Below ten of them the share beyond is known to no better than a third (1 / sqrt(10)),
 * and the quantile is hardly more than one of the largest values that happened to come: it is then marked
 * wherever it is printed, and no decision rests on it. */
#ifndef KM_METRICS_QUANTILE_H
#define KM_METRICS_QUANTILE_H

#include <stdbool.h>
#include <stdint.h>

#define KM_QUANTILE_BEYOND 10  /* samples */
#define KM_QUANTILE_MARK   "?" /* after a value that has fewer */

/* Does `quantile` of `samples` have fewer than KM_QUANTILE_BEYOND of them beyond it: n (1 - q) < 10? A
 * negative quantile is a mean, as in an SLO's terms: never. */
bool km_quantile_is_thin(double quantile, uint64_t samples);

/* The fewest samples of which it has as many; 0 <= quantile < 1. */
uint64_t km_quantile_least_samples(double quantile);

#endif
