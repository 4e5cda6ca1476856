#include "sweep/sample.h"

#include "workload/resample.h"

const char *km_sweep_sample_name(enum km_sweep_sample sample)
{
    static const char *const names[KM_SWEEP_SAMPLES] = {
        [KM_SWEEP_DRAWN] = "drawn",
        [KM_SWEEP_RECORDED] = "recorded",
        [KM_SWEEP_RESAMPLED] = "resampled",
    };
    return names[sample];
}

/* A trace gives its requests one after another, whatever the seed: only these processes draw their times. */
static bool draws_times(const struct km_workload_settings *workload)
{
    return workload->process == KM_ARRIVAL_POISSON || workload->process == KM_ARRIVAL_GAMMA ||
           workload->process == KM_ARRIVAL_WEIBULL;
}

static bool draws_lengths(const struct km_workload_settings *workload)
{
    return workload->has_prompt_tokens || workload->has_output_tokens;
}

enum km_status km_sweep_sample(struct km_workload_settings *workload, uint32_t replication,
                               enum km_sweep_sample *out, struct km_recording **recording,
                               struct km_error *error)
{
    *recording = NULL;
    *out = KM_SWEEP_DRAWN;
    if (workload->bootstrap_block_s > 0) {
        *out = KM_SWEEP_RESAMPLED;
        return KM_OK;
    }
    if (!workload->trace || draws_times(workload))
        return KM_OK;
    if (workload->process != KM_ARRIVAL_TRACE) {
        *out = draws_lengths(workload) ? KM_SWEEP_DRAWN : KM_SWEEP_RECORDED;
        return KM_OK;
    }
    *out = KM_SWEEP_RECORDED;
    if (replication == 0)
        return KM_OK;
    enum km_status status = km_recording_load(workload->trace, workload->trace_format, recording, error);
    if (status != KM_OK)
        return status;
    workload->recording = *recording;
    if (km_resample_is_possible(*recording, workload->start_s, workload->end_s, KM_BOOTSTRAP_BLOCK_S)) {
        workload->bootstrap_block_s = KM_BOOTSTRAP_BLOCK_S;
        *out = KM_SWEEP_RESAMPLED;
    }
    return KM_OK;
}
