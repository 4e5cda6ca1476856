/* The queueing paper's service laws fitted to a real engine: what constants make
 *
 *     H(b, l) = k1*b + k2 + (k3*b + k4)*l        b requests of l output tokens (arXiv 2407.05347)
 *     S(N)    = a*N + c                          one request at a time
 *
 * come closest to the step times of a model on a device, over the batch sizes and lengths of a workload.
 *
 * H(b, l) of the engine: one step with the b prompts (b classes of the workload's prompt lengths, scaled to
 * its mean) that yields the first tokens, then l - 1 decode steps of b sequences whose contexts grow from the
 * mean prompt. b runs over powers of two and the largest batch, l over 1 and the quantile classes of the
 * output length. S(N) likewise with b = 1. Steps follow each other at the engine's
 * pace (engine/pace.h), host times included where nothing hides them; prompts beyond the token budget
 * take several steps.
 *
 * Least squares of the relative error (each point weighs 1/H^2), by GSL; estimates are non-negative: of all
 * subsets of the constants (the others 0) the feasible one with the least squares is taken, which is the
 * exact non-negative solution (Lawson and Hanson 1974, chapter 23). Constants that the points cannot tell
 * apart (k1 and k2 when b is only 1) are left 0 by preferring the smaller subset. */
#ifndef KM_QUEUEING_CONTINUOUS_FIT_H
#define KM_QUEUEING_CONTINUOUS_FIT_H

#include "base/error.h"
#include "cost/cost.h"
#include "queueing/continuous/length_mix.h"
#include "queueing/continuous/step_clock.h"

#include <stdbool.h>
#include <stdint.h>

/* A law fits badly, and theory built on it should be read with care, beyond these residuals. */
#define KM_FIT_POOR_RMS 0.05
#define KM_FIT_POOR_MAX 0.20

struct km_law_question {
    const struct km_step_clock *clock;
    const struct km_length_mix *mix;
    uint32_t max_batch;              /* >= 1: largest batch the law should speak of */
    uint32_t max_num_batched_tokens; /* >= 1: prompts beyond it take several steps */
};

struct km_law_quality {
    uint32_t points;
    double rms_relative, max_relative; /* of (law - engine) / engine */
    uint32_t worst_batch;              /* where max_relative is */
    bool poor;                         /* rms above KM_FIT_POOR_RMS or max above KM_FIT_POOR_MAX */
};

struct km_law_fit {
    struct km_linear_law law;
    struct km_law_quality quality;
};

struct km_service_fit {
    double a_s, c_s;
    struct km_law_quality quality;
};

/* KM_BAD_INPUT when the question has no batch, no budget, or times that are not finite and positive. */
enum km_status km_law_fit_find(const struct km_law_question *question, struct km_law_fit *out,
                               struct km_error *error);
enum km_status km_service_fit_find(const struct km_law_question *question, struct km_service_fit *out,
                                   struct km_error *error);

#endif
