/* Several servers behind one queue: replicas of a cluster, seen from far.
 *
 *   M/M/c   exact. C = Erlang C, drain = c / E[S] - lambda:
 *           E[W] = C / drain,  Var[W] = C (2 - C) / drain^2,  P(W > t) = C e^{-drain t}
 *   G/G/c   approximate. E[W] = (ca^2 + cs^2) / 2 * E[W of M/M/c]
 *           (Allen, Probability, Statistics and Queueing Theory, 1978, after Cunneen; Kingman 1961,
 *           doi:10.1017/S0305004100036094, for one server; exact for M/G/1). M/G/c is ca = 1.
 * ca, cs: coefficients of variation of the gaps between arrivals and of service. Beyond the mean G/G/c leaves
 * everything undefined. */
#ifndef KM_QUEUEING_SERVERS_H
#define KM_QUEUEING_SERVERS_H

#include "queueing/answer.h"
#include "queueing/erlang.h"

struct km_servers {
    double rate_per_s, service_s; /* > 0 */
    uint32_t servers;             /* 1 .. KM_SERVERS_LIMIT */
};

/* `tail` may be NULL. */
enum km_status km_mmc_solve(const struct km_servers *queue, const struct km_wait_tail *tail,
                            struct km_queue_answer *out, struct km_error *error);
/* arrival_cv, service_cv >= 0. */
enum km_status km_ggc_solve(const struct km_servers *queue, double arrival_cv, double service_cv,
                            struct km_queue_answer *out, struct km_error *error);
enum km_status km_mgc_solve(const struct km_servers *queue, double service_cv, struct km_queue_answer *out,
                            struct km_error *error);
/* Kingman's approximation for one server, rho / (1 - rho) * (ca^2 + cs^2) / 2 * E[S]; queue->servers is 1. */
enum km_status km_gg1_solve(const struct km_servers *queue, double arrival_cv, double service_cv,
                            struct km_queue_answer *out, struct km_error *error);
/* Kingman's upper bound on E[W] of G/G/1, lambda (Var[gap] + Var[S]) / (2 (1 - rho)), as an answer with that
 * mean wait. */
enum km_status km_gg1_bound(const struct km_servers *queue, double arrival_cv, double service_cv,
                            struct km_queue_answer *out, struct km_error *error);

#endif
