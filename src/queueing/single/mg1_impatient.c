#include "queueing/single/mg1_impatient.h"

#include "base/memory.h"
#include "queueing/single/cramer_lundberg.h"
#include "queueing/single/renewal.h"

#include <math.h>
#include <stdlib.h>

/* H(tau) beyond doubles: the last wait is always next to tau, tau - W | served is exponential. */
static void fill_saturated(double theta_per_s, double patience_s, const struct km_wait_tail *tail,
                           struct km_queue_answer *out)
{
    out->idle = 0;
    out->loss = 1 - 1 / out->utilization;
    out->mean_wait_s = patience_s - 1 / theta_per_s;
    out->var_wait_s = 1 / (theta_per_s * theta_per_s);
    for (size_t i = 0; tail && i < tail->count; i++)
        tail->probability[i] =
            tail->t_s[i] < patience_s ? -expm1(-theta_per_s * (patience_s - tail->t_s[i])) : 0;
}

enum km_status km_mg1_impatient_solve(const struct km_mg1 *queue, double patience_s,
                                      const struct km_wait_tail *tail, struct km_queue_answer *out,
                                      struct km_error *error)
{
    *out = km_queue_answer_blank();
    km_wait_tail_blank(tail);
    enum km_status status = km_mg1_check(queue, tail, error);
    if (status == KM_OK && (!(patience_s >= 0) || !isfinite(patience_s)))
        status =
            km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "patience: must be finite and >= 0, got %g", patience_s);
    if (status != KM_OK)
        return status;
    double service_s = km_mg1_moments(queue).m1;
    out->utilization = queue->rate_per_s * service_s;
    out->stable = true;
    out->stable_below_per_s = HUGE_VAL;
    out->mean_batch = out->mean_batch_seen = 1;

    size_t count = tail ? tail->count : 0;
    double *x = km_alloc((count + 1) * sizeof *x);
    struct km_renewal_value *values = km_alloc((count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++)
        x[i] = fmin(tail->t_s[i], patience_s);
    x[count] = patience_s;
    km_renewal_evaluate(queue, x, count + 1, values);
    struct km_renewal_value end = values[count];
    if (isinf(end.h)) {
        fill_saturated(km_exponent_find(queue).theta_per_s, patience_s, tail, out);
    } else {
        out->idle = 1 / (1 + out->utilization * end.h);
        /* 1 - P0 H = (1 - (1 - rho) H) / (1 + rho H) */
        out->loss = (1 - (1 - out->utilization) * end.h) * out->idle;
        out->loss = out->loss > 0 ? out->loss : 0;
        out->mean_wait_s = patience_s - end.integral / end.h;
        double square = patience_s * patience_s - 2 * end.moment / end.h;
        out->var_wait_s = fmax(square - out->mean_wait_s * out->mean_wait_s, 0);
        for (size_t i = 0; i < count; i++)
            tail->probability[i] = fmax(1 - values[i].h / end.h, 0);
    }
    out->mean_response_s = out->mean_wait_s + service_s;
    free(x);
    free(values);
    return KM_OK;
}
