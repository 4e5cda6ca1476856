/* A simple bound on the response time of dynamic batching without a cap, when a batch of b takes at most
 * alpha b + tau0:
 *
 *   E[R] <= min(phi0, phi1),   x = lambda alpha < 1
 *   phi0 = (alpha + tau0) / (2 (1 - x)) [1 + 2 lambda tau0 + (1 - lambda tau0) / (1 + x)]
 *   phi1 = 1.5 tau0 / (1 - x) + (alpha / 2) (x + 2) / (1 - x^2)
 * (Inoue, "Queueing analysis of GPU-based inference servers with dynamic batching", arXiv 1912.06322,
 * theorem 2). For the law k1 b + k2 + (k3 b + k4) l with at most n tokens, alpha = k1 + k3 n and tau0 = k2 +
 * k4 n bound every batch. */
#ifndef KM_QUEUEING_BULK_BULK_BOUND_H
#define KM_QUEUEING_BULK_BULK_BOUND_H

#include "base/error.h"

/* alpha_s, tau0_s >= 0, not both 0; KM_NO when x >= 1. */
enum km_status km_bulk_bound(double rate_per_s, double alpha_s, double tau0_s, double *mean_response_s,
                             struct km_error *error);

#endif
