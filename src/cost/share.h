/* What the ranks of a layout get of a step: how data- and context-parallel ranks share it out.
 *
 * Data-parallel ranks each take whole sequences. A shape with peers is one such rank's, as its scheduler formed
 * it. One without is of all of them, spread as evenly as whole prompts allow: the busiest rank has the larger
 * of an even share and the largest chunk, and ranks wait for each other at the experts, so its time is the
 * step's. Inside the graphs all ranks are padded to the busiest, and the experts compute everybody's tokens
 * (vllm/v1/worker/dp_utils.py). Context-parallel ranks share the tokens of every chunk
 * evenly (zigzag order gives causal attention even shares, too; arXiv 2411.01783) and all run the decodes. */
#ifndef KM_COST_SHARE_H
#define KM_COST_SHARE_H

#include "cost/shape.h"
#include "engine/engine.h"
#include "model/layout.h"
#include "model/operators.h"

#include <stdbool.h>

/* Counts of the rank, or of the busiest; each is at most the shape's. */
struct km_rank_share {
    uint32_t prefill_tokens;
    uint32_t decodes; /* with padding */
    uint32_t sequences;
    uint32_t sampled;
    uint64_t past;        /* tokens of its chunks' prompts that were computed before */
    uint32_t data, ranks; /* that share the shape, 1 of those with peers; of the layout */
    uint32_t most_tokens; /* of the busiest rank: what all are padded to inside the graphs */
    uint64_t all_tokens;  /* of the rank and its peers */
};

void km_rank_share(const struct km_layout *layout, const struct km_step_shape *shape,
                   struct km_rank_share *out);
static inline uint32_t km_rank_tokens(const struct km_rank_share *share)
{
    return share->prefill_tokens + share->decodes;
}

/* The rows of each kind; tokens padded to what the engine captured. */
void km_share_rows(const struct km_engine *engine, const struct km_rank_share *share,
                   double rows[KM_ROWS_COUNT]);

#endif
