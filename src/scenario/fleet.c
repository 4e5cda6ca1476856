#include "scenario/fleet.h"

#include "base/simtime.h"

#include <math.h>
#include <stdlib.h>

enum km_status km_fleet_create(const struct km_scenario *scenario, struct km_fleet *out,
                               struct km_error *error)
{
    enum km_status status = KM_OK;
    *out = (struct km_fleet){.scenario = scenario};
    out->groups = km_alloc(km_scenario_group_count(scenario) * sizeof *out->groups);
    while (status == KM_OK && out->group_count < km_scenario_group_count(scenario)) {
        status = km_setup_create(km_scenario_group(scenario, out->group_count),
                                 &out->groups[out->group_count], error);
        out->group_count++; /* one that failed is released, too */
    }
    if (status != KM_OK)
        km_fleet_release(out);
    return status;
}

void km_fleet_release(struct km_fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->group_count; i++)
        km_setup_release(&fleet->groups[i]);
    free(fleet->groups);
    *fleet = (struct km_fleet){0};
}

bool km_fleet_starts(const struct km_fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->group_count; i++)
        if (fleet->groups[i].scenario->engine.max_model_len > fleet->groups[i].most_model_len)
            return false;
    return true;
}

/* --- from a scenario to replicas ------------------------------------------------------------------------ */

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
    uint64_t tokens = km_kv_most_tokens(&setup->memory.groups, setup->rank_blocks, engine->block_size,
                                        km_setup_in_flight_tokens(setup->scenario));
    if (config->kv.max_model_len > tokens)
        config->kv.max_model_len = (uint32_t)tokens;
}

static struct km_replica_frontend frontend_config(const struct km_engine *engine)
{
    const struct km_frontend_times times = km_frontend_times(&engine->frontend);
    return (struct km_replica_frontend){.request_ps = km_ps_from_s(times.request_s),
                                        .token_ps = km_ps_from_s(times.token_s),
                                        .fixed_ps = km_ps_from_s(times.fixed_s),
                                        .chunk_ps = km_ps_from_s(times.chunk_s)};
}

static struct km_simulation_group group_config(const struct km_setup *setup,
                                               const struct km_workload_settings *workload, bool fast_forward)
{
    const struct km_scenario *scenario = setup->scenario;
    const struct km_engine *engine = &scenario->engine;
    struct km_simulation_group group = {
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
                        .own = engine->policy_settings.values,
                    },
                .kv_manager = setup->kv_manager,
                .kv = {.capacity_blocks = setup->blocks,
                       .block_size = engine->block_size,
                       .max_model_len = engine->max_model_len ? engine->max_model_len
                                                              : scenario->model.max_position_embeddings,
                       .groups = setup->memory.groups,
                       .in_flight_tokens = km_setup_in_flight_tokens(scenario)},
                .executor = setup->executor,
                .executor_state = setup->executor_state,
                .pace = km_pace_of(engine, km_model_is_dense(&scenario->model),
                                   scenario->cluster.pipeline_parallel_size),
                .fast_forward = fast_forward,
                .window = km_setup_window(&scenario->model),
                .frontend = frontend_config(engine),
                .patience_ps = workload->patience_s > 0.0 ? km_ps_from_s(workload->patience_s) : KM_PS_NEVER,
            },
        .replicas = scenario->cluster.replicas,
    };
    limit_batches(setup, &group.replica);
    return group;
}

/* --- what the GPUs did --------------------------------------------------------------------------------- */

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
        if (!km_layer_attends(layer))
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

/* What was done, and what could have been: FLOPs, bytes and seconds. */
struct effort {
    double flops, peak_flops, bytes, peak_bytes, busy_s, replica_s;
};

static struct km_utilization utilization(const struct effort *e, bool known)
{
    return (struct km_utilization){
        .mfu = known && e->peak_flops > 0.0 ? e->flops / e->peak_flops : (double)NAN,
        .mbu = known ? e->bytes / e->peak_bytes : (double)NAN,
        .busy = known ? e->busy_s / e->replica_s : (double)NAN,
    };
}

static void utilizations(const struct km_fleet *fleet, struct km_run_result *out)
{
    struct effort all = {0};
    double span_s = out->summary.span_s;
    bool known = isfinite(span_s) && span_s > 0.0, all_peaks = true;
    for (uint32_t i = 0; i < fleet->group_count; i++) {
        const struct km_setup *setup = &fleet->groups[i];
        const struct km_scenario *scenario = setup->scenario;
        const struct km_group_result *group = &out->simulation.groups[i];
        const struct km_precision *precision = &scenario->precision;
        double ranks = km_layout_ranks(&setup->cost_config.layout), gpus = group->mean_replicas * ranks;
        double peak = 0.0;
        if (!km_device_peak(&scenario->device, precision->weights, precision->activations, &peak))
            all_peaks = false;
        const struct effort own = {
            .flops = model_flops(&scenario->model, &group->work),
            .peak_flops = gpus * peak * span_s,
            .bytes = model_bytes(setup, &group->work),
            .peak_bytes = gpus * scenario->device.bandwidth_bytes_per_s * span_s,
            .busy_s = group->work.busy_s,
            .replica_s = group->mean_replicas * span_s,
        };
        out->groups[i] = (struct km_run_group){.gpu_seconds = group->replica_seconds * ranks,
                                               .gpus_per_replica = (uint32_t)ranks,
                                               .utilization = utilization(&own, known)};
        out->gpu_seconds += out->groups[i].gpu_seconds;
        all.flops += own.flops;
        all.peak_flops += own.peak_flops;
        all.bytes += own.bytes;
        all.peak_bytes += own.peak_bytes;
        all.busy_s += own.busy_s;
        all.replica_s += own.replica_s;
    }
    const struct km_utilization total = utilization(&all, known);
    out->mfu = all_peaks ? total.mfu : (double)NAN;
    out->mbu = total.mbu;
    out->busy = total.busy;
}

/* What the metrics cannot know of the verdict. */
static void judge(const struct km_fleet *fleet, struct km_run_result *out)
{
    struct km_summary *summary = &out->summary;
    summary->refused = !km_fleet_starts(fleet);
    summary->partial = out->simulation.stopped;
    summary->slo_attained = summary->slo_attained && !summary->refused && !summary->partial;
}

enum km_status km_fleet_run(const struct km_fleet *fleet, const struct km_workload_settings *workload,
                            uint64_t seed, const struct km_run_options *options, struct km_run_result *out,
                            struct km_error *error)
{
    const struct km_scenario *scenario = fleet->scenario;
    const struct km_metrics_settings metrics_settings = {.slo = scenario->slo,
                                                         .slo_count = scenario->slo_count};
    struct km_metrics *metrics = km_metrics_create(&metrics_settings);
    struct km_simulation_group groups[KM_MAX_GROUPS];
    for (uint32_t i = 0; i < fleet->group_count; i++)
        groups[i] = group_config(&fleet->groups[i], workload, options->fast_forward);
    const struct km_simulation_config config = {
        .workload = workload,
        .seed = seed,
        .groups = groups,
        .group_count = fleet->group_count,
        .router = km_routing_find(scenario->cluster.router),
        .scaling = scenario->scaling.policy ? &scenario->scaling : NULL,
        .prediction = &scenario->prediction,
        .metrics = metrics,
        .ended = options->ended,
        .stepped = options->stepped,
        .replica_ended = options->replica_ended,
        .resized = options->resized,
        .context = options->context,
        .progress = options->progress,
        .stop = options->stop,
        .enough = options->enough,
    };
    *out = (struct km_run_result){0};
    enum km_status status = km_simulation_run(&config, &out->simulation, error);
    if (status == KM_OK || status == KM_FAILED) {
        km_metrics_kv(metrics, out->simulation.work.block_seconds, out->simulation.work.peak_blocks);
        km_metrics_busy(metrics, out->simulation.work.busy_s);
        km_metrics_summarize(metrics, &out->summary);
        judge(fleet, out);
        utilizations(fleet, out);
    }
    km_metrics_destroy(metrics);
    return status;
}
