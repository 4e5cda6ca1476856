/* The random walk with steps A - b, A >= 0 with E[A] < b, factored without finding roots.
 *
 * With K(z) = E[z^A] and any radius r > 1 where K(r) < r^b,
 *   log(1 - K(z) z^{-b}) = sum_n g_n z^n on |z| = r
 * (a Laurent series, by FFT), and Spitzer's identity reads off
 *   X = stationary (X + A - b)^+ :  E[z^X] = exp(sum_{n>=1} g_n (z^n - 1))^{-1},  E[X] = -sum n g_n,
 *                                   Var[X] = -sum n^2 g_n,  P(X = 0) = exp(sum_{n>=1} g_n)
 *   strictly descending ladder height D (how far below its start the walk first lands):
 *                                   1 - E[w^D] = exp(sum_{n>=1} g_{-n} w^n)
 * (Spitzer 1956; Asmussen, Applied Probability and Queues, 2003, chapter VIII). g_{-n} carries a factor r^n
 * of rounding error, so r is kept below e^{7 / columns}; the length of the FFT follows from r. */
#ifndef KM_QUEUEING_BULK_WIENER_HOPF_H
#define KM_QUEUEING_BULK_WIENER_HOPF_H

#include <stddef.h>
#include <stdint.h>

struct km_wiener_hopf {
    double mean, variance; /* of X */
    double empty;          /* P(X = 0) */
    double *descent;       /* [batch + 1] P(D = k), k = 1 .. batch; sums to 1; owned, free() it */
};

/* `arrivals`: [columns] P(A = j); its mean is below `batch` >= 1. */
void km_wiener_hopf_solve(struct km_wiener_hopf *out, const double *arrivals, size_t columns, uint32_t batch);

#endif
