#include "queueing/single/exponent.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_roots.h>
#include <math.h>

/* Largest exponent of e^x worth forming. */
#define EXPONENT_LIMIT 600.0

/* (1 - e^{-x}) / x */
static double decay(double x)
{
    return fabs(x) < 1e-8 ? 1 - x / 2 : -expm1(-x) / x;
}

/* (1 - e^{-x} (1 + x)) / x^2, minus the derivative of decay() */
static double decay_slope(double x)
{
    if (fabs(x) < 0.02)
        return 0.5 + x * (-1.0 / 3 + x * (1.0 / 8 + x * (-1.0 / 30 + x * (1.0 / 144 - x / 840))));
    return (-expm1(-x) - x * exp(-x)) / (x * x);
}

/* g(s) = 1 - lambda E[S decay(s S)] */
static double g(double s, void *context)
{
    const struct km_mg1 *queue = context;
    const struct km_token_law *law = queue->tokens;
    double sum = 0;
    for (size_t i = 0; i < law->support_count; i++) {
        double service = queue->a_s * law->support[i] + queue->c_s;
        sum += law->pmf[law->support[i]] * service * decay(s * service);
    }
    return 1 - queue->rate_per_s * sum;
}

static double g_slope(const struct km_mg1 *queue, double s)
{
    const struct km_token_law *law = queue->tokens;
    double sum = 0;
    for (size_t i = 0; i < law->support_count; i++) {
        double service = queue->a_s * law->support[i] + queue->c_s;
        sum += law->pmf[law->support[i]] * service * service * decay_slope(s * service);
    }
    return queue->rate_per_s * sum;
}

struct km_exponent km_exponent_find(const struct km_mg1 *queue)
{
    struct km_mg1_moments m = km_mg1_moments(queue);
    struct km_mg1 copy = *queue;
    double lambda = queue->rate_per_s, drift = 1 - lambda * m.m1, low, high;
    double longest = queue->a_s * queue->tokens->max + queue->c_s;
    struct km_exponent out = {0, lambda * m.m2 / 2, true};
    if (fabs(drift) < 1e-14)
        return out;
    if (drift > 0) { /* e^x - 1 >= x + x^2/2 bounds the exponent; so does overflow */
        low = -2 * drift / (lambda * m.m2);
        low = fmax(low * (1 + 1e-9), -EXPONENT_LIMIT / longest);
        high = 0;
    } else { /* f(lambda) = lambda E[e^{-lambda S}] >= 0 */
        low = 0;
        high = lambda;
    }
    if (g(low, &copy) > 0 || g(high, &copy) < 0) {
        out.found = false;
        return out;
    }
    gsl_root_fsolver *solver = gsl_root_fsolver_alloc(gsl_root_fsolver_brent);
    gsl_function function = {g, &copy};
    double theta = low;
    out.found = solver && gsl_root_fsolver_set(solver, &function, low, high) == GSL_SUCCESS;
    for (int i = 0; out.found && i < 200; i++) {
        gsl_root_fsolver_iterate(solver);
        theta = gsl_root_fsolver_root(solver);
        double a = gsl_root_fsolver_x_lower(solver), b = gsl_root_fsolver_x_upper(solver);
        if (b - a <= 1e-14 * fabs(theta) || g(theta, &copy) == 0)
            break;
    }
    gsl_root_fsolver_free(solver);
    out.theta_per_s = theta;
    out.slope_s = g_slope(queue, theta);
    return out;
}
