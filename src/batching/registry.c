#include "batching/batching.h"

#include <stddef.h>

extern const struct km_batching_policy km_batching_continuous;

const struct km_entry *const km_batching_registry[] = {
    &km_batching_continuous.entry,
    NULL,
};
