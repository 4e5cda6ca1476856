/* What a scheduler does to a KV manager, one move at a time. */
#ifndef KM_TESTS_KV_MOVES_H
#define KM_TESTS_KV_MOVES_H

#include "kv/kv.h"

#include <stdint.h>

/* A manager of the registry, by name. */
struct km_kv *create(const char *name, uint64_t blocks, uint32_t block_size);
/* The same with windowed groups, and at most `in_flight_tokens` not yet computed. */
struct km_kv *create_grouped(const char *name, uint64_t pages, uint32_t block_size,
                             struct km_kv_groups groups, uint32_t in_flight_tokens);

/* Admit a sequence whose `tokens` are to be computed, with a first chunk of at most `chunk` (or all). Returns
 * the hit tokens, -1 when it is not admitted. */
int64_t admit(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, uint32_t chunk);
int64_t admit_all(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens);

/* A sequence of which `computed_tokens` are scheduled goes on to `to`: false = there is no room. */
bool extend(struct km_kv *kv, struct km_sequence *sequence, uint32_t to);
/* Its first `tokens` are computed. With all of its prompt it decodes. */
void settle(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens, bool decodes);

/* One sequence decodes from `from` to `to` tokens of context. */
void decode(struct km_kv *kv, uint32_t from, uint32_t to);

/* The two ways to give blocks back, each in the simulator's order. */
void preempt(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens);
void end(struct km_kv *kv, struct km_sequence *sequence, uint32_t tokens);

#endif
