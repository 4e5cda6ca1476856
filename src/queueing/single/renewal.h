/* The renewal function of M/G/1 workload,
 *
 *   H(x) = 1 + lambda * integral_0^x H(x - u) P(S > u) du          (Volterra, second kind)
 *
 * from which the whole waiting-time law follows: P(W > t) = 1 - (1 - rho) H(t) when rho < 1 (Takacs 1962;
 * Beekman's convolution formula), and with clients that leave after waiting tau, at any load, everything in
 * queueing/single/mg1_impatient.h.
 *
 * H is taken piecewise linear on a grid whose step divides the longest service time, the kernel's integrals
 * are exact (limited moments of N), so the error is of second order; the grid is halved and
 * Richardson-extrapolated until the values stand still to 1e-8 or a grid of 8192 steps is reached. Past about
 * twenty longest services H is what its two rightmost zeros say (queueing/single/cramer_lundberg.h). Where 1 - (1 -
 * rho) H(t) would drown in rounding (below 1e-8), the tail is the Cramer-Lundberg asymptote. */
#ifndef KM_QUEUEING_SINGLE_RENEWAL_H
#define KM_QUEUEING_SINGLE_RENEWAL_H

#include "queueing/single/mg1.h"

/* At one x: H, and the integrals of H(u) and of u H(u) over 0..x. */
struct km_renewal_value {
    double h, integral, moment;
};

/* For `count` points x >= 0 at once. Points where H would overflow a double get h = HUGE_VAL. */
void km_renewal_evaluate(const struct km_mg1 *queue, const double *x, size_t count,
                         struct km_renewal_value *out);
/* P(W > t); rho < 1. */
void km_renewal_wait_tail(const struct km_mg1 *queue, const struct km_wait_tail *tail);

#endif
