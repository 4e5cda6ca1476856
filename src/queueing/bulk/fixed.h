/* Fixed batches: the server waits until exactly b requests are there, M/G^[b,b]/1.
 *
 *   stable iff rho = lambda E[T_b] / b < 1
 *   E[W] = (b - 1) / (2 lambda) + E[W_b],   E[R] = E[W] + (mean time of a member in service)
 * W_b, the wait of a complete batch, comes from the walk with steps A_b - b (queueing/bulk/wiener_hopf.h): its X
 * is the number of requests left behind as a batch starts, which are the arrivals during W_b, so E[W_b] =
 * E[X] / lambda and Var[W_b] = (Var[X] - E[X]) / lambda^2. The same mean with the roots z_k of z^b = K(z) in
 * |z| < 1 (Bailey 1954, doi:10.1111/j.2517-6161.1954.tb00149.x; Downton 1955) is
 *   E[W_b] = (1/lambda) {sum 1/(1 - z_k) - [b (b-1) - lambda^2 E[T^2]] / (2 (b - lambda E[T]))};
 * it needs every root, and the usual iteration for them fails for lattice-like laws, so it is only a test's
 * cross-check. Forming a batch and W_b depend on each other: their means add, the variance and the tail of W
 * stay undefined. */
#ifndef KM_QUEUEING_BULK_FIXED_H
#define KM_QUEUEING_BULK_FIXED_H

#include "queueing/answer.h"
#include "queueing/bulk/batch_law.h"

struct km_fixed_batch_wait {
    double mean_s, var_s; /* of W_b */
    double none_behind;   /* P(X = 0) */
};

/* `law` may be elastic. `batch` from 1 to KM_BATCH_LIMIT. `tail` (may be NULL) is left undefined;
 * `batch_wait` may be NULL. */
enum km_status km_fixed_solve(const struct km_batch_law *law, double rate_per_s, uint64_t batch,
                              const struct km_wait_tail *tail, struct km_queue_answer *out,
                              struct km_fixed_batch_wait *batch_wait, struct km_error *error);

#endif
