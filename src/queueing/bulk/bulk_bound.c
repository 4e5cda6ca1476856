#include "queueing/bulk/bulk_bound.h"

#include "queueing/answer.h"

#include <math.h>

enum km_status km_bulk_bound(double rate_per_s, double alpha_s, double tau0_s, double *mean_response_s,
                             struct km_error *error)
{
    struct km_queue_answer answer = km_queue_answer_blank();
    *mean_response_s = (double)NAN;
    enum km_status status = km_queue_check(rate_per_s, NULL, error);
    if (status == KM_OK && (!(alpha_s >= 0) || !(tau0_s >= 0) || !isfinite(alpha_s) || !isfinite(tau0_s) ||
                            alpha_s + tau0_s <= 0))
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                         "alpha and tau0 must be finite and >= 0, and not both 0");
    double x = rate_per_s * alpha_s;
    if (status == KM_OK)
        status = km_queue_judge(&answer, x, alpha_s > 0 ? 1 / alpha_s : (double)INFINITY, error);
    if (status != KM_OK)
        return status;
    double phi0 = (alpha_s + tau0_s) / (2 * (1 - x)) *
                  (1 + 2 * rate_per_s * tau0_s + (1 - rate_per_s * tau0_s) / (1 + x));
    double phi1 = 1.5 * tau0_s / (1 - x) + alpha_s / 2 * (x + 2) / (1 - x * x);
    *mean_response_s = fmin(phi0, phi1);
    return KM_OK;
}
