/* The exponent that governs the far end of an M/G/1 queue.
 *
 * The Laplace transform of H (queueing/single/renewal.h) is 1 / f(s), f(s) = s - lambda (1 - E[e^{-sS}]), and far
 * out H(x) follows the two rightmost real zeros of f: 0 and theta,
 *
 *   H(x) ~ K + (e^{theta x} - 1) / (theta g'(theta)),   g(s) = f(s) / s.
 *
 * theta < 0 below saturation, where eta = -theta is the Cramer-Lundberg exponent
 *   lambda (E[e^{eta S}] - 1) = eta,   P(W > t) ~ C e^{-eta t},   C = (1 - rho) / (lambda E[S e^{eta S}] - 1)
 * (Asmussen, Applied Probability and Queues, 2003, chapter XIII, theorem 5.3); theta > 0 beyond it, and 0 at
 * rho = 1, where every expression here keeps its limit. */
#ifndef KM_QUEUEING_SINGLE_CRAMER_LUNDBERG_H
#define KM_QUEUEING_SINGLE_CRAMER_LUNDBERG_H

#include "queueing/single/exponent.h"

struct km_asymptote {
    double eta_per_s, coefficient;
};

/* KM_NO when there is none: an unstable queue, or tokens without a limit (a lognormal has no exponential
 * tail). */
enum km_status km_mg1_asymptote(const struct km_mg1 *queue, struct km_asymptote *out, struct km_error *error);

#endif
