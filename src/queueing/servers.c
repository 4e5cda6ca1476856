#include "queueing/servers.h"

#include <math.h>

enum km_status km_mmc_solve(const struct km_servers *queue, const struct km_wait_tail *tail,
                            struct km_queue_answer *out, struct km_error *error)
{
    *out = km_queue_answer_blank();
    km_wait_tail_blank(tail);
    enum km_status status = km_queue_check(queue->rate_per_s, tail, error);
    if (status == KM_OK && (!(queue->service_s > 0) || !isfinite(queue->service_s)))
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "service: must be finite and > 0, got %g",
                         queue->service_s);
    if (status == KM_OK && (queue->servers == 0 || queue->servers > KM_SERVERS_LIMIT))
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "servers: must be from 1 to %u, got %u",
                         KM_SERVERS_LIMIT, queue->servers);
    if (status != KM_OK)
        return status;
    double offered = queue->rate_per_s * queue->service_s, c = queue->servers;
    out->mean_batch = out->mean_batch_seen = 1;
    status = km_queue_judge(out, offered / c, c / queue->service_s, error);
    if (status != KM_OK)
        return status;
    double waits = km_erlang_c(offered, queue->servers), drain = (c - offered) / queue->service_s;
    out->mean_wait_s = waits / drain;
    out->var_wait_s = waits * (2 - waits) / (drain * drain);
    out->mean_response_s = out->mean_wait_s + queue->service_s;
    for (size_t i = 0; tail && i < tail->count; i++)
        tail->probability[i] = waits * exp(-drain * tail->t_s[i]);
    if (queue->servers == 1)
        out->idle = 1 - offered;
    return KM_OK;
}

static enum km_status check_cv(double arrival_cv, double service_cv, struct km_error *error)
{
    if (arrival_cv >= 0 && service_cv >= 0 && isfinite(arrival_cv) && isfinite(service_cv))
        return KM_OK;
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "coefficients of variation must be finite and >= 0");
}

enum km_status km_ggc_solve(const struct km_servers *queue, double arrival_cv, double service_cv,
                            struct km_queue_answer *out, struct km_error *error)
{
    *out = km_queue_answer_blank();
    enum km_status status = check_cv(arrival_cv, service_cv, error);
    if (status == KM_OK)
        status = km_mmc_solve(queue, NULL, out, error);
    if (status != KM_OK)
        return status;
    out->mean_wait_s *= (arrival_cv * arrival_cv + service_cv * service_cv) / 2;
    out->var_wait_s = (double)NAN;
    out->mean_response_s = out->mean_wait_s + queue->service_s;
    return KM_OK;
}

enum km_status km_mgc_solve(const struct km_servers *queue, double service_cv, struct km_queue_answer *out,
                            struct km_error *error)
{
    return km_ggc_solve(queue, 1, service_cv, out, error);
}

enum km_status km_gg1_solve(const struct km_servers *queue, double arrival_cv, double service_cv,
                            struct km_queue_answer *out, struct km_error *error)
{
    struct km_servers one = *queue;
    one.servers = 1; /* where Erlang C is rho, and the formula above is Kingman's */
    return km_ggc_solve(&one, arrival_cv, service_cv, out, error);
}

enum km_status km_gg1_bound(const struct km_servers *queue, double arrival_cv, double service_cv,
                            struct km_queue_answer *out, struct km_error *error)
{
    enum km_status status = km_gg1_solve(queue, arrival_cv, service_cv, out, error);
    if (status != KM_OK)
        return status;
    double gap_sd = arrival_cv / queue->rate_per_s, service_sd = service_cv * queue->service_s;
    out->mean_wait_s =
        queue->rate_per_s * (gap_sd * gap_sd + service_sd * service_sd) / (2 * (1 - out->utilization));
    out->mean_response_s = out->mean_wait_s + queue->service_s;
    return KM_OK;
}
