#include "capacity/study.h"

#include "base/simtime.h"

#include <math.h>

#define LOWEST_SCALE  1e-3
#define HIGHEST_SCALE 1e3
#define LONGEST_S     (50.0 * 86400) /* arrivals must end before KM_PS_LIMIT, 53 days */

double km_study_scale(const struct km_study *study, double k)
{
    return exp(k * study->log_step);
}

int32_t km_study_near(const struct km_study *study, double scale)
{
    const double k = scale > 0.0 ? round(log(scale) / study->log_step) : study->lowest;
    return (int32_t)fmin(fmax(k, study->lowest), study->highest);
}

int32_t km_study_stride(const struct km_study *study, double width)
{
    return (int32_t)fmax(1.0, round(width / study->log_step));
}

enum km_status km_study_grid(struct km_study *study, struct km_error *error)
{
    const struct km_recording *recording;
    size_t count;
    enum km_status status =
        km_demand_get(study->demand, km_demand_first_drawn(study->demand), &recording, error);
    if (status != KM_OK)
        return status;
    const struct km_request *requests = km_recording_requests(recording, &count);
    const double span_s = km_s_from_ps(requests[count - 1].arrival_ps);
    const double lowest = fmax(LOWEST_SCALE, span_s / (study->workload->rate_scale * LONGEST_S));
    study->highest = (int32_t)floor(log(HIGHEST_SCALE) / study->log_step);
    study->lowest = (int32_t)fmin(ceil(log(lowest) / study->log_step), study->highest);
    return KM_OK;
}

enum km_status km_study_try(struct km_prober *prober, uint32_t replication, double scale, bool whole,
                            struct km_trial *trial, struct km_error *error)
{
    const struct km_study *study = prober->study;
    struct km_workload_settings workload = *study->workload;
    enum km_status status = KM_OK;
    if (study->demand) {
        workload = (struct km_workload_settings){
            .process = KM_ARRIVAL_TRACE,
            .rate_scale = study->workload->rate_scale * scale,
            .patience_s = study->workload->patience_s,
        };
        status = km_demand_get(study->demand, replication, &workload.recording, error);
    }
    if (status == KM_OK)
        status = km_trial_run(prober->fleet, &workload, study->seed + replication, whole, trial, error);
    if (status != KM_OK)
        return status;
    prober->runs++;
    prober->runs_cut += trial->early;
    prober->events += trial->events;
    return KM_OK;
}

enum km_status km_study_threshold(struct km_prober *prober, uint32_t replication, int32_t guess,
                                  int32_t stride, int32_t *out, struct km_error *error)
{
    const struct km_study *study = prober->study;
    int32_t low = study->lowest - 1, high = study->highest + 1, k = guess;
    bool some_held = false, some_failed = false;
    prober->failed = KM_TRIAL_NO_TERM;
    while (high - low > 1) {
        struct km_trial trial;
        enum km_status status =
            km_study_try(prober, replication, km_study_scale(study, k), false, &trial, error);
        if (status != KM_OK)
            return status;
        if (trial.holds) {
            low = k;
            some_held = true;
        } else {
            high = k;
            some_failed = true;
            prober->failed = trial.failed;
        }
        if (some_held && some_failed) {
            k = low + (high - low) / 2;
            continue;
        }
        const int64_t next = some_held ? (int64_t)low + stride : (int64_t)high - stride;
        k = (int32_t)(next < study->lowest ? study->lowest : next > study->highest ? study->highest : next);
        stride = stride < INT32_MAX / 2 ? 2 * stride : stride;
    }
    *out = low;
    return KM_OK;
}
