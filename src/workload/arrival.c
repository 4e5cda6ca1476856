#include "workload/arrival.h"

#include "base/memory.h"

#include <gsl/gsl_randist.h>
#include <gsl/gsl_roots.h>
#include <gsl/gsl_sf_gamma.h>
#include <math.h>

/* Shapes that bracket every cv from 1e-5 to 1000. */
#define SHAPE_MIN 0.02
#define SHAPE_MAX 1e6

/* ln of (E[X^2] / E[X]^2) / (1 + cv^2), falling in the logarithm of the shape. */
static double excess(double log_shape, void *cv)
{
    double shape = exp(log_shape), want = *(const double *)cv;
    return gsl_sf_lngamma(1 + 2 / shape) - 2 * gsl_sf_lngamma(1 + 1 / shape) - log1p(want * want);
}

double km_weibull_shape(double cv)
{
    /* Narrow distributions approach a Gumbel: cv = pi / (sqrt(6) shape); below this the solver's function is
     * lost in rounding. */
    if (cv < 1e-4)
        return M_PI / (sqrt(6) * cv);
    gsl_function function = {.function = excess, .params = &cv};
    gsl_root_fsolver *solver = gsl_root_fsolver_alloc(gsl_root_fsolver_brent);
    if (!solver)
        km_out_of_memory();
    gsl_root_fsolver_set(solver, &function, log(SHAPE_MIN), log(SHAPE_MAX));
    for (int i = 0; i < 200; i++) {
        gsl_root_fsolver_iterate(solver);
        if (gsl_root_test_interval(gsl_root_fsolver_x_lower(solver), gsl_root_fsolver_x_upper(solver), 1e-14,
                                   0) == GSL_SUCCESS)
            break;
    }
    double shape = exp(gsl_root_fsolver_root(solver));
    gsl_root_fsolver_free(solver);
    return shape;
}

void km_arrival_init(struct km_arrival *arrival, enum km_arrival_process process, double rate_per_s,
                     double cv)
{
    double mean_s = 1 / rate_per_s;
    *arrival = (struct km_arrival){.process = process, .shape = 1, .scale_s = mean_s};
    if (process == KM_ARRIVAL_GAMMA) {
        arrival->shape = 1 / (cv * cv);
        arrival->scale_s = mean_s * cv * cv;
    } else if (process == KM_ARRIVAL_WEIBULL) {
        arrival->shape = km_weibull_shape(cv);
        arrival->scale_s = mean_s * exp(-gsl_sf_lngamma(1 + 1 / arrival->shape));
    }
}

double km_arrival_gap_s(const struct km_arrival *arrival, gsl_rng *rng)
{
    switch (arrival->process) {
    case KM_ARRIVAL_POISSON:
        return gsl_ran_exponential(rng, arrival->scale_s);
    case KM_ARRIVAL_GAMMA:
        return gsl_ran_gamma(rng, arrival->shape, arrival->scale_s);
    case KM_ARRIVAL_WEIBULL:
        return gsl_ran_weibull(rng, arrival->scale_s, arrival->shape);
    default:
        return arrival->scale_s;
    }
}

/* t - swing P / (2 pi) sin(2 pi t / P) = u, Kepler's equation, by Newton's method kept inside a bracket. */
double km_arrival_swung_s(double operational_s, double swing, double period_s)
{
    double amplitude_s = swing * period_s / (2 * M_PI), turn = 2 * M_PI / period_s;
    double low = operational_s - amplitude_s, high = operational_s + amplitude_s, t = operational_s;
    for (int i = 0; i < 100; i++) {
        double excess = t - amplitude_s * sin(turn * t) - operational_s;
        if (excess > 0)
            high = t;
        else
            low = t;
        double slope = 1 - swing * cos(turn * t), next = slope > 0 ? t - excess / slope : low;
        if (!(next > low && next < high))
            next = low + (high - low) / 2;
        if (fabs(next - t) <= 1e-13 * (period_s + t))
            return next;
        t = next;
    }
    return t;
}
