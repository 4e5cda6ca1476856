#include "queueing/single/mg1.h"

#include <math.h>

enum km_status km_mg1_check(const struct km_mg1 *queue, const struct km_wait_tail *tail,
                            struct km_error *error)
{
    if (!(queue->a_s >= 0) || !(queue->c_s >= 0) || !isfinite(queue->a_s) || !isfinite(queue->c_s))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "service: a and c must be finite and >= 0");
    if (queue->a_s + queue->c_s <= 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "service: takes no time: a and c are both 0");
    return km_queue_check(queue->rate_per_s, tail, error);
}

struct km_mg1_moments km_mg1_moments(const struct km_mg1 *queue)
{
    const struct km_token_law *law = queue->tokens;
    struct km_mg1_moments m = {0};
    for (size_t i = 0; i < law->support_count; i++) {
        double s = queue->a_s * law->support[i] + queue->c_s, p = law->pmf[law->support[i]];
        m.m1 += p * s;
        m.m2 += p * s * s;
        m.m3 += p * s * s * s;
    }
    return m;
}
