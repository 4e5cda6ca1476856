/* Dynamic batching: an idle server takes everything that is buffered, at most `cap` requests.
 *
 * Embedded at the ends of batches, Q = requests in the buffer: Q = 0 idles until the next arrival, which is
 * served alone, so a batch has b(i) = min(cap, max(1, i)) members and
 *
 *   Q' = (i - b(i))^+ + A,   P(A = j) = E[Poisson(j; lambda T_b(i))]          (queueing/bulk/batch_arrivals.h)
 *
 * With pi its stationary law, C the cycle from one end to the next and B the batch:
 *
 *   E[C] = sum pi_i E[T_b(i)] + pi_0 / lambda
 *   E[B] = sum pi_i b(i) = lambda E[C]
 *   E[W] = sum pi_i [(i - b(i))^+ E[T] + lambda E[T^2] / 2] / (lambda E[C])
 *   E[R] = E[W] + sum pi_i b(i) own_b(i) / E[B]
 *
 * (bulk service: Bailey 1954; Chaudhry and Templeton, A First Course in Bulk Queues, 1983; Inoue, arXiv
 * 1912.06322). Elastic batches differ in T and in the members' own time only.
 *
 * Without a cap (dynamic_unlimited.c): stable iff lambda (k1 + k3 n_max) < 1, elastic lambda (k1 + k3 mu)
 * < 1. The chain is cut at K with pi_K < 1e-12 and solved whole.
 *
 *   P(W > t) = sum pi_i E[(T - t)^+] / E[C],   E[W^2] = sum pi_i E[T^3] / (3 E[C])
 *
 * With a cap (dynamic_capped.c): stable iff lambda E[T_cap] < cap. The chain moves by A_cap - cap whenever i
 * >= cap, so it is watched only while i < cap: from above it re-enters by descending ladder heights
 * (queueing/bulk/wiener_hopf.h). That leaves a chain of `cap` states with non-negative entries, however near
 * saturation the load is; then, for the excess over the cap,
 *
 *   Y(z) = sum_{i>=cap} pi_i z^{i-cap} = sum_{i<cap} pi_i (A_i(z) - z^i) / (z^cap - A_cap(z)).
 *
 * W does not depend on later arrivals, so the requests behind one as its batch starts are Poisson(lambda W):
 *
 *   E[e^{-sW}] = [pi_0 + sum_{1<=i<cap} pi_i (z^i - 1)/(z - 1) + Y(z) (z^cap - 1)/(z - 1)] / E[B],
 *   z = 1 - s / lambda
 *
 * (the distributional form of Little's law, Keilson and Servi 1988), which gives E[W^2] and,
 * inverted numerically (queueing/numeric/laplace.h), the tail. A cap so high that it is practically never reached is
 * solved as none. */
#ifndef KM_QUEUEING_BULK_DYNAMIC_H
#define KM_QUEUEING_BULK_DYNAMIC_H

#include "queueing/answer.h"
#include "queueing/bulk/batch_law.h"

#define KM_NO_CAP UINT64_MAX

/* `cap` from 1 to KM_BATCH_LIMIT, or KM_NO_CAP. `tail` may be NULL. KM_BAD_INPUT, too, for a stable queue
 * without a cap whose batches would pass KM_BATCH_LIMIT. */
enum km_status km_dynamic_solve(const struct km_batch_law *law, double rate_per_s, uint64_t cap,
                                const struct km_wait_tail *tail, struct km_queue_answer *out,
                                struct km_error *error);

#endif
