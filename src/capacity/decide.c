#include "capacity/study.h"

#include <math.h>

#define LOG_RATIO    0.8472978604 /* ln(0.7 / 0.3) */
#define LOG_BOUNDARY 3.6635616461 /* ln(0.975 / 0.025) */

static enum km_status decide(struct km_prober *prober, double scale, struct km_decision *out,
                             struct km_error *error)
{
    const struct km_study *study = prober->study;
    const uint32_t first = study->demand ? km_demand_first_drawn(study->demand) : 0;
    struct km_trial trial;
    enum km_status status = KM_OK;
    if (first == 1) {
        status = km_study_try(prober, 0, scale, false, &trial, error);
        if (status == KM_OK) {
            out->recorded_holds = trial.holds;
            out->failed = trial.failed;
        }
    }
    while (status == KM_OK && !out->settled && out->replications < study->options->max_replications) {
        status = km_study_try(prober, first + out->replications, scale, false, &trial, error);
        if (status != KM_OK)
            break;
        out->replications++;
        out->held += trial.holds;
        if (!trial.holds && out->failed == KM_TRIAL_NO_TERM)
            out->failed = trial.failed;
        const double balance = 2.0 * out->held - out->replications;
        out->settled = fabs(balance) * LOG_RATIO >= LOG_BOUNDARY;
    }
    out->holds = 2 * out->held > out->replications;
    return status;
}

enum km_status km_capacity_decide(const struct km_fleet *fleet, struct km_demand *demand, double scale,
                                  const struct km_capacity_options *options, struct km_decision *out,
                                  struct km_error *error)
{
    const struct km_scenario *scenario = fleet->scenario;
    const struct km_demand_config config = {&scenario->workload, scenario->seed, options->block_s, 1.0};
    struct km_demand *own = NULL;
    *out = (struct km_decision){.recorded_holds = true, .failed = KM_TRIAL_NO_TERM};
    enum km_status status = KM_OK;
    if (!demand && !km_workload_waits(&scenario->workload))
        status = km_demand_create(&config, &own, error);
    if (status != KM_OK)
        return status;
    const struct km_study study = {
        .workload = &scenario->workload,
        .options = options,
        .demand = own ? own : demand,
        .seed = scenario->seed,
    };
    struct km_prober prober = {.study = &study, .fleet = fleet};
    status = decide(&prober, scale, out, error);
    km_demand_destroy(own);
    return status;
}
