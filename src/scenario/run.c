#include "scenario/run.h"

#include "base/simtime.h"
#include "scenario/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct km_layout km_setup_layout(const struct km_scenario *scenario)
{
    return km_scenario_layout(scenario);
}

struct km_memory_limits km_setup_limits(const struct km_scenario *scenario)
{
    const struct km_engine *engine = &scenario->engine;
    return (struct km_memory_limits){
        .device_bytes = scenario->device.memory_bytes,
        .gpu_memory_utilization = engine->gpu_memory_utilization,
        .reserve_bytes = engine->reserve_bytes,
        .graph_reserve_bytes = engine->graph_reserve_bytes,
        .activation_scale = engine->activation_bytes_scale,
        .block_size = engine->block_size,
        .max_num_batched_tokens = engine->max_num_batched_tokens,
        .max_num_seqs = engine->max_num_seqs,
    };
}

enum km_status km_setup_memory(const struct km_scenario *scenario, struct km_memory_map *out,
                               struct km_error *error)
{
    const struct km_layout layout = km_setup_layout(scenario);
    const struct km_memory_limits limits = km_setup_limits(scenario);
    enum km_status status = km_layout_check(&scenario->model, &layout, error);
    if (status == KM_OK)
        km_memory_map(&scenario->model, &scenario->precision, &layout, &limits, out);
    return status;
}

static enum km_status refuse_memory(const struct km_scenario *scenario, const struct km_memory_map *map,
                                    struct km_error *error)
{
    const struct km_layout layout = km_setup_layout(scenario);
    struct km_fit fit;
    struct km_text would = {0};
    km_fit_find(scenario, &fit);
    km_fit_describe(&fit, &would);
    enum km_status status = km_fail(
        error, KM_NO, NULL, 0, 0,
        "%s does not fit on %u x %s: weights %.1f GiB + activations %.1f + state %.1f + reserve %.1f leave "
        "no "
        "KV block of the budget of %.1f GiB a GPU (%.1f x gpu_memory_utilization %g); %s",
        scenario->model.name, km_layout_ranks(&layout), scenario->device.name, map->weight_bytes / KM_GIB,
        map->activation_bytes / KM_GIB, map->state_bytes / KM_GIB, map->reserve_bytes / KM_GIB,
        map->budget_bytes / KM_GIB, scenario->device.memory_bytes / KM_GIB,
        scenario->engine.gpu_memory_utilization, km_text_c(&would));
    km_text_release(&would);
    return status;
}

/* As in vLLM, prefix caching is a setting of the paged cache. Who names another manager gets that one. */
static const struct km_kv_manager *kv_manager(const struct km_engine *engine)
{
    bool prefix = engine->enable_prefix_caching && strcmp(engine->kv_manager, "paged") == 0;
    return km_kv_find(prefix ? "prefix" : engine->kv_manager);
}

enum km_status km_setup_create(const struct km_scenario *scenario, struct km_setup *out,
                               struct km_error *error)
{
    *out = (struct km_setup){.scenario = scenario};
    enum km_status status = km_setup_memory(scenario, &out->memory, error);
    if (status != KM_OK)
        return status;
    uint32_t override = scenario->engine.num_gpu_blocks_override, data = scenario->cluster.data_parallel_size;
    out->rank_blocks = override ? override : out->memory.blocks / data;
    out->blocks = out->rank_blocks * data;
    if (out->blocks == 0)
        return refuse_memory(scenario, &out->memory, error);
    out->kv_manager = kv_manager(&scenario->engine);
    out->cost_config = (struct km_cost_config){
        .model = &scenario->model,
        .precision = scenario->precision,
        .layout = km_setup_layout(scenario),
        .device = &scenario->device,
        .engine = &scenario->engine,
        .profile = scenario->profile,
        .linear = scenario->linear,
        .time_scale = scenario->time_scale,
    };
    out->cost = km_cost_find(scenario->cost_model);
    out->executor = km_executor_find(scenario->executor);
    return out->executor->create(&out->cost_config, out->cost, &out->executor_state, error);
}

void km_setup_release(struct km_setup *setup)
{
    if (setup->executor && setup->executor_state)
        setup->executor->destroy(setup->executor_state);
    *setup = (struct km_setup){0};
}

uint32_t km_setup_window(const struct km_model *model)
{
    uint32_t window = 0;
    for (uint32_t i = 0; i < model->layer_count; i++)
        if (model->layers[i].window > window)
            window = model->layers[i].window;
    return window;
}

/* Model FLOPs of all steps: 2 a parameter and token, the LM head only where a token is sampled, and 4 * pairs
 * * heads * dim of attention in each layer (PaLM, arXiv 2204.02311, appendix B, forward pass). */
static double model_flops(const struct km_model *model, const struct km_work *work)
{
    struct km_parameters p;
    km_model_parameters(model, &p);
    double head = model->tied_embeddings ? p.embedding : p.lm_head;
    double body = p.active - p.lm_head - p.embedding;
    double flops = 2.0 * body * (double)work->tokens + 2.0 * head * (double)work->sampled;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
        if (layer->mixer != KM_ATTENTION && layer->mixer != KM_MLA)
            continue;
        double pairs = layer->window ? work->prefill_pairs_windowed + work->decode_pairs_windowed
                                     : work->prefill_pairs + work->decode_pairs;
        flops += 2.0 * pairs * layer->heads * ((double)layer->head_dim + layer->value_dim);
    }
    return flops;
}

/* Bytes of all steps on all ranks of a replica: parameters once a step, and the KV cache once a decode. */
static double model_bytes(const struct km_setup *setup, const struct km_work *work)
{
    const struct km_model *model = setup->cost_config.model;
    const struct km_layout *layout = &setup->cost_config.layout;
    double bytes = work->weight_bytes * km_layout_stage_ranks(layout);
    /* Ranks that share out a sequence's tokens each read their own; data ranks have sequences of their own.
     */
    double readers = (double)layout->tensor_parallel / km_layout_decode_context(layout);
    for (uint32_t i = 0; i < model->layer_count; i++) {
        double values = km_layer_kv_values(&model->layers[i], layout->tensor_parallel) * readers;
        double pairs = model->layers[i].window ? work->decode_pairs_windowed : work->decode_pairs;
        bytes += pairs * values * km_dtype_bytes(setup->cost_config.precision.kv_cache);
    }
    return bytes;
}

static void utilization(const struct km_setup *setup, struct km_run_result *out)
{
    const struct km_scenario *scenario = setup->scenario;
    const struct km_precision *precision = &scenario->precision;
    const struct km_work *work = &out->simulation.work;
    double gpus = (double)scenario->cluster.replicas * km_layout_ranks(&setup->cost_config.layout);
    double span = out->summary.duration_s, peak = 0.0;
    bool known = isfinite(span) && span > 0.0 &&
                 km_device_peak(&scenario->device, precision->weights, precision->activations, &peak);
    out->mfu = known ? model_flops(&scenario->model, work) / (gpus * peak * span) : (double)NAN;
    out->mbu = known ? model_bytes(setup, work) / (gpus * scenario->device.bandwidth_bytes_per_s * span)
                     : (double)NAN;
    out->busy = known ? work->busy_s / (scenario->cluster.replicas * span) : (double)NAN;
}

static uint32_t times(uint32_t value, uint32_t factor)
{
    uint64_t product = (uint64_t)value * factor;
    return product < UINT32_MAX ? (uint32_t)product : UINT32_MAX;
}

/* The engine's limits are each data-parallel rank's; the replica serves all ranks' sequences. No prompt
 * spreads over two ranks: a chunk stays within one rank's budget, a sequence within one rank's KV blocks. */
static void limit_batches(const struct km_setup *setup, struct km_replica_config *config)
{
    const struct km_engine *engine = &setup->scenario->engine;
    uint32_t data = setup->scenario->cluster.data_parallel_size;
    if (data < 2)
        return;
    config->batching.max_num_seqs = times(engine->max_num_seqs, data);
    config->batching.max_num_batched_tokens = times(engine->max_num_batched_tokens, data);
    if (engine->enable_chunked_prefill &&
        (!engine->long_prefill_token_threshold ||
         engine->long_prefill_token_threshold > engine->max_num_batched_tokens))
        config->batching.long_prefill_token_threshold = engine->max_num_batched_tokens;
    uint64_t tokens = setup->rank_blocks * engine->block_size;
    if (config->kv.max_model_len > tokens)
        config->kv.max_model_len = (uint32_t)tokens;
}

enum km_status km_setup_run(const struct km_setup *setup, uint64_t seed, const struct km_run_options *options,
                            struct km_run_result *out, struct km_error *error)
{
    return km_setup_run_workload(setup, &setup->scenario->workload, seed, options, out, error);
}

enum km_status km_setup_run_workload(const struct km_setup *setup,
                                     const struct km_workload_settings *workload, uint64_t seed,
                                     const struct km_run_options *options, struct km_run_result *out,
                                     struct km_error *error)
{
    const struct km_scenario *scenario = setup->scenario;
    const struct km_engine *engine = &scenario->engine;
    const struct km_metrics_settings metrics_settings = {.slo = scenario->slo,
                                                         .slo_count = scenario->slo_count};
    struct km_metrics *metrics = km_metrics_create(&metrics_settings);
    struct km_simulation_config config = {
        .workload = workload,
        .seed = seed,
        .replica =
            {
                .policy = km_batching_find(engine->policy),
                .batching =
                    {
                        .max_num_seqs = engine->max_num_seqs,
                        .max_num_batched_tokens = engine->max_num_batched_tokens,
                        .long_prefill_token_threshold = engine->long_prefill_token_threshold,
                        .enable_chunked_prefill = engine->enable_chunked_prefill,
                        .batch_size = engine->batch_size,
                        .batch_cap = engine->batch_cap,
                        .max_wait_ps = km_ps_from_s(engine->max_wait_s),
                        .pad_prompts = engine->pad_prompts,
                    },
                .kv_manager = setup->kv_manager,
                .kv = {.capacity_blocks = setup->blocks,
                       .block_size = engine->block_size,
                       .max_model_len = engine->max_model_len ? engine->max_model_len
                                                              : scenario->model.max_position_embeddings},
                .executor = setup->executor,
                .executor_state = setup->executor_state,
                .stages = scenario->cluster.pipeline_parallel_size,
                .async_scheduling = engine->async_scheduling,
                .fast_forward = options->fast_forward,
                .window = km_setup_window(&scenario->model),
                .ingest_ps = km_ps_from_s(engine->ingest_s),
                .patience_ps = workload->patience_s > 0.0 ? km_ps_from_s(workload->patience_s) : KM_PS_NEVER,
            },
        .replicas = scenario->cluster.replicas,
        .router = km_routing_find("round_robin"),
        .metrics = metrics,
        .ended = options->ended,
        .context = options->context,
        .progress = options->progress,
        .stop = options->stop,
        .enough = options->enough,
    };
    limit_batches(setup, &config.replica);
    enum km_status status = km_simulation_run(&config, &out->simulation, error);
    if (status == KM_OK) {
        km_metrics_kv(metrics, out->simulation.work.block_seconds, out->simulation.work.peak_blocks);
        km_metrics_busy(metrics, out->simulation.work.busy_s);
        km_metrics_summarize(metrics, &out->summary);
        utilization(setup, out);
    }
    km_metrics_destroy(metrics);
    return status;
}
