#include "queueing/single/mg1.h"

#include "queueing/single/renewal.h"

enum km_status km_mg1_solve(const struct km_mg1 *queue, const struct km_wait_tail *tail,
                            struct km_queue_answer *out, struct km_error *error)
{
    *out = km_queue_answer_blank();
    km_wait_tail_blank(tail);
    enum km_status status = km_mg1_check(queue, tail, error);
    if (status != KM_OK)
        return status;
    struct km_mg1_moments s = km_mg1_moments(queue);
    double lambda = queue->rate_per_s, rho = lambda * s.m1;
    out->mean_batch = out->mean_batch_seen = 1;
    status = km_queue_judge(out, rho, 1 / s.m1, error);
    if (status != KM_OK)
        return status;
    out->mean_wait_s = lambda * s.m2 / (2 * (1 - rho));
    out->var_wait_s = out->mean_wait_s * out->mean_wait_s + lambda * s.m3 / (3 * (1 - rho));
    out->mean_response_s = out->mean_wait_s + s.m1;
    out->idle = 1 - rho;
    if (tail && tail->count)
        km_renewal_wait_tail(queue, tail);
    return KM_OK;
}
