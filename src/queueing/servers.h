/* Several servers behind one queue, first come first served: replicas of a cluster, seen from far.
 *
 * lambda: arrivals a second; c servers; S: time in service; ca, cs: coefficients of variation of the gaps
 * between arrivals and of S; a = lambda E[S] erlangs, rho = a / c < 1; C: Erlang's (erlang.h).
 *
 *   M/M/c    ca = cs = 1, exact. drain = c / E[S] - lambda:
 *            E[W] = C / drain,  Var[W] = C (2 - C) / drain^2,  P(W > t) = C e^{-drain t}
 *            P(nobody there) = e^{-a} / (P(N < c) + P(N = c) / (1 - rho)),  N Poisson of mean a
 *            (Gross and Harris, Fundamentals of Queueing Theory)
 *   M/G/1    ca = 1, c = 1, exact: rho E[S] (1 + cs^2) / (2 (1 - rho))  (Pollaczek and Khinchine)
 *   G/G/1    Kingman's approximation: rho / (1 - rho) * (ca^2 + cs^2) / 2 * E[S]
 *            (Kingman 1961, doi:10.1017/S0305004100036094: the limit as rho -> 1)
 *   G/G/c    that of Allen and Cunneen: (ca^2 + cs^2) / 2 * E[W of M/M/c]
 *            (Allen, Probability, Statistics and Queueing Theory, 1978)
 *
 * All are the last formula, which equals the one that applies; beyond the mean, what is not exact is NAN. With
 * one server the share of idle time is 1 - rho, whatever varies.
 *
 * No wait is longer on average than
 *
 *   E[W] <= lambda (Var[gap] + Var[S] / c + E[S]^2 (c - 1) / c^2) / (2 (1 - rho))
 *
 * (Kingman 1970, Inequalities in the Theory of Queues, J. R. Statist. Soc. B 32; with c = 1 Kingman's bound of
 * 1962). It follows from the workloads w_1 <= ... <= w_c that an arrival finds: in the long run the sum of
 * their squares stays as it is, the w_i add up to c w_1 at least, and the servers' idle times, of mean
 * c E[gap] - E[S] in all from one arrival to the next, have squares that add up to the squared mean over c at
 * least. */
#ifndef KM_QUEUEING_SERVERS_H
#define KM_QUEUEING_SERVERS_H

#include "queueing/answer.h"
#include "queueing/numeric/erlang.h"

struct km_servers {
    double rate_per_s, service_s;  /* > 0: arrivals, mean time in service */
    uint32_t servers;              /* 1 .. KM_SERVERS_LIMIT */
    double arrival_cv, service_cv; /* >= 0 */
};

/* Which of the formulas above gives the mean: the first that applies. */
enum km_servers_formula { KM_ERLANG_C, KM_POLLACZEK_KHINCHINE, KM_KINGMAN, KM_ALLEN_CUNNEEN };
/* "erlang_c", "pollaczek_khinchine", "kingman", "allen_cunneen". */
extern const char *const km_servers_formula_names[];

enum km_servers_formula km_servers_formula(const struct km_servers *queue);
/* `tail` may be NULL. */
enum km_status km_servers_solve(const struct km_servers *queue, const struct km_wait_tail *tail,
                                struct km_queue_answer *out, struct km_error *error);
/* The bound on E[W], seconds. Of a queue that km_servers_solve() answers with KM_OK. */
double km_servers_wait_bound_s(const struct km_servers *queue);

#endif
