#include "queueing/answer.h"

#include <math.h>

struct km_queue_answer km_queue_answer_blank(void)
{
    const double none = (double)NAN;
    return (struct km_queue_answer){.utilization = none,
                                    .stable_below_per_s = none,
                                    .mean_wait_s = none,
                                    .var_wait_s = none,
                                    .mean_response_s = none,
                                    .mean_batch = none,
                                    .mean_batch_seen = none,
                                    .idle = none,
                                    .loss = 0};
}

void km_wait_tail_blank(const struct km_wait_tail *tail)
{
    for (size_t i = 0; tail && i < tail->count; i++)
        tail->probability[i] = (double)NAN;
}

enum km_status km_queue_check(double rate_per_s, const struct km_wait_tail *tail, struct km_error *error)
{
    if (!(rate_per_s > 0) || !isfinite(rate_per_s))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "arrival rate: must be finite and > 0, got %g",
                       rate_per_s);
    for (size_t i = 0; tail && i < tail->count; i++)
        if (!(tail->t_s[i] >= 0) || !isfinite(tail->t_s[i]))
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "waiting time of a tail: must be finite and >= 0, got %g", tail->t_s[i]);
    return KM_OK;
}

enum km_status km_queue_judge(struct km_queue_answer *answer, double utilization, double stable_below_per_s,
                              struct km_error *error)
{
    answer->utilization = utilization;
    answer->stable_below_per_s = stable_below_per_s;
    answer->stable = utilization < 1;
    if (answer->stable)
        return KM_OK;
    return km_fail(error, KM_NO, NULL, 0, 0, "unstable: rho = %.6g; stable below lambda = %.6g per s",
                   utilization, stable_below_per_s);
}
