#include "support/kv_moves.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct km_kv *create(const char *name, uint64_t blocks, uint32_t block_size)
{
    return create_grouped(name, blocks, block_size, (struct km_kv_groups){0}, 0);
}

struct km_kv *create_grouped(const char *name, uint64_t pages, uint32_t block_size,
                             struct km_kv_groups groups, uint32_t in_flight_tokens)
{
    const struct km_kv_manager *manager =
        (const struct km_kv_manager *)(const void *)km_registry_find(km_kv_registry, name);
    const struct km_kv_config config = {.capacity_blocks = pages,
                                        .block_size = block_size,
                                        .max_model_len = 1u << 20,
                                        .groups = groups,
                                        .in_flight_tokens = in_flight_tokens};
    return manager->create(&config);
}

int64_t admit(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, uint32_t chunk)
{
    uint32_t hit = kv->manager->match ? kv->manager->match(kv, sequence, tokens) : 0;
    assert_true(hit == 0 || hit < tokens);
    assert_int_equal(hit % kv->config.block_size, 0);
    uint32_t first = chunk < tokens - hit ? hit + chunk : tokens;
    if (!kv->manager->admit(kv, sequence, tokens, hit, first))
        return -1;
    sequence->state = KM_SEQ_PREFILL;
    sequence->computed_tokens = first;
    return (int64_t)hit;
}

bool extend(struct km_kv *kv, struct km_sequence *sequence, uint32_t to)
{
    if (!kv->manager->extend(kv, sequence, sequence->computed_tokens, to))
        return false;
    sequence->computed_tokens = to;
    return true;
}

void settle(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, bool decodes)
{
    sequence->state = decodes ? KM_SEQ_DECODE : KM_SEQ_PREFILL;
    kv->manager->settle(kv, sequence, tokens);
}

int64_t admit_all(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    return admit(kv, sequence, tokens, UINT32_MAX);
}

void decode(struct km_kv *kv, uint32_t from, uint32_t to)
{
    struct km_growth growth;
    km_growth_init(&growth, kv->config.block_size, &kv->config.groups);
    km_growth_add(&growth, from, 0);
    kv->manager->decode(kv, &growth, 0, to - from);
    km_growth_release(&growth);
}

void preempt(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    sequence->state = KM_SEQ_DECODE;
    kv->manager->release(kv, sequence, tokens);
    assert_null(sequence->kv);
    sequence->state = KM_SEQ_WAITING;
    sequence->preemptions++;
}

void end(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens)
{
    sequence->state = KM_SEQ_ENDING;
    kv->manager->release(kv, sequence, tokens);
    assert_null(sequence->kv);
}
