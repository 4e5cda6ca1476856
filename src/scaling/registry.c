#include "scaling/scaling.h"

extern const struct km_scaling_policy km_scaling_fixed, km_scaling_target_queue,
    km_scaling_target_utilization, km_scaling_schedule, km_scaling_predictive;

const struct km_entry *const km_scaling_registry[] = {
    &km_scaling_fixed.entry,    &km_scaling_target_queue.entry, &km_scaling_target_utilization.entry,
    &km_scaling_schedule.entry, &km_scaling_predictive.entry,   NULL,
};
