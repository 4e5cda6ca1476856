#include "queueing/servers.h"

#include "workload/distribution.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <math.h>

const char *const km_servers_formula_names[] = {
    [KM_ERLANG_C] = "erlang_c",
    [KM_POLLACZEK_KHINCHINE] = "pollaczek_khinchine",
    [KM_KINGMAN] = "kingman",
    [KM_ALLEN_CUNNEEN] = "allen_cunneen",
};

/* Stated as 1, to the bit. */
static bool is_one(double cv)
{
    return !(cv < 1) && !(cv > 1);
}

enum km_servers_formula km_servers_formula(const struct km_servers *queue)
{
    if (is_one(queue->arrival_cv) && is_one(queue->service_cv))
        return KM_ERLANG_C;
    if (queue->servers > 1)
        return KM_ALLEN_CUNNEEN;
    return is_one(queue->arrival_cv) ? KM_POLLACZEK_KHINCHINE : KM_KINGMAN;
}

static bool is_cv(double cv)
{
    return cv == 0 || (cv >= KM_LEAST_SPREAD && isfinite(cv));
}

static enum km_status check(const struct km_servers *queue, const struct km_wait_tail *tail,
                            struct km_error *error)
{
    enum km_status status = km_queue_check(queue->rate_per_s, tail, error);
    if (status != KM_OK)
        return status;
    if (!(queue->service_s > 0) || !isfinite(queue->service_s))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "service: must be finite and > 0, got %g",
                       queue->service_s);
    if (queue->servers == 0 || queue->servers > KM_SERVERS_LIMIT)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "servers: must be from 1 to %u, got %u",
                       KM_SERVERS_LIMIT, queue->servers);
    if (!(queue->rate_per_s * queue->service_s > 0))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "arrival rate times service: too small to tell from 0");
    if (!is_cv(queue->arrival_cv) || !is_cv(queue->service_cv))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "coefficients of variation must be 0, or finite and at least %g", KM_LEAST_SPREAD);
    return KM_OK;
}

/* That nobody is in an M/M/c queue; too small for a double beyond some 745 erlangs: 0. */
static double nobody_there(double offered, uint32_t servers)
{
    double fewer = gsl_cdf_poisson_P(servers - 1, offered), all = gsl_ran_poisson_pdf(servers, offered);
    return exp(-offered) / (fewer + all / (1 - offered / servers));
}

enum km_status km_servers_solve(const struct km_servers *queue, const struct km_wait_tail *tail,
                                struct km_queue_answer *out, struct km_error *error)
{
    *out = km_queue_answer_blank();
    km_wait_tail_blank(tail);
    enum km_status status = check(queue, tail, error);
    if (status != KM_OK)
        return status;
    double offered = queue->rate_per_s * queue->service_s, c = queue->servers;
    out->mean_batch = out->mean_batch_seen = 1;
    status = km_queue_judge(out, offered / c, c / queue->service_s, error);
    if (status != KM_OK)
        return status;
    double waits = km_erlang_c(offered, queue->servers), drain = (c - offered) / queue->service_s;
    double ca = queue->arrival_cv, cs = queue->service_cv;
    out->mean_wait_s = waits / drain * ((ca * ca + cs * cs) / 2);
    out->mean_response_s = out->mean_wait_s + queue->service_s;
    if (queue->servers == 1)
        out->idle = 1 - offered;
    if (km_servers_formula(queue) != KM_ERLANG_C)
        return KM_OK;
    out->var_wait_s = waits * (2 - waits) / (drain * drain);
    if (queue->servers > 1)
        out->idle = nobody_there(offered, queue->servers);
    for (size_t i = 0; tail && i < tail->count; i++)
        tail->probability[i] = waits * exp(-drain * tail->t_s[i]);
    return KM_OK;
}

double km_servers_wait_bound_s(const struct km_servers *queue)
{
    double c = queue->servers, gap_s = 1 / queue->rate_per_s, rho = queue->service_s / (c * gap_s);
    double gap_sd = queue->arrival_cv * gap_s, service_sd = queue->service_cv * queue->service_s;
    double spread = queue->service_s * queue->service_s * (c - 1) / (c * c);
    return queue->rate_per_s * (gap_sd * gap_sd + service_sd * service_sd / c + spread) / (2 * (1 - rho));
}
