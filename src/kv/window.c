/* What sequences hold in groups of layers with sliding windows: the same for every manager of pages. */
#include "kv/kv.h"

#include <assert.h>

uint32_t km_kv_decode_needs(const struct km_kv *kv, uint32_t tokens)
{
    const uint32_t block_size = kv->config.block_size;
    if (tokens % block_size != 0)
        return 0;
    const struct km_kv_groups *groups = &kv->config.groups;
    uint64_t blocks = tokens / block_size;
    return (uint32_t)(km_kv_pages(groups, block_size, blocks + 1) - km_kv_pages(groups, block_size, blocks));
}

uint64_t km_kv_most_pages(const struct km_kv *kv, uint64_t tokens)
{
    const struct km_kv_groups *groups = &kv->config.groups;
    uint64_t blocks = km_kv_blocks_for(kv, tokens);
    if (groups->windowed == 0)
        return km_kv_pages(groups, kv->config.block_size, blocks);
    uint64_t most = km_kv_window_blocks_in_flight(groups, kv->config.block_size, kv->config.in_flight_tokens);
    return groups->full * blocks + groups->windowed * (blocks < most ? blocks : most) + groups->recurrent;
}

uint64_t km_kv_skipped_blocks(const struct km_kv *kv, uint64_t tokens)
{
    uint64_t behind = tokens / kv->config.block_size + 1;
    uint64_t window = km_kv_window_blocks(&kv->config.groups, kv->config.block_size);
    return kv->config.groups.windowed && behind > window ? behind - window : 0;
}

/* The first block of a full window behind `tokens` of context. */
static uint64_t settled_start(const struct km_kv *kv, uint32_t tokens)
{
    uint64_t blocks = km_kv_blocks_for(kv, tokens);
    uint64_t window = km_kv_window_blocks(&kv->config.groups, kv->config.block_size);
    return blocks > window ? blocks - window : 0;
}

uint64_t km_kv_window_start(const struct km_kv *kv, const struct km_sequence *sequence, uint32_t tokens)
{
    return settled_start(kv, tokens) - sequence->window_excess_blocks;
}

void km_kv_window_start_at(const struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens,
                           uint64_t start)
{
    assert(start <= settled_start(kv, tokens));
    sequence->window_excess_blocks = (uint32_t)(settled_start(kv, tokens) - start);
}

uint64_t km_kv_window_settle(const struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    uint32_t scheduled = sequence->computed_tokens;
    uint64_t start = km_kv_window_start(kv, sequence, scheduled), skipped = km_kv_skipped_blocks(kv, tokens);
    uint64_t most = settled_start(kv, scheduled);
    skipped = skipped < most ? skipped : most;
    if (skipped <= start)
        return 0;
    km_kv_window_start_at(kv, sequence, scheduled, skipped);
    return skipped - start;
}
