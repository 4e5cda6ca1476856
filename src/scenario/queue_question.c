#include "scenario/queue_question.h"

#include "base/simtime.h"
#include "executor/executor.h"
#include "workload/token_counts.h"

#include <math.h>
#include <stdlib.h>

static void ask_executor(void *context, const struct km_step_shape *shape, struct km_step_seconds *out)
{
    const struct km_setup *setup = context;
    struct km_step_time time;
    setup->priced->run(setup->priced_state, &(struct km_step){.shape = *shape}, &time, NULL);
    *out = km_step_seconds_of(&time.host);
    for (uint32_t s = 0; s < setup->scenario->cluster.pipeline_parallel_size; s++) {
        double stage_s = km_s_from_ps(time.stage_ps[s]);
        out->device_s += stage_s;
        out->slowest_s = fmax(out->slowest_s, stage_s);
    }
}

/* The lengths of a recorded stream, and its span. */
struct recorded {
    uint32_t *prompts, *outputs;
    size_t prompt_capacity, output_capacity, count;
    struct km_token_counts output_counts;
    double span_s;
};

static void recorded_release(struct recorded *recorded)
{
    free(recorded->prompts);
    free(recorded->outputs);
    km_token_counts_release(&recorded->output_counts);
}

static enum km_status read_stream(const struct km_scenario *scenario, struct recorded *out,
                                  struct km_error *error)
{
    struct km_workload_settings settings = scenario->workload;
    if (km_workload_waits(&settings)) {
        return km_fail(
            error, KM_BAD_INPUT, scenario->path, 0, 0,
            "workload.arrivals: a load that waits for its answers has no arrival rate, which queueing theory "
            "needs");
    }
    struct km_workload *workload;
    enum km_status status = km_workload_create(&settings, scenario->seed, &workload, error);
    if (status != KM_OK)
        return status;
    for (;;) {
        uint64_t arrival_ps;
        struct km_request request;
        status = km_workload_peek(workload, &arrival_ps, error);
        if (status != KM_OK || arrival_ps == KM_PS_NEVER)
            break;
        km_workload_take(workload, &request);
        out->prompts = km_grow(out->prompts, &out->prompt_capacity, out->count + 1, sizeof *out->prompts);
        out->outputs = km_grow(out->outputs, &out->output_capacity, out->count + 1, sizeof *out->outputs);
        out->prompts[out->count] = request.prompt_tokens;
        out->outputs[out->count++] = request.output_tokens;
        km_token_counts_add(&out->output_counts, request.output_tokens);
        out->span_s = km_s_from_ps(arrival_ps);
        km_request_release(&request);
    }
    km_workload_destroy(workload);
    return status;
}

static void empirical(const struct recorded *recorded, struct km_arena *arena, struct km_distribution *out)
{
    const struct km_token_counts *counts = &recorded->output_counts;
    size_t distinct = 0;
    for (size_t n = 0; n < counts->capacity; n++)
        distinct += counts->count[n] > 0;
    double *values = km_arena_alloc(arena, distinct * sizeof *values);
    double *weights = km_arena_alloc(arena, distinct * sizeof *weights);
    size_t i = 0;
    for (size_t n = 0; n < counts->capacity; n++)
        if (counts->count[n]) {
            values[i] = (double)n;
            weights[i++] = (double)counts->count[n];
        }
    *out = (struct km_distribution){
        .kind = KM_DIST_EMPIRICAL, .count = distinct, .values = values, .weights = weights};
}

static enum km_status from_trace(struct km_queue_question *out, const struct km_scenario *scenario,
                                 struct km_error *error)
{
    const struct km_workload_settings *workload = &scenario->workload;
    struct recorded recorded = {0};
    enum km_status status = read_stream(scenario, &recorded, error);
    if (status == KM_OK && recorded.count < 2)
        status = km_fail(error, KM_BAD_INPUT, workload->trace, 0, 0, "the workload has %s",
                         recorded.count ? "one request alone: no arrival rate" : "no requests");
    if (status == KM_OK && recorded.span_s <= 0.0)
        status = km_fail(error, KM_BAD_INPUT, workload->trace, 0, 0,
                         "all requests arrive at once: no arrival rate");
    if (status == KM_OK)
        status = km_length_mix_recorded(&out->mix, recorded.prompts, recorded.outputs, recorded.count, error);
    if (status == KM_OK) {
        /* rate_scale has already divided the gaps */
        out->arrival_rate_per_s = workload->process == KM_ARRIVAL_TRACE
                                      ? (double)(recorded.count - 1) / recorded.span_s
                                      : workload->rate_per_s * workload->rate_scale;
        empirical(&recorded, &out->arena, &out->output_tokens);
    }
    recorded_release(&recorded);
    return status;
}

static enum km_status from_distributions(struct km_queue_question *out, const struct km_scenario *scenario,
                                         struct km_error *error)
{
    const struct km_workload_settings *workload = &scenario->workload;
    if (workload->process == KM_ARRIVAL_AT_ONCE)
        return km_fail(error, KM_BAD_INPUT, scenario->path, 0, 0,
                       "workload.arrivals: all requests arrive at once: no arrival rate");
    if (workload->process == KM_ARRIVAL_CLOSED_LOOP)
        return km_fail(error, KM_BAD_INPUT, scenario->path, 0, 0,
                       "workload.arrivals: a closed loop has no arrival rate, which queueing theory needs");
    out->arrival_rate_per_s = workload->rate_per_s * workload->rate_scale;
    out->output_tokens = workload->output_tokens;
    return km_length_mix_independent(&out->mix, &workload->prompt_tokens, &workload->output_tokens, error);
}

/* The largest batch that the engine forms: as stated, or as slots and the KV pool allow for whole requests of
 * the mean length. */
static uint32_t largest_batch(const struct km_setup *setup, const struct km_length_mix *mix)
{
    const struct km_engine *engine = &setup->scenario->engine;
    double tokens = mix->prompt_mean + mix->output_mean;
    double held = (double)km_kv_concurrency(&setup->memory.groups, setup->blocks, engine->block_size,
                                            (uint64_t)ceil(tokens));
    double most = fmin(engine->max_num_seqs, fmax(held, 1.0));
    uint32_t stated = engine->batch_size ? engine->batch_size : engine->batch_cap;
    return stated && stated < most ? stated : (uint32_t)most;
}

/* Blocks, each of all layers, that hold as many sequences of so many tokens as the pages of the pool do. */
static uint64_t whole_blocks(const struct km_setup *setup, double tokens)
{
    uint32_t block_size = setup->scenario->engine.block_size;
    uint64_t blocks = (uint64_t)ceil(tokens / block_size);
    double pages = (double)km_kv_pages(&setup->memory.groups, block_size, blocks);
    return pages > 0.0 ? (uint64_t)((double)setup->blocks * ((double)blocks / pages)) : setup->blocks;
}

enum km_status km_queue_question_init(struct km_queue_question *out, const struct km_setup *setup,
                                      struct km_error *error)
{
    const struct km_scenario *scenario = setup->scenario;
    const struct km_engine *engine = &scenario->engine;
    *out = (struct km_queue_question){.poisson = scenario->workload.process == KM_ARRIVAL_POISSON &&
                                                 !(scenario->workload.swing > 0)};
    const struct km_workload_settings *workload = &scenario->workload;
    const bool scaled = workload->prompt_tokens_scale != 1 || workload->output_tokens_scale != 1;
    enum km_status status = workload->trace || scaled ? from_trace(out, scenario, error)
                                                      : from_distributions(out, scenario, error);
    if (status != KM_OK) {
        km_arena_release(&out->arena);
        return status;
    }
    out->arrival_rate_per_s /= scenario->cluster.replicas;
    const struct km_frontend_times frontend = km_frontend_times(&engine->frontend);
    out->clock = (struct km_step_clock){
        .context = (void *)(uintptr_t)setup, /* only read; the executor's caches lie behind its own pointer */
        .time = ask_executor,
        .pace =
            km_pace_of(engine, km_model_is_dense(&scenario->model), scenario->cluster.pipeline_parallel_size),
        .window = km_setup_window(&scenario->model),
    };
    out->continuous = (struct km_continuous_question){
        .clock = &out->clock,
        .mix = &out->mix,
        .arrival_rate_per_s = out->arrival_rate_per_s,
        .max_num_seqs = engine->max_num_seqs,
        .max_num_batched_tokens = engine->max_num_batched_tokens,
        .long_prefill_token_threshold = engine->long_prefill_token_threshold,
        .kv_blocks = whole_blocks(setup, out->mix.prompt_mean + out->mix.output_mean / 2.0),
        .block_size = engine->block_size,
        .ingest_s = km_frontend_alone_s(&engine->frontend, out->mix.prompt_mean),
        .ingest_busy_mean_s = frontend.request_s + frontend.token_s * out->mix.prompt_mean,
        .ingest_busy_square_s2 =
            frontend.request_s * (frontend.request_s + 2.0 * frontend.token_s * out->mix.prompt_mean) +
            frontend.token_s * frontend.token_s * out->mix.prompt_square,
        .delivery_s = frontend.chunk_s,
    };
    out->fit = (struct km_law_question){.clock = &out->clock,
                                        .mix = &out->mix,
                                        .max_batch = largest_batch(setup, &out->mix),
                                        .max_num_batched_tokens = engine->max_num_batched_tokens};
    return KM_OK;
}

void km_queue_question_release(struct km_queue_question *question)
{
    km_arena_release(&question->arena);
    *question = (struct km_queue_question){0};
}
