#include "model/memory.h"

#include <math.h>

/* Values of a mixer that stand on every rank, beyond an even share of the whole. */
static double repeated_values(const struct km_model *model, const struct km_layer *layer, double ranks)
{
    double hidden = model->hidden, whole = 0.0;
    if (layer->mixer == KM_MLA)
        whole = hidden * ((double)layer->kv_lora_rank + layer->qk_rope_dim + layer->q_lora_rank) +
                layer->index_heads * (hidden + (double)layer->q_lora_rank * layer->index_dim) +
                hidden * layer->index_dim;
    else if (layer->mixer == KM_SSD)
        whole = hidden * 2.0 * layer->ssm_groups * layer->ssm_state;
    else if (layer->mixer == KM_KDA)
        whole = hidden * ((double)layer->delta_value_dim + layer->delta_gate_rank);
    else if (layer->mixer == KM_ATTENTION && layer->kv_source < 0) {
        double heads = km_layout_kv_heads(layer, (uint32_t)ranks) - layer->kv_heads / ranks;
        double dims = (double)layer->head_dim + (layer->value_of_key ? 0 : layer->value_dim);
        return heads * dims * (hidden + layer->qkv_bias) + (1.0 - 1.0 / ranks) * hidden * layer->index_dim;
    }
    return whole - whole / ranks;
}

void km_memory_weights(const struct km_model *model, const struct km_precision *precision,
                       const struct km_layout *layout, uint32_t stage, struct km_memory_weights *out)
{
    struct km_parameters all;
    km_model_parameters(model, &all);
    double ranks = layout->tensor_parallel, wide = km_dtype_bytes(precision->embeddings),
           head = km_dtype_bytes(km_lm_head_format(model, precision).weights);
    bool is_first = stage == 0, is_last = stage + 1 == layout->pipeline_parallel;
    double positions = (double)model->learned_positions * model->hidden;
    double vocabulary = (all.embedding - positions) / ranks * wide;
    uint32_t first, count;
    km_layout_stage(model, layout, stage, &first, &count);
    *out = (struct km_memory_weights){0};
    for (uint32_t i = 0; i < count; i++) {
        const struct km_layer *layer = &model->layers[first + i];
        struct km_parameters part;
        km_layer_parameters(model, layer, &part);
        double bytes[KM_MODULE_COUNT];
        for (int m = 0; m < KM_MODULE_COUNT; m++)
            bytes[m] = km_dtype_bytes(km_layer_format(model, layer, (enum km_module)m, precision).weights);
        out->attention +=
            (part.attention / ranks + repeated_values(model, layer, ranks)) * bytes[KM_MODULE_MIXER];
        out->dense_mlp += part.dense_mlp / ranks * bytes[KM_MODULE_DENSE_MLP];
        out->routed_experts +=
            part.routed_experts / km_layout_expert_ranks(layout) * bytes[KM_MODULE_EXPERTS];
        /* the projections to and from latent experts are whole on every rank (vllm/model_executor/models/
         * nemotron_h.py) */
        const double latent = 2.0 * model->hidden * layer->expert_hidden;
        out->shared_experts += ((part.shared_experts - latent) / ranks + latent) * bytes[KM_MODULE_SHARED];
        out->router += part.router * wide;
        out->norms += part.norms * wide;
    }
    if (is_first)
        out->embedding = vocabulary + positions * wide;
    if (is_first)
        out->towers = model->tower_parameters / ranks * wide;
    if (is_last) {
        out->lm_head = all.lm_head / ranks * head;
        if (model->tied_embeddings && !is_first)
            out->lm_head += vocabulary;
        if (model->final_norm)
            out->norms += (double)model->hidden * (model->norm_bias ? 2.0 : 1.0) * wide;
    }
}

static double sum(const struct km_memory_weights *weights)
{
    return weights->embedding + weights->lm_head + weights->attention + weights->dense_mlp +
           weights->routed_experts + weights->shared_experts + weights->router + weights->norms +
           weights->towers;
}

double km_memory_weight_bytes(const struct km_model *model, const struct km_precision *precision,
                              const struct km_layout *layout, uint32_t stage)
{
    struct km_memory_weights weights;
    km_memory_weights(model, precision, layout, stage, &weights);
    return sum(&weights);
}

/* Workspace of the largest step: at its peak a layer holds its input, its residual and normed copy, and the
 * MLP's up projection with the activated half; the head holds the logits in 16 bits and twice in 32 bits for
 * sampling. (For Llama-3.1-8B, 8192 tokens and 256 sequences this gives 1.15 GiB; vLLM 0.26 measures 1.1 at
 * start.) */
static double activation_bytes(const struct km_model *model, const struct km_precision *precision,
                               const struct km_layout *layout, uint32_t stage,
                               const struct km_memory_limits *limits)
{
    double ranks = layout->tensor_parallel, value_bytes = precision->activations == KM_FP32 ? 4.0 : 2.0,
           widest = 0.0;
    uint32_t first, count;
    km_layout_stage(model, layout, stage, &first, &count);
    for (uint32_t i = 0; i < count; i++) {
        const struct km_layer *layer = &model->layers[first + i];
        double each = layer->gated ? 3.0 : 2.0, width = 0.0;
        if (layer->mlp == KM_MLP_DENSE)
            width = each * layer->intermediate / ranks;
        else if (layer->mlp == KM_MLP_MOE)
            width =
                each *
                ((double)layer->expert_intermediate * layer->experts_per_token + layer->shared_intermediate) /
                ranks;
        widest = fmax(widest, fmax(width, 2.0 * layer->heads * (double)layer->head_dim / ranks));
    }
    double tokens = ceil((double)limits->max_num_batched_tokens / km_layout_context(layout));
    double bytes = tokens * (widest + 3.0 * model->hidden) * value_bytes;
    if (stage + 1 == layout->pipeline_parallel)
        bytes += (double)limits->max_num_seqs * model->vocab * (value_bytes + 8.0);
    return bytes * limits->activation_scale;
}

/* What sampling takes while the engine profiles itself: the logits of all sequences, sorted for top-k and
 * top-p, on every rank (vllm/v1/worker/gpu_model_runner.py, _dummy_sampler_run). */
static double sampler_bytes(const struct km_model *model, const struct km_memory_limits *limits)
{
    return limits->sampler_bytes * limits->max_num_seqs * model->vocab;
}

static double rounded_up(double value, uint32_t multiple)
{
    return multiple ? ceil(value / multiple) * multiple : value;
}

/* Experts in MXFP4 are padded for their kernels when they are loaded
 * (vllm/model_executor/layers/fused_moe/oracle/mxfp4.py). */
static double padding_bytes(const struct km_model *model, const struct km_precision *precision,
                            const struct km_layout *layout, uint32_t stage,
                            const struct km_memory_limits *limits)
{
    double bytes = 0.0;
    uint32_t first, count;
    km_layout_stage(model, layout, stage, &first, &count);
    for (uint32_t i = 0; i < count; i++) {
        const struct km_layer *layer = &model->layers[first + i];
        if (layer->mlp != KM_MLP_MOE ||
            km_layer_format(model, layer, KM_MODULE_EXPERTS, precision).weights != KM_MXFP4)
            continue;
        struct km_parameters part;
        km_layer_parameters(model, layer, &part);
        const double width =
            layer->expert_intermediate / (layout->expert_parallel ? 1.0 : (double)layout->tensor_parallel);
        const double grown = rounded_up(width, limits->mxfp4_intermediate_multiple) / width *
                             rounded_up(model->hidden, limits->mxfp4_hidden_multiple) / model->hidden;
        bytes +=
            part.routed_experts / km_layout_expert_ranks(layout) * km_dtype_bytes(KM_MXFP4) * (grown - 1.0);
    }
    return bytes;
}

double km_memory_others(const struct km_memory_map *map)
{
    return map->padding_bytes + map->activation_bytes + map->state_bytes + map->reserve_bytes +
           (map->graphs_in_budget ? map->graph_bytes : 0.0);
}

/* Bytes of one token in a page on one rank of a stage: of as many layers as the group with the most of them there; the
 * others are padded. All layers that keep a KV cache are of one size. */
static double page_token_bytes(const struct km_model *model, const struct km_precision *precision,
                               const struct km_layout *layout, uint32_t stage,
                               const struct km_kv_groups *groups)
{
    uint32_t first, count, full = 0, windowed = 0, recurrent = 0;
    double values = 0.0;
    for (uint32_t i = 0; i < model->layer_count; i++)
        values = fmax(values, km_layer_kv_values(&model->layers[i], layout->tensor_parallel));
    km_layout_stage(model, layout, stage, &first, &count);
    for (uint32_t i = first; i < first + count; i++) {
        const struct km_layer *layer = &model->layers[i];
        bool keeps = km_layer_kv_values(layer, 1) > 0.0;
        full += keeps && !km_layer_slides(layer);
        windowed += keeps && km_layer_slides(layer);
        recurrent += km_layer_state_bytes(layer, 2.0) > 0.0;
    }
    double layers =
        fmax(fmax(ceil(full / fmax(groups->full, 1.0)), ceil(windowed / fmax(groups->windowed, 1.0))),
             ceil(recurrent / fmax(groups->recurrent, 1.0)));
    return layers * values * km_dtype_bytes(precision->kv_cache) / km_layout_kv_shares(layout);
}

static void stage_map(const struct km_model *model, const struct km_precision *precision,
                      const struct km_layout *layout, const struct km_memory_limits *limits, uint32_t stage,
                      struct km_memory_map *out)
{
    uint32_t first, count;
    km_layout_stage(model, layout, stage, &first, &count);
    double kv_values = 0.0, index_bytes = 0.0, state_bytes = 0.0, data = km_layout_data(layout);
    for (uint32_t i = 0; i < count; i++) {
        kv_values += km_layer_kv_values(&model->layers[first + i], layout->tensor_parallel);
        index_bytes += km_layer_index_bytes(&model->layers[first + i]);
        state_bytes += km_layer_state_bytes(&model->layers[first + i], 2.0) / layout->tensor_parallel;
    }
    struct km_kv_groups groups;
    const char *kept = km_kv_groups_of(model, limits->disable_hybrid_kv_cache_manager, &groups);
    const bool grouped = groups.windowed + groups.recurrent > 0;
    *out = (struct km_memory_map){
        .stage = stage,
        .groups = groups,
        .ungrouped = kept,
        .budget_bytes = limits->device_bytes * limits->gpu_memory_utilization,
        .activation_bytes = activation_bytes(model, precision, layout, stage, limits),
        .state_bytes = groups.recurrent ? 0.0 : state_bytes * limits->max_num_seqs,
        .reserve_bytes = limits->reserve_bytes,
        .graph_bytes = limits->graph_reserve_bytes,
        .graphs_in_budget = limits->graphs_in_budget,
        .padding_bytes = padding_bytes(model, precision, layout, stage, limits),
        .kv_bytes_per_token =
            (kv_values * km_dtype_bytes(precision->kv_cache) + index_bytes) / km_layout_kv_shares(layout),
    };
    out->sampler_decides = sampler_bytes(model, limits) > out->activation_bytes;
    if (out->sampler_decides)
        out->activation_bytes = sampler_bytes(model, limits);
    km_memory_weights(model, precision, layout, stage, &out->weights);
    out->weight_bytes = sum(&out->weights);
    out->block_bytes =
        (grouped ? page_token_bytes(model, precision, layout, stage, &groups) : out->kv_bytes_per_token) *
        limits->block_size;
    out->fragmentation_bytes =
        out->block_bytes / 2.0 * limits->max_num_seqs * (grouped ? groups.full + groups.windowed : 1.0);
    out->kv_bytes = out->budget_bytes - out->weight_bytes - km_memory_others(out);
    /* A model without a KV cache (all state-space) is limited by sequences alone: blocks are counted, but
     * take nothing. */
    double blocks = out->block_bytes > 0.0 ? floor(out->kv_bytes / out->block_bytes) * data
                    : out->kv_bytes >= 0.0 ? (double)UINT32_MAX
                                           : 0.0;
    out->blocks = blocks > 0.0 ? (uint64_t)fmin(blocks, (double)UINT32_MAX) : 0;
}

void km_memory_map(const struct km_model *model, const struct km_precision *precision,
                   const struct km_layout *layout, const struct km_memory_limits *limits,
                   struct km_memory_map *out)
{
    for (uint32_t stage = 0; stage < layout->pipeline_parallel; stage++) {
        struct km_memory_map map;
        stage_map(model, precision, layout, limits, stage, &map);
        if (stage == 0 || map.blocks < out->blocks ||
            (map.blocks == out->blocks && map.kv_bytes < out->kv_bytes))
            *out = map;
    }
}
