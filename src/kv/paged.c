/* Paged KV cache (PagedAttention, Kwon et al., SOSP'23): fixed-size blocks, taken as a sequence grows, no
 * sharing. A sequence with t tokens holds ceil(t / block_size) blocks, so its own record needs nothing. */
#include "base/memory.h"
#include "kv/kv.h"

#include <stdlib.h>

static struct km_kv *paged_create(const struct km_kv_config *config)
{
    extern const struct km_kv_manager km_kv_paged;
    struct km_kv *kv = km_alloc(sizeof *kv);
    kv->manager = &km_kv_paged;
    kv->config = *config;
    return kv;
}

static void paged_destroy(struct km_kv *kv)
{
    free(kv);
}

static uint64_t paged_most_blocks(const struct km_kv *kv, uint64_t tokens)
{
    return km_kv_blocks_for(kv, tokens);
}

static bool paged_admit(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, uint32_t hit_tokens,
                        uint32_t first_tokens)
{
    (void)sequence, (void)hit_tokens;
    if (km_kv_blocks_for(kv, tokens) > km_kv_free_blocks(kv))
        return false;
    km_kv_take(kv, km_kv_blocks_for(kv, first_tokens));
    return true;
}

static bool paged_extend(struct km_kv *kv, struct km_sequence *sequence, uint32_t from_tokens,
                         uint32_t to_tokens)
{
    (void)sequence;
    uint64_t need = km_kv_blocks_for(kv, to_tokens) - km_kv_blocks_for(kv, from_tokens);
    if (need > km_kv_free_blocks(kv))
        return false;
    km_kv_take(kv, need);
    return true;
}

static bool paged_decode_needs(const struct km_kv *kv, uint32_t tokens)
{
    return tokens % kv->config.block_size == 0;
}

static uint64_t paged_decode_steps(const struct km_kv *kv, const struct km_growth *growth, uint64_t clock,
                                   uint64_t limit)
{
    return km_growth_steps(growth, clock, km_kv_free_blocks(kv), limit);
}

static uint64_t paged_decode_blocks(const struct km_kv *kv, const struct km_growth *growth, uint64_t clock,
                                    uint64_t steps)
{
    (void)kv;
    return km_growth_blocks(growth, clock, steps);
}

static void paged_decode(struct km_kv *kv, const struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    km_kv_take(kv, km_growth_blocks(growth, clock, steps));
}

static void paged_release(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    (void)sequence;
    km_kv_give(kv, km_kv_blocks_for(kv, tokens));
}

const struct km_kv_manager km_kv_paged = {
    .entry = {"paged", "fixed-size blocks taken as a sequence grows, recompute on preemption (vLLM)"},
    .create = paged_create,
    .destroy = paged_destroy,
    .most_blocks = paged_most_blocks,
    .admit = paged_admit,
    .extend = paged_extend,
    .decode_needs = paged_decode_needs,
    .decode_steps = paged_decode_steps,
    .decode_blocks = paged_decode_blocks,
    .decode = paged_decode,
    .release = paged_release,
};
