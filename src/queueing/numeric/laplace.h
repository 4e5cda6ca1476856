/* Numerical inversion of a Laplace transform: the Euler method of Abate and Whitt 1995,
 * "Numerical inversion of Laplace transforms of probability distributions", doi:10.1287/ijoc.7.1.36. For
 * tails of probability laws its discretisation error is below 1e-8. Where the function has kinks the
 * alternating series converges slowly, so terms are added until its Euler averages agree to 2e-5 relative or
 * 1e-8, at most 400. */
#ifndef KM_QUEUEING_NUMERIC_LAPLACE_H
#define KM_QUEUEING_NUMERIC_LAPLACE_H

#include "base/complex.h"

/* f(t), t > 0, of the f whose transform `transform(s, context)` is. */
double km_laplace_invert(double complex (*transform)(double complex s, void *context), void *context,
                         double t);

#endif
