/* Block growth of sequences that decode in lockstep, without walking over them.
 *
 * A sequence whose context is c tokens before a step needs a new block in that step exactly when c is a
 * multiple of the block size. Members of a cohort advance together, so only c mod block_size matters: members
 * are counted by residue class, relative to a shared clock. Blocks taken in one step are one table look-up;
 * in n steps, one pass over at most block_size classes. */
#ifndef KM_KV_GROWTH_H
#define KM_KV_GROWTH_H

#include <stdint.h>

struct km_growth {
    uint32_t block_size;
    uint32_t *members; /* [block_size] members whose (context - clock) mod block_size is the index */
    uint64_t count;
};

void km_growth_init(struct km_growth *growth, uint32_t block_size);
void km_growth_release(struct km_growth *growth);
/* `base` = context before the next step less the clock (may be negative). */
void km_growth_add(struct km_growth *growth, int64_t base);
void km_growth_remove(struct km_growth *growth, int64_t base);
/* Blocks that the next `steps` steps from `clock` take. */
uint64_t km_growth_blocks(const struct km_growth *growth, uint64_t clock, uint64_t steps);
/* Most steps, up to `limit`, whose blocks fit into `free_blocks`. */
uint64_t km_growth_steps(const struct km_growth *growth, uint64_t clock, uint64_t free_blocks,
                         uint64_t limit);

#endif
