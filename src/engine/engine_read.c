#include "base/settings.h"
#include "engine/engine.h"
#include "engine/flags.h"

#include <stddef.h>
#include <string.h>

/* default (what was there before) | by_rule (engine/defaults.h) | none | an ascending list */
static enum km_status read_graph_sizes(const struct km_yaml *value, void *field,
                                       const struct km_settings_context *context, struct km_error *error)
{
    (void)context;
    struct km_engine *engine = field;
    bool word = value->kind == KM_YAML_SCALAR;
    if (word && strcmp(value->text, "default") == 0)
        return KM_OK;
    engine->defaults.graph_sizes = word && strcmp(value->text, "by_rule") == 0;
    if (engine->defaults.graph_sizes)
        return KM_OK;
    if (word && strcmp(value->text, "none") == 0) {
        engine->graph_size_count = 0;
        return KM_OK;
    }
    if (value->kind != KM_YAML_SEQUENCE || value->count == 0) {
        char got[96];
        km_yaml_describe(value, got, sizeof got);
        return km_yaml_fail(value, error, "expected default, by_rule, none or a list of sizes, got %s",
                            value->count == 0 && !word ? "nothing" : got);
    }
    if (value->count > KM_MAX_GRAPH_SIZES)
        return km_yaml_fail(value, error, "at most %d sizes, got %zu", KM_MAX_GRAPH_SIZES, value->count);
    static const struct km_range range = {.min = 1, .has_min = true, .max = 1 << 20, .has_max = true};
    uint64_t last = 0;
    for (size_t i = 0; i < value->count; i++) {
        uint64_t size;
        enum km_status status = km_settings_u64(value->items[i], &range, UINT32_MAX, &size, error);
        if (status != KM_OK)
            return status;
        if (size <= last)
            return km_yaml_fail(value->items[i], error, "sizes must ascend: %llu follows %llu",
                                (unsigned long long)size, (unsigned long long)last);
        engine->graph_sizes[i] = (uint32_t)size;
        last = size;
    }
    engine->graph_size_count = (uint32_t)value->count;
    return KM_OK;
}

static void write_graph_sizes(const void *field, struct km_text *out)
{
    const struct km_engine *engine = field;
    if (engine->graph_size_count == 0) {
        km_text_puts(out, "\"none\"");
        return;
    }
    for (uint32_t i = 0; i < engine->graph_size_count; i++)
        km_text_printf(out, "%s%u", i ? ", " : "[", engine->graph_sizes[i]);
    km_text_puts(out, "]");
}

#define AT(member) offsetof(struct km_engine, member)

/* What is beyond these is a slip of the unit, or a typing error; what is within them keeps every time that
 * follows finite. */
#define HOST_TIME   KM_LIMITS(0, 10, km_scales_micro)  /* a scheduler that takes ten seconds a step is none */
#define KERNEL_TIME KM_LIMITS(0, 1, km_scales_micro)   /* as does a kernel that takes one beyond its work */
#define MEMORY      KM_LIMITS(0, 1e14, km_scales_giga) /* as device.memory_bytes */

static const char *const all_reduce_names[] = {"one_shot",     "two_shot", "ring", "tree",
                                               "ring_or_tree", "fastest",  NULL};

#define RULE(member) offsetof(struct km_all_reduce_rule, member)
static const struct km_setting rule_settings[] = {
    {"algorithm", KM_SETTING_ENUM, RULE(algorithm), .names = all_reduce_names,
     .doc = "of an all-reduce inside a node, where this rule holds"},
    {"max_ranks", KM_SETTING_U32, RULE(max_ranks), KM_AT_LEAST(0), .optional = true, .nullable = true,
     .doc = "GPUs; null = any number"},
    {"below_bytes", KM_SETTING_NUMBER, RULE(below_bytes), KM_BETWEEN(0, 1e15), .optional = true,
     .nullable = true, .doc = "message size; null = any"},
    {"direct", KM_SETTING_BOOL, RULE(direct), .optional = true,
     .doc = "only where every GPU of a node reaches every other one directly"},
    {"fixed_s", KM_SETTING_NUMBER, RULE(fixed_s), KERNEL_TIME, .optional = true,
     .doc = "launch and barriers"},
    {"bandwidth_share", KM_SETTING_NUMBER, RULE(bandwidth_share),
     KM_ZERO_OR(1e-3, 1, NULL), /* as a link's efficiency */
     .optional = true, .nullable = true, .doc = "of what the link gives large messages; null = all"},
    {0},
};

static enum km_status read_rules(const struct km_yaml *value, void *field,
                                 const struct km_settings_context *context, struct km_error *error)
{
    struct km_engine *engine = field;
    if (value->kind != KM_YAML_SEQUENCE || value->count == 0)
        return km_yaml_fail(value, error, "expected a list of rules");
    if (value->count > KM_MAX_ALL_REDUCE_RULES)
        return km_yaml_fail(value, error, "at most %d rules, got %zu", KM_MAX_ALL_REDUCE_RULES, value->count);
    for (size_t i = 0; i < value->count; i++) {
        struct km_all_reduce_rule *rule = &engine->all_reduce[i];
        *rule = (struct km_all_reduce_rule){0};
        enum km_status status =
            km_settings_read(value->items[i], rule_settings, KM_SETTINGS_WHOLE, rule, NULL, context, error);
        if (status != KM_OK)
            return status;
    }
    engine->all_reduce_count = (uint32_t)value->count;
    const struct km_all_reduce_rule *last = &engine->all_reduce[value->count - 1];
    if (last->max_ranks || last->below_bytes > 0.0 || last->direct)
        return km_yaml_fail(value->items[value->count - 1], error,
                            "the last rule must always hold: no max_ranks, below_bytes or direct");
    return KM_OK;
}

static void write_rules(const void *field, struct km_text *out)
{
    const struct km_engine *engine = field;
    km_text_puts(out, "[");
    for (uint32_t i = 0; i < engine->all_reduce_count; i++) {
        km_text_puts(out, i ? ", " : "");
        km_settings_write_json(rule_settings, &engine->all_reduce[i], out);
    }
    km_text_puts(out, "]");
}

static enum km_status read_defaults(const struct km_yaml *value, void *field,
                                    const struct km_settings_context *context, struct km_error *error)
{
    struct km_defaults *defaults = field;
    if (value->kind != KM_YAML_SEQUENCE || value->count == 0)
        return km_yaml_fail(value, error, "expected a list of rules");
    if (value->count > KM_MAX_DEFAULT_RULES)
        return km_yaml_fail(value, error, "at most %d rules, got %zu", KM_MAX_DEFAULT_RULES, value->count);
    for (size_t i = 0; i < value->count; i++) {
        defaults->rules[i] = (struct km_default_rule){0};
        enum km_status status = km_settings_read(value->items[i], km_default_rule_settings, KM_SETTINGS_WHOLE,
                                                 &defaults->rules[i], NULL, context, error);
        if (status != KM_OK)
            return status;
    }
    defaults->count = (uint32_t)value->count;
    return KM_OK;
}

/* A resolved scenario states what followed from it. */
static bool is_resolved(const void *field)
{
    (void)field;
    return true;
}

static const char *const experts_names[] = {"any", "grouped", "fused", NULL};
static const char *const scope_names[] = {"none", "dense", "not_dense", "all", NULL};
static const char *const peer_names[] = {"any", "custom", NULL};

static const struct km_setting collective_settings[] = {
    {"all_reduce", KM_SETTING_CUSTOM, 0, .read = read_rules, .write = write_rules, .table = rule_settings,
     .doc = "rules of algorithms; the first that holds counts"},
    {"peer_kernel", KM_SETTING_ENUM, AT(peer_kernel), .names = peer_names, .optional = true,
     .doc = "which measured kernel its own all-reduces are: any (the fastest), or vLLM's (custom)"},
    {"fixed_s", KM_SETTING_NUMBER, AT(collective_fixed_s), KERNEL_TIME,
     .doc = "launch and protocol of a collective that is no all-reduce inside a node"},
    {0},
};

static enum km_status keep_policy_settings(const struct km_yaml *value, void *field,
                                           const struct km_settings_context *context, struct km_error *error)
{
    struct km_policy_settings *settings = field;
    (void)context;
    settings->stated = km_yaml_is_null(value) ? NULL : value;
    if (settings->stated && value->kind != KM_YAML_MAPPING)
        return km_yaml_fail(value, error, "expected a mapping or null");
    return KM_OK;
}

static void write_policy_settings(const void *field, struct km_text *out)
{
    const struct km_policy_settings *settings = field;
    km_settings_write_json(settings->table, settings->values, out);
}

static bool no_policy_settings(const void *field)
{
    return !((const struct km_policy_settings *)field)->table;
}

static const struct km_setting batching_settings[] = {
    {"policy", KM_SETTING_STRING, AT(policy), .doc = "a batching policy (kingman list batching)"},
    {"max_num_seqs", KM_SETTING_U32, AT(max_num_seqs), KM_AT_LEAST(1), .nullable = true,
     .doc = "sequences in a batch; null = the engine's default for the device (engine.defaults)"},
    {"max_num_batched_tokens", KM_SETTING_U32, AT(max_num_batched_tokens), KM_AT_LEAST(1), .nullable = true,
     .doc = "tokens in a batch; null = the engine's default for device and usage (engine.defaults)"},
    {"long_prefill_token_threshold", KM_SETTING_U32, AT(long_prefill_token_threshold), KM_AT_LEAST(0),
     .optional = true, .nullable = true,
     .doc = "largest chunk of one prompt in a batch; null = the whole budget"},
    {"long_prefill_unlimited_alone", KM_SETTING_BOOL, AT(long_prefill_unlimited_alone), .optional = true,
     .doc = "continuous, priority: the threshold does not hold for a request that is the only one"},
    {"enable_chunked_prefill", KM_SETTING_BOOL, AT(enable_chunked_prefill),
     .doc = "split a prompt over several steps when the budget is short"},
    {"async_scheduling", KM_SETTING_BOOL, AT(async_scheduling), .doc = "form the next batch while one runs"},
    {"pipeline_placeholders", KM_SETTING_ENUM, AT(pipeline_placeholders), .names = scope_names,
     .optional = true,
     .doc =
         "async_scheduling in a pipeline: which models decode every pipeline_parallel_size steps, before the "
         "last token is back"},
    {"batch_size", KM_SETTING_U32, AT(batch_size), KM_AT_LEAST(1), .optional = true, .nullable = true,
     .doc = "fixed, elastic: requests of a batch"},
    {"batch_cap", KM_SETTING_U32, AT(batch_cap), KM_AT_LEAST(1), .optional = true, .nullable = true,
     .doc = "dynamic, elastic: most requests of a batch; null = max_num_seqs"},
    {"max_wait_s", KM_SETTING_NUMBER, AT(max_wait_s), KM_BETWEEN(0, 1e6), .optional = true,
     .doc = "dynamic, elastic: longest the first request waits for company"},
    {"pad_prompts", KM_SETTING_BOOL, AT(pad_prompts), .optional = true,
     .doc = "prompts computed together are padded to the longest"},
    {"policy_settings", KM_SETTING_CUSTOM, AT(policy_settings), .optional = true,
     .read = keep_policy_settings, .write = write_policy_settings, .absent = no_policy_settings,
     .doc = "the policy's own settings; rank: {starvation_threshold_steps, priority_quantum_steps}"},
    {0},
};

static const struct km_setting kv_settings[] = {
    {"manager", KM_SETTING_STRING, AT(kv_manager), .doc = "a KV-cache manager (kingman list kv)"},
    {"block_size", KM_SETTING_U32, AT(block_size), KM_BETWEEN(1, 65536), .doc = "tokens of one KV block"},
    {"gpu_memory_utilization", KM_SETTING_NUMBER, AT(gpu_memory_utilization), KM_ABOVE_UP_TO(0, 1),
     .doc = "share of the device memory the engine may use"},
    {"num_gpu_blocks_override", KM_SETTING_U32, AT(num_gpu_blocks_override), KM_AT_LEAST(0), .optional = true,
     .nullable = true, .doc = "KV blocks of a rank, when known; null = from the memory map"},
    {"enable_prefix_caching", KM_SETTING_BOOL, AT(enable_prefix_caching),
     .doc = "reuse the KV blocks of equal prefixes"},
    {"hybrid_prefix_caching", KM_SETTING_BOOL, AT(hybrid_prefix_caching), .optional = true,
     .absent = is_resolved,
     .doc = "does an engine description's enable_prefix_caching hold for models with recurrent layers, too?"},
    {"disable_hybrid_kv_cache_manager", KM_SETTING_BOOL, AT(disable_hybrid_kv_cache_manager),
     .doc = "keep the KV blocks of layers with a sliding window when the window has passed them"},
    {"check_max_model_len", KM_SETTING_BOOL, AT(check_max_model_len), .optional = true,
     .doc = "refuse to start when one request of max_model_len is more than the cache holds, as vLLM does"},
    {0},
};

static const struct km_setting host_settings[] = {
    {"form_step_s", KM_SETTING_NUMBER, AT(form_step_s), HOST_TIME,
     .doc = "schedule a batch and prepare its inputs"},
    {"form_sequence_s", KM_SETTING_NUMBER, AT(form_sequence_s), HOST_TIME,
     .doc = "the same, for each sequence in it"},
    {"process_step_s", KM_SETTING_NUMBER, AT(process_step_s), HOST_TIME,
     .doc = "take the results of a batch"},
    {"process_sequence_s", KM_SETTING_NUMBER, AT(process_sequence_s), HOST_TIME,
     .doc = "the same, for each sequence in it"},
    {"launch_graph_s", KM_SETTING_NUMBER, AT(launch_graph_s), HOST_TIME, .doc = "launch a captured step"},
    {"worker_processes", KM_SETTING_BOOL, AT(worker_processes), .optional = true,
     .doc = "several GPUs are launched by processes of their own, for which the host does not wait"},
    {"rank_wake_s", KM_SETTING_NUMBER, AT(rank_wake_s), HOST_TIME, .optional = true,
     .doc = "data-parallel ranks at rest: from a request in the queue of one until all are awake"},
    {"launch_layer_s", KM_SETTING_NUMBER, AT(launch_layer_s), HOST_TIME,
     .doc = "launch one dense layer of a step outside the graphs"},
    {"launch_experts_layer_s", KM_SETTING_NUMBER, AT(launch_experts_layer_s), HOST_TIME, .optional = true,
     .doc = "what a layer's routed experts add to that"},
    {"launch_latent_layer_s", KM_SETTING_NUMBER, AT(launch_latent_layer_s), HOST_TIME, .optional = true,
     .doc = "what a layer's latent attention (MLA) adds to that"},
    {"launch_quantize_layer_s", KM_SETTING_NUMBER, AT(launch_quantize_layer_s), HOST_TIME, .optional = true,
     .doc = "what quantising a layer's activations adds to that"},
    {"launch_piecewise_layer_s", KM_SETTING_NUMBER, AT(launch_piecewise_layer_s), HOST_TIME, .optional = true,
     .doc = "launch one layer of a captured step that holds prompt chunks; 0 = launch_graph_s for the whole"},
    {"launch_scale", KM_SETTING_NUMBER, AT(launch_scale), KM_ZERO_OR(1e-2, 100, NULL), .optional = true,
     .doc = "of all launches of layers: this host's slowness over the one they were measured on; 0 = 1"},
    {"ingest_s", KM_SETTING_CUSTOM, AT(frontend), .read = km_frontend_read_ingest, .optional = true,
     .doc = "the same as frontend: {kind: fixed, fixed_s: ...}"},
    {0},
};

static const struct km_setting kernel_settings[] = {
    {"attention_sequence_s", KM_SETTING_NUMBER, AT(attention_sequence_s), KERNEL_TIME,
     .doc = "decode attention: a sequence and layer, beyond its bytes"},
    {"mixed_tile_rows", KM_SETTING_U32, AT(mixed_tile_rows), KM_BETWEEN(0, 4096),
     .doc = "query rows of one tile of attention in a mixed step; 0 = decodes cost the same as alone"},
    {"mixed_tile_packs_heads", KM_SETTING_BOOL, AT(mixed_tile_packs_heads), .optional = true,
     .doc = "the query heads that share a KV head fill one tile together"},
    {"decode_tail_share", KM_SETTING_NUMBER, AT(decode_tail_share), KM_BETWEEN(0, 10), .optional = true,
     .doc = "decode attention of a ragged batch: how far its last piece sticks out, over the piece"},
    {"mixed_tail_share", KM_SETTING_NUMBER, AT(mixed_tail_share), KM_BETWEEN(0, 10), .optional = true,
     .doc = "attention of a mixed step: how far its longest decode sticks out, over its own time"},
    {"stream_power_share", KM_SETTING_NUMBER, AT(stream_power_share), KM_BETWEEN(0, 1), .optional = true,
     .doc = "with a gemm_power_rise: what other steps draw of what such products draw, above idling"},
    {"gemm_time_scale", KM_SETTING_NUMBER, AT(gemm_time_scale), KM_ZERO_OR(1e-2, 10, NULL), .optional = true,
     .doc = "time of products bound by arithmetic, over the device's figures, after a pause; 0 = 1"},
    {"gemm_power_rise", KM_SETTING_NUMBER, AT(gemm_power_rise), KM_BETWEEN(0, 10), .optional = true,
     .doc = "how much longer they take when the device has done nothing else lately: a power limit"},
    {"gemm_power_time_s", KM_SETTING_NUMBER, AT(gemm_power_time_s), KM_ZERO_OR(1e-6, 100, NULL),
     .optional = true, .doc = "how long lately is: the time constant"},
    {"op_overhead_scale", KM_SETTING_NUMBER, AT(op_overhead_scale), KM_BETWEEN(0, 100),
     .doc = "share of the device's time of a small kernel that each operator pays"},
    {"experts_kernel", KM_SETTING_ENUM, AT(experts_kernel), .names = experts_names, .optional = true,
     .doc =
         "which measured kernels its experts are: grouped products, a fused MLP, or any that were measured"},
    {0},
};

static const struct km_setting memory_settings[] = {
    {"reserve_bytes", KM_SETTING_NUMBER, AT(reserve_bytes), MEMORY,
     .doc = "runtime and other memory inside the utilisation budget"},
    {"graph_reserve_bytes", KM_SETTING_NUMBER, AT(graph_reserve_bytes), MEMORY,
     .doc = "captured graphs, outside the budget unless graphs_in_budget has the model"},
    {"activation_bytes_scale", KM_SETTING_NUMBER, AT(activation_bytes_scale), KM_BETWEEN(0, 1e3),
     .doc = "peak activation workspace over the analytic size of the largest step"},
    {"sampler_bytes", KM_SETTING_NUMBER, AT(sampler_bytes), KM_BETWEEN(0, 1e3), .optional = true,
     .doc = "sampling at the start's profiling: a sequence of max_num_seqs and vocabulary entry; counts if "
            "more"},
    {"sampler_profiled", KM_SETTING_ENUM, AT(sampler_profiled), .names = scope_names, .optional = true,
     .doc = "models of which sampler_bytes counts"},
    {"graphs_in_budget", KM_SETTING_ENUM, AT(graphs_in_budget), .names = scope_names, .optional = true,
     .doc = "models whose graph_reserve_bytes counts inside the budget"},
    {"mxfp4_hidden_multiple", KM_SETTING_U32, AT(mxfp4_hidden_multiple), KM_BETWEEN(0, 65536),
     .optional = true,
     .doc = "MXFP4 experts are loaded with the hidden size rounded up to it; 0 = as stored"},
    {"mxfp4_intermediate_multiple", KM_SETTING_U32, AT(mxfp4_intermediate_multiple), KM_BETWEEN(0, 65536),
     .optional = true, .doc = "the same for a rank's share of an expert's intermediate size"},
    {0},
};

const struct km_setting km_engine_settings[] = {
    {"name", KM_SETTING_STRING, AT(name), .doc = "of the engine description"},
    {"step_time_error", KM_SETTING_NUMBER, AT(step_time_error), KM_BETWEEN(0, 0.9), .optional = true,
     .doc = "relative standard error of step times against the engine it was fitted to; 0 = not stated"},
    {"max_model_len", KM_SETTING_U32, AT(max_model_len), KM_AT_LEAST(0), .optional = true, .nullable = true,
     .doc = "prompt and output tokens of one request; null = the model's max_position_embeddings"},
    {"usage", KM_SETTING_ENUM, AT(defaults.usage), .names = km_usage_names, .optional = true,
     .absent = is_resolved,
     .doc = "an API server, or a program with the engine in it: which of the defaults hold"},
    {"defaults", KM_SETTING_CUSTOM, AT(defaults), .optional = true, .read = read_defaults,
     .absent = is_resolved, .doc = "rules for limits that nobody states; the first that holds counts"},
    {"batching", KM_SETTING_SECTION, 0, .table = batching_settings, .doc = "how batches are formed"},
    {"kv", KM_SETTING_SECTION, 0, .table = kv_settings, .doc = "the KV cache"},
    {"cudagraph_capture_sizes", KM_SETTING_CUSTOM, 0, .read = read_graph_sizes, .write = write_graph_sizes,
     .doc =
         "token counts with a captured graph: default, by_rule (engine.defaults), none or an ascending list"},
    {"frontend", KM_SETTING_SECTION, AT(frontend), .table = km_frontend_settings, .optional = true,
     .doc = "what stands between client and engine"},
    {"host", KM_SETTING_SECTION, 0, .table = host_settings, .doc = "host time"},
    {"kernels", KM_SETTING_SECTION, 0, .table = kernel_settings,
     .doc = "what its kernels cost beyond the device's figures"},
    {"composition", KM_SETTING_SECTION, AT(composition), .table = km_composition_settings, .optional = true,
     .doc = "another simulator's rules for the time of a batch"},
    {"collectives", KM_SETTING_SECTION, 0, .table = collective_settings,
     .doc = "how GPUs of a replica exchange data"},
    {"memory", KM_SETTING_SECTION, 0, .table = memory_settings, .doc = "memory it takes"},
    {0},
};

enum km_status km_engine_check_frontend(const struct km_yaml *mapping, struct km_error *error)
{
    const struct km_yaml *ingest = km_yaml_get(km_yaml_get(mapping, "host"), "ingest_s");
    if (ingest && km_yaml_get(mapping, "frontend"))
        return km_yaml_fail(ingest, error, "says the same as frontend: state one of them");
    return KM_OK;
}

enum km_status km_engine_read(const char *path, struct km_arena *arena, struct km_engine *out,
                              struct km_error *error)
{
    struct km_yaml *root;
    struct km_settings_context context = {
        .arena = arena, .folder = "", .explain_unknown = km_engine_flag_explain};
    *out = (struct km_engine){.hybrid_prefix_caching = true};
    enum km_status status = km_yaml_read(path, arena, &root, error);
    if (status == KM_OK)
        status = km_settings_read(root, km_engine_settings, KM_SETTINGS_WHOLE, out, NULL, &context, error);
    if (status != KM_OK)
        return status;
    status = km_engine_check_frontend(root, error);
    if (status != KM_OK)
        return status;
    if (!km_yaml_get(root, "frontend") && !km_yaml_get(km_yaml_get(root, "host"), "ingest_s"))
        return km_yaml_fail_missing(root, "frontend", error);
    const struct km_yaml *sizes = km_yaml_get(root, "cudagraph_capture_sizes");
    if (sizes->kind == KM_YAML_SCALAR && strcmp(sizes->text, "default") == 0)
        return km_yaml_fail(sizes, error,
                            "\"default\" is for scenarios; an engine description lists its sizes");
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    size_t length = strlen(out->name);
    if (strncmp(file, out->name, length) != 0 || strcmp(file + length, ".yaml") != 0)
        return km_yaml_fail(km_yaml_get(root, "name"), error, "\"%s\" is not what the file is called",
                            out->name);
    return KM_OK;
}
