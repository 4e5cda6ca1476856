/* Memory map of one rank: what stands in the device's memory, and how many KV blocks are left.
 *
 *     blocks = floor((usable * gpu_memory_utilization - weights - activations - state - reserve) /
 * block_bytes)
 *
 * (design section 4; vLLM profiles the same terms at start). With pipeline stages the fullest stage decides.
 */
#ifndef KM_MODEL_MEMORY_H
#define KM_MODEL_MEMORY_H

#include "model/layout.h"
#include "model/model.h"

#include <stdint.h>

struct km_memory_limits {
    double device_bytes; /* what the runtime reports */
    double gpu_memory_utilization;
    double reserve_bytes;       /* runtime, communication and other memory inside the budget */
    double graph_reserve_bytes; /* captured graphs, outside the budget */
    double activation_scale;    /* peak workspace over the analytic size below */
    uint32_t block_size;
    uint32_t max_num_batched_tokens;
    uint32_t max_num_seqs;
};

struct km_memory_map {
    uint32_t stage; /* the stage that leaves the fewest blocks: the terms below are its */
    double budget_bytes;
    double weight_bytes;
    double activation_bytes;
    double state_bytes; /* constant state of max_num_seqs sequences (state-space layers) */
    double reserve_bytes;
    double graph_bytes;
    double kv_bytes; /* left for blocks; negative when the model does not fit */
    double block_bytes;
    double kv_bytes_per_token;
    uint64_t blocks; /* 0 when it does not fit */
};

void km_memory_map(const struct km_model *model, const struct km_precision *precision,
                   const struct km_layout *layout, const struct km_memory_limits *limits,
                   struct km_memory_map *out);

/* Bytes of parameters on one rank of a stage. */
double km_memory_weight_bytes(const struct km_model *model, const struct km_precision *precision,
                              const struct km_layout *layout, uint32_t stage);

#endif
