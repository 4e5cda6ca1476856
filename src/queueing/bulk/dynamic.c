#include "queueing/bulk/dynamic_parts.h"

#include <math.h>

/* What one more request adds to a large batch. */
static double marginal_s(const struct km_batch_law *law)
{
    return law->k1_s + law->k3_s * (law->elastic ? law->tokens->mean : law->tokens->max);
}

static enum km_status judge_unlimited(const struct km_batch_law *law, double rate_per_s,
                                      struct km_queue_answer *out, struct km_error *error)
{
    if (!law->elastic && law->k3_s > 0 && !law->tokens->bounded) {
        out->utilization = HUGE_VAL;
        out->stable_below_per_s = 0;
        return km_fail(
            error, KM_NO, NULL, 0, 0,
            "unstable: with k3 > 0 and no limit on the tokens ever larger batches take ever longer "
            "at any rate; give a token limit or a batch cap");
    }
    double marginal = marginal_s(law);
    return km_queue_judge(out, rate_per_s * marginal, marginal > 0 ? 1 / marginal : HUGE_VAL, error);
}

static enum km_status solve(const struct km_batch_law *law, double rate_per_s, uint64_t cap,
                            const struct km_wait_tail *tail, struct km_queue_answer *out,
                            struct km_error *error)
{
    bool fits = false;
    if (cap == KM_NO_CAP) {
        enum km_status status = judge_unlimited(law, rate_per_s, out, error);
        if (status == KM_OK)
            status = km_dynamic_solve_unlimited(law, rate_per_s, KM_BATCH_LIMIT, tail, out, &fits, error);
        if (status == KM_OK && !fits)
            status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                             "rho = %.6g: batches would pass %u requests, the largest that are solved for; "
                             "give a batch cap",
                             out->utilization, KM_BATCH_LIMIT);
        return status;
    }
    double longest_s = km_batch_mean_s(law, (uint32_t)cap);
    enum km_status status =
        km_queue_judge(out, rate_per_s * longest_s / (double)cap, (double)cap / longest_s, error);
    if (status == KM_OK && rate_per_s * marginal_s(law) < 1)
        status = km_dynamic_solve_unlimited(law, rate_per_s, (uint32_t)cap, tail, out, &fits, error);
    if (status == KM_OK && !fits)
        status = km_dynamic_solve_capped(law, rate_per_s, (uint32_t)cap, tail, out, error);
    return status;
}

enum km_status km_dynamic_solve(const struct km_batch_law *law, double rate_per_s, uint64_t cap,
                                const struct km_wait_tail *tail, struct km_queue_answer *out,
                                struct km_error *error)
{
    *out = km_queue_answer_blank();
    km_wait_tail_blank(tail);
    enum km_status status = km_batch_law_check(law, error);
    if (status == KM_OK)
        status = km_queue_check(rate_per_s, tail, error);
    if (status == KM_OK && cap != KM_NO_CAP && (cap == 0 || cap > KM_BATCH_LIMIT))
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "batch cap: must be from 1 to %u, got %llu",
                         KM_BATCH_LIMIT, (unsigned long long)cap);
    if (status != KM_OK)
        return status;
    struct km_token_law coarse;
    const struct km_batch_law manageable = km_batch_law_manageable(law, &coarse);
    status = solve(&manageable, rate_per_s, cap, tail, out, error);
    km_token_law_release(&coarse);
    return status;
}
