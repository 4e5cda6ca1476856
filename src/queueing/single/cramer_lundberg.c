#include "queueing/single/cramer_lundberg.h"

#include <math.h>

enum km_status km_mg1_asymptote(const struct km_mg1 *queue, struct km_asymptote *out, struct km_error *error)
{
    struct km_queue_answer answer;
    *out = (struct km_asymptote){(double)NAN, (double)NAN};
    enum km_status status = km_mg1_solve(queue, NULL, &answer, error);
    if (status != KM_OK)
        return status;
    if (!queue->tokens->bounded)
        return km_fail(error, KM_NO, NULL, 0, 0,
                       "no exponential tail is known without a limit on the tokens");
    struct km_exponent exponent = km_exponent_find(queue);
    if (!exponent.found)
        return km_fail(error, KM_NO, NULL, 0, 0, "the exponent of the tail is beyond double precision");
    out->eta_per_s = -exponent.theta_per_s;
    out->coefficient = (1 - answer.utilization) / (out->eta_per_s * exponent.slope_s);
    return KM_OK;
}
