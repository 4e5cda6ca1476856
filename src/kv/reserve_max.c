/* Reservation to the maximum: a sequence takes, when admitted, the blocks of the longest it could become -
 * its prompt and max_model_len - and holds them to its end, as engines did before paging (Orca, Yu et al.,
 * OSDI'22, section 4.2; FasterTransformer). Nothing ever grows, so nothing is ever preempted for want of
 * blocks. */
#include "base/memory.h"
#include "kv/kv.h"

#include <stdlib.h>

static struct km_kv *reserve_create(const struct km_kv_config *config)
{
    extern const struct km_kv_manager km_kv_reserve_max;
    struct km_kv *kv = km_alloc(sizeof *kv);
    kv->manager = &km_kv_reserve_max;
    kv->config = *config;
    return kv;
}

static void reserve_destroy(struct km_kv *kv)
{
    free(kv);
}

static uint64_t reserve_most_blocks(const struct km_kv *kv, uint64_t tokens)
{
    (void)tokens;
    const struct km_kv_groups *groups = &kv->config.groups;
    return km_kv_blocks_for(kv, kv->config.max_model_len) * km_kv_block_pages(groups) + groups->recurrent;
}

static bool reserve_admit(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens,
                          uint32_t hit_tokens, uint32_t first_tokens)
{
    (void)sequence, (void)hit_tokens, (void)first_tokens;
    uint64_t need = reserve_most_blocks(kv, tokens);
    if (need > km_kv_free_blocks(kv))
        return false;
    km_kv_take(kv, need);
    return true;
}

static bool reserve_extend(struct km_kv *kv, struct km_sequence *sequence, uint32_t from_tokens,
                           uint32_t to_tokens)
{
    (void)kv, (void)sequence, (void)from_tokens, (void)to_tokens;
    return true;
}

static uint32_t reserve_decode_needs(const struct km_kv *kv, uint32_t tokens)
{
    (void)kv, (void)tokens;
    return 0;
}

static uint64_t reserve_decode_steps(const struct km_kv *kv, const struct km_growth *growth, uint64_t clock,
                                     uint64_t limit)
{
    (void)kv, (void)growth, (void)clock;
    return limit;
}

static uint64_t reserve_decode_blocks(const struct km_kv *kv, const struct km_growth *growth, uint64_t clock,
                                      uint64_t steps)
{
    (void)kv, (void)growth, (void)clock, (void)steps;
    return 0;
}

static void reserve_decode(struct km_kv *kv, struct km_growth *growth, uint64_t clock, uint64_t steps)
{
    (void)kv;
    km_growth_take(growth, clock, steps);
}

static void reserve_release(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    (void)sequence;
    km_kv_give(kv, reserve_most_blocks(kv, tokens));
}

const struct km_kv_manager km_kv_reserve_max = {
    .entry = {"reserve_max",
              "blocks for max_model_len tokens reserved at admission (Orca, FasterTransformer)"},
    .create = reserve_create,
    .destroy = reserve_destroy,
    .most_blocks = reserve_most_blocks,
    .admit = reserve_admit,
    .extend = reserve_extend,
    .decode_needs = reserve_decode_needs,
    .decode_steps = reserve_decode_steps,
    .decode_blocks = reserve_decode_blocks,
    .decode = reserve_decode,
    .release = reserve_release,
};
