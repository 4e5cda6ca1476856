#include "engine/flags.h"

#include <stddef.h>
#include <string.h>

#define SEQS        "engine.batching.max_num_seqs"
#define TOKENS      "engine.batching.max_num_batched_tokens"
#define GRAPHS      "engine.cudagraph_capture_sizes"
#define BLOCKS      "engine.kv.num_gpu_blocks_override"
#define SPECULATION "speculative decoding"
#define TRANSFER    "disaggregated prefill and KV connectors"
#define OFFLOAD     "KV cache in host memory"
#define LORA        "LoRA adapters"
#define TOWERS      "the work of encoders of images and audio"
#define GRAMMAR     "structured output"
#define QUEUE       "refusals by the length of the queue; clients that wait no longer than workload.patience_s are"
#define BALANCING   "placement of experts: tokens are spread evenly"
#define OVERLAP     "two-batch overlap"
#define EXPERTS     "backends of the all-to-all of experts"

/* vLLM: EngineArgs of vllm/engine/arg_utils.py, and vllm/config/, of 0.26.0 and 0.33.0; older names where a
 * version is named. SGLang: sglang/srt/server_args.py and sglang/srt/arg_groups/ of 0.5.23. Flags that neither
 * time nor memory depends on (tokenizer, port, log_level, ...) are left out. */
const struct km_engine_flag km_engine_flags[] = {
    /* limits and scheduling */
    {"vLLM", "max_num_seqs", SEQS, NULL},
    {"vLLM", "max_num_batched_tokens", TOKENS, NULL},
    {"vLLM", "max_model_len", "engine.max_model_len", NULL},
    {"vLLM", "enable_chunked_prefill", "engine.batching.enable_chunked_prefill", NULL},
    {"vLLM", "long_prefill_token_threshold", "engine.batching.long_prefill_token_threshold", NULL},
    {"vLLM", "async_scheduling", "engine.batching.async_scheduling", NULL},
    {"vLLM", "scheduling_policy", "engine.batching.policy", "fcfs: continuous; priority: priority"},
    {"vLLM", "max_num_active_seqs", SEQS, "what the memory and the graphs are sized for follows, too"},
    {"vLLM", "max_num_scheduled_tokens", TOKENS, "what the memory is sized for follows, too"},
    {"vLLM", "max_tokens", "workload.output_tokens", "or the column max_tokens of a trace"},
    {"vLLM", "scheduler_reserve_full_isl", NULL,
     "a prompt starts when all of it fits, which is vLLM's default, true"},
    {"vLLM", "watermark", NULL, "blocks kept free at admission; vLLM's default is none"},
    {"vLLM", "max_num_partial_prefills", NULL,
     "no scheduler of vLLM V1 reads it (it sets long_prefill_token_threshold)"},
    {"vLLM", "max_long_partial_prefills", NULL, "no scheduler of vLLM V1 reads it"},
    {"vLLM", "long_prefill_token_threshold_adaptive", NULL, "a threshold that rises when few wait"},
    {"vLLM", "prefill_schedule_interval", NULL, "steps without prompts in between"},
    {"vLLM", "max_num_queued_reqs", NULL, QUEUE},
    {"vLLM", "max_num_queued_tokens", NULL, QUEUE},
    {"vLLM", "performance_mode", NULL, "other defaults: state the limits and the graphs' sizes"},
    {"vLLM", "stream_interval", NULL, "several tokens a message: every token is sent by itself"},
    {"vLLM", "api_server_count", NULL, "one front end stands before a replica (engine.frontend)"},
    /* memory */
    {"vLLM", "gpu_memory_utilization", "engine.kv.gpu_memory_utilization", NULL},
    {"vLLM", "num_gpu_blocks_override", BLOCKS, NULL},
    {"vLLM", "kv_cache_memory_bytes", BLOCKS, "in blocks: kingman explain says their bytes"},
    {"vLLM", "kv_cache_memory", BLOCKS, "in blocks: kingman explain says their bytes"},
    {"vLLM", "block_size", "engine.kv.block_size", NULL},
    {"vLLM", "enable_prefix_caching", "engine.kv.enable_prefix_caching", NULL},
    {"vLLM", "disable_hybrid_kv_cache_manager", "engine.kv.disable_hybrid_kv_cache_manager", NULL},
    {"vLLM", "kv_offloading_size", NULL, OFFLOAD},
    {"vLLM", "kv_offloading_backend", NULL, OFFLOAD},
    {"vLLM", "swap_space", NULL, OFFLOAD ": who is preempted is computed again"},
    {"vLLM", "cpu_offload_gb", NULL, "weights in host memory"},
    {"vLLM", "mamba_cache_mode", NULL, "states of recurrent layers at block boundaries"},
    {"vLLM", "mamba_block_size", NULL, "states of recurrent layers at block boundaries"},
    {"vLLM", "mamba_cache_dtype", NULL, "the model file says the format of states (mamba_ssm_cache_dtype)"},
    {"vLLM", "mamba_ssm_cache_dtype", NULL, "the model file says the format of states, by the same name"},
    /* number formats */
    {"vLLM", "kv_cache_dtype", "precision.kv_cache", NULL},
    {"vLLM", "quantization", "precision.weights", "a quantised checkpoint is read as it is stored"},
    {"vLLM", "dtype", "precision.activations", NULL},
    /* graphs */
    {"vLLM", "cudagraph_capture_sizes", GRAPHS, NULL},
    {"vLLM", "cuda_graph_sizes", GRAPHS, NULL}, /* before 0.12 */
    {"vLLM", "max_cudagraph_capture_size", GRAPHS, "the list of sizes itself"},
    {"vLLM", "enforce_eager", GRAPHS, "true: none"},
    {"vLLM", "compilation_config", GRAPHS, "of what is in it, the graphs' sizes"},
    /* layouts */
    {"vLLM", "tensor_parallel_size", "cluster.tensor_parallel_size", NULL},
    {"vLLM", "tp", "cluster.tensor_parallel_size", NULL},
    {"vLLM", "pipeline_parallel_size", "cluster.pipeline_parallel_size", NULL},
    {"vLLM", "pp", "cluster.pipeline_parallel_size", NULL},
    {"vLLM", "data_parallel_size", "cluster.data_parallel_size",
     "without experts: cluster.replicas behind cluster.router: data_parallel"},
    {"vLLM", "dp", "cluster.data_parallel_size",
     "without experts: cluster.replicas behind cluster.router: data_parallel"},
    {"vLLM", "enable_expert_parallel", "cluster.enable_expert_parallel", NULL},
    {"vLLM", "ep", "cluster.enable_expert_parallel", NULL},
    {"vLLM", "prefill_context_parallel_size", "cluster.prefill_context_parallel_size", NULL},
    {"vLLM", "pcp", "cluster.prefill_context_parallel_size", NULL},
    {"vLLM", "decode_context_parallel_size", "cluster.decode_context_parallel_size", NULL},
    {"vLLM", "dcp", "cluster.decode_context_parallel_size", NULL},
    {"vLLM", "enable_eplb", NULL, BALANCING},
    {"vLLM", "eplb_config", NULL, BALANCING},
    {"vLLM", "num_redundant_experts", NULL, BALANCING},
    {"vLLM", "all2all_backend", NULL, EXPERTS},
    {"vLLM", "enable_dbo", NULL, OVERLAP},
    /* what stands on all that */
    {"vLLM", "speculative_config", NULL, SPECULATION},
    {"vLLM", "num_speculative_tokens", NULL, SPECULATION},
    {"vLLM", "spec_method", NULL, SPECULATION},
    {"vLLM", "spec_model", NULL, SPECULATION},
    {"vLLM", "spec_tokens", NULL, SPECULATION},
    {"vLLM", "kv_transfer_config", NULL, TRANSFER},
    {"vLLM", "ec_transfer_config", NULL, TRANSFER},
    {"vLLM", "prefill_replicas", NULL, TRANSFER},
    {"vLLM", "decode_replicas", NULL, TRANSFER},
    {"vLLM", "enable_lora", NULL, LORA},
    {"vLLM", "max_loras", NULL, LORA},
    {"vLLM", "max_lora_rank", NULL, LORA},
    {"vLLM", "max_cpu_loras", NULL, LORA},
    {"vLLM", "limit_mm_per_prompt", NULL, TOWERS},
    {"vLLM", "disable_chunked_mm_input", NULL, TOWERS},
    {"vLLM", "mm_encoder_tp_mode", NULL, TOWERS},
    {"vLLM", "structured_outputs_config", NULL, GRAMMAR},
    {"vLLM", "guided_decoding_backend", NULL, GRAMMAR}, /* before 0.12 */
    {"SGLang", "context_length", "engine.max_model_len", NULL},
    {"SGLang", "max_running_requests", SEQS, NULL},
    {"SGLang", "chunked_prefill_size", TOKENS, "of prompts alone there"},
    {"SGLang", "max_prefill_tokens", TOKENS, "of prompts alone there"},
    {"SGLang", "max_total_tokens", BLOCKS, "in blocks"},
    {"SGLang", "mem_fraction_static", "engine.kv.gpu_memory_utilization",
     "activations are within it here, beyond it there"},
    {"SGLang", "page_size", "engine.kv.block_size", NULL},
    {"SGLang", "disable_radix_cache", "engine.kv.enable_prefix_caching", "true: false"},
    {"SGLang", "disable_hybrid_swa_memory", "engine.kv.disable_hybrid_kv_cache_manager",
     "with vLLM's groups of layers"},
    {"SGLang", "swa_full_tokens_ratio", NULL, "pools of their own for layers with a sliding window"},
    {"SGLang", "disable_overlap_schedule", "engine.batching.async_scheduling", "true: false"},
    {"SGLang", "enable_priority_scheduling", "engine.batching.policy", "true: priority, as vLLM's"},
    {"SGLang", "schedule_policy", NULL, "lpm and the like; fcfs is engine.batching.policy: continuous"},
    {"SGLang", "schedule_conservativeness", NULL, "admission by estimate"},
    {"SGLang", "enable_mixed_chunk", NULL, "batches of prompts or decodes alone: both share steps here"},
    {"SGLang", "max_queued_requests", NULL, QUEUE},
    {"SGLang", "cuda_graph_max_bs", GRAPHS, "the list of sizes itself"}, /* before 0.5.23 */
    {"SGLang", "cuda_graph_max_bs_decode", GRAPHS, "the list of sizes itself"},
    {"SGLang", "cuda_graph_bs", GRAPHS, NULL}, /* before 0.5.23 */
    {"SGLang", "cuda_graph_bs_decode", GRAPHS, NULL},
    {"SGLang", "disable_cuda_graph", GRAPHS, "true: none"},
    {"SGLang", "tp_size", "cluster.tensor_parallel_size", NULL},
    {"SGLang", "pp_size", "cluster.pipeline_parallel_size", NULL},
    {"SGLang", "dp_size", "cluster.replicas", "with enable_dp_attention: cluster.data_parallel_size"},
    {"SGLang", "enable_dp_attention", "cluster.data_parallel_size", "the number of ranks"},
    {"SGLang", "ep_size", "cluster.enable_expert_parallel", "over all ranks"},
    {"SGLang", "moe_a2a_backend", NULL, EXPERTS},
    {"SGLang", "ep_num_redundant_experts", NULL, BALANCING},
    {"SGLang", "enable_two_batch_overlap", NULL, OVERLAP},
    {"SGLang", "mamba_ssm_dtype", NULL, "the model file says the format of states, by the same name"},
    {"SGLang", "max_mamba_cache_size", NULL,
     "states in a pool of their own: they take pages of the KV cache"},
    {"SGLang", "enable_hierarchical_cache", NULL, OFFLOAD},
    {"SGLang", "hicache_ratio", NULL, OFFLOAD},
    {"SGLang", "speculative_algorithm", NULL, SPECULATION},
    {"SGLang", "speculative_num_steps", NULL, SPECULATION},
    {"SGLang", "disaggregation_mode", NULL, TRANSFER},
    {"SGLang", "lora_paths", NULL, LORA},
    {"SGLang", "max_loras_per_batch", NULL, LORA},
    {"SGLang", "grammar_backend", NULL, GRAMMAR},
    {0},
};

static bool same(const char *name, const char *flag)
{
    for (; *name && *flag; name++, flag++)
        if (*flag != (*name == '-' ? '_' : *name))
            return false;
    return *name == *flag;
}

static const struct km_engine_flag *find(const char *name)
{
    for (const struct km_engine_flag *flag = km_engine_flags; flag->flag; flag++)
        if (same(name, flag->flag))
            return flag;
    return NULL;
}

const struct km_engine_flag *km_engine_flag_find(const char *name, bool *negated)
{
    name += strspn(name, "-");
    const struct km_engine_flag *flag = find(name);
    *negated = !flag && (strncmp(name, "no_", 3) == 0 || strncmp(name, "no-", 3) == 0);
    return *negated ? find(name + 3) : flag;
}

bool km_engine_flag_explain(const char *name, struct km_text *out)
{
    bool negated;
    const struct km_engine_flag *flag = km_engine_flag_find(name, &negated);
    if (!flag)
        return false;
    km_text_printf(out, "%s's %s is ", flag->engine, flag->flag);
    if (!flag->key) {
        km_text_printf(out, "not modelled: %s", flag->note);
        return true;
    }
    km_text_printf(out, "%s here", flag->key);
    if (flag->note)
        km_text_printf(out, " (%s)", flag->note);
    if (negated)
        km_text_puts(out, "; no_ is false");
    return true;
}
