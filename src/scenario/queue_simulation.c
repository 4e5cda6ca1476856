#include "scenario/queue_simulation.h"

#include "base/simtime.h"
#include "executor/executor.h"
#include "metrics/batch_means.h"
#include "sim/simulation.h"

#include <math.h>

/* Waits are squared in microseconds, so that sums of squares stay in 64 bits for waits of hours. */
#define PS_PER_US 1000000u

struct recorder {
    const struct km_queue_system *system;
    struct km_batch_means *waits, *squares, *responses, *lost, *tails[KM_QUEUE_MAX_TAILS];
};

static void record_request(void *context, enum km_outcome outcome, const struct km_record *record)
{
    struct recorder *recorder = context;
    km_batch_means_add(recorder->lost, outcome == KM_ABANDONED, 1);
    if (outcome != KM_COMPLETED)
        return;
    uint64_t wait_ps = record->started_ps - record->arrival_ps, wait_us = wait_ps / PS_PER_US;
    km_batch_means_add(recorder->waits, wait_ps, 1);
    km_batch_means_add(recorder->squares, wait_us * wait_us, 1);
    km_batch_means_add(recorder->responses, record->last_token_ps - record->arrival_ps, 1);
    for (size_t i = 0; i < recorder->system->wait_tail_count; i++)
        km_batch_means_add(recorder->tails[i], km_s_from_ps(wait_ps) > recorder->system->wait_tail_s[i], 1);
}

static struct km_queue_estimate estimate(const struct km_batch_means *means, double unit)
{
    struct km_interval interval;
    km_batch_means_interval(means, &interval);
    return (struct km_queue_estimate){interval.mean * unit, interval.half_width * unit};
}

/* A system without contexts or memory limits: every request's prompt is one token, and blocks never run out.
 */
static void describe(const struct km_queue_system *system, const struct km_executor *executor,
                     void *executor_state, const struct km_workload_settings *workload,
                     struct km_metrics *metrics, struct recorder *recorder, struct km_simulation_group *group,
                     struct km_simulation_config *config)
{
    *group = (struct km_simulation_group){
        .replica =
            {
                .policy = system->policy,
                .batching = {.max_num_seqs = UINT32_MAX,
                             .max_num_batched_tokens = UINT32_MAX,
                             .enable_chunked_prefill = true,
                             .batch_size = system->batch_size,
                             .batch_cap = system->batch_cap},
                .kv_manager = km_kv_find("paged"),
                .kv = {.capacity_blocks = (uint64_t)1 << 48, .block_size = 1024, .max_model_len = UINT32_MAX},
                .executor = executor,
                .executor_state = executor_state,
                .pace.stages = 1,
                .fast_forward = true,
                .patience_ps = system->patience_s > 0.0 ? km_ps_from_s(system->patience_s) : KM_PS_NEVER,
            },
        .replicas = 1,
    };
    *config = (struct km_simulation_config){
        .workload = workload,
        .seed = system->seed,
        .groups = group,
        .group_count = 1,
        .router = km_routing_find("round_robin"),
        .metrics = metrics,
        .ended = record_request,
        .context = recorder,
    };
}

static void summarize(const struct recorder *recorder, const struct km_simulation_result *run,
                      const struct km_summary *summary, struct km_queue_simulated *out)
{
    double steps = (double)run->work.prompt_steps, none = (double)NAN; /* none: all left, or at once */
    *out = (struct km_queue_simulated){
        .mean_wait_s = estimate(recorder->waits, 1e-12),
        .mean_square_wait_s = estimate(recorder->squares, 1e-12),
        .mean_response_s = estimate(recorder->responses, 1e-12),
        .loss = estimate(recorder->lost, 1.0),
        .utilization = summary->span_s > 0 ? run->work.busy_s / summary->span_s : none,
        .mean_batch = steps > 0 ? (double)summary->completed / steps : none,
    };
    out->idle = 1.0 - out->utilization;
    out->var_wait_s = out->mean_square_wait_s.value - out->mean_wait_s.value * out->mean_wait_s.value;
    for (size_t i = 0; i < recorder->system->wait_tail_count; i++)
        out->wait_tail[i] = estimate(recorder->tails[i], 1.0);
}

enum km_status km_queue_simulate(const struct km_queue_system *system, struct km_queue_simulated *out,
                                 struct km_error *error)
{
    const struct km_layer layer = {.kv_source = -1};
    const struct km_model model = {.name = "queue", .layer_count = 1, .layers = &layer};
    const double most = 0.9 * km_s_from_ps(KM_PS_LIMIT) * system->arrival_rate_per_s;
    if (most < 1.0)
        return km_fail(
            error, KM_BAD_INPUT, NULL, 0, 0,
            "arrival_rate_per_s: %g is less than a request in the 53 days that are simulated at most; "
            "--theory-only answers without",
            system->arrival_rate_per_s);
    const struct km_engine engine = {.name = "ideal"};
    const struct km_cost_config cost_config = {.model = &model,
                                               .layout = {.tensor_parallel = 1, .pipeline_parallel = 1},
                                               .engine = &engine,
                                               .linear = system->law};
    const struct km_cost_model *cost = km_cost_find("linear");
    const struct km_executor *executor = km_executor_find("simulated");
    void *executor_state = NULL;
    const struct km_executor_config executor_config = {.model = &model,
                                                       .engine = &engine,
                                                       .layout = cost_config.layout,
                                                       .cost = cost,
                                                       .cost_config = &cost_config};
    enum km_status status = executor->create(&executor_config, &executor_state, error);
    if (status != KM_OK)
        return status;
    const struct km_workload_settings workload = {
        .process = KM_ARRIVAL_POISSON,
        .rate_per_s = system->arrival_rate_per_s,
        .has_prompt_tokens = true,
        .prompt_tokens = {.kind = KM_DIST_CONSTANT, .value = 1.0},
        .has_output_tokens = true,
        .output_tokens = *system->output_tokens,
        .requests = (double)system->requests < most ? system->requests : (uint64_t)most,
        .rate_scale = 1.0,
    };
    struct recorder recorder = {.system = system,
                                .waits = km_batch_means_create(),
                                .squares = km_batch_means_create(),
                                .responses = km_batch_means_create(),
                                .lost = km_batch_means_create()};
    for (size_t i = 0; i < system->wait_tail_count; i++)
        recorder.tails[i] = km_batch_means_create();
    struct km_metrics *metrics = km_metrics_create(&(struct km_metrics_settings){0});
    struct km_simulation_group group;
    struct km_simulation_config config;
    struct km_simulation_result result;
    describe(system, executor, executor_state, &workload, metrics, &recorder, &group, &config);
    status = km_simulation_run(&config, &result, error);
    if (status == KM_OK) {
        struct km_summary summary;
        km_metrics_summarize(metrics, &summary);
        summarize(&recorder, &result, &summary, out);
        out->requests = workload.requests;
    }
    km_metrics_destroy(metrics);
    executor->destroy(executor_state);
    km_batch_means_destroy(recorder.waits);
    km_batch_means_destroy(recorder.squares);
    km_batch_means_destroy(recorder.responses);
    km_batch_means_destroy(recorder.lost);
    for (size_t i = 0; i < system->wait_tail_count; i++)
        km_batch_means_destroy(recorder.tails[i]);
    return status;
}
