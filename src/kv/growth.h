/* Block growth of sequences that decode in lockstep, without walking over them.
 *
 * A sequence whose context is c tokens before a step needs a new block in that step exactly when c is a
 * multiple of the block size. Members of a cohort advance together, so only c mod block_size matters: members
 * are counted by residue class, relative to a shared clock. Blocks taken in one step are one table look-up;
 * in n steps, one pass over at most block_size classes.
 *
 * With sliding windows (model/kv_groups.h) a new block takes a page of every group; once the window is full,
 * the windowed groups give a page for each they take, so that only full ones grow. Members whose window is not
 * full yet are counted by class, too, and by the clock at which it will be. */
#ifndef KM_KV_GROWTH_H
#define KM_KV_GROWTH_H

#include "model/kv_groups.h"

#include <stdint.h>

struct km_growth {
    uint32_t block_size;
    uint32_t *members; /* [block_size] members whose (context - clock) mod block_size is the index */
    uint64_t count;
    uint32_t full, windowed; /* pages a block takes; while the window is not full */
    /* Of members whose window is not full: */
    uint64_t window_tokens; /* context at which it is: a multiple of block_size */
    uint64_t inside_count;
    uint32_t *inside; /* [block_size] as members */
    /* [window_tokens] by the clock, modulo window_tokens, at which they are members only */
    uint32_t *leaving;
    uint32_t *scratch; /* [block_size] */
};

void km_growth_init(struct km_growth *growth, uint32_t block_size, const struct km_kv_groups *groups);
void km_growth_release(struct km_growth *growth);
/* `base` = context before the next step less the clock (may be negative). */
void km_growth_add(struct km_growth *growth, int64_t base, uint64_t clock);
void km_growth_remove(struct km_growth *growth, int64_t base, uint64_t clock);
/* Pages that the next `steps` steps from `clock`, the clock now, take. */
uint64_t km_growth_pages(const struct km_growth *growth, uint64_t clock, uint64_t steps);
/* Most steps, up to `limit`, whose pages fit into `free_pages`. */
uint64_t km_growth_steps(const struct km_growth *growth, uint64_t clock, uint64_t free_pages, uint64_t limit);
/* These steps are taken, and the clock moves on. Returns the pages. */
uint64_t km_growth_take(struct km_growth *growth, uint64_t clock, uint64_t steps);

#endif
