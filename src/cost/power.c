#include "cost/power.h"

#include <math.h>

double km_power_step(struct km_power *power, const struct km_power_use *use, double start_s, double step_s)
{
    if (use->share <= 0.0 || use->time_s <= 0.0 || step_s <= 0.0)
        return 0.0;
    double before = power->duty * exp(-fmax(0.0, start_s - power->at_s) / use->time_s);
    double forgotten = -expm1(-step_s / use->time_s);
    double mean = use->share + (before - use->share) * forgotten * use->time_s / step_s;
    power->duty = before + (use->share - before) * forgotten;
    power->at_s = start_s + step_s;
    return mean;
}
