/* Memory map of one rank: what stands in the device's memory, and how many KV blocks are left.
 *
 *     blocks = floor((usable * gpu_memory_utilization - weights - padding - activations - state - reserve
 *                     [- graphs]) / block_bytes)
 *
 * (design section 4; vLLM profiles the same terms at start). With pipeline stages the fullest stage decides.
 * Ranks that share a sequence's KV cache (context- and KV-parallel) each hold their share of every block;
 * data-parallel ranks have blocks of their own, and the map counts those of all of them. With sliding windows a
 * block is the page of one group of layers (model/kv_groups.h). */
#ifndef KM_MODEL_MEMORY_H
#define KM_MODEL_MEMORY_H

#include "model/kv_groups.h"
#include "model/layout.h"
#include "model/model.h"

#include <stdbool.h>
#include <stdint.h>

#define KM_GIB (1024.0 * 1024.0 * 1024.0)

/* Of each rank, data-parallel ones too. */
struct km_memory_limits {
    double device_bytes; /* what the runtime reports */
    double gpu_memory_utilization;
    double reserve_bytes;       /* runtime, communication and other memory inside the budget */
    double graph_reserve_bytes; /* captured graphs */
    bool graphs_in_budget;      /* else they stand outside it */
    double sampler_bytes; /* sampling at the start's profiling: of each sequence and vocabulary entry; 0 = not
                             profiled */
    uint32_t mxfp4_hidden_multiple, mxfp4_intermediate_multiple; /* 0 = as stored */
    double activation_scale;              /* peak workspace over the analytic size below */
    bool disable_hybrid_kv_cache_manager; /* one group of layers (model/kv_groups.h) */
    uint32_t block_size;
    uint32_t max_num_batched_tokens;
    uint32_t max_num_seqs;
};

/* Bytes of parameters on one rank, by tensor class. */
struct km_memory_weights {
    double embedding;
    double lm_head;   /* a tied head takes nothing, except on a last stage that has no embedding of its own */
    double attention; /* every mixer */
    double dense_mlp, routed_experts, shared_experts, router, norms;
    double towers; /* of the first stage; as wide as the embedding (checkpoints leave them so) */
};

struct km_memory_map {
    uint32_t stage; /* the stage that leaves the fewest blocks: the terms below are its */
    double budget_bytes;
    double weight_bytes;
    struct km_memory_weights weights; /* the same by class */
    double padding_bytes;             /* MXFP4 experts as loaded, beyond the weights as stored */
    double activation_bytes; /* the peak at the start's profiling: of the largest step, or of sampling */
    bool sampler_decides;    /* of sampling */
    double state_bytes;      /* constant state of max_num_seqs sequences (recurrent layers) */
    double reserve_bytes;
    double graph_bytes;
    bool graphs_in_budget;
    double kv_bytes; /* left for blocks; negative when the model does not fit */
    struct km_kv_groups groups;
    /* why windowed and recurrent layers are no groups; NULL = they are, or there are none */
    const char *ungrouped;
    double block_bytes; /* this rank's share of a block of block_size tokens: with windows, of one group */
    double kv_bytes_per_token; /* this rank's share of a token, over all layers */
    /* Part of kv_bytes: the last block of a sequence is half empty on average (Kwon et al. 2023, arXiv
     * 2309.06180, section 4: paging wastes less than one block a sequence), for max_num_seqs sequences. */
    double fragmentation_bytes;
    uint64_t blocks; /* of the replica; 0 when it does not fit */
};

void km_memory_map(const struct km_model *model, const struct km_precision *precision,
                   const struct km_layout *layout, const struct km_memory_limits *limits,
                   struct km_memory_map *out);

/* What of the budget neither weights nor KV cache take. */
double km_memory_others(const struct km_memory_map *map);

/* Parameters on one rank of a stage. Matrices of the layers and vocabularies split evenly over the tensor
 * ranks and so do towers (vLLM's mm_encoder_tp_mode "weights"), routed experts over the tensor and data ranks, nothing over context and KV groups; on every rank
 * stand norms, routers, learned positions, a KV head's projection when there are fewer heads than ranks, the
 * projections into MLA's latents, those to B and C of Mamba-2, the low-rank ones of the delta rule, and those to latent experts. */
void km_memory_weights(const struct km_model *model, const struct km_precision *precision,
                       const struct km_layout *layout, uint32_t stage, struct km_memory_weights *out);
double km_memory_weight_bytes(const struct km_model *model, const struct km_precision *precision,
                              const struct km_layout *layout, uint32_t stage);

#endif
