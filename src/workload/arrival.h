/* Renewal arrival processes: gaps between requests, independent and identically distributed, by rate (the
 * inverse of the mean gap) and, where the family has one, coefficient of variation.
 *
 * poisson: exponential gaps. gamma: shape 1/cv^2. weibull: the shape k that solves
 * Gamma(1 + 2/k) / Gamma(1 + 1/k)^2 = 1 + cv^2, found numerically. constant: equal gaps. */
#ifndef KM_WORKLOAD_ARRIVAL_H
#define KM_WORKLOAD_ARRIVAL_H

#include "workload/workload.h"

struct km_arrival {
    enum km_arrival_process process; /* poisson, gamma, weibull or constant */
    double shape, scale_s;
};

/* rate_per_s > 0; cv > 0 for gamma and weibull. */
void km_arrival_init(struct km_arrival *arrival, enum km_arrival_process process, double rate_per_s,
                     double cv);
/* Seconds to the next request: >= 0, never NaN. */
double km_arrival_gap_s(const struct km_arrival *arrival, gsl_rng *rng);

/* The time t at which a process whose rate swings, rate (1 - swing cos(2 pi t / period_s)), has counted as
 * many arrivals as one of the constant rate in `operational_s`. Renewal gaps drawn in operational time and
 * carried over so make a Poisson process the nonhomogeneous one of that rate (Cinlar 1975, Introduction to
 * Stochastic Processes, section 4.7). 0 <= swing <= 1; increasing. */
double km_arrival_swung_s(double operational_s, double swing, double period_s);

/* The shape of a Weibull distribution with this coefficient of variation, 0 < cv <= 1000. */
double km_weibull_shape(double cv);

#endif
