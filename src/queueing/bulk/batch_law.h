/* The time of a batch of b requests, with N_1 .. N_b independent output tokens and L = max N.
 *
 *   padded   H_b = k1 b + k2 + (k3 b + k4) L        everybody stays until the longest member ends
 *   elastic  T_b = k1 b + k2 + k3 sum N + k4 L      members leave as they end and are no longer paid for;
 *            member j leaves after k1 b + k2 + k4 N_j + k3 sum_i min(N_i, N_j)
 *
 * (prefill of b requests, then decode steps of k3 m + k4 with m active members; arXiv 2407.05347). Below, T
 * is either. With F the cdf of N:
 *
 *   P(L <= l)  = F(l)^b
 *   E[e^{-sT}] = e^{-s (k1 b + k2)} sum_l e^{-s k4 l} (phi_l^b - phi_{l-1}^b),
 *                phi_l = sum_{n<=l} p_n e^{-s k3 n} for elastic batches
 *
 * Time spent in service by a member on average:
 *
 *   padded   E[H_b]
 *   elastic  V_b = k1 b + k2 + k4 mu + k3 (mu + (b - 1) m),   m = sum_{l>=1} P(N >= l)^2 */
#ifndef KM_QUEUEING_BULK_BATCH_LAW_H
#define KM_QUEUEING_BULK_BATCH_LAW_H

#include "base/error.h"
#include "queueing/token_law.h"

#include "base/complex.h"

/* Largest batch of the bulk models, whose cost grows with it, and with the number of token counts: beyond so
 * many of them they are solved for the coarse law (queueing/token_law.h). */
#define KM_BATCH_LIMIT       1024u
#define KM_BATCH_FINE_COUNTS 4096u

struct km_batch_law {
    double k1_s, k2_s, k3_s, k4_s; /* all >= 0; some batch must take time */
    bool elastic;
    const struct km_token_law *tokens; /* borrowed */
};

struct km_batch_moments {
    double m1, m2, m3; /* E[T], E[T^2], E[T^3] */
    double own_s;      /* mean time of a member in service */
};

/* The law itself, or over a coarser law of tokens, in `coarse`, where there are more than KM_BATCH_FINE_COUNTS counts of
 * them. `coarse` is released by km_token_law_release() in either case. */
struct km_batch_law km_batch_law_manageable(const struct km_batch_law *law, struct km_token_law *coarse);
enum km_status km_batch_law_check(const struct km_batch_law *law, struct km_error *error);

/* E[T_b], b >= 1. */
double km_batch_mean_s(const struct km_batch_law *law, uint32_t b);
/* For b = from .. to, 1 <= from <= to: out[b - from]. */
void km_batch_moments(const struct km_batch_law *law, uint32_t from, uint32_t to,
                      struct km_batch_moments *out);
/* E[e^{-sT_b}] for b = from .. to, at any s where e^{-sT} stays within doubles: out[b - from]. */
void km_batch_transforms(const struct km_batch_law *law, double complex s, uint32_t from, uint32_t to,
                         double complex *out);
/* E[(H_b - t)^+]; padded only. */
double km_batch_excess_s(const struct km_batch_law *law, uint32_t b, double t_s);

#endif
