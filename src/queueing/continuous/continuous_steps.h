/* Steps of continuous batching while the number m of decodes stands still: layer 1 of queueing/continuous/continuous.h.
 *
 * Prompts that arrive during a step start together in a next one. If they exceed the token budget left by the
 * decodes they take several steps, the budget filled first come first served; these count as one group. Group
 * sizes j form a Markov chain, j' Poisson with mean lambda times the group's time (j = 0: a step of decodes
 * alone). Groups are timed by the step clock for several draws of the prompt lengths, the tails included:
 * whether a step leaves the captured graphs decides its time. With pipeline stages a step is one batch of
 * those in flight. */
#ifndef KM_QUEUEING_CONTINUOUS_CONTINUOUS_STEPS_H
#define KM_QUEUEING_CONTINUOUS_CONTINUOUS_STEPS_H

#include "queueing/continuous/continuous.h"

struct km_steps_at {
    double decode_s;   /* S_0(m); 0 with m = 0 */
    double step_s;     /* E[S](m): time per token of a decode; 0 with m = 0 */
    double residual_s; /* from an arrival to the end of the step or group it falls in */
    double ahead_s;    /* a group already formed then, with overlapped scheduling */
    double own_s;      /* from the start of its own group to its first token */
    /* Prompts waiting when a request begins to decode, beyond those a decode step finds on average, delay its
     * tokens by this in all: who comes out of a long step leaves behind who came during it. */
    double burden_s;
    double hold_s; /* time in which a request holds a slot without decoding */
};

/* With Poisson arrivals of the question's rate. */
void km_steps_at(const struct km_continuous_question *question, uint32_t m, struct km_steps_at *out);

/* A step of m decodes alone. */
double km_steps_decode_s(const struct km_continuous_question *question, uint32_t m);

/* Mean step with m decodes when every request that ends is replaced at once, the saturated engine; each
 * request's prompt is computed 1 + recomputed times. */
double km_steps_saturated_s(const struct km_continuous_question *question, uint32_t m, double recomputed);

/* Requests a second whose prompts are computed when every step is filled to the token budget, m of it
 * decodes. */
double km_steps_full_per_s(const struct km_continuous_question *question, uint32_t m);

#endif
