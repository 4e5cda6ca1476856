#include "cost/cost.h"

#include <stddef.h>

extern const struct km_cost_model km_cost_roofline;

const struct km_entry *const km_cost_registry[] = {
    &km_cost_roofline.entry,
    NULL,
};
