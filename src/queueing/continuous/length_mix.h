/* The lengths of a workload's requests as the queueing models of a real engine need them: moments, and
 * quantile classes.
 *
 * P = prompt tokens, N = output tokens, D = N - 1 the decode steps after the first token. A class holds an
 * equal share of the requests (ordered by P, or by N) and is represented by its mean. Contexts are those a
 * decode step meets: step i of a request (i = 1 .. D) attends to P + i tokens, so their mean over steps is
 * E[P D + D (D + 1) / 2] / E[D]. */
#ifndef KM_QUEUEING_CONTINUOUS_LENGTH_MIX_H
#define KM_QUEUEING_CONTINUOUS_LENGTH_MIX_H

#include "base/error.h"
#include "workload/distribution.h"

#include <stddef.h>
#include <stdint.h>

#define KM_LENGTH_CLASSES 24
#define KM_LENGTH_TOP                                                                                        \
    4 /* parts of the top class of prompts: a half, a quarter, an eighth and the top eighth of it */

struct km_length_mix {
    double prompt_mean, prompt_square;      /* E[P], E[P^2] */
    double output_mean;                     /* E[N] */
    double decode_mean, decode_square;      /* E[D], E[D^2] */
    double prompt_decode_mean;              /* E[P D] */
    double prompt_class[KM_LENGTH_CLASSES]; /* ascending */
    double prompt_top[KM_LENGTH_TOP];
    double output_class[KM_LENGTH_CLASSES];
};

/* Independent prompt and output lengths. KM_BAD_INPUT when a distribution has a problem. */
enum km_status km_length_mix_independent(struct km_length_mix *mix,
                                         const struct km_distribution *prompt_tokens,
                                         const struct km_distribution *output_tokens, struct km_error *error);
/* Recorded requests, prompts and outputs as they came together, each >= 1; count >= 1. */
enum km_status km_length_mix_recorded(struct km_length_mix *mix, const uint32_t *prompt_tokens,
                                      const uint32_t *output_tokens, size_t count, struct km_error *error);

/* The share of the top class that its part `part` holds. */
double km_length_top_share(unsigned part);

/* The prompts cut into pieces of at most `most_tokens` >= 1 (over the classes): `out` is `mix` with the
 * pieces for its prompts (prompt_mean, prompt_square, prompt_class, prompt_top). Returns the mean number of
 * pieces of a prompt. */
double km_length_mix_pieces(const struct km_length_mix *mix, uint32_t most_tokens, struct km_length_mix *out);

/* Mean context of a decode step; with a window, each cut to it (over the classes, P and N taken as
 * independent). 0 when no request decodes. */
double km_length_mix_context(const struct km_length_mix *mix);
/* Variance of the context over decode steps (over the classes). */
double km_length_mix_context_variance(const struct km_length_mix *mix);
double km_length_mix_windowed(const struct km_length_mix *mix, uint32_t window);
/* A long context: the means of the longest classes together. */
double km_length_mix_longest(const struct km_length_mix *mix);

#endif
