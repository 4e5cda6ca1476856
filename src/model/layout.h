/* Parallel layout of one replica. */
#ifndef KM_MODEL_LAYOUT_H
#define KM_MODEL_LAYOUT_H

#include "model/model.h"

#include <stdbool.h>
#include <stdint.h>

struct km_layout {
    uint32_t tensor_parallel;   /* ranks that share every layer */
    uint32_t pipeline_parallel; /* stages of consecutive layers */
    bool expert_parallel; /* whole experts are spread over the tensor ranks, instead of slices of every expert
                           */
};

/* Can the model be laid out so? KM_NO with the reason and the nearest layouts that can. */
enum km_status km_layout_check(const struct km_model *model, const struct km_layout *layout,
                               struct km_error *error);

/* Layers [*first, *first + *count) of a stage: an even split, the remainder going one each to the stages
 * before the last, from the back (vLLM's get_pp_indices: the last stage also holds the LM head). */
void km_layout_stage(const struct km_model *model, const struct km_layout *layout, uint32_t stage,
                     uint32_t *first, uint32_t *count);

/* KV heads of one rank: a share of them, or a whole one replicated when there are fewer heads than ranks. */
static inline uint32_t km_layout_kv_heads(const struct km_layer *layer, uint32_t tensor_parallel)
{
    return layer->kv_heads > tensor_parallel ? layer->kv_heads / tensor_parallel : 1;
}

#endif
