#include "executor/executor.h"

#include <stddef.h>

extern const struct km_executor km_executor_simulated;

const struct km_entry *const km_executor_registry[] = {
    &km_executor_simulated.entry,
    NULL,
};
