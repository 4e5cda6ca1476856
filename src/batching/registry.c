#include "batching/batching.h"

#include <stddef.h>

extern const struct km_batching_policy km_batching_continuous, km_batching_dynamic, km_batching_elastic,
    km_batching_fixed, km_batching_orca, km_batching_priority, km_batching_rank, km_batching_request_level,
    km_batching_srpt;

const struct km_entry *const km_batching_registry[] = {
    /* clang-format off */
    &km_batching_continuous.entry,
    &km_batching_dynamic.entry,
    &km_batching_elastic.entry,
    &km_batching_fixed.entry,
    &km_batching_orca.entry,
    &km_batching_priority.entry,
    &km_batching_rank.entry,
    &km_batching_request_level.entry,
    &km_batching_srpt.entry,
    NULL,
    /* clang-format on */
};
