/* A synthetic executor, for schedules that can be worked out by hand: a step takes
 *   step_ps + token_ps * (prefill tokens + decodes + padding rows) + context_ps * (windowed context summed
 * over the decodes) on every stage, and the host's times are constants. Whole picoseconds throughout, so a
 * run of decode steps is exactly a line wherever it is begun. */
#ifndef KM_TESTS_SYNTHETIC_H
#define KM_TESTS_SYNTHETIC_H

#include "executor/executor.h"

#include <stddef.h>

struct synthetic_step { /* one call of run() */
    uint32_t chunks, prefill_tokens, decodes;
};

struct synthetic {
    uint64_t step_ps, token_ps, context_ps;
    uint64_t peer_ps; /* data-parallel ranks: for each token of all of them */
    uint64_t form_ps, form_sequence_ps, launch_ps, process_ps, process_sequence_ps;
    bool workers;               /* others than the host launch */
    bool uncaptured;            /* every step is outside the graphs, or ... */
    uint32_t captured_tokens;   /* ... those of more tokens than this (0 = none) */
    uint64_t knot;              /* > 0: a line ends when the summed context passes a multiple of this */
    uint32_t stages;            /* 0 = 1 */
    struct synthetic_step *log; /* borrowed, optional: [log_capacity], filled in order by run() */
    size_t log_count, log_capacity;
};

/* Their state is a `struct synthetic *`. */
extern const struct km_executor synthetic_lines;  /* draws lines */
extern const struct km_executor synthetic_single; /* cannot: every step must be run */

#endif
