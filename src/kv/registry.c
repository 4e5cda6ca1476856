#include "kv/kv.h"

#include <assert.h>
#include <stddef.h>

extern const struct km_kv_manager km_kv_paged, km_kv_prefix, km_kv_reserve_max;

const struct km_entry *const km_kv_registry[] = {
    &km_kv_paged.entry,
    &km_kv_prefix.entry,
    &km_kv_reserve_max.entry,
    NULL,
};

void km_kv_take(struct km_kv *kv, uint64_t blocks)
{
    assert(blocks <= km_kv_free_blocks(kv));
    kv->used_blocks += blocks;
    if (kv->used_blocks > kv->peak_blocks)
        kv->peak_blocks = kv->used_blocks;
}

void km_kv_give(struct km_kv *kv, uint64_t blocks)
{
    assert(blocks <= kv->used_blocks);
    kv->used_blocks -= blocks;
}
