#include "executor/executor.h"

#include <stddef.h>

extern const struct km_executor km_executor_simulated, km_executor_scripted;

const struct km_entry *const km_executor_registry[] = {
    &km_executor_simulated.entry,
    &km_executor_scripted.entry,
    NULL,
};
