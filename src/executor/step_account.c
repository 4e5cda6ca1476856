#include "executor/step_account.h"

#include "cost/share.h"

struct collector {
    struct km_step_account *account;
    uint32_t capacity; /* 0: only count */
};

static void collect(void *context, const struct km_op_cost *cost)
{
    struct collector *collector = context;
    struct km_step_account *account = collector->account;
    if (account->op_count < collector->capacity) {
        account->ops[account->op_count] = *cost;
        account->flops += cost->flops;
        account->bytes += cost->bytes;
        account->bound_s[cost->bound_by] += cost->time_s;
    }
    account->op_count++;
}

static void collect_operators(const struct km_step_source *source, struct km_arena *arena,
                              struct km_step_account *out)
{
    if (!source->cost->breakdown)
        return;
    struct collector collector = {.account = out};
    source->cost->breakdown(source->cost_state, &out->shape, collect, &collector);
    collector.capacity = out->op_count;
    out->ops = km_arena_alloc(arena, out->op_count * sizeof *out->ops);
    out->op_count = 0;
    source->cost->breakdown(source->cost_state, &out->shape, collect, &collector);
}

void km_step_account(const struct km_step_source *source, const struct km_step_shape *shape,
                     struct km_arena *arena, struct km_step_account *out)
{
    const struct km_engine *engine = source->config->engine;
    uint32_t stages = source->config->layout.pipeline_parallel;
    *out = (struct km_step_account){.shape = *shape, .tokens = km_step_tokens(shape), .stages = stages};
    struct km_rank_share share;
    km_rank_share(&source->config->layout, shape, &share);
    out->padded_tokens = km_engine_padded_tokens(engine, km_rank_tokens(&share), &out->captured);
    out->stage_s = km_arena_alloc(arena, stages * sizeof *out->stage_s);
    collect_operators(source, arena, out);
    source->cost->step(source->cost_state, shape, out->stage_s);
    for (uint32_t s = 0; s < stages; s++) {
        out->device_s += out->stage_s[s];
        if (out->stage_s[s] > out->stage_s[out->slowest_stage])
            out->slowest_stage = s;
    }
    struct km_step_time time;
    source->executor->run(source->executor_state, &(struct km_step){.shape = *shape}, &time, NULL);
    struct km_step_seconds step = km_step_seconds_of(&time.host);
    step.device_s = out->device_s;
    step.slowest_s = out->stage_s[out->slowest_stage];
    const struct km_pace pace = km_pace_of(engine, km_model_is_dense(source->config->model), stages);
    out->form_s = step.form_s;
    out->launch_s = step.launch_s;
    out->process_s = step.process_s;
    out->host_s = km_step_host_s(&step);
    out->batches_in_flight = stages;
    out->step_s = km_step_pace_s(&pace, &step);
    out->paced_by = km_step_paced_by(&pace, &step);
}
