#include "queueing/bulk/fixed.h"

#include "queueing/bulk/batch_arrivals.h"
#include "queueing/bulk/wiener_hopf.h"

#include <math.h>
#include <stdlib.h>

static enum km_status solve(const struct km_batch_law *law, double rate_per_s, uint32_t b,
                            struct km_queue_answer *out, struct km_fixed_batch_wait *batch_wait,
                            struct km_error *error)
{
    struct km_batch_moments service;
    km_batch_moments(law, b, b, &service);
    out->mean_batch = out->mean_batch_seen = b;
    enum km_status status = km_queue_judge(out, rate_per_s * service.m1 / b, b / service.m1, error);
    struct km_batch_arrivals arrivals;
    if (status == KM_OK)
        status = km_batch_arrivals_init(&arrivals, law, rate_per_s, b, b, error);
    if (status != KM_OK)
        return status;
    struct km_wiener_hopf walk;
    km_wiener_hopf_solve(&walk, arrivals.mass, arrivals.columns, b);
    double wait_s = walk.mean / rate_per_s;
    if (batch_wait) {
        batch_wait->mean_s = wait_s;
        batch_wait->none_behind = walk.empty;
        batch_wait->var_s = (walk.variance - walk.mean) / (rate_per_s * rate_per_s);
    }
    out->mean_wait_s = ((double)b - 1) / (2 * rate_per_s) + wait_s;
    out->mean_response_s = out->mean_wait_s + service.own_s;
    out->idle = 1 - out->utilization;
    free(walk.descent);
    km_batch_arrivals_release(&arrivals);
    return KM_OK;
}

enum km_status km_fixed_solve(const struct km_batch_law *law, double rate_per_s, uint64_t batch,
                              const struct km_wait_tail *tail, struct km_queue_answer *out,
                              struct km_fixed_batch_wait *batch_wait, struct km_error *error)
{
    *out = km_queue_answer_blank();
    km_wait_tail_blank(tail);
    enum km_status status = km_batch_law_check(law, error);
    if (status == KM_OK)
        status = km_queue_check(rate_per_s, tail, error);
    if (status == KM_OK && (batch == 0 || batch > KM_BATCH_LIMIT))
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "batch size: must be from 1 to %u, got %llu",
                         KM_BATCH_LIMIT, (unsigned long long)batch);
    if (status != KM_OK)
        return status;
    struct km_token_law coarse;
    const struct km_batch_law manageable = km_batch_law_manageable(law, &coarse);
    status = solve(&manageable, rate_per_s, (uint32_t)batch, out, batch_wait, error);
    km_token_law_release(&coarse);
    return status;
}
