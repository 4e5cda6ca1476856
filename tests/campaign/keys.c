#include "campaign/keys.h"

#include "scenario/scenario.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_KEYS     512
#define USUAL_PERCENT 12

/* A number from low to high, uniform in the logarithm (from 0: down to a thousandth of high, and 0 itself);
 * WORDS one of those given. `percent`: its chance where keys are drawn one by one; 0: draw.c draws it with
 * what it needs. */
enum kind { NUMBER, INTEGER, WORDS };

struct generator {
    const char *key;
    enum kind kind;
    unsigned percent;
    double low, high;
    const char *words; /* separated by "|" */
};

/* A distribution: lengths in tokens, or seconds. */
#define DISTRIBUTION(prefix, kind, low, high)                                                                \
    {prefix ".distribution", WORDS, 0, 0, 0, ""}, {prefix ".value", kind, 0, low, high, NULL},               \
        {prefix ".mean", NUMBER, 0, low, high / 2, NULL}, {prefix ".sd", NUMBER, 0, 0, high, NULL},          \
        {prefix ".cv", NUMBER, 0, 0, 3, NULL}, {prefix ".mu", NUMBER, 0, 0.01, 5, NULL},                     \
        {prefix ".sigma", NUMBER, 0, 0, 1.5, NULL}, {prefix ".exponent", NUMBER, 0, 0, 4, NULL},             \
        {prefix ".min", kind, 0, low, high / 10, NULL}, {prefix ".max", INTEGER, 0, high / 10, high, NULL},  \
        {prefix ".values", kind, 0, low, high, NULL}, {prefix ".weights", NUMBER, 0, 0.1, 5, NULL},          \
    {                                                                                                        \
        prefix ".file", WORDS, 0, 0, 0, "lengths.txt"                                                        \
    }

static const struct generator generators[] = {
    {"model", WORDS, 0, 0, 0,
     "llama-3.2-1b|gpt2|llama-3.1-8b|gemma-2-9b|mixtral-8x7b|deepseek-v2-lite|jamba-v0.1|mamba-2.8b|qwen1.5-"
     "moe-a2.7b|"
     "phi-2|gpt-oss-20b|qwen3-30b-a3b|mistral-7b-v0.1|falcon-7b"},
    {"executor", WORDS, 0, 0, 0, "simulated|scripted"},
    {"cluster.device", WORDS, 0, 0, 0,
     "h200-sxm|h100-sxm|a100-80g-sxm|b200|mi300x|l40s|rtx-4090|gb300|h100-pcie|rtx-pro-6000|arc-pro-b60"},
    {"cluster.replicas", INTEGER, 50, 1, 4, NULL},
    {"cluster.tensor_parallel_size", WORDS, 20, 0, 0, "1|2|4"},
    {"cluster.pipeline_parallel_size", INTEGER, 12, 1, 4, NULL},
    {"cluster.data_parallel_size", WORDS, 3, 0, 0, "1|2"},
    {"cluster.enable_expert_parallel", WORDS, 3, 0, 0, "true|false"},
    {"cluster.prefill_context_parallel_size", WORDS, 4, 0, 0, "1|2"},
    {"cluster.decode_context_parallel_size", WORDS, 3, 0, 0, "1|2"},
    {"cluster.kv_parallel_size", WORDS, 3, 0, 0, "1|2"},
    {"cluster.node.gpus_per_node", WORDS, 5, 0, 0, "2|4|8|16"},
    {"cluster.node.link.name", WORDS, 3, 0, 0, "nvlink|pcie"},
    {"cluster.node.link.bandwidth_bytes_per_s", NUMBER, 5, 1e9, 2e12, NULL},
    {"cluster.node.link.latency_s", NUMBER, 5, 0, 1e-3, NULL},
    {"cluster.node.link.efficiency", NUMBER, 5, 0.01, 1, NULL},
    {"cluster.node.network.name", WORDS, 3, 0, 0, "infiniband|ethernet"},
    {"cluster.node.network.bandwidth_bytes_per_s", NUMBER, 5, 1e9, 1e12, NULL},
    {"cluster.node.network.latency_s", NUMBER, 5, 0, 1e-3, NULL},
    {"cluster.node.network.efficiency", NUMBER, 5, 0.01, 1, NULL},
    {"cluster.groups", WORDS, 0, 0, 0, ""},
    {"precision.weights", WORDS, 6, 0, 0, "bf16|fp16|fp8|int8|int4"},
    {"precision.attention", WORDS, 2, 0, 0, "bf16|fp8"},
    {"precision.activations", WORDS, 2, 0, 0, "bf16|fp16|fp8"},
    {"precision.kv_cache", WORDS, 6, 0, 0, "bf16|fp8"},
    {"precision.embeddings", WORDS, 3, 0, 0, "bf16|fp16"},
    {"engine.name", WORDS, 50, 0, 0, "vllm-0.26|vllm-0.33|vllm-0.19|ideal|sglang|tensorrt-llm|vidur"},
    {"engine.kv.disable_hybrid_kv_cache_manager", WORDS, 8, 0, 0, "true|false"},
    {"engine.usage", WORDS, 5, 0, 0, "server|offline"},
    {"engine.defaults", WORDS, 3, 0, 0,
     "[{max_num_seqs: 16, server_max_num_batched_tokens: 512, offline_max_num_batched_tokens: 64, "
     "max_cudagraph_capture_size: 32}]"},
    {"engine.step_time_error", NUMBER, 5, 0, 0.9, NULL},
    {"engine.max_model_len", INTEGER, 0, 30, 2048, NULL},
    {"engine.batching.policy", WORDS, 0, 0, 0,
     "continuous|continuous|continuous|priority|rank|srpt|orca|request_level|fixed|dynamic|elastic"},
    {"prediction.output_tokens", WORDS, 0, 0, 0,
     "{kind: oracle}|{kind: noisy, sigma: 0.7}|{kind: history}|{kind: history, initial_tokens: 40}|"
     "{kind: buckets, bucket_tokens: 20, count: 6, accuracy: 0.7}|{kind: rank, kendall_tau: 0.5}"},
    {"engine.batching.max_num_seqs", INTEGER, 0, 1, 48, NULL},
    {"engine.batching.max_num_batched_tokens", INTEGER, 0, 48, 4096, NULL},
    {"engine.batching.long_prefill_token_threshold", INTEGER, 0, 1, 200, NULL},
    {"engine.batching.enable_chunked_prefill", WORDS, 0, 0, 0, "true|false"},
    {"engine.batching.policy_settings", WORDS, 0, 0, 0,
     "{starvation_threshold_steps: 20, priority_quantum_steps: 4}|{starvation_threshold_steps: 3}"},
    {"engine.batching.batch_size", INTEGER, 0, 1, 8, NULL},
    {"engine.batching.batch_cap", INTEGER, 0, 1, 12, NULL},
    {"engine.batching.max_wait_s", NUMBER, 15, 0, 2, NULL},
    {"engine.kv.manager", WORDS, 30, 0, 0, "paged|prefix|reserve_max"},
    {"engine.kv.block_size", INTEGER, 40, 1, 64, NULL},
    {"engine.kv.gpu_memory_utilization", NUMBER, 10, 0.5, 0.97, NULL},
    {"engine.kv.num_gpu_blocks_override", INTEGER, 65, 8, 1500, NULL},
    {"engine.cudagraph_capture_sizes", WORDS, 15, 0, 0,
     "default|none|by_rule|[1, 2, 4, 8]|[3]|[1, 7, 100, 512]"},
    {"engine.host.form_step_s", NUMBER, 10, 0, 0.02, NULL},
    {"engine.host.form_sequence_s", NUMBER, 10, 0, 0.002, NULL},
    {"engine.host.process_step_s", NUMBER, 10, 0, 0.02, NULL},
    {"engine.host.process_sequence_s", NUMBER, 10, 0, 0.002, NULL},
    {"engine.host.launch_graph_s", NUMBER, 10, 0, 0.02, NULL},
    {"engine.host.worker_processes", WORDS, 20, 0, 0, "true|false"},
    {"engine.host.rank_wake_s", NUMBER, 20, 0, 0.01, NULL},
    {"engine.host.launch_layer_s", NUMBER, 10, 0, 0.001, NULL},
    {"engine.host.launch_piecewise_layer_s", NUMBER, 10, 0, 0.001, NULL},
    {"engine.host.launch_experts_layer_s", NUMBER, 5, 0, 0.001, NULL},
    {"engine.host.launch_latent_layer_s", NUMBER, 5, 0, 0.001, NULL},
    {"engine.host.launch_quantize_layer_s", NUMBER, 5, 0, 0.001, NULL},
    {"engine.host.launch_scale", NUMBER, 5, 0.5, 2, NULL},
    {"engine.frontend.kind", WORDS, 0, 0, 0, "none|fixed|http"},
    {"engine.frontend.fixed_s", NUMBER, 0, 0, 0.5, NULL},
    {"engine.frontend.prompt_token_s", NUMBER, 0, 0, 0.001, NULL},
    {"engine.frontend.chunk_s", NUMBER, 0, 0, 0.05, NULL},
    {"engine.frontend.capacity_per_s", NUMBER, 0, 1, 100, NULL},
    {"engine.host.ingest_s", NUMBER, 0, 0, 0.5, NULL}, /* frontend in other words */
    {"engine.kernels.attention_sequence_s", NUMBER, 6, 0, 1e-4, NULL},
    {"engine.kernels.mixed_tile_rows", INTEGER, 6, 0, 256, NULL},
    {"engine.kernels.decode_tail_share", NUMBER, 6, 0, 2, NULL},
    {"engine.kernels.mixed_tail_share", NUMBER, 6, 0, 2, NULL},
    {"engine.kernels.gemm_time_scale", NUMBER, 6, 0, 3, NULL},
    {"engine.kernels.gemm_power_rise", NUMBER, 6, 0, 2, NULL},
    {"engine.kernels.gemm_power_time_s", NUMBER, 6, 0, 10, NULL},
    {"engine.kernels.stream_power_share", NUMBER, 5, 0, 1, NULL},
    {"engine.kernels.op_overhead_scale", NUMBER, 6, 0, 5, NULL},
    {"engine.composition.context_granularity_tokens", INTEGER, 4, 0, 128, NULL},
    {"engine.composition.token_granularity", INTEGER, 4, 0, 128, NULL},
    {"engine.composition.batching_overhead", NUMBER, 4, 0, 1, NULL},
    {"engine.composition.all_reduce_launch_s", NUMBER, 4, 0, 1e-3, NULL},
    {"engine.collectives.all_reduce", WORDS, 0, 0, 0, ""},
    {"engine.collectives.all_reduce.max_ranks", INTEGER, 0, 1, 8, NULL},
    {"engine.collectives.all_reduce.below_bytes", NUMBER, 0, 1e3, 1e8, NULL},
    {"engine.collectives.all_reduce.fixed_s", NUMBER, 50, 0, 1e-3, NULL},
    {"engine.collectives.all_reduce.bandwidth_share", NUMBER, 30, 0.05, 1, NULL},
    {"engine.collectives.fixed_s", NUMBER, 5, 0, 1e-3, NULL},
    {"engine.memory.reserve_bytes", NUMBER, 5, 0, 4e9, NULL},
    {"engine.memory.graph_reserve_bytes", NUMBER, 5, 0, 1e9, NULL},
    {"engine.memory.activation_bytes_scale", NUMBER, 5, 0, 2, NULL},
    {"engine.memory.sampler_bytes", NUMBER, 5, 0, 100, NULL},
    {"engine.memory.mxfp4_hidden_multiple", INTEGER, 2, 0, 512, NULL},
    {"engine.memory.mxfp4_intermediate_multiple", INTEGER, 2, 0, 512, NULL},
    {"cost.k1", NUMBER, 0, 0, 0.01, NULL},
    {"cost.k2", NUMBER, 0, 0, 0.05, NULL},
    {"cost.k3", NUMBER, 0, 0, 0.001, NULL},
    {"cost.k4", NUMBER, 0, 1e-6, 0.02, NULL},
    {"cost.distinct_experts", INTEGER, 3, 1, 8, NULL},
    {"cost.profile", WORDS, 0, 0, 0, "h200-sxm|h100-sxm-aiconfigurator|a100-80g-sxm"},
    {"cost.time_scale", NUMBER, 10, 0.01, 50, NULL},
    {"cost.time_error", NUMBER, 5, 0, 0.9, NULL},
    {"workload.trace", WORDS, 0, 0, 0, "trace"},
    {"workload.trace_format", WORDS, 0, 0, 0, ""},
    {"workload.arrivals", WORDS, 0, 0, 0, ""},
    {"workload.arrivals.rate_per_s", NUMBER, 0, 0.05, 500, NULL},
    {"workload.arrivals.cv", NUMBER, 0, 0.05, 6, NULL},
    {"workload.arrivals.clients", INTEGER, 0, 1, 20, NULL},
    {"workload.arrivals.think_s", WORDS, 0, 0, 0, ""},
    DISTRIBUTION("workload.arrivals.think_s", NUMBER, 0.01, 10),
    {"workload.arrivals.swing", NUMBER, 0, 0, 1, NULL},
    {"workload.arrivals.swing_period_s", NUMBER, 0, 1, 100, NULL},
    {"workload.prompt_tokens", WORDS, 0, 0, 0, ""},
    DISTRIBUTION("workload.prompt_tokens", INTEGER, 1, 400),
    {"workload.output_tokens", WORDS, 0, 0, 0, ""},
    DISTRIBUTION("workload.output_tokens", INTEGER, 1, 150),
    {"workload.cancel.share", NUMBER, 0, 0.05, 1, NULL},
    {"workload.cancel.after_s", WORDS, 0, 0, 0, ""},
    DISTRIBUTION("workload.cancel.after_s", NUMBER, 0.001, 10),
    {"workload.cancel.after_tokens", WORDS, 0, 0, 0, ""},
    DISTRIBUTION("workload.cancel.after_tokens", INTEGER, 1, 60),
    {"workload.ends_by_eos", WORDS, 15, 0, 0, "true|false"},
    {"workload.sessions.turns", WORDS, 0, 0, 0, "after_answer"},
    {"workload.sessions.think_s", WORDS, 0, 0, 0, ""},
    DISTRIBUTION("workload.sessions.think_s", NUMBER, 0.01, 10),
    {"workload.sessions.prompts", WORDS, 0, 0, 0, "whole|added"},
    {"workload.requests", INTEGER, 0, 2, 150, NULL},
    {"workload.rate_scale", NUMBER, 0, 0.05, 50, NULL},
    {"workload.start_s", NUMBER, 0, 0, 20, NULL},
    {"workload.end_s", NUMBER, 0, 0.5, 60, NULL},
    {"workload.bootstrap_block_s", NUMBER, 0, 0.5, 30, NULL},
    {"workload.bootstrap_length", NUMBER, 0, 0.3, 3, NULL},
    {"workload.prompt_tokens_scale", NUMBER, 8, 0.2, 5, NULL},
    {"workload.output_tokens_scale", NUMBER, 8, 0.2, 3, NULL},
    {"workload.patience_s", NUMBER, 20, 0.001, 20, NULL},
    {"autoscaling", WORDS, 0, 0, 0, ""},
    {"autoscaling.group", INTEGER, 0, 0, 2, NULL},
    {"autoscaling.min_replicas", INTEGER, 0, 1, 3, NULL},
    {"autoscaling.max_replicas", INTEGER, 0, 3, 8, NULL},
    {"autoscaling.startup_s", NUMBER, 0, 0, 60, NULL},
    {"autoscaling.interval_s", NUMBER, 70, 0.02, 20, NULL},
    {"autoscaling.scale_down_delay_s", NUMBER, 60, 0, 60, NULL},
    {"autoscaling.tolerance", NUMBER, 30, 0, 1, NULL},
    {"autoscaling.target_requests", NUMBER, 0, 0.2, 10, NULL},
    {"autoscaling.target_utilization", NUMBER, 0, 0.02, 1, NULL},
    {"autoscaling.target_tokens_per_s", NUMBER, 0, 1, 1e4, NULL},
    {"autoscaling.level_smoothing", NUMBER, 20, 0.01, 1, NULL},
    {"autoscaling.trend_smoothing", NUMBER, 20, 0, 1, NULL},
    {"autoscaling.schedule", WORDS, 0, 0, 0, ""},
    {"autoscaling.schedule.at_s", NUMBER, 0, 0.1, 20, NULL},
    {"autoscaling.schedule.replicas", INTEGER, 0, 1, 8, NULL},
    {"autoscaling.period_s", NUMBER, 0, 25, 60, NULL},
    {"slo", WORDS, 0, 0, 0, ""},
    {"economics.price_usd_per_gpu_hour", NUMBER, 15, 0.01, 1e3, NULL},
    {"economics.electricity_usd_per_kwh", NUMBER, 15, 0, 10, NULL},
    {"economics.pue", NUMBER, 10, 1, 10, NULL},
    {"economics.host_power_w_per_gpu", NUMBER, 10, 0, 1e4, NULL},
    {"economics.grid_gco2_per_kwh", NUMBER, 10, 0, 1e4, NULL},
    {"search", WORDS, 4, 0, 0, "{cluster.replicas: [1, 2]}"},
    {"sweep", WORDS, 4, 0, 0, "{seed: [1, 2]}"},
    {"seed", INTEGER, 30, 0, 1e15, NULL},
};
#define GENERATORS (sizeof generators / sizeof *generators)

/* Keys that stand at two places and are drawn alike. */
static const char *const alike[][2] = {{"cluster.groups.", "cluster."}};

/* Drawn by draw.c alone, with all below them: they need each other, or are lists. */
static const char *const together[] = {
    "cluster.groups",     "engine.batching.policy", "engine.collectives.all_reduce", "cost.model",
    "workload.arrivals",  "workload.prompt_tokens", "workload.output_tokens",        "workload.trace_format",
    "autoscaling.policy", "autoscaling.schedule"};

struct listed {
    char *key;
    char *words; /* of a key that names one of a list; owned */
};

struct keys {
    struct listed listed[MOST_KEYS];
    size_t count;
};

bool chance(gsl_rng *rng, unsigned percent)
{
    return gsl_rng_uniform_int(rng, 100) < percent;
}

uint32_t pick(gsl_rng *rng, uint32_t low, uint32_t high)
{
    return low + (uint32_t)gsl_rng_uniform_int(rng, high - low + 1);
}

double spread(gsl_rng *rng, double low, double high)
{
    return low * pow(high / low, gsl_rng_uniform(rng));
}

/* "true or false" and "one of a, b, c" as words separated by "|"; NULL for anything else. */
static char *words_of(const char *holds)
{
    static const char one_of[] = "one of ";
    if (strncmp(holds, "true or false", 13) == 0)
        return strdup("true|false");
    if (strncmp(holds, one_of, sizeof one_of - 1) != 0)
        return NULL;
    holds += sizeof one_of - 1;
    const char *end = strstr(holds, "  ");
    char *words = km_alloc(strlen(holds) + 1), *to = words;
    for (const char *at = holds; *at && at != end; at++)
        if (*at == ',')
            *to++ = '|';
        else if (*at != ' ')
            *to++ = *at;
    return words;
}

struct keys *keys_create(void)
{
    struct keys *keys = km_alloc(sizeof *keys);
    struct km_text list = {0};
    km_scenario_list_settings(&list);
    for (char *line = list.bytes, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char *gap = strstr(line, "  ");
        if (!gap || keys->count == MOST_KEYS)
            abort();
        *gap = '\0';
        keys->listed[keys->count++] = (struct listed){strdup(line), words_of(gap + 2)};
    }
    km_text_release(&list);
    return keys;
}

void keys_destroy(struct keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        free(keys->listed[i].key);
        free(keys->listed[i].words);
    }
    free(keys);
}

static const struct generator *generator_of(const char *key)
{
    char other[256];
    for (size_t i = 0; i < GENERATORS; i++)
        if (strcmp(generators[i].key, key) == 0)
            return &generators[i];
    for (size_t i = 0; i < sizeof alike / sizeof *alike; i++) {
        size_t length = strlen(alike[i][0]);
        if (strncmp(key, alike[i][0], length) != 0)
            continue;
        snprintf(other, sizeof other, "%s%s", alike[i][1], key + length);
        return generator_of(other);
    }
    return NULL;
}

static const struct listed *find_listed(const struct keys *keys, const char *key)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->listed[i].key, key) == 0)
            return &keys->listed[i];
    return NULL;
}

void keys_without_generator(const struct keys *keys, struct km_text *out)
{
    for (size_t i = 0; i < keys->count; i++)
        if (!keys->listed[i].words && !generator_of(keys->listed[i].key))
            km_text_printf(out, "%s\n", keys->listed[i].key);
}

void keys_without_scenario(const struct keys *keys, struct km_text *out)
{
    for (size_t i = 0; i < GENERATORS; i++) {
        size_t length = strlen(generators[i].key);
        bool found = false;
        for (size_t j = 0; j < keys->count && !found; j++)
            found = strncmp(keys->listed[j].key, generators[i].key, length) == 0;
        if (!found)
            km_text_printf(out, "%s\n", generators[i].key);
    }
}

static void draw_word(gsl_rng *rng, const char *words, const char *at, struct random_scenario *c)
{
    uint32_t count = 1;
    for (const char *letter = words; *letter; letter++)
        count += *letter == '|';
    uint32_t chosen = pick(rng, 0, count - 1);
    for (; chosen > 0; chosen--)
        words = strchr(words, '|') + 1;
    case_set(c, at, "%.*s", (int)strcspn(words, "|"), words);
}

static double draw_number(gsl_rng *rng, const struct generator *g)
{
    if (chance(rng, 3))
        return g->high;
    if (chance(rng, 3) || (g->low <= 0 && chance(rng, 15)))
        return g->low;
    return spread(rng, g->low > 0 ? g->low : g->high / 1000, g->high);
}

void keys_draw_at(const struct keys *keys, gsl_rng *rng, const char *key, const char *at,
                  struct random_scenario *c)
{
    const struct generator *g = generator_of(key);
    const struct listed *listed = find_listed(keys, key);
    if (g && g->kind == NUMBER)
        case_set(c, at, "%.6g", draw_number(rng, g));
    else if (g && g->kind == INTEGER)
        case_set(c, at, "%.0f", floor(draw_number(rng, g) + 0.5));
    else if (g && g->words[0])
        draw_word(rng, g->words, at, c);
    else if (listed && listed->words)
        draw_word(rng, listed->words, at, c);
    else
        abort(); /* keys_without_generator() is checked before anything is drawn */
}

void keys_draw(const struct keys *keys, gsl_rng *rng, const char *key, struct random_scenario *c)
{
    keys_draw_at(keys, rng, key, key, c);
}

static bool is_drawn_together(const char *key)
{
    for (size_t i = 0; i < sizeof together / sizeof *together; i++)
        if (case_is_under(key, together[i]))
            return true;
    return false;
}

void keys_draw_some(const struct keys *keys, gsl_rng *rng, const char *prefix, const char *at,
                    struct random_scenario *c)
{
    size_t length = strlen(prefix);
    char place[256];
    for (size_t i = 0; i < keys->count; i++) {
        const char *key = keys->listed[i].key;
        if (strncmp(key, prefix, length) != 0)
            continue;
        const struct generator *g = generator_of(key);
        snprintf(place, sizeof place, "%s%s", at, key + length);
        bool alone = at != prefix || !is_drawn_together(key);
        if (alone && !case_get(c, place) && chance(rng, g ? g->percent : USUAL_PERCENT))
            keys_draw_at(keys, rng, key, place, c);
    }
}
