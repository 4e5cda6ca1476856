/* Parallel layout of one replica.
 *
 * Ranks are numbered with the tensor ranks innermost, then the context-parallel, KV-parallel and
 * data-parallel groups, and the pipeline stages outermost; a replica starts on a node of its own. A group of
 * ranks is therefore its size and the distance between neighbours (stride), and a stage is a run of
 * consecutive ranks.
 *
 * - tensor (Megatron-LM, arXiv 1909.08053): every matrix is cut; two all-reduces of [tokens, hidden] a layer.
 * - pipeline: stages of consecutive layers; [tokens, hidden] passes from stage to stage. Chunks of one long
 *   prompt may follow each other through the stages (sequence-pipeline prefill, Mnemosyne, arXiv 2409.17264):
 *   that is how batches are formed, and costs nothing here.
 * - data: ranks that each attend for a share of the batch with the KV cache of that share, around experts
 *   that all of them share (vLLM's data_parallel_size of a mixture of experts).
 * - expert: whole experts are spread over the tensor and data ranks, instead of slices of every expert
 *   (GShard, arXiv 2006.16668). With data ranks, tokens travel to their experts and back by all-to-all.
 * - prefill context: groups with whole weights that share the tokens of a prompt; each keeps the KV of its
 *   share. Ring (arXiv 2310.01889; for inference 2411.01783): KV blocks go around, behind the computation.
 *   Ulysses (arXiv 2309.14509): all-to-all swaps shares of tokens for shares of heads. Decodes run on every
 *   group, each attending to its share of the KV.
 * - decode context (vLLM's decode_context_parallel_size): tensor ranks that hold the same KV heads hold
 *   different tokens of them. Queries are gathered, partial outputs reduced and scattered.
 * - KV-parallel (Mnemosyne's KVP, arXiv 2409.17264, section 4): groups with whole weights that compute
 *   everything alike, but each attends to its share of the KV; one small all-reduce combines the outputs. */
#ifndef KM_MODEL_LAYOUT_H
#define KM_MODEL_LAYOUT_H

#include "base/text.h"
#include "model/model.h"

#include <stdbool.h>
#include <stdint.h>

/* Pipeline stages of a replica at most. */
#define KM_MAX_STAGES 64

enum km_context_method {
    KM_CONTEXT_RING,
    KM_CONTEXT_ULYSSES,
};

struct km_layout {
    uint32_t tensor_parallel;   /* ranks that share every layer */
    uint32_t pipeline_parallel; /* stages of consecutive layers */
    bool expert_parallel; /* whole experts are spread over the ranks, instead of slices of every expert */
    /* Of these 0 means 1: none. */
    uint32_t data_parallel;
    uint32_t prefill_context_parallel;
    enum km_context_method context_method;
    uint32_t decode_context_parallel; /* within the tensor ranks */
    uint32_t kv_parallel;
    uint32_t gpus_per_node; /* 0 = all ranks in one node */
};

static inline uint32_t km_layout_data(const struct km_layout *layout)
{
    return layout->data_parallel ? layout->data_parallel : 1;
}
static inline uint32_t km_layout_context(const struct km_layout *layout)
{
    return layout->prefill_context_parallel ? layout->prefill_context_parallel : 1;
}
static inline uint32_t km_layout_decode_context(const struct km_layout *layout)
{
    return layout->decode_context_parallel ? layout->decode_context_parallel : 1;
}
static inline uint32_t km_layout_kv_groups(const struct km_layout *layout)
{
    return layout->kv_parallel ? layout->kv_parallel : 1;
}
/* Ranks of one data-parallel share of a stage; of a stage; of the replica. */
static inline uint32_t km_layout_share_ranks(const struct km_layout *layout)
{
    return layout->tensor_parallel * km_layout_context(layout) * km_layout_kv_groups(layout);
}
static inline uint32_t km_layout_stage_ranks(const struct km_layout *layout)
{
    return km_layout_share_ranks(layout) * km_layout_data(layout);
}
static inline uint32_t km_layout_ranks(const struct km_layout *layout)
{
    return km_layout_stage_ranks(layout) * layout->pipeline_parallel;
}
/* Ranks the experts, whole or sliced, are spread over. */
static inline uint32_t km_layout_expert_ranks(const struct km_layout *layout)
{
    return layout->tensor_parallel * km_layout_data(layout);
}
/* Ranks that hold different parts of what one rank's KV heads need of a sequence. */
static inline uint32_t km_layout_kv_shares(const struct km_layout *layout)
{
    return km_layout_context(layout) * km_layout_kv_groups(layout) * km_layout_decode_context(layout);
}

/* Why a model cannot be laid out so. */
struct km_layout_problem {
    const char *key; /* the setting at fault, as in a scenario's `cluster` section */
    char message[256];
};

/* False, with the reason and the nearest values of that setting that would do, when the model cannot be laid
 * out so. */
bool km_layout_possible(const struct km_model *model, const struct km_layout *layout,
                        struct km_layout_problem *problem);
/* The same as a status: KM_NO with "<key> <reason>". */
enum km_status km_layout_check(const struct km_model *model, const struct km_layout *layout,
                               struct km_error *error);

/* Layers [*first, *first + *count) of a stage: an even split, the remainder going one each to the stages
 * before the last, from the back (vLLM's get_pp_indices: the last stage also holds the LM head). */
void km_layout_stage(const struct km_model *model, const struct km_layout *layout, uint32_t stage,
                     uint32_t *first, uint32_t *count);

/* "TP 8 x PP 2", and what else is more than 1. Appends. */
void km_layout_describe(const struct km_layout *layout, struct km_text *out);

/* KV heads of one rank: a share of them, or a whole one replicated when there are fewer heads than ranks. */
static inline uint32_t km_layout_kv_heads(const struct km_layer *layer, uint32_t tensor_parallel)
{
    return layer->kv_heads > tensor_parallel ? layer->kv_heads / tensor_parallel : 1;
}

#endif
