#include "queueing/step_clock.h"

#include <math.h>

#define MAX_STAGES 64 /* as everywhere (executor/executor.h) */

static void cost_time(void *context, const struct km_step_shape *shape, struct km_step_seconds *out)
{
    const struct km_cost_clock *clock = context;
    double stage_s[MAX_STAGES] = {0};
    clock->cost->step(clock->state, shape, stage_s);
    *out = (struct km_step_seconds){.captured = true};
    for (uint32_t s = 0; s < clock->stages; s++) {
        out->device_s += stage_s[s];
        out->slowest_s = fmax(out->slowest_s, stage_s[s]);
    }
}

struct km_step_clock km_step_clock_of_cost(struct km_cost_clock *clock)
{
    return (struct km_step_clock){.context = clock, .time = cost_time, .stages = clock->stages};
}

double km_step_host_s(const struct km_step_seconds *step)
{
    return step->form_s + step->launch_s + step->process_s;
}

double km_step_alone_s(const struct km_step_seconds *step)
{
    double run_s = step->captured ? step->launch_s + step->device_s : fmax(step->launch_s, step->device_s);
    return step->form_s + run_s + step->process_s;
}

uint32_t km_step_batches(const struct km_step_clock *clock)
{
    return clock->stages;
}

double km_step_through_s(const struct km_step_clock *clock, const struct km_step_seconds *step)
{
    return clock->stages > 1 && clock->placeholders ? step->device_s : km_step_alone_s(step);
}

double km_step_pace_s(const struct km_step_clock *clock, const struct km_step_seconds *step)
{
    double host_s = km_step_host_s(step);
    if (clock->stages == 1)
        return clock->overlapped ? fmax(step->device_s, host_s) : km_step_alone_s(step);
    double batches = km_step_batches(clock);
    return fmax(fmax(batches * step->slowest_s, batches * host_s), km_step_through_s(clock, step));
}

double km_step_after_s(const struct km_step_clock *clock, const struct km_step_seconds *step,
                       const struct km_step_seconds *before)
{
    if (!clock->overlapped || clock->stages > 1 || !before)
        return km_step_pace_s(clock, step);
    double host_s = km_step_host_s(step);
    if (step->captured)
        return fmax(step->device_s, host_s);
    double gained_s = before->device_s - km_step_host_s(before);
    return fmax(step->device_s, host_s - fmax(gained_s, 0.0));
}

void km_step_decode(const struct km_step_clock *clock, uint32_t count, double context, double windowed,
                    double longest, struct km_step_seconds *out)
{
    const struct km_step_shape shape = {
        .sampled = count,
        .decode = {.count = count,
                   .sum_context = (uint64_t)(count * context + 0.5),
                   .sum_windowed = (uint64_t)(count * windowed + 0.5),
                   .below_window = !clock->window || context < clock->window ? count : 0,
                   .max_context = (uint64_t)(longest + 0.5)}};
    clock->time(clock->context, &shape, out);
}
