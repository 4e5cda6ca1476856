#include "planner/length.h"

#include "capacity/demand.h"

#include <math.h>

#define BEYOND           400.0  /* samples beyond the tightest quantile */
#define BEYOND_LEAST     20.0   /* where that takes more than MOST requests */
#define WAITS            40.0   /* a run over the longest wait allowed */
#define STAYS            20.0   /* a run over a request's stay; requests of a client */
#define UNLIMITED_STAY_S 30.0   /* where the SLO does not say how long a request may stay */
#define LEAST            5000.0 /* requests */
#define MOST             1e5    /* requests, where only time asks for more */
/* Nor do arrivals go on for longer; KM_PS_LIMIT, 53 days, leaves room for lower rates. */
#define MOST_SPAN_S (10.0 * 86400)

bool km_length_is_free(const struct km_scenario *scenario)
{
    const struct km_workload_settings *workload = &scenario->workload;
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric == KM_SLO_DEADLINE)
            return false;
    return km_demand_is_synthetic(workload) && workload->process != KM_ARRIVAL_AT_ONCE &&
           !(workload->swing > 0);
}

static double tightest_quantile(const struct km_scenario *scenario)
{
    double most = 0.0;
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric < (int)KM_LATENCY_COUNT)
            most = fmax(most, scenario->slo[i].quantile);
    return most;
}

/* The longest limit of a latency, in seconds; 0 when the SLO has none. */
static double longest_limit_s(const struct km_scenario *scenario, int metric)
{
    double longest = 0.0;
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric == metric)
            longest = fmax(longest, scenario->slo[i].limit);
    return longest;
}

/* How long the SLO lets a request stay. */
static double stay_s(const struct km_scenario *scenario, double output_tokens)
{
    const double by_token = fmax(longest_limit_s(scenario, KM_TPOT), longest_limit_s(scenario, KM_ITL));
    const double stay = fmax(longest_limit_s(scenario, KM_E2E),
                             output_tokens * fmax(by_token, longest_limit_s(scenario, KM_NORMALIZED)));
    return stay > 0.0 ? stay : UNLIMITED_STAY_S;
}

static double wait_s(const struct km_scenario *scenario)
{
    const double wait =
        fmax(longest_limit_s(scenario, KM_TTFT), longest_limit_s(scenario, KM_QUEUEING_DELAY));
    return fmax(wait, longest_limit_s(scenario, KM_E2E));
}

uint64_t km_length_requests(const struct km_scenario *scenario, double rate_per_s)
{
    const struct km_workload_settings *workload = &scenario->workload;
    const double scale = workload->output_tokens_scale > 0 ? workload->output_tokens_scale : 1.0;
    const double output_tokens = scale * km_distribution_mean_tokens(&workload->output_tokens);
    const double share = 1.0 - tightest_quantile(scenario);
    /* The rounding is that of 1 - q. */
    const double of_quantile = ceil(fmax(fmin(BEYOND / share, MOST), BEYOND_LEAST / share) * (1.0 - 1e-9));
    double of_time, most = (double)INFINITY;
    if (workload->process == KM_ARRIVAL_CLOSED_LOOP) {
        of_time = STAYS * (double)workload->clients;
    } else {
        most = fmax(rate_per_s * MOST_SPAN_S, 1.0);
        of_time = rate_per_s * fmax(WAITS * wait_s(scenario), STAYS * stay_s(scenario, output_tokens));
    }
    return (uint64_t)ceil(fmin(fmax(of_quantile, fmin(fmax(of_time, LEAST), MOST)), most));
}
