/* A random scenario: most that are drawn run, the others are refused in one line. Few requests, short
 * outputs, few KV blocks, so that a run takes about a millisecond and yet preempts, rejects, waits and
 * scales. */
#ifndef KM_TESTS_CAMPAIGN_DRAW_H
#define KM_TESTS_CAMPAIGN_DRAW_H

#include "campaign/keys.h"

/* The case `number` of `seed`. What it holds lives in `arena`. */
void draw_case(const struct keys *keys, uint64_t seed, uint64_t number, struct km_arena *arena,
               struct random_scenario *out);
/* By any dice. */
void draw_case_by(const struct keys *keys, gsl_rng *rng, struct km_arena *arena, struct random_scenario *out);

#endif
