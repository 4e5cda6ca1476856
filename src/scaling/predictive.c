/* Ready before the load comes: Holt's linear (double exponential) smoothing of the arriving token rate, as
 * Hyndman and Athanasopoulos 2021, Forecasting: Principles and Practice, section 8.2, have it,
 *
 *   level  l(t) = alpha y(t) + (1 - alpha) (l(t-1) + b(t-1))
 *   trend  b(t) = beta (l(t) - l(t-1)) + (1 - beta) b(t-1)
 *   y(t+h) = l(t) + h b(t),
 *
 * read startup_s and one interval ahead, when a replica ordered now would serve. The scenario's defaults,
 * alpha 0.2 and beta 0.05, let the level follow within 5 looks and the trend within 20 (1 / weight): on the
 * day of configs/autoscaling.yaml slower ones change nothing, and faster ones (0.5 and 0.1, 0.2 and 0.2)
 * follow the noise of single looks and pay for a tenth more GPU-hours. */
#include "scaling/scaling.h"

#include <math.h>

struct state {
    double level, trend;
    unsigned looks; /* with a rate to see */
};

static double wanted(void *memory, const struct km_scaling_settings *settings,
                     const struct km_scaling_view *view)
{
    struct state *s = memory;
    if (!(view->since_last_s > 0))
        return (double)view->serving + view->starting;
    double rate = view->arrived_tokens / view->since_last_s, before = s->level;
    if (s->looks == 0) {
        s->level = rate;
    } else {
        s->level = settings->level_smoothing * rate + (1 - settings->level_smoothing) * (before + s->trend);
        s->trend =
            settings->trend_smoothing * (s->level - before) + (1 - settings->trend_smoothing) * s->trend;
    }
    s->looks++;
    double ahead = 1 + settings->startup_s / settings->interval_s;
    return fmax(0.0, s->level + ahead * s->trend) / settings->target_tokens_per_s;
}

const struct km_scaling_policy km_scaling_predictive = {
    .entry = {"predictive", "so many tokens a second and replica, forecast to when a new one would serve"},
    .state_bytes = sizeof(struct state),
    .wanted = wanted,
};
