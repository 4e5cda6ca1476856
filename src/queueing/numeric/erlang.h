/* Erlang's formulas: c servers, Poisson arrivals, offered load a = lambda E[S] in erlangs.
 *
 *   B(0) = 1,  B(n) = a B(n-1) / (n + a B(n-1))      loss without a waiting room, any service law (M/G/c/c)
 *   C = B / (1 - rho (1 - B)),  rho = a / c < 1      probability of waiting, exponential service (M/M/c)
 * (Erlang 1917; the recursion, which cannot overflow: Jagerman 1974; Cooper, Introduction to Queueing Theory,
 * 1981, section 3). For admission: how many places keep the loss below a target. */
#ifndef KM_QUEUEING_NUMERIC_ERLANG_H
#define KM_QUEUEING_NUMERIC_ERLANG_H

#include "base/error.h"

#include <stdint.h>

#define KM_SERVERS_LIMIT (1u << 20)

/* offered > 0 and finite, servers 0 .. KM_SERVERS_LIMIT (asserted). */
double km_erlang_b(double offered, uint32_t servers);
/* 1 when offered >= servers: everybody waits. */
double km_erlang_c(double offered, uint32_t servers);

/* Smallest number of servers with B <= loss, 0 < loss < 1. KM_BAD_INPUT for arguments out of range, KM_NO
 * when KM_SERVERS_LIMIT servers are not enough. */
enum km_status km_erlang_b_servers(double offered, double loss, uint32_t *servers, struct km_error *error);

#endif
