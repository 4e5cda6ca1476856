#include "capacity/demand.h"

#include "base/memory.h"
#include "base/simtime.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

struct km_demand {
    struct km_workload_settings settings;
    struct km_recording *trace; /* what the file holds, read once; NULL when it is given, or there is none */
    uint64_t seed;
    double block_s, rate_per_s;
    pthread_mutex_t lock; /* of the slots */
    struct km_recording *slots[KM_DEMAND_MAX];
};

static bool own_times(const struct km_demand *demand)
{
    return demand->settings.process == KM_ARRIVAL_TRACE;
}

bool km_demand_is_synthetic(const struct km_workload_settings *workload)
{
    return !workload->trace && !workload->recording;
}

bool km_demand_has_rate(const struct km_workload_settings *workload)
{
    return !km_workload_waits(workload) && workload->process != KM_ARRIVAL_AT_ONCE;
}

bool km_demand_can_lengthen(const struct km_workload_settings *workload)
{
    return km_demand_is_synthetic(workload) || workload->process == KM_ARRIVAL_TRACE ||
           workload->bootstrap_block_s > 0;
}

uint32_t km_demand_first_drawn(const struct km_demand *demand)
{
    return own_times(demand) && !(demand->settings.bootstrap_block_s > 0) ? 1 : 0;
}

double km_demand_rate_per_s(const struct km_demand *demand)
{
    return demand->rate_per_s;
}

static double rate_of(const struct km_recording *recording)
{
    size_t count;
    const struct km_request *requests = km_recording_requests(recording, &count);
    const double span_s = km_s_from_ps(requests[count - 1].arrival_ps - requests[0].arrival_ps);
    return span_s > 0 ? (double)(count - 1) / span_s : (double)NAN;
}

/* The rate of a trace is that of the trace, even where replications are bootstraps of it. */
static enum km_status find_rate(struct km_demand *demand, struct km_error *error)
{
    if (!own_times(demand)) {
        demand->rate_per_s =
            km_demand_has_rate(&demand->settings) ? demand->settings.rate_per_s : (double)NAN;
        return KM_OK;
    }
    struct km_workload_settings plain = demand->settings;
    struct km_recording *recording;
    plain.bootstrap_block_s = 0;
    plain.bootstrap_length = 0;
    enum km_status status = km_workload_capture(&plain, demand->seed, &recording, error);
    if (status != KM_OK)
        return status;
    demand->rate_per_s = rate_of(recording);
    if (km_demand_first_drawn(demand) == 1)
        demand->slots[0] = recording;
    else
        km_recording_destroy(recording);
    return KM_OK;
}

static void lengthen(struct km_workload_settings *settings, double length)
{
    settings->requests = (uint64_t)ceil((double)settings->requests * length);
    if (!km_demand_is_synthetic(settings))
        settings->bootstrap_length =
            length * (settings->bootstrap_length > 0 ? settings->bootstrap_length : 1);
    else if (settings->end_s > 0)
        settings->end_s = settings->start_s + (settings->end_s - settings->start_s) * length;
}

enum km_status km_demand_create(const struct km_demand_config *config, struct km_demand **out,
                                struct km_error *error)
{
    enum km_status status = KM_OK;
    struct km_demand *demand = km_alloc(sizeof *demand);
    *out = NULL;
    demand->settings = *config->workload;
    demand->seed = config->seed;
    demand->block_s = config->block_s;
    pthread_mutex_init(&demand->lock, NULL);
    if (config->length > 1 && km_demand_can_lengthen(&demand->settings))
        lengthen(&demand->settings, config->length);
    if (demand->settings.trace && !demand->settings.recording) {
        status =
            km_recording_load(demand->settings.trace, demand->settings.trace_format, &demand->trace, error);
        demand->settings.recording = demand->trace;
    }
    if (status == KM_OK)
        status = find_rate(demand, error);
    if (status != KM_OK) {
        km_demand_destroy(demand);
        return status;
    }
    *out = demand;
    return KM_OK;
}

void km_demand_destroy(struct km_demand *demand)
{
    if (!demand)
        return;
    for (uint32_t i = 0; i < KM_DEMAND_MAX; i++)
        km_recording_destroy(demand->slots[i]);
    km_recording_destroy(demand->trace);
    pthread_mutex_destroy(&demand->lock);
    free(demand);
}

enum km_status km_demand_get(struct km_demand *demand, uint32_t index, const struct km_recording **out,
                             struct km_error *error)
{
    enum km_status status = KM_OK;
    assert(index < KM_DEMAND_MAX);
    pthread_mutex_lock(&demand->lock);
    if (!demand->slots[index]) {
        struct km_workload_settings drawn = demand->settings;
        if (own_times(demand) && !(drawn.bootstrap_block_s > 0))
            drawn.bootstrap_block_s = demand->block_s;
        status = km_workload_capture(&drawn, demand->seed + index, &demand->slots[index], error);
    }
    *out = demand->slots[index];
    pthread_mutex_unlock(&demand->lock);
    return status;
}

void km_demand_drop(struct km_demand *demand, uint32_t index)
{
    assert(index < KM_DEMAND_MAX);
    pthread_mutex_lock(&demand->lock);
    km_recording_destroy(demand->slots[index]);
    demand->slots[index] = NULL;
    pthread_mutex_unlock(&demand->lock);
}
