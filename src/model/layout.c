#include "model/layout.h"

void km_layout_stage(const struct km_model *model, const struct km_layout *layout, uint32_t stage,
                     uint32_t *first, uint32_t *count)
{
    uint32_t stages = layout->pipeline_parallel, each = model->layer_count / stages,
             rest = model->layer_count % stages;
    *first = 0;
    for (uint32_t s = 0;; s++) {
        /* Stages from the last but one backwards take one of the remaining layers each. */
        bool extra = s + 1 < stages && s + 1 + rest >= stages;
        *count = each + extra;
        if (s == stage)
            return;
        *first += *count;
    }
}

/* Largest divisor of `value` that is at most `limit`, and the next divisor above, for "nearest valid". */
static uint32_t divisor_at_most(uint32_t value, uint32_t limit)
{
    for (uint32_t d = limit < value ? limit : value; d > 1; d--)
        if (value % d == 0)
            return d;
    return 1;
}

static uint32_t divisor_above(uint32_t value, uint32_t limit)
{
    for (uint32_t d = limit + 1; d < value; d++)
        if (value % d == 0)
            return d;
    return value;
}

static enum km_status refuse_split(struct km_error *error, uint32_t layer, const char *what, uint32_t value,
                                   uint32_t ranks)
{
    uint32_t below = divisor_at_most(value, ranks), above = divisor_above(value, ranks);
    if (above > ranks)
        return km_fail(error, KM_NO, NULL, 0, 0,
                       "tensor_parallel_size %u does not divide the %u %s of layer %u; nearest: %u or %u",
                       ranks, value, what, layer, below, above);
    return km_fail(error, KM_NO, NULL, 0, 0,
                   "tensor_parallel_size %u does not divide the %u %s of layer %u; nearest: %u", ranks, value,
                   what, layer, below);
}

static enum km_status check_layer(const struct km_layer *layer, uint32_t index,
                                  const struct km_layout *layout, struct km_error *error)
{
    uint32_t ranks = layout->tensor_parallel;
    if (layer->mixer == KM_ATTENTION || layer->mixer == KM_MLA) {
        if (layer->heads % ranks != 0)
            return refuse_split(error, index, "attention heads", layer->heads, ranks);
    }
    if (layer->mixer == KM_ATTENTION) {
        uint32_t more = layer->kv_heads > ranks ? layer->kv_heads : ranks,
                 fewer = layer->kv_heads > ranks ? ranks : layer->kv_heads;
        if (more % fewer != 0)
            return refuse_split(error, index, "KV heads", layer->kv_heads, ranks);
    }
    if ((layer->mixer == KM_SSM || layer->mixer == KM_SSD) && layer->ssm_inner % ranks != 0)
        return refuse_split(error, index, "state-space channels", layer->ssm_inner, ranks);
    if (layer->mlp == KM_MLP_DENSE && layer->intermediate % ranks != 0)
        return refuse_split(error, index, "MLP columns", layer->intermediate, ranks);
    if (layer->mlp == KM_MLP_MOE && layout->expert_parallel && layer->experts % ranks != 0)
        return refuse_split(error, index, "experts", layer->experts, ranks);
    if (layer->mlp == KM_MLP_MOE && !layout->expert_parallel && layer->expert_intermediate % ranks != 0)
        return refuse_split(error, index, "expert columns", layer->expert_intermediate, ranks);
    return KM_OK;
}

enum km_status km_layout_check(const struct km_model *model, const struct km_layout *layout,
                               struct km_error *error)
{
    if (layout->pipeline_parallel > model->layer_count)
        return km_fail(error, KM_NO, NULL, 0, 0, "pipeline_parallel_size %u exceeds the model's %u layers",
                       layout->pipeline_parallel, model->layer_count);
    for (uint32_t i = 0; i < model->layer_count; i++) {
        enum km_status status = check_layer(&model->layers[i], i, layout, error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}
