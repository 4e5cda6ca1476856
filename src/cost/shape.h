/* The shape of one step: all that its cost depends on. Decodes come as aggregates, so that cost never grows
 * with their number. */
#ifndef KM_COST_SHAPE_H
#define KM_COST_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

struct km_chunk {
    uint32_t tokens; /* prompt tokens computed in this step */
    uint32_t past;   /* tokens of the same sequence computed before */
};

struct km_decode_shape {
    uint32_t count;       /* sequences, one token each */
    uint64_t sum_context; /* tokens attended to, the new one included, summed over the sequences */
    /* the same with each context cut to the model's window; sum_context without a window */
    uint64_t sum_windowed;
    uint32_t below_window; /* sequences whose context still grows inside the window; count without a window */
    uint64_t max_context;
    uint32_t padding; /* rows that finished sequences still fill in a batch that runs to its longest member's
                         end */
};

/* Beside the step of one data-parallel rank: what all of them run in it. */
struct km_step_peers {
    uint32_t ranks;       /* 0: the shape is of all ranks together, who share it evenly */
    bool prompts;         /* some rank computes chunks of prompts */
    uint32_t most_tokens; /* of the busiest */
    uint64_t all_tokens;  /* of all; who has no batch runs one token */
};

struct km_step_shape {
    const struct km_chunk *chunks; /* [chunk_count] */
    uint32_t chunk_count;
    uint32_t prefill_tokens; /* sum of chunk tokens */
    uint32_t sampled;        /* sequences that yield a token: decodes and last chunks */
    struct km_decode_shape decode;
    struct km_step_peers peers;
};

static inline uint32_t km_step_tokens(const struct km_step_shape *shape)
{
    return shape->prefill_tokens + shape->decode.count + shape->decode.padding;
}

#endif
