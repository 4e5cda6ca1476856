/* Composition: the rules by which another simulator puts the time of a batch together, so that its tables can
 * be read its own way. An engine description without the section has none of them.
 *
 * Vidur (arXiv 2405.05465; vidur/execution_time_predictor/sklearn_execution_time_predictor.py, entities/
 * batch.py and entities/execution_time.py in its sources) predicts a batch of chunks c_i after p_i tokens and
 * of n decodes over contexts x_j as
 *
 *     products and element-wise kernels at   ceil(tokens / 8) * 8 tokens
 *     attention, prompts                     one of round(sqrt(sum c_i^2)) tokens after sum up(p_i), times
 *                                            1.1 when there are several
 *     attention, decodes                     n of them over up(floor(mean x_j)) tokens of cache, times 1.1
 *                                            when n > 1
 *     all-reduce                             as measured, and 0.02 ms to launch it
 *
 * up() rounding up to multiples of 64 tokens, the factors 1.1 for models whose query heads share KV heads
 * only. Both attentions are added up. The embedding, the last norm, the LM head and sampling take no time,
 * nor (by its default) does the host.
 *
 * Where it differs: a run of decode steps is a line between two knots of the summed context (executor), so
 * that a step of the rounding appears as a slope; the cache write counts the rounded tokens, not the exact
 * ones; with one pipeline stage the all-reduce after the embedding is still one of 2 L + 1. */
#ifndef KM_ENGINE_COMPOSITION_H
#define KM_ENGINE_COMPOSITION_H

#include "base/settings.h"

#include <stdbool.h>
#include <stdint.h>

enum km_composition_rule {
    KM_COMPOSE_AS_RUN, /* by the kernels that the engine launches */
    KM_COMPOSE_VIDUR,
};

struct km_composition {
    enum km_composition_rule rule;
    uint32_t context_granularity_tokens; /* of attention; 0 = exact */
    uint32_t token_granularity;          /* of a step outside the graphs; 0 = exact */
    double batching_overhead;            /* of several prompts or decodes over one, with shared KV heads */
    double all_reduce_launch_s;          /* beyond a measured time */
    bool layers_only;                    /* what comes before and after the layers takes no time */
};

extern const struct km_setting km_composition_settings[]; /* target struct km_composition */

#endif
