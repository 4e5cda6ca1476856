#include "scenario/fleet.h"

#include "base/simtime.h"

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
                        .long_prefill_unlimited_alone = engine->long_prefill_unlimited_alone,
                        .enable_chunked_prefill = engine->enable_chunked_prefill,
                        .batch_size = engine->batch_size,
                        .batch_cap = engine->batch_cap,
                        .max_wait_ps = km_ps_from_s(engine->max_wait_s),
                        .pad_prompts = engine->pad_prompts,
                        .own = engine->policy_settings.values,
                    },
                .kv_manager = setup->kv_manager,
                .kv = {.capacity_blocks = setup->rank_blocks,
                       .block_size = engine->block_size,
                       .max_model_len = engine->max_model_len ? engine->max_model_len
                                                              : scenario->model.max_position_embeddings,
                       .groups = setup->memory.groups,
                       .in_flight_tokens = km_setup_in_flight_tokens(scenario)},
                .executor = setup->executor,
                .executor_state = setup->executor_state,
                .pace = km_pace_of(engine, km_model_is_dense(&scenario->model),
                                   scenario->cluster.pipeline_parallel_size),
                .rank_wake_ps = km_ps_from_s(engine->rank_wake_s),
                .fast_forward = fast_forward,
                .window = km_setup_window(&scenario->model),
                .frontend = frontend_config(engine),
                .patience_ps = workload->patience_s > 0.0 ? km_ps_from_s(workload->patience_s) : KM_PS_NEVER,
            },
        .replicas = scenario->cluster.replicas,
        .ranks = scenario->cluster.data_parallel_size,
    };
    return group;
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
        km_fleet_utilizations(fleet, out);
    }
    km_metrics_destroy(metrics);
    return status;
}
