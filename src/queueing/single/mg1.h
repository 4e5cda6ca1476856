/* One request at a time: the M/G/1 queue whose service time is linear in the tokens, S = a N + c.
 *
 *   rho    = lambda E[S] < 1
 *   E[W]   = lambda E[S^2] / (2 (1 - rho))
 *   E[W^2] = 2 E[W]^2 + lambda E[S^3] / (3 (1 - rho))
 *   E[R]   = E[W] + E[S]
 * (Pollaczek-Khinchine; Kleinrock, Queueing Systems vol. 1, 1975, section 5.7; with the token limit as the
 * clip of N: Yang, Jiao and Xu, arXiv 2407.05347). The tail is exact: queueing/single/renewal.h. */
#ifndef KM_QUEUEING_SINGLE_MG1_H
#define KM_QUEUEING_SINGLE_MG1_H

#include "queueing/answer.h"
#include "queueing/token_law.h"

struct km_mg1 {
    double rate_per_s;
    double a_s, c_s;                   /* seconds a token; seconds a request. Both >= 0, not both 0 */
    const struct km_token_law *tokens; /* borrowed */
};

/* E[S], E[S^2], E[S^3]. */
struct km_mg1_moments {
    double m1, m2, m3;
};

enum km_status km_mg1_check(const struct km_mg1 *queue, const struct km_wait_tail *tail,
                            struct km_error *error);
struct km_mg1_moments km_mg1_moments(const struct km_mg1 *queue);

/* `tail` may be NULL. */
enum km_status km_mg1_solve(const struct km_mg1 *queue, const struct km_wait_tail *tail,
                            struct km_queue_answer *out, struct km_error *error);

#endif
