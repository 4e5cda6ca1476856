#include "engine/pace.h"

struct km_pace km_pace_of(const struct km_engine *engine, bool model_is_dense, uint32_t stages)
{
    return (struct km_pace){.overlapped = engine->async_scheduling,
                            .placeholders = km_engine_places_tokens(engine, model_is_dense),
                            .stages = stages};
}

uint32_t km_pace_flights(const struct km_pace *pace)
{
    if (pace->stages == 1)
        return pace->overlapped ? 2 : 1;
    return pace->stages + (pace->placeholders ? 1 : 0);
}

struct km_step_seconds km_step_seconds_of(const struct km_host_time *host)
{
    return (struct km_step_seconds){.form_s = km_s_from_ps(host->form_ps),
                                    .launch_s = km_s_from_ps(host->launch_ps),
                                    .process_s = km_s_from_ps(host->process_ps),
                                    .captured = host->captured,
                                    .workers = host->workers};
}

double km_step_ended_s(const struct km_step_seconds *step, double formed_s, double free_s,
                       double *host_free_s)
{
    double ready_s = formed_s + step->form_s;
    const double launched_s = ready_s + step->launch_s;
    *host_free_s = step->workers ? ready_s : launched_s;
    if (step->captured)
        ready_s = launched_s;
    return fmax(fmax(ready_s, free_s) + step->device_s, launched_s);
}

double km_step_host_s(const struct km_step_seconds *step)
{
    const double loop_s = step->form_s + step->process_s;
    return step->workers ? fmax(step->launch_s, loop_s) : loop_s + step->launch_s;
}

double km_step_alone_s(const struct km_step_seconds *step)
{
    double run_s = step->captured ? step->launch_s + step->device_s : fmax(step->launch_s, step->device_s);
    return step->form_s + run_s + step->process_s;
}

double km_step_through_s(const struct km_pace *pace, const struct km_step_seconds *step)
{
    return pace->stages > 1 && pace->placeholders ? step->device_s : km_step_alone_s(step);
}

double km_step_pace_s(const struct km_pace *pace, const struct km_step_seconds *step)
{
    double host_s = km_step_host_s(step);
    if (pace->stages == 1)
        return !pace->overlapped
                   ? km_step_alone_s(step)
                   : fmax(fmax(step->device_s, host_s), step->workers ? km_step_alone_s(step) / 2.0 : 0.0);
    double groups = pace->stages;
    return fmax(fmax(groups * step->slowest_s, groups * host_s), km_step_through_s(pace, step));
}

double km_step_after_s(const struct km_pace *pace, const struct km_step_seconds *step,
                       const struct km_step_seconds *before)
{
    if (!pace->overlapped || pace->stages > 1 || !before)
        return km_step_pace_s(pace, step);
    double host_s = km_step_host_s(step);
    if (step->captured)
        return km_step_pace_s(pace, step);
    double gained_s = before->device_s - km_step_host_s(before);
    return fmax(step->device_s, host_s - fmax(gained_s, 0.0));
}

enum km_paced_by km_step_paced_by(const struct km_pace *pace, const struct km_step_seconds *step)
{
    double host_s = km_step_host_s(step), step_s = km_step_pace_s(pace, step), groups = pace->stages;
    bool one = pace->stages == 1, launching = step->workers
                                                  ? step->launch_s >= host_s
                                                  : !step->captured && step->launch_s > step->device_s;
    if (one && !pace->overlapped)
        return launching ? KM_PACED_BY_LAUNCH : host_s > 0.0 ? KM_PACED_BY_BOTH : KM_PACED_BY_DEVICE;
    if (step_s <= (one ? step->device_s : groups * step->slowest_s))
        return KM_PACED_BY_DEVICE;
    if (step_s <= groups * host_s)
        return launching ? KM_PACED_BY_LAUNCH : KM_PACED_BY_HOST;
    return KM_PACED_BY_BOTH;
}

const char *km_paced_by_name(enum km_paced_by by)
{
    static const char *const names[] = {"device", "host", "launch", "device and host"};
    return names[by];
}
