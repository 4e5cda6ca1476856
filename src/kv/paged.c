/* Paged KV cache (PagedAttention, Kwon et al., SOSP'23): fixed-size blocks, taken as a sequence grows, no
 * sharing. What a sequence holds follows from its tokens, so its own record needs nothing. */
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

static bool paged_admit(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, uint32_t hit_tokens,
                        uint32_t first_tokens)
{
    (void)hit_tokens;
    const struct km_kv_groups *groups = &kv->config.groups;
    uint64_t now = km_kv_blocks_for(kv, first_tokens) * km_kv_block_pages(groups) + groups->recurrent;
    uint64_t whole = km_kv_most_pages(kv, tokens);
    if ((whole > now ? whole : now) > km_kv_free_blocks(kv))
        return false;
    km_kv_take(kv, now);
    if (groups->windowed)
        km_kv_window_start_at(kv, sequence, first_tokens, 0);
    return true;
}

static bool paged_extend(struct km_kv *kv, struct km_sequence *sequence, uint32_t from_tokens,
                         uint32_t to_tokens)
{
    uint64_t blocks = km_kv_blocks_for(kv, to_tokens) - km_kv_blocks_for(kv, from_tokens);
    uint64_t need = blocks * km_kv_block_pages(&kv->config.groups);
    if (need > km_kv_free_blocks(kv))
        return false;
    km_kv_take(kv, need);
    if (kv->config.groups.windowed)
        km_kv_window_start_at(kv, sequence, to_tokens, km_kv_window_start(kv, sequence, from_tokens));
    return true;
}

static void paged_settle(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    km_kv_give(kv, km_kv_window_settle(kv, sequence, tokens) * kv->config.groups.windowed);
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
    return km_growth_pages(growth, clock, steps);
}

static void paged_decode(struct km_kv *kv, struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    km_kv_take(kv, km_growth_take(growth, clock, steps));
}

static void paged_release(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    uint64_t excess = (uint64_t)sequence->window_excess_blocks * kv->config.groups.windowed;
    km_kv_give(kv, km_kv_pages_for(kv, tokens) + excess);
    sequence->window_excess_blocks = 0;
}

const struct km_kv_manager km_kv_paged = {
    .entry = {"paged", "fixed-size blocks taken as a sequence grows, recompute on preemption (vLLM)"},
    .create = paged_create,
    .destroy = paged_destroy,
    .most_blocks = km_kv_most_pages,
    .admit = paged_admit,
    .extend = paged_extend,
    .settle = paged_settle,
    .decode_needs = km_kv_decode_needs,
    .decode_steps = paged_decode_steps,
    .decode_blocks = paged_decode_blocks,
    .decode = paged_decode,
    .release = paged_release,
};
