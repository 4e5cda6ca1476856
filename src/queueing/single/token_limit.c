#include "queueing/single/token_limit.h"

#include <math.h>

static double mean_service_s(const struct km_mg1 *queue, uint32_t n)
{
    return queue->a_s * queue->tokens->limited_mean[n] + queue->c_s;
}

struct km_token_limit km_token_limit_at(const struct km_mg1 *queue, uint32_t n)
{
    const struct km_token_law *law = queue->tokens;
    double a = queue->a_s, c = queue->c_s, lambda = queue->rate_per_s, m1 = mean_service_s(queue, n);
    double m2 = a * a * law->limited_square[n] + 2 * a * c * law->limited_mean[n] + c * c;
    struct km_token_limit out = {n, (double)NAN, lambda * m1, law->survival[n], law->limited_mean[n]};
    if (out.utilization < 1)
        out.mean_wait_s = lambda * m2 / (2 * (1 - out.utilization));
    return out;
}

uint32_t km_token_limit_stable(const struct km_mg1 *queue)
{
    uint32_t low = 0, high = queue->tokens->max;
    while (low < high) {
        uint32_t middle = high - (high - low) / 2;
        if (queue->rate_per_s * mean_service_s(queue, middle) < 1)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

enum km_status km_token_limit_best(const struct km_mg1 *queue, enum km_limit_objective objective,
                                   double weight, struct km_token_limit *out, struct km_error *error)
{
    *out = (struct km_token_limit){.mean_wait_s = (double)NAN};
    enum km_status status = km_mg1_check(queue, NULL, error);
    if (status != KM_OK)
        return status;
    if (!(weight >= 0) || !isfinite(weight) || (objective == KM_LIMIT_CLIP && weight > 1))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       objective == KM_LIMIT_CLIP ? "clipped share: must be from 0 to 1, got %g"
                                                  : "value of a token: must be finite and >= 0, got %g",
                       weight);
    uint32_t stable = km_token_limit_stable(queue);
    if (stable == 0)
        return km_fail(error, KM_NO, NULL, 0, 0,
                       "unstable with any token limit: rho = %.6g when every answer has one token",
                       km_token_limit_at(queue, 1).utilization);
    if (objective == KM_LIMIT_CLIP) {
        uint32_t n = km_token_law_quantile_above(queue->tokens, weight);
        *out = km_token_limit_at(queue, n ? n : 1);
        if (out->utilization >= 1)
            return km_fail(
                error, KM_NO, NULL, 0, 0,
                "unstable: rho = %.6g at the limit of %u tokens; stable up to %u, which clips %.3g",
                out->utilization, out->max_tokens, stable, queue->tokens->survival[stable]);
        return KM_OK;
    }
    double best = HUGE_VAL;
    for (uint32_t n = 1; n <= stable; n++) {
        struct km_token_limit at = km_token_limit_at(queue, n);
        double cost = at.mean_wait_s - weight * at.mean_tokens;
        if (cost < best) {
            best = cost;
            *out = at;
        }
    }
    return KM_OK;
}
