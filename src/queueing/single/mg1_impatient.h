/* M/G/1 with impatient clients: who has waited tau without being served leaves (M/G/1+D). Any load.
 *
 * With H of queueing/single/renewal.h:
 *   P0   = 1 / (1 + rho H(tau))                     the server is idle
 *   loss = 1 - P0 H(tau)
 *   P(W > t | served) = 1 - H(t) / H(tau), t <= tau; hence E[W | served] = tau - integral_0^tau H / H(tau)
 * (Baccelli, Boyer and Hebuterne 1984, doi:10.2307/1427345; as used in arXiv 2407.05347). tau = 0 is the loss
 * system M/G/1/1: loss = rho / (1 + rho). All waits and responses are those of the served. */
#ifndef KM_QUEUEING_SINGLE_MG1_IMPATIENT_H
#define KM_QUEUEING_SINGLE_MG1_IMPATIENT_H

#include "queueing/single/mg1.h"

/* `patience_s` >= 0 and finite. Never KM_NO: the queue is always stable; utilization is the offered load. */
enum km_status km_mg1_impatient_solve(const struct km_mg1 *queue, double patience_s,
                                      const struct km_wait_tail *tail, struct km_queue_answer *out,
                                      struct km_error *error);

#endif
