#include "support/synthetic.h"

static void host(const struct synthetic *s, uint32_t sequences, uint32_t tokens, uint32_t sampled,
                 struct km_step_time *out)
{
    *out = (struct km_step_time){
        .host = {.form_ps = s->form_ps + sequences * s->form_sequence_ps,
                 .launch_ps = s->launch_ps,
                 .process_ps = s->process_ps + sampled * s->process_sequence_ps,
                 .workers = s->workers,
                 .captured = !s->uncaptured && (s->captured_tokens == 0 || tokens <= s->captured_tokens)},
        .weight_bytes = 1,
    };
}

static void fill(const struct synthetic *s, const struct km_step_shape *shape, uint64_t context,
                 struct km_step_time *out)
{
    for (uint32_t i = 0; i < (s->stages ? s->stages : 1); i++)
        out->stage_ps[i] = s->step_ps + s->token_ps * km_step_tokens(shape) + s->context_ps * context +
                           s->peer_ps * shape->peers.all_tokens;
}

static uint32_t most_tokens(const struct km_step_shape *shape)
{
    return shape->peers.ranks ? shape->peers.most_tokens : km_step_tokens(shape);
}

static enum km_status run(void *state, const struct km_step *step, struct km_step_time *out,
                          struct km_error *error)
{
    (void)error;
    struct synthetic *s = state;
    const struct km_step_shape *shape = &step->shape;
    host(s, shape->chunk_count + shape->decode.count, most_tokens(shape), shape->sampled, out);
    fill(s, shape, shape->decode.sum_windowed, out);
    if (s->log_count < s->log_capacity)
        s->log[s->log_count] =
            (struct synthetic_step){shape->chunk_count, shape->prefill_tokens, shape->decode.count};
    s->log_count++;
    return KM_OK;
}

static void line(void *state, const struct km_step_shape *step, struct km_step_line *out)
{
    struct synthetic *s = state;
    const struct km_decode_shape *shape = &step->decode;
    host(s, shape->count, most_tokens(step), shape->count, &out->time);
    fill(s, step, shape->sum_windowed, &out->time);
    for (uint32_t i = 0; i < (s->stages ? s->stages : 1); i++)
        out->slope_ps[i] = (int64_t)(s->context_ps * shape->below_window);
    out->steps = UINT64_MAX;
    if (s->knot)
        out->steps = (s->knot - shape->sum_context % s->knot) / shape->count + 1;
}

static enum km_status create(const struct km_executor_config *config, void **state, struct km_error *error)
{
    (void)config, (void)state;
    return km_fail(error, KM_NO, NULL, 0, 0, "synthetic executors are filled in by hand");
}

static void destroy(void *state)
{
    (void)state;
}

const struct km_executor synthetic_lines = {
    .entry = {"synthetic", "hand-worked times, decode runs as lines"},
    .create = create,
    .destroy = destroy,
    .run = run,
    .line = line,
};
const struct km_executor synthetic_single = {
    .entry = {"synthetic-single", "hand-worked times, every step singly"},
    .create = create,
    .destroy = destroy,
    .run = run,
};
