/* Engine description: how a serving engine runs a model on a device (configs/engines/<name>.yaml).
 *
 * Few parameters, each with a physical meaning and a source in the file, so that one fitted on one model and
 * load holds for others. The first group are defaults that a scenario's `engine:` section may override; the
 * second are physical costs. */
#ifndef KM_ENGINE_ENGINE_H
#define KM_ENGINE_ENGINE_H

#include "base/error.h"
#include "base/memory.h"
#include "base/settings.h"
#include "engine/composition.h"
#include "engine/defaults.h"
#include "engine/frontend.h"

#include <stdbool.h>
#include <stdint.h>

#define KM_MAX_GRAPH_SIZES      128
#define KM_MAX_ALL_REDUCE_RULES 16

/* Algorithms of an all-reduce (cost/collective.h has their times). */
enum km_all_reduce {
    KM_ALL_REDUCE_ONE_SHOT,
    KM_ALL_REDUCE_TWO_SHOT,
    KM_ALL_REDUCE_RING,
    KM_ALL_REDUCE_TREE,
    KM_ALL_REDUCE_RING_OR_TREE, /* the faster: what a library's tuner arrives at */
    KM_ALL_REDUCE_FASTEST,      /* of all four */
};

/* Which measured kernels stand for those that an engine launches (cost/profile/measured.h). */
enum km_experts_kernel {
    KM_EXPERTS_ANY,     /* what the profile has */
    KM_EXPERTS_GROUPED, /* a grouped product each, element-wise kernels between them */
    KM_EXPERTS_FUSED,   /* the routed MLP as a whole */
};
enum km_peer_kernel {
    KM_PEERS_ANY,    /* the fastest that was measured */
    KM_PEERS_CUSTOM, /* vLLM's custom all-reduce */
};

/* Which models something holds for. vLLM 0.26 runs dense ones by another model runner than most of the others
 * (vllm/config/vllm.py, use_v2_model_runner). */
enum km_model_scope {
    KM_SCOPE_NONE,
    KM_SCOPE_DENSE,     /* attention and a dense MLP in every layer */
    KM_SCOPE_NOT_DENSE, /* with experts or recurrent layers */
    KM_SCOPE_ALL,
};

/* When an engine takes which all-reduce inside a node. */
struct km_all_reduce_rule {
    enum km_all_reduce algorithm;
    uint32_t max_ranks;     /* 0 = any number */
    double below_bytes;     /* 0 = any size */
    bool direct;            /* only where every GPU of a node reaches every other one directly */
    double fixed_s;         /* beyond alpha and beta: launch and barriers */
    double bandwidth_share; /* of what the link gives large messages; 0 = all */
};

/* What is stated for one policy alone. The engine keeps it as it stands; who knows the policies reads it. */
struct km_policy_settings {
    const struct km_yaml *stated;   /* NULL = nothing */
    const struct km_setting *table; /* of the policy; NULL = it has none */
    const void *values;             /* read by the table, defaults included; NULL = it has none */
};

struct km_engine {
    const char *name;
    double step_time_error; /* relative standard error of step times against the engine it was fitted to; 0 =
                               not stated */

    /* batching */
    const char *policy; /* batching registry name */
    /* Of the next two where they are 0, and of the graphs' sizes. In a resolved scenario neither is 0. */
    struct km_defaults defaults;
    uint32_t max_num_seqs;
    uint32_t max_num_batched_tokens;
    uint32_t long_prefill_token_threshold; /* 0 = none */
    bool long_prefill_unlimited_alone; /* the threshold does not hold for a request that is the only one */
    bool enable_chunked_prefill;
    bool async_scheduling;
    /* Models whose sequences, in a pipeline under asynchronous scheduling, decode every pipeline_parallel_size
     * steps whether or not the token before has come back: until then a placeholder stands for it (vLLM's
     * v1/core/sched/async_scheduler.py, next_decode_eligible_step). The others decode again when their batch
     * has returned. */
    enum km_model_scope pipeline_placeholders;
    uint32_t batch_size, batch_cap; /* of the policies that form whole batches; 0 = not stated */
    double max_wait_s;
    bool pad_prompts;
    struct km_policy_settings policy_settings;
    uint32_t max_model_len; /* 0 = the model's max_position_embeddings */

    /* KV cache */
    const char *kv_manager; /* kv registry name */
    uint32_t block_size;
    double gpu_memory_utilization;
    uint32_t num_gpu_blocks_override; /* 0 = from the memory map */
    bool enable_prefix_caching;
    bool
        hybrid_prefix_caching; /* where the scenario does not state it: also of models with recurrent layers? */
    bool disable_hybrid_kv_cache_manager; /* keep the blocks of sliding windows in full (model/kv_groups.h) */
    bool check_max_model_len; /* refuse to start when one request of max_model_len is more than the cache
                                 holds */

    /* CUDA graphs: a step of at most the largest size runs padded to the next one */
    uint32_t graph_sizes[KM_MAX_GRAPH_SIZES]; /* ascending */
    uint32_t graph_size_count;                /* 0 = every step is launched kernel by kernel */

    struct km_frontend frontend; /* between client and engine */

    /* host time: one serial resource forms a batch, launches it, processes its results */
    double form_step_s, form_sequence_s;       /* schedule and prepare inputs */
    double process_step_s, process_sequence_s; /* take results, detect ends */
    double launch_graph_s;                     /* launch a captured step */
    /* of several GPUs of a replica: they launch, and the host does not wait for it (engine/pace.h) */
    bool worker_processes;
    double rank_wake_s; /* of data-parallel ranks at rest: from a request in one's queue to the first step */
    /* engine/launch.h: launching a layer of a step outside the graphs, also a floor on its end: a dense layer;
       what routed experts, latent attention and activations quantised at run time add to it */
    double launch_layer_s, launch_experts_layer_s, launch_latent_layer_s, launch_quantize_layer_s;
    double launch_piecewise_layer_s; /* launch one layer of a captured step that holds prompt chunks, where
                                        its graphs leave attention out; also a floor on its end. 0 = the graph
                                        is whole: launch_graph_s */
    double launch_scale; /* of all launches of layers: the host's slowness over the one they were measured on;
                            0 = 1 */

    /* kernels */
    double attention_sequence_s; /* decode attention: time a sequence and layer beyond its bytes, at short
                                    contexts */
    uint32_t mixed_tile_rows; /* query rows of one tile in a mixed step's attention; 0 = decodes cost the same
                                 as alone */
    bool mixed_tile_packs_heads; /* the query heads that share a KV head fill one such tile together */
    double decode_tail_share;    /* cost/attention_tail.h: how far the last piece of a ragged batch's decode
                                    attention sticks out, over the piece; 0 = ragged batches cost what even ones
                                    do */
    double mixed_tail_share;     /* the same of a mixed step's longest decode, which is one piece */
    /* A product bound by arithmetic takes gemm_time_scale * (1 + gemm_power_rise * duty) of what the device's
     * figures say; duty: the share of recent time that the device computed so, forgotten at gemm_power_time_s
     * (cost/power.h). Scale 0 = 1. */
    double gemm_time_scale, gemm_power_rise, gemm_power_time_s;
    double stream_power_share; /* with a gemm_power_rise: what steps without such products draw of what these
                                  draw; 0 = they are pauses */
    double op_overhead_scale;  /* time of an element-wise or attention operator beyond its bytes, over the
                                 device's time of a smallest kernel inside a graph. With a measured profile
                                 it counts where the kernels measured are not this engine's
                                 (cost/profile/measured.h), and for operators that were not measured */

    enum km_experts_kernel experts_kernel;

    /* collectives */
    enum km_peer_kernel peer_kernel; /* of all-reduces that are not left to a library */
    struct km_all_reduce_rule all_reduce[KM_MAX_ALL_REDUCE_RULES]; /* the first that holds; the last always */
    uint32_t all_reduce_count;
    double collective_fixed_s; /* of all other collectives, and of any that crosses nodes */

    /* memory */
    double reserve_bytes;          /* runtime, communication and other memory inside the utilisation budget */
    double graph_reserve_bytes;    /* captured graphs, outside the budget */
    double activation_bytes_scale; /* peak activation workspace over the largest step's analytic size */
    /* What sampling takes when the engine profiles its peak at start, if that is more: so many bytes for each
     * of max_num_seqs sequences and entry of the vocabulary, on every rank; and for which models */
    double sampler_bytes;
    enum km_model_scope sampler_profiled;
    enum km_model_scope graphs_in_budget; /* models whose graph_reserve_bytes counts inside the budget */
    /* The sizes that the kernels of MXFP4 experts need, rounded up to; 0 = as stored */
    uint32_t mxfp4_hidden_multiple, mxfp4_intermediate_multiple;

    struct km_composition composition; /* optional: another simulator's rules */
};

/* Tokens the step is padded to: the next captured size, or `tokens` outside the graphs (*captured =
 * false). */
uint32_t km_engine_padded_tokens(const struct km_engine *engine, uint32_t tokens, bool *captured);

/* Is such a model within the scope? */
bool km_scope_has(enum km_model_scope scope, bool model_is_dense);

/* Does it run a pipeline of such a model with placeholders (pipeline_placeholders)? */
bool km_engine_places_tokens(const struct km_engine *engine, bool model_is_dense);

/* Is the engine of this name the program, in whatever version? "vllm-0.26" and "vllm" are "vllm". */
bool km_engine_is(const char *name, const char *program);

/* Read configs/engines/<name>.yaml: every key of the table below must be there, except those where 0 has a
 * meaning. Strings live in `arena`. Names of policies and KV managers are kept as written; who owns the
 * registries checks them. */
enum km_status km_engine_read(const char *path, struct km_arena *arena, struct km_engine *out,
                              struct km_error *error);

/* The front end is stated once, as `frontend` or as host.ingest_s: of a mapping read by the table below, which may be NULL. */
enum km_status km_engine_check_frontend(const struct km_yaml *mapping, struct km_error *error);

/* The table behind the file (base/settings.h), target struct km_engine: a scenario's `engine:` section
 * overrides by it. */
extern const struct km_setting km_engine_settings[];

#endif
