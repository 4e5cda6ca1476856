/* Groups of prompts that start together, timed: the raw material of queueing/continuous/continuous_steps.h, and private
 * to it.
 *
 * With `long_prefill_token_threshold` a prompt is computed in pieces of at most that length, one a step,
 * beside the pieces of others: then each piece counts as a prompt of its own here, and `pieces` says how many
 * a request brings. */
#ifndef KM_QUEUEING_CONTINUOUS_CONTINUOUS_GROUPS_H
#define KM_QUEUEING_CONTINUOUS_CONTINUOUS_GROUPS_H

#include "queueing/continuous/continuous.h"

/* Largest group of prompts looked at; what lies beyond is put there. */
#define KM_GROUP_MOST 160u
/* A group of prompts that start together. */
struct km_prompt_group {
    double after_decode_s, after_group_s; /* by what ran before */
    double steps;
};

/* All groups of one size. */
#define KM_GROUP_DRAWS (KM_LENGTH_CLASSES + KM_LENGTH_TOP - 1)
struct km_chain_size {
    struct km_prompt_group drawn[KM_GROUP_DRAWS];
    double weight[KM_GROUP_DRAWS]; /* sum to 1 */
    uint32_t count;
};

struct km_prompt_groups {
    uint32_t most;
    struct km_chain_size of[KM_GROUP_MOST + 1]; /* [0]: one step of decodes alone */
};

struct km_group_load {
    const struct km_continuous_question *q;
    uint32_t m, lane_m; /* decodes; decodes of one batch among those in flight */
    double context, windowed, longest;
    struct km_length_mix prompts; /* the workload's, or their pieces */
    double pieces;                /* of a request */
    uint32_t past;                /* tokens before a piece, on average */
    struct km_step_seconds decode;
};

void km_group_load_init(struct km_group_load *load, const struct km_continuous_question *q, uint32_t m);
/* The decodes of one batch. */
struct km_decode_shape km_group_decodes(const struct km_group_load *load);
/* A step of decodes alone: with pipeline stages, of one of the batches in flight. */
double km_group_decode_s(const struct km_group_load *load);
/* `count` (1 .. KM_GROUP_MOST) prompts spread evenly over the classes, with the workload's mean. */
struct km_prompt_group km_group_even(const struct km_group_load *load, uint32_t count);
/* Groups of `from` .. `most` prompts: every small size drawn, larger ones at some sizes with straight lines
 * between. */
void km_groups_fill(const struct km_group_load *load, uint32_t from, uint32_t most,
                    struct km_prompt_groups *out);
/* Time of a group that follows decodes alone with this probability. */
double km_group_s(const struct km_prompt_group *group, double decode_before);

#endif
