/* How long an engine's steps take, as the queueing models ask it: any batch shape, in seconds, host's part
 * and device's part apart. How fast they follow each other is engine/pace.h's. */
#ifndef KM_QUEUEING_CONTINUOUS_STEP_CLOCK_H
#define KM_QUEUEING_CONTINUOUS_STEP_CLOCK_H

#include "cost/shape.h"
#include "engine/pace.h"

struct km_step_clock {
    void *context;
    void (*time)(void *context, const struct km_step_shape *shape, struct km_step_seconds *out);
    struct km_pace pace;
    uint32_t window; /* sliding window of the model's local layers; 0 = none */
};

/* Time a decode-only step of `count` sequences of real-valued mean context (windowed: the mean of each cut to
 * the window). */
void km_step_decode(const struct km_step_clock *clock, uint32_t count, double context, double windowed,
                    double longest, struct km_step_seconds *out);

#endif
