/* What a step takes at least: lower bounds of the device's time of any batch, read off the cost model.
 *
 * A step over r tokens that samples at least d sequences, attends to C tokens of context in decodes and to X
 * query-key pairs in prompts takes on stage s at least
 *
 *     ops_s(r) + collectives_s(r) + sampling_s(d) + context_s * C + pairs_s * X
 *
 * where ops are the operators whose rows are tokens, at even shares over data-parallel ranks, and attention
 * counts full-context layers alone. That holds for every batch because each term is what the cost model adds
 * up, or less. Between the points of a grid three facts carry the bound over: an operator's time never falls
 * as rows are added; its time a row never rises (roofline: t(r) = max(a r, w(r) + b r) + c with w concave
 * from w(0) = 0 up, a, b, c >= 0); and a step inside the captured graphs takes what the graph's size does.
 * Collectives are monotone but where the engine changes the algorithm, and are taken at the least of what
 * follows. What the host does, and waiting between stages, is left out: it only adds.
 *
 * With a measured profile the operators' own times are not monotone. Then only products of matrices count, at
 * the datasheet's roofline over the greatest share of it that any row of the profile reached: lookups
 * interpolate between rows, so none is faster. With cost model `linear` sampling(d) is a step's whole time.
 */
#ifndef KM_PLANNER_STEP_BOUND_H
#define KM_PLANNER_STEP_BOUND_H

#include "scenario/run.h"

#define KM_STEP_BOUND_POINTS 640u

/* A point of a grid: up to `size` rows, and more than the point before. */
struct km_step_point {
    double size;
    double ops_s;         /* at `size` rows */
    double collectives_s; /* at any number of rows from the point before on */
};

struct km_step_stage {
    struct km_step_point tokens[KM_STEP_BOUND_POINTS];  /* [token_points] ascending */
    struct km_step_point sampled[KM_STEP_BOUND_POINTS]; /* [sampled_points]; collectives_s stays 0 */
    double context_s, pairs_s;
};

struct km_step_bound {
    struct km_step_stage *stages; /* [stage_count]; owned */
    uint32_t stage_count, token_points, sampled_points;
    double captured_tokens; /* steps of up to so many take what the next point does */
    double time_scale;      /* of every step */
};

/* KM_BAD_INPUT: the profile cannot be read (the setup would have said so). */
enum km_status km_step_bound_create(const struct km_setup *setup, struct km_step_bound *out,
                                    struct km_error *error);
void km_step_bound_release(struct km_step_bound *bound);

/* Device seconds, over all stages one after another, of all steps that together compute `tokens` of one
 * prompt, however they are cut. */
double km_step_bound_tokens_s(const struct km_step_bound *bound, double tokens);
/* Of one step that samples. */
double km_step_bound_sample_s(const struct km_step_bound *bound);
/* Attention over all stages: a token of context of a sequence that yields one; a pair of a prompt. */
double km_step_bound_context_s(const struct km_step_bound *bound);
double km_step_bound_pair_s(const struct km_step_bound *bound);

#endif
