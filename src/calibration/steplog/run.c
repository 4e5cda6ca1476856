#include "calibration/steplog/run.h"

#include <math.h>
#include <stdlib.h>

struct decoding {
    uint64_t context; /* tokens before the next step */
    uint32_t left;    /* tokens still to come */
    double last_token_s;
};

/* Sequences as they stand between two steps. */
struct follower {
    const struct km_step_requests *requests;
    size_t next;      /* first request without a chunk */
    uint32_t partial; /* tokens computed of requests[next - 1]; 0 = that is done */
    struct decoding *decoding;
    size_t count, capacity;
};

static enum km_status disagree(const struct km_step_log *log, const struct km_step_row *row, const char *what,
                               struct km_error *error)
{
    return km_fail(
        error, KM_BAD_INPUT, log->path, (int)row->line, 0,
        "%s: the requests do not make this step (a preemption, or a request that is missing or was "
        "aborted?); without --requests the log counts alone",
        what);
}

static void put_engine_time(struct km_recorded_run *run, struct km_recorded_step *step, double time_s)
{
    if (isnan(step->engine_s))
        run->engine_times++;
    step->engine_s = isnan(step->engine_s) ? time_s : fmax(step->engine_s, time_s);
}

/* Every sequence takes a token. */
static void decode(struct follower *f, struct km_recorded_run *run, struct km_recorded_step *step)
{
    struct km_decode_shape *shape = &step->shape.decode;
    size_t kept = 0;
    shape->count = shape->below_window = (uint32_t)f->count;
    for (size_t i = 0; i < f->count; i++) {
        struct decoding *d = &f->decoding[i];
        d->context++;
        d->left--;
        shape->sum_context += d->context;
        if (d->context > shape->max_context)
            shape->max_context = d->context;
        if (d->left == 0)
            put_engine_time(run, step, d->last_token_s);
        else
            f->decoding[kept++] = *d;
    }
    f->count = kept;
    shape->sum_windowed = shape->sum_context;
}

static enum km_status prefill(struct follower *f, const struct km_step_log *log,
                              const struct km_step_row *row, struct km_recorded_run *run,
                              struct km_recorded_step *step, struct km_error *error)
{
    uint32_t left = row->prefill_tokens;
    struct km_chunk *chunks = km_arena_alloc(&run->arena, (row->prefill_requests + 1) * sizeof *chunks);
    step->shape.chunks = chunks;
    step->shape.chunk_count = row->prefill_requests;
    step->shape.prefill_tokens = row->prefill_tokens;
    for (uint32_t i = 0; i < row->prefill_requests; i++) {
        if (f->partial == 0 && f->next == f->requests->count)
            return disagree(log, row, "prefill_requests", error);
        const struct km_step_request *request = &f->requests->items[f->partial ? f->next - 1 : f->next++];
        uint32_t past = f->partial, rest = request->input_tokens - past;
        uint32_t tokens = i + 1 < row->prefill_requests ? rest : left;
        if (tokens > rest || tokens > left || tokens == 0)
            return disagree(log, row, "prefill_tokens", error);
        chunks[i] = (struct km_chunk){.tokens = tokens, .past = past};
        left -= tokens;
        f->partial = tokens < rest ? past + tokens : 0;
        if (f->partial)
            continue;
        step->shape.sampled++;
        put_engine_time(run, step, request->first_token_s);
        if (request->output_tokens < 2)
            continue;
        f->decoding = km_grow(f->decoding, &f->capacity, f->count + 1, sizeof *f->decoding);
        f->decoding[f->count++] = (struct decoding){.context = request->input_tokens,
                                                    .left = request->output_tokens - 1,
                                                    .last_token_s = request->last_token_s};
    }
    return KM_OK;
}

static enum km_status follow(const struct km_step_log *log, struct follower *f, struct km_recorded_run *run,
                             struct km_error *error)
{
    for (size_t i = 0; i < log->count; i++) {
        const struct km_step_row *row = &log->rows[i];
        struct km_recorded_step *step = &run->steps[i];
        if (f->count != row->decode_requests)
            return disagree(log, row, "decode_requests", error);
        decode(f, run, step);
        enum km_status status = prefill(f, log, row, run, step, error);
        if (status != KM_OK)
            return status;
        step->shape.sampled += step->shape.decode.count;
    }
    return KM_OK;
}

/* Blocks in use before the step belong to its decodes and to what its prompts are given; every sequence's
 * last block is half full on average. */
static void guess(const struct km_step_log *log, const struct km_recorded_limits *limits,
                  struct km_recorded_run *run)
{
    for (size_t i = 0; i < log->count; i++) {
        const struct km_step_row *row = &log->rows[i];
        struct km_step_shape *shape = &run->steps[i].shape;
        uint32_t n = row->prefill_requests, decodes = row->decode_requests;
        struct km_chunk *chunks = km_arena_alloc(&run->arena, (n + 1) * sizeof *chunks);
        for (uint32_t j = 0; j < n; j++)
            chunks[j].tokens = row->prefill_tokens / n + (j < row->prefill_tokens % n);
        double usage = i > 0 ? log->rows[i - 1].kv_usage : (double)NAN;
        double held = isnan(usage) ? 0.0
                                   : usage * limits->kv_tokens - row->prefill_tokens -
                                         0.5 * limits->block_size * (n + decodes);
        uint64_t context = held > decodes ? (uint64_t)held : decodes;
        *shape = (struct km_step_shape){.chunks = chunks,
                                        .chunk_count = n,
                                        .prefill_tokens = row->prefill_tokens,
                                        .sampled = n + decodes};
        if (decodes)
            shape->decode = (struct km_decode_shape){.count = decodes,
                                                     .sum_context = context,
                                                     .sum_windowed = context,
                                                     .below_window = decodes,
                                                     .max_context = (context + decodes - 1) / decodes};
    }
}

enum km_status km_recorded_run_make(const struct km_step_log *log, const struct km_step_requests *requests,
                                    const struct km_recorded_limits *limits, struct km_recorded_run *out,
                                    struct km_error *error)
{
    enum km_status status = KM_OK;
    *out = (struct km_recorded_run){.path = log->path, .count = log->count, .exact = requests != NULL};
    out->steps = km_arena_alloc(&out->arena, log->count * sizeof *out->steps);
    for (size_t i = 0; i < log->count; i++)
        out->steps[i] = (struct km_recorded_step){
            .client_s = log->rows[i].time_s, .engine_s = (double)NAN, .line = log->rows[i].line};
    if (requests) {
        struct follower follower = {.requests = requests};
        status = follow(log, &follower, out, error);
        free(follower.decoding);
    } else {
        guess(log, limits, out);
    }
    if (status != KM_OK)
        km_recorded_run_release(out);
    return status;
}

void km_recorded_run_release(struct km_recorded_run *run)
{
    km_arena_release(&run->arena);
    *run = (struct km_recorded_run){0};
}
