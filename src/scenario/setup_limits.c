/* Limits of memory and length that follow from a scenario. */
#include "scenario/run.h"

#include "batching/batching.h"

struct km_layout km_setup_layout(const struct km_scenario *scenario)
{
    return km_scenario_layout(scenario);
}

struct km_memory_limits km_setup_limits(const struct km_scenario *scenario)
{
    const struct km_engine *engine = &scenario->engine;
    const bool dense = km_model_is_dense(&scenario->model);
    return (struct km_memory_limits){
        .device_bytes = scenario->device.memory_bytes,
        .gpu_memory_utilization = engine->gpu_memory_utilization,
        .reserve_bytes = engine->reserve_bytes,
        .graph_reserve_bytes = engine->graph_reserve_bytes,
        .graphs_in_budget = km_scope_has(engine->graphs_in_budget, dense),
        .activation_scale = engine->activation_bytes_scale,
        .sampler_bytes = km_scope_has(engine->sampler_profiled, dense) ? engine->sampler_bytes : 0.0,
        .mxfp4_hidden_multiple = engine->mxfp4_hidden_multiple,
        .mxfp4_intermediate_multiple = engine->mxfp4_intermediate_multiple,
        .disable_hybrid_kv_cache_manager = engine->disable_hybrid_kv_cache_manager,
        .block_size = engine->block_size,
        .max_num_batched_tokens = engine->max_num_batched_tokens,
        .max_num_seqs = engine->max_num_seqs,
    };
}

uint64_t km_setup_in_flight_tokens(const struct km_scenario *scenario)
{
    const struct km_engine *engine = &scenario->engine;
    if (!(km_batching_find(engine->policy)->traits & KM_BATCHING_WITHIN_BUDGET))
        return UINT32_MAX; /* whole prompts at once, however long */
    uint64_t batches = scenario->cluster.pipeline_parallel_size;
    if (engine->async_scheduling &&
        (batches == 1 || km_engine_places_tokens(engine, km_model_is_dense(&scenario->model))))
        batches++;
    return batches * engine->max_num_batched_tokens;
}

uint64_t km_setup_most_model_len(const struct km_scenario *scenario, const struct km_kv_groups *groups,
                                 uint64_t rank_blocks)
{
    return scenario->engine.check_max_model_len
               ? km_kv_most_tokens(groups, rank_blocks, scenario->engine.block_size,
                                   km_setup_in_flight_tokens(scenario))
               : UINT64_MAX;
}
