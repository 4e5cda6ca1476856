#include "queueing/continuous/step_clock.h"

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
