#include "kv/kv.h"

#include <stddef.h>

extern const struct km_kv_manager km_kv_paged, km_kv_prefix, km_kv_reserve_max;

const struct km_entry *const km_kv_registry[] = {
    &km_kv_paged.entry,
    &km_kv_prefix.entry,
    &km_kv_reserve_max.entry,
    NULL,
};
