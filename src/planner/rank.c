#include "planner/rank.h"

#include <math.h>

double km_plan_usd_per_hour(const struct km_search *search, const struct km_candidate *candidate,
                            uint32_t replicas, const struct km_probe *probe)
{
    double rent = km_candidate_rented_gpus(search, candidate, replicas) * candidate->usd_per_gpu_hour;
    return probe && probe->bill.electricity_usd > 0.0
               ? rent + probe->bill.electricity_usd / probe->duration_s * 3600.0
               : rent;
}

/* A plan that does not hold serves no such load: what its run took is what it costs. */
static double paid_s(const struct km_load *load, const struct km_probe *probe)
{
    return probe->holds && load->paid_s > 0.0 ? load->paid_s : probe->duration_s;
}

double km_plan_usd_per_million_tokens(const struct km_search *search, const struct km_load *load,
                                      const struct km_candidate *candidate, uint32_t replicas,
                                      const struct km_probe *probe)
{
    const double tokens = probe->total_tokens_per_s * probe->duration_s;
    return tokens > 0.0 ? km_plan_usd_per_hour(search, candidate, replicas, probe) * paid_s(load, probe) /
                              3600.0 / tokens * 1e6
                        : (double)NAN;
}

double km_plan_energy_j(const struct km_load *load, const struct km_probe *probe)
{
    return probe->bill.energy_j / probe->duration_s * paid_s(load, probe);
}

static struct km_rank rank_with(const struct km_search *search, const struct km_candidate *candidate,
                                uint32_t replicas, const struct km_probe *probe, double objective,
                                double ratio)
{
    double gpus = km_candidate_rented_gpus(search, candidate, replicas);
    return (struct km_rank){
        {objective, km_plan_usd_per_hour(search, candidate, replicas, probe), gpus, ratio}, candidate->point};
}

struct km_rank km_rank_of(const struct km_search *search, const struct km_load *load,
                          const struct km_candidate *candidate, uint32_t replicas,
                          const struct km_probe *probe)
{
    double objective = 0.0;
    switch (search->objective) {
    case KM_OBJECTIVE_GPUS:
        objective = km_candidate_rented_gpus(search, candidate, replicas);
        break;
    case KM_OBJECTIVE_USD_PER_HOUR:
        objective = km_plan_usd_per_hour(search, candidate, replicas, probe);
        break;
    case KM_OBJECTIVE_USD_PER_MILLION_TOKENS:
        objective = km_plan_usd_per_million_tokens(search, load, candidate, replicas, probe);
        break;
    case KM_OBJECTIVE_ENERGY:
        objective = km_plan_energy_j(load, probe);
        break;
    case KM_OBJECTIVE_COUNT:
        break;
    }
    return rank_with(search, candidate, replicas, probe, isnan(objective) ? (double)INFINITY : objective,
                     probe->worst_ratio);
}

/* Seconds that are paid for at least. Who waits for ever is served after the last has arrived, and not before
 * all work is done; who leaves may leave nobody to serve. */
static double least_paid_s(const struct km_load *load, const struct km_candidate *candidate,
                           uint32_t replicas)
{
    if (load->paid_s > 0.0)
        return load->paid_s;
    if (!load->open || load->asked.patience_s > 0.0)
        return 0.0;
    return replicas ? fmax(load->span_s, candidate->bounds.busy_s / replicas) : load->span_s;
}

#define ROUNDING (1.0 - 1e-9) /* of sums and quotients taken in another order than a run's */

struct km_rank km_rank_least(const struct km_search *search, const struct km_load *load,
                             const struct km_candidate *candidate, uint32_t replicas)
{
    double gpus = (double)replicas * candidate->gpus_per_replica, objective = 0.0;
    double duration_s = least_paid_s(load, candidate, replicas),
           tokens = load->prompt_tokens + load->output_tokens;
    switch (search->objective) {
    case KM_OBJECTIVE_GPUS:
        objective = km_candidate_rented_gpus(search, candidate, replicas);
        break;
    case KM_OBJECTIVE_USD_PER_HOUR:
        objective = km_plan_usd_per_hour(search, candidate, replicas, NULL);
        break;
    case KM_OBJECTIVE_USD_PER_MILLION_TOKENS:
        if (tokens > 0.0)
            objective = km_plan_usd_per_hour(search, candidate, replicas, NULL) * duration_s / 3600.0 /
                        tokens * 1e6 * ROUNDING;
        break;
    case KM_OBJECTIVE_ENERGY:
        objective = gpus * candidate->idle_power_w * duration_s * ROUNDING;
        break;
    case KM_OBJECTIVE_COUNT:
        break;
    }
    return rank_with(search, candidate, replicas, NULL, objective,
                     candidate->bounds.latency_ratio * ROUNDING);
}

bool km_rank_before(const struct km_rank *a, const struct km_rank *b)
{
    for (int i = 0; i < KM_RANK_PARTS; i++) {
        if (a->parts[i] < b->parts[i])
            return true;
        if (a->parts[i] > b->parts[i])
            return false;
    }
    return a->point < b->point;
}
