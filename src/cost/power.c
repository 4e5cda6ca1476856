#include "cost/power.h"

#include <math.h>

double km_power_step(struct km_power *power, const struct km_power_use *use, double start_s, double step_s)
{
    if (use->share <= 0.0 || use->time_s <= 0.0 || step_s <= 0.0)
        return 0.0;
    const double since_s = fmax(0.0, start_s - power->at_s);
    const double others =
        since_s > 0.0 ? use->stream * fmin(1.0, (double)power->other_ps * 1e-12 / since_s) : 0.0;
    const double before = others + (power->duty - others) * exp(-since_s / use->time_s);
    const double drawn = use->share + (1.0 - use->share) * use->stream;
    const double forgotten = -expm1(-step_s / use->time_s);
    power->duty = before + (drawn - before) * forgotten;
    power->at_s = start_s + step_s;
    power->other_ps = 0;
    return drawn + (before - drawn) * forgotten * use->time_s / step_s;
}
