/* Servers behind one queue, first come first served, request by request: what `kingman queue` prints beside
 * the formulas of queueing/servers.h. A request starts on the server that is free first (Kiefer and Wolfowitz
 * 1955, On the Theory of Queues with Many Servers, Trans. Amer. Math. Soc. 78), so no more is kept than when
 * each is. Two moments do not make a law: gaps and times in service are constant (cv 0) or of a gamma law
 * (cv 1: exponential). The event core has no such system: its replicas have queues of their own, and steps. */
#ifndef KM_SCENARIO_SERVERS_SIMULATION_H
#define KM_SCENARIO_SERVERS_SIMULATION_H

#include "queueing/servers.h"
#include "scenario/queue_simulation.h"

struct km_servers_system {
    struct km_servers queue;
    const double *wait_tail_s; /* [wait_tail_count] times t of P(W > t) */
    size_t wait_tail_count;    /* at most KM_QUEUE_MAX_TAILS */
    uint64_t requests;         /* fewer when they would not fit into 4e9 times the mean time in service */
    uint64_t seed;
};

/* A queue that km_servers_solve() answers with KM_OK. mean_square_wait_s stays undefined. */
void km_servers_simulate(const struct km_servers_system *system, struct km_queue_simulated *out);

#endif
