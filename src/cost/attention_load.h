/* What one rank's attention has to do in a step: the totals that its time follows from. */
#ifndef KM_COST_ATTENTION_LOAD_H
#define KM_COST_ATTENTION_LOAD_H

#include <stdbool.h>

struct km_attention_load {
    double prefill_pairs, prefill_context, prefill_tokens; /* pairs; KV tokens read; query tokens */
    double chunks;                                         /* sequences these belong to */
    double past;                                           /* tokens before them, summed over the chunks */
    double decode_context;
    double decodes;
    double longest_context; /* of the decodes */
    bool mixed;
};

#endif
