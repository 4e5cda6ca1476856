/* Blocks taken and given back: the same for every manager. */
#include "kv/kv.h"

#include <assert.h>

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
