/* So many replicas from stated times on. With a period the schedule repeats, and before its first entry the
 * last one of the period before holds; without, as many as there are. */
#include "scaling/scaling.h"

#include <math.h>

static double wanted(void *state, const struct km_scaling_settings *settings,
                     const struct km_scaling_view *view)
{
    (void)state;
    double time_s = settings->period_s > 0 ? fmod(view->now_s, settings->period_s) : view->now_s;
    uint32_t i = 0;
    while (i < settings->schedule_count && settings->schedule[i].at_s <= time_s)
        i++;
    if (i > 0)
        return settings->schedule[i - 1].replicas;
    if (settings->period_s > 0)
        return settings->schedule[settings->schedule_count - 1].replicas;
    return (double)view->serving + view->starting;
}

static double next_s(const struct km_scaling_settings *settings, double now_s)
{
    double start_s = settings->period_s > 0 ? floor(now_s / settings->period_s) * settings->period_s : 0.0;
    for (uint32_t i = 0; i < settings->schedule_count; i++)
        if (start_s + settings->schedule[i].at_s > now_s)
            return start_s + settings->schedule[i].at_s;
    return settings->period_s > 0 ? start_s + settings->period_s + settings->schedule[0].at_s : HUGE_VAL;
}

const struct km_scaling_policy km_scaling_schedule = {
    .entry = {"schedule", "so many replicas from stated times on"},
    .exact = true,
    .wanted = wanted,
    .next_s = next_s,
};
