/* A replica of a scenario made ready: its memory map, cost model and executor. Scenarios with groups have one
 * for each (km_scenario_group()); scenario/fleet.h runs them. */
#ifndef KM_SCENARIO_RUN_H
#define KM_SCENARIO_RUN_H

#include "cost/cost.h"
#include "executor/executor.h"
#include "kv/kv.h"
#include "model/memory.h"
#include "scenario/scenario.h"

struct km_setup {
    const struct km_scenario *scenario; /* borrowed */
    struct km_cost_config cost_config;
    const struct km_cost_model *cost;
    struct km_memory_map memory;
    uint64_t rank_blocks;                   /* of a data-parallel rank: the override, or the memory map's */
    uint64_t blocks;                        /* of the replica: of all such ranks */
    uint64_t most_model_len;                /* km_setup_most_model_len() */
    const struct km_kv_manager *kv_manager; /* `paged` with enable_prefix_caching is `prefix` */
    const struct km_executor *executor;     /* what replicas run on; they share its state */
    void *executor_state;
    /* The simulated one, for who asks about single steps: the same, unless the scenario names another. */
    const struct km_executor *priced;
    void *priced_state;
};

/* KM_NO: the layout does not divide the model, or the model does not fit (the message says what would);
 * KM_BAD_INPUT: the device cannot compute so. */
enum km_status km_setup_create(const struct km_scenario *scenario, struct km_setup *out,
                               struct km_error *error);
void km_setup_release(struct km_setup *setup);

/* Only the memory map: possible where nothing fits. */
enum km_status km_setup_memory(const struct km_scenario *scenario, struct km_memory_map *out,
                               struct km_error *error);

/* The greatest max_model_len with which the engine starts on so many KV blocks a rank. vLLM demands that one
 * request of max_model_len tokens fits into the cache, ceil(max_model_len / block_size) blocks, and names the
 * greatest that does (vllm/v1/core/kv_cache_utils.py: _check_enough_kv_cache_memory,
 * _estimate_max_model_len_from_groups): a whole number of blocks. Other engines start and reject what is
 * longer: UINT64_MAX. */
uint64_t km_setup_most_model_len(const struct km_scenario *scenario, const struct km_kv_groups *groups,
                                 uint64_t rank_blocks);

/* Tokens that may be scheduled and not yet processed: a full batch for each that runs at once. */
uint64_t km_setup_in_flight_tokens(const struct km_scenario *scenario);

/* Do the captured graphs, which stand outside the budget, fit beside it? *largest: the gpu_memory_utilization
 * up to which they do. Always without graphs, or with a stated number of blocks. */
bool km_setup_graphs_fit(const struct km_scenario *scenario, const struct km_memory_map *map,
                         double *largest);

/* The parts of a scenario that the memory map is made from. */
struct km_layout km_setup_layout(const struct km_scenario *scenario);
struct km_memory_limits km_setup_limits(const struct km_scenario *scenario);
/* The model's one sliding window; the scenario reader refuses several. 0 = none. */
uint32_t km_setup_window(const struct km_model *model);

#endif
