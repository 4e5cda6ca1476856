/* What one rank's attention has to do in a step: the totals that its time follows from.
 *
 * As the engine runs it, or as engine/composition.h says another simulator would count it. */
#ifndef KM_COST_ATTENTION_LOAD_H
#define KM_COST_ATTENTION_LOAD_H

#include "cost/shape.h"
#include "engine/engine.h"
#include "model/layout.h"
#include "model/operators.h"

#include <stdbool.h>

struct km_attention_load {
    double prefill_pairs, prefill_context, prefill_tokens; /* pairs; KV tokens read; query tokens */
    double chunks;                                         /* sequences these belong to */
    double past;                                           /* tokens before them, summed over the chunks */
    double decode_context;
    double decodes;
    double longest_context;             /* of the decodes */
    double longest_chunk, longest_read; /* of the prompts: query tokens; these and the tokens before them */
    double prefill_scale, decode_scale; /* of the times; 1 as the engine runs it */
    bool mixed;                         /* one kernel for prompts and decodes */
    bool apart;                         /* a kernel each for prompts and decodes, whatever the step */
};

/* Of the busiest data-parallel rank: an even share, or the costliest chunk if that is more. The operator says
 * what context-parallel ranks make of it. */
void km_attention_load(const struct km_layout *layout, const struct km_engine *engine, const struct km_op *op,
                       const struct km_step_shape *shape, struct km_attention_load *out);

#endif
