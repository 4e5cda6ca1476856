/* The best limit on the output tokens of an M/G/1 queue.
 *
 * A lower limit n shortens every wait and cuts more answers short. Two ways to weigh them (arXiv 2407.05347,
 * section on the optimal max-token limit):
 *
 *   KM_LIMIT_CLIP   the smallest n that cuts at most a share epsilon: P(N > n) <= epsilon. E[W] rises in n, so
 *                   it is also the shortest wait under that constraint.
 *   KM_LIMIT_VALUE  the n that minimises E[W(n)] - kappa E[min(N, n)]: a token delivered is worth kappa seconds
 *                   of waiting. Every stable n is tried. */
#ifndef KM_QUEUEING_SINGLE_TOKEN_LIMIT_H
#define KM_QUEUEING_SINGLE_TOKEN_LIMIT_H

#include "queueing/single/mg1.h"

enum km_limit_objective { KM_LIMIT_CLIP, KM_LIMIT_VALUE };

struct km_token_limit {
    uint32_t max_tokens;
    double mean_wait_s; /* NAN when the queue is unstable at this limit */
    double utilization;
    double clipped;     /* P(N > max_tokens): answers cut short */
    double mean_tokens; /* E[min(N, max_tokens)] */
};

/* The limit `n` in [1, tokens->max] as it stands. */
struct km_token_limit km_token_limit_at(const struct km_mg1 *queue, uint32_t n);

/* Largest n with rho < 1; 0 when none. */
uint32_t km_token_limit_stable(const struct km_mg1 *queue);

/* `queue->tokens` is the law without the limit looked for; `weight` is epsilon in [0, 1] or kappa >= 0. KM_NO
 * when the limit found (filled in) or every limit is unstable. */
enum km_status km_token_limit_best(const struct km_mg1 *queue, enum km_limit_objective objective,
                                   double weight, struct km_token_limit *out, struct km_error *error);

#endif
