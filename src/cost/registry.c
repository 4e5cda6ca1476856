#include "cost/cost.h"

#include <stddef.h>

extern const struct km_cost_model km_cost_roofline, km_cost_profile, km_cost_linear;

const struct km_entry *const km_cost_registry[] = {
    &km_cost_roofline.entry,
    &km_cost_profile.entry,
    &km_cost_linear.entry,
    NULL,
};

const char *km_bound_name(enum km_bound bound)
{
    static const char *const names[KM_BOUND_COUNT + 1] = {"compute", "memory", "network", "launch", NULL};
    return names[bound];
}
