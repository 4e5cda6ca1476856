/* The law of the number of output tokens N, prepared for the equations: masses, both tails, limited moments.
 *
 * N takes values 1 .. max. A distribution without a limit of its own is cut where P(N > n) < 1e-13
 * (workload/distribution.h); `bounded` tells the two apart, since some questions (does a queue that takes
 * everything ever settle?) are answered by the limit alone. */
#ifndef KM_QUEUEING_TOKEN_LAW_H
#define KM_QUEUEING_TOKEN_LAW_H

#include "base/error.h"
#include "workload/distribution.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_token_law {
    uint32_t max;
    bool bounded; /* by the distribution or a token limit, not just by the cut */
    double mean;
    double *pmf;      /* [max + 1] P(N = n); owned, as is every array here */
    double *cdf;      /* [max + 1] P(N <= n); exactly 1 at max */
    double *survival; /* [max + 1] P(N > n), summed from above: small values keep their digits */
    /* Moments of min(N, n), [max + 1]: the sums of P(N > k) and of (2k + 1) P(N > k) over k < n. */
    double *limited_mean;   /* E[min(N, n)] */
    double *limited_square; /* E[min(N, n)^2] */
    size_t support_count;
    uint32_t *support; /* [support_count] the n with P(N = n) > 0, ascending */
};

/* From a distribution of tokens. KM_BAD_INPUT when it has a problem, or reaches beyond KM_PMF_LIMIT tokens.
 */
enum km_status km_token_law_init(struct km_token_law *law, const struct km_distribution *distribution,
                                 struct km_error *error);
/* The same clipped at `max_tokens` >= 1, the mass above on it. 0 is KM_BAD_INPUT: nothing would be served. */
enum km_status km_token_law_init_limited(struct km_token_law *law, const struct km_distribution *distribution,
                                         uint64_t max_tokens, struct km_error *error);
/* The same law on fewer values, for work that grows with their number: every n up to 2048, then steps of a
 * 1024th. A mass between two values is split so that the mean is kept; E[N^2] changes by less than 3e-7 of
 * itself. */
void km_token_law_coarsen(struct km_token_law *coarse, const struct km_token_law *law);
void km_token_law_release(struct km_token_law *law);

/* E[min(N, x)] and E[min(N, x)^2] at real x >= 0, linear and quadratic between the integers as they are. */
double km_token_law_limited_mean(const struct km_token_law *law, double x);
double km_token_law_limited_square(const struct km_token_law *law, double x);

/* Smallest n with P(N > n) <= share. */
uint32_t km_token_law_quantile_above(const struct km_token_law *law, double share);

#endif
