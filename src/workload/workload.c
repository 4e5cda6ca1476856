#include "workload/workload.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/simtime.h"
#include "workload/arrival.h"
#include "workload/source.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define CLIENT_LIMIT ((uint64_t)1 << 24)

struct km_workload {
    struct km_workload_settings settings;
    uint64_t end_ps, start_ps; /* window in the stream's own time */
    struct km_source *trace;   /* NULL = synthetic */
    struct km_turns *turns;    /* instead: its sessions, waiting for their answers */
    struct km_recording *own;  /* read for them; NULL = the settings' */
    struct km_arrival arrival; /* open loop with drawn times */
    struct km_sampler *prompt, *output, *think, *cancel_after, *cancel_tokens;
    gsl_rng *arrivals_rng, *prompt_rng, *output_rng, *think_rng, *cancel_rng;

    uint64_t own_ps;      /* time of the last drawn arrival, before scaling */
    double operational_s; /* the same if the rate did not swing */
    uint64_t origin_ps;   /* own time of the first request of the window */
    uint64_t drawn;       /* requests read or drawn, the window's and those before it */
    uint64_t taken;

    struct km_request ahead; /* the next request; its arrival is not yet known in a closed loop */
    bool has_ahead, ended;
    enum km_status status; /* sticky */
    struct km_error failure;

    uint64_t *ready_ps; /* closed loop: binary min-heap of times at which clients send */
    size_t ready_count, ready_capacity;
};

/* --- checking ------------------------------------------------------------------------------------------ */

static enum km_status refuse(struct km_error *error, const char *key, const char *problem)
{
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "workload.%s: %s", key, problem);
}

static bool positive(double x)
{
    return isfinite(x) && x > 0;
}

static enum km_status check_distribution(const struct km_distribution *distribution, bool tokens,
                                         const char *key, struct km_error *error)
{
    const char *problem = km_distribution_problem(distribution, tokens);
    return problem ? refuse(error, key, problem) : KM_OK;
}

static bool has_trace(const struct km_workload_settings *s)
{
    return s->trace || s->recording;
}

static enum km_status check_arrivals(const struct km_workload_settings *s, struct km_error *error)
{
    switch (s->process) {
    case KM_ARRIVAL_TRACE:
        return has_trace(s) ? KM_OK : refuse(error, "trace", "process trace needs a trace file");
    case KM_ARRIVAL_GAMMA:
    case KM_ARRIVAL_WEIBULL:
        if (!positive(s->cv) || s->cv > 1000 || s->cv < 1e-9)
            return refuse(error, "arrivals.cv", "must be from 1e-9 to 1000");
        break;
    case KM_ARRIVAL_CLOSED_LOOP:
        if (s->clients < 1 || s->clients > CLIENT_LIMIT)
            return refuse(error, "arrivals.clients", "must be from 1 to 16777216");
        if (s->rate_scale != 1)
            return refuse(error, "rate_scale", "has no meaning in a closed loop; change clients or think_s");
        if (s->start_s > 0 && !s->trace)
            return refuse(error, "start_s", "has no meaning in a closed loop without a trace");
        return check_distribution(&s->think_s, false, "arrivals.think_s", error);
    case KM_ARRIVAL_AT_ONCE:
        if (!has_trace(s) && s->requests == 0)
            return refuse(error, "requests", "when all arrive at once, requests must say how many");
        if (!has_trace(s) && s->start_s > 0)
            return refuse(error, "start_s", "has no meaning when all arrive at once, without a trace");
        return KM_OK;
    case KM_ARRIVAL_POISSON:
    case KM_ARRIVAL_CONSTANT:
        break;
    }
    if (!(s->swing >= 0 && s->swing <= 1))
        return refuse(error, "arrivals.swing", "must be from 0 to 1");
    if (s->swing > 0 && !positive(s->swing_period_s))
        return refuse(error, "arrivals.swing_period_s", "must be > 0");
    if (!positive(s->rate_per_s) || s->rate_per_s > 1e12 || s->rate_per_s < 1e-12)
        return refuse(error, "arrivals.rate_per_s", "must be from 1e-12 to 1e12");
    return KM_OK;
}

static enum km_status check_turns(const struct km_workload_settings *s, struct km_error *error)
{
    if (s->turns != KM_TURNS_AFTER_ANSWER)
        return KM_OK;
    if (!has_trace(s))
        return refuse(error, "sessions.turns", "there is no trace whose sessions could wait");
    if (s->process == KM_ARRIVAL_CLOSED_LOOP)
        return refuse(error, "sessions.turns", "not in a closed loop, whose clients wait in their own way");
    if (s->bootstrap_block_s > 0)
        return refuse(error, "bootstrap_block_s", "blocks would cut sessions that wait for their answers");
    if (s->has_prompt_tokens || s->has_output_tokens ||
        (s->prompt_tokens_scale > 0 && s->prompt_tokens_scale != 1) ||
        (s->output_tokens_scale > 0 && s->output_tokens_scale != 1))
        return refuse(error, "sessions.turns",
                      "the turns' lengths are the trace's: what is said makes the next prompt");
    return s->has_turn_think ? check_distribution(&s->turn_think_s, false, "sessions.think_s", error) : KM_OK;
}

static enum km_status check(const struct km_workload_settings *s, struct km_error *error)
{
    enum km_status status = check_arrivals(s, error);
    if (status == KM_OK)
        status = check_turns(s, error);
    if (status == KM_OK && s->has_prompt_tokens)
        status = check_distribution(&s->prompt_tokens, true, "prompt_tokens", error);
    if (status == KM_OK && s->has_output_tokens)
        status = check_distribution(&s->output_tokens, true, "output_tokens", error);
    if (status == KM_OK && s->has_cancel_after)
        status = check_distribution(&s->cancel_after_s, false, "cancel.after_s", error);
    if (status == KM_OK && s->has_cancel_tokens)
        status = check_distribution(&s->cancel_tokens, true, "cancel.after_tokens", error);
    if (status != KM_OK)
        return status;
    if (!(s->cancel_share >= 0 && s->cancel_share <= 1))
        return refuse(error, "cancel.share", "must be from 0 to 1");
    if (!has_trace(s) && !s->has_prompt_tokens)
        return refuse(error, "prompt_tokens", "needed without a trace");
    if (!has_trace(s) && !s->has_output_tokens)
        return refuse(error, "output_tokens", "needed without a trace");
    if (!positive(s->rate_scale) || s->rate_scale > 1e9 || s->rate_scale < 1e-9)
        return refuse(error, "rate_scale", "must be from 1e-9 to 1e9");
    if (!isfinite(s->start_s) || s->start_s < 0)
        return refuse(error, "start_s", "must be >= 0");
    if (!isfinite(s->bootstrap_block_s) || s->bootstrap_block_s < 0)
        return refuse(error, "bootstrap_block_s", "must be >= 0");
    if (!has_trace(s) && s->bootstrap_block_s > 0)
        return refuse(error, "bootstrap_block_s", "there is no trace");
    if (!isfinite(s->bootstrap_length) || s->bootstrap_length < 0 || s->bootstrap_length > 1e6)
        return refuse(error, "bootstrap_length", "must be > 0 and at most 1e6");
    if (!isfinite(s->prompt_tokens_scale) || s->prompt_tokens_scale < 0)
        return refuse(error, "prompt_tokens_scale", "must be > 0");
    if (!isfinite(s->output_tokens_scale) || s->output_tokens_scale < 0)
        return refuse(error, "output_tokens_scale", "must be > 0");
    if (!isfinite(s->end_s) || (s->end_s != 0 && s->end_s <= s->start_s))
        return refuse(error, "end_s", "must be greater than start_s");
    if (!has_trace(s) && s->requests == 0 && s->end_s == 0)
        return refuse(error, "requests", "without a trace, requests or end_s must say where the stream ends");
    return KM_OK;
}

/* --- drawing ------------------------------------------------------------------------------------------- */

static bool closed_loop(const struct km_workload *w)
{
    return w->settings.process == KM_ARRIVAL_CLOSED_LOOP;
}

bool km_workload_waits(const struct km_workload_settings *settings)
{
    return settings->process == KM_ARRIVAL_CLOSED_LOOP || settings->turns == KM_TURNS_AFTER_ANSWER;
}

/* Is a request with this own time in [start_s, end_s)? *beyond: it is past the end, and so are all later
 * ones. */
static bool in_window(const struct km_workload *w, uint64_t own_ps, bool *beyond)
{
    *beyond = own_ps >= w->end_ps;
    return own_ps >= w->start_ps && !*beyond;
}

static uint32_t scaled(uint32_t tokens, double factor)
{
    double product = ceil(tokens * factor);
    return product < KM_TOKENS_LIMIT ? (product > 1 ? (uint32_t)product : 1) : KM_TOKENS_LIMIT;
}

/* The content of the prompt is not what it was. */
static void drop_prefix(struct km_request *request)
{
    free(request->prefix_hashes);
    request->prefix_hashes = NULL;
    request->prefix_hash_count = 0;
}

static void scale_lengths(struct km_workload *w)
{
    const struct km_workload_settings *s = &w->settings;
    if (s->prompt_tokens_scale > 0 && s->prompt_tokens_scale != 1) {
        w->ahead.prompt_tokens = scaled(w->ahead.prompt_tokens, s->prompt_tokens_scale);
        drop_prefix(&w->ahead);
    }
    if (s->output_tokens_scale > 0 && s->output_tokens_scale != 1)
        w->ahead.output_tokens = scaled(w->ahead.output_tokens, s->output_tokens_scale);
}

static void pass_gap(struct km_workload *w)
{
    const struct km_workload_settings *s = &w->settings;
    double gap_s = km_arrival_gap_s(&w->arrival, w->arrivals_rng);
    if (!(s->swing > 0)) {
        w->own_ps = km_ps_after(w->own_ps, km_ps_from_s(gap_s));
        return;
    }
    w->operational_s += gap_s;
    uint64_t at_ps = km_ps_from_s(fmax(0, km_arrival_swung_s(w->operational_s, s->swing, s->swing_period_s)));
    if (at_ps > w->own_ps) /* rounding may not turn time back */
        w->own_ps = at_ps;
}

/* Own time of the next request with drawn arrivals: the first at 0, then one gap after another. */
static enum km_status draw_arrival(struct km_workload *w, struct km_error *error)
{
    if (w->drawn > 0 && w->settings.process != KM_ARRIVAL_AT_ONCE)
        pass_gap(w);
    if (w->own_ps >= KM_PS_LIMIT)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "workload.arrivals: request %" PRIu64 " arrives after more than 53 days", w->drawn);
    w->drawn++;
    return KM_OK;
}

/* The next request before scaling; w->own_ps is its time, except in a closed loop. */
static enum km_status fetch(struct km_workload *w, bool *found, struct km_error *error)
{
    const struct km_workload_settings *s = &w->settings;
    enum km_status status = KM_OK;
    *found = true;
    w->ahead = (struct km_request){.session = -1};
    if (has_trace(s)) {
        if (w->turns)
            *found = km_turns_first(w->turns, &w->ahead);
        else
            status = km_source_next(w->trace, &w->ahead, found, error);
        if (status != KM_OK || !*found)
            return status;
        if (w->ahead.has_delay && s->turns == KM_TURNS_UNSTATED)
            return refuse(
                error, "sessions.turns",
                "the trace has turns that arrive a delay after the answer before: say after_answer, or "
                "recorded to go by the times alone");
        if (w->ahead.untimed && !w->turns)
            return refuse(error, "sessions.turns",
                          "the trace has turns without a time: they can only arrive after_answer");
        if (s->process == KM_ARRIVAL_TRACE)
            w->own_ps = w->ahead.arrival_ps;
        else if (!closed_loop(w))
            status = draw_arrival(w, error);
    } else if (!closed_loop(w)) {
        bool beyond = false;
        do { /* requests before the window draw their lengths too, so that a window never shifts the streams
              */
            status = draw_arrival(w, error);
            if (status != KM_OK)
                return status;
            w->ahead.prompt_tokens = km_sampler_draw_tokens(w->prompt, w->prompt_rng);
            w->ahead.output_tokens = km_sampler_draw_tokens(w->output, w->output_rng);
        } while (!in_window(w, w->own_ps, &beyond) && !beyond);
        *found = !beyond;
        return KM_OK;
    }
    if (w->prompt) {
        w->ahead.prompt_tokens = km_sampler_draw_tokens(w->prompt, w->prompt_rng);
        drop_prefix(&w->ahead);
    }
    if (w->output)
        w->ahead.output_tokens = km_sampler_draw_tokens(w->output, w->output_rng);
    return status;
}

/* Own time to simulated time: shifted so that the first request is at 0, divided by rate_scale. In long
 * double, whose 64 bits hold a picosecond in the whole range; monotone, so that order is kept. */
static enum km_status scale(struct km_workload *w, struct km_error *error)
{
    if (w->taken == 0)
        w->origin_ps = w->own_ps;
    w->ahead.arrival_ps = w->own_ps - w->origin_ps;
    if (w->settings.rate_scale == 1)
        return KM_OK;
    long double ps = (long double)w->ahead.arrival_ps / (long double)w->settings.rate_scale;
    if (ps >= (long double)KM_PS_LIMIT)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "workload.rate_scale: request %" PRIu64 " arrives after more than 53 days", w->taken);
    w->ahead.arrival_ps = (uint64_t)(ps + 0.5L);
    return KM_OK;
}

static enum km_status look_ahead(struct km_workload *w, struct km_error *error)
{
    bool found;
    if (w->settings.requests && w->taken >= w->settings.requests) {
        w->ended = true;
        return KM_OK;
    }
    enum km_status status = fetch(w, &found, error);
    if (status == KM_OK && found && !closed_loop(w))
        status = scale(w, error);
    if (status != KM_OK || !found) {
        km_request_release(&w->ahead);
        w->ended = true;
        return status;
    }
    scale_lengths(w);
    w->has_ahead = true;
    return KM_OK;
}

/* --- how it ends ---------------------------------------------------------------------------------------- */

/* What is known of a request's end when it is sent. Every request draws as often, whether it gives up or not. */
static void foresee_end(struct km_workload *w, struct km_request *request)
{
    const struct km_workload_settings *s = &w->settings;
    request->ends_by_eos =
        request->max_tokens ? request->max_tokens > request->output_tokens : s->ends_by_eos;
    if (!(s->cancel_share > 0))
        return;
    bool gives_up = gsl_rng_uniform(w->cancel_rng) < s->cancel_share;
    uint64_t after_ps = w->cancel_after ? km_ps_from_s(km_sampler_draw(w->cancel_after, w->cancel_rng)) : 0;
    uint32_t tokens = w->cancel_tokens ? km_sampler_draw_tokens(w->cancel_tokens, w->cancel_rng) : 0;
    request->cancel_after_ps = gives_up && w->cancel_after && after_ps == 0 ? 1 : gives_up ? after_ps : 0;
    request->cancel_tokens = gives_up ? tokens : 0;
}

/* --- the closed loop's clients -------------------------------------------------------------------------- */

static void push_ready(struct km_workload *w, uint64_t at_ps)
{
    w->ready_ps = km_grow(w->ready_ps, &w->ready_capacity, w->ready_count + 1, sizeof *w->ready_ps);
    size_t i = w->ready_count++;
    for (; i > 0 && w->ready_ps[(i - 1) / 2] > at_ps; i = (i - 1) / 2)
        w->ready_ps[i] = w->ready_ps[(i - 1) / 2];
    w->ready_ps[i] = at_ps;
}

static uint64_t pop_ready(struct km_workload *w)
{
    uint64_t top = w->ready_ps[0], last = w->ready_ps[--w->ready_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->ready_count; i = child) {
        if (child + 1 < w->ready_count && w->ready_ps[child + 1] < w->ready_ps[child])
            child++;
        if (w->ready_ps[child] >= last)
            break;
        w->ready_ps[i] = w->ready_ps[child];
    }
    w->ready_ps[i] = last;
    return top;
}

void km_workload_ended(struct km_workload *w, int64_t session, bool answered, uint64_t now_ps)
{
    if (w->turns)
        km_turns_ended(w->turns, session, answered, now_ps);
    if (!closed_loop(w))
        return;
    uint64_t think_ps = km_ps_from_s(km_sampler_draw(w->think, w->think_rng));
    push_ready(w, km_ps_after(now_ps, think_ps));
}

/* --- sessions that wait ---------------------------------------------------------------------------------- */

static enum km_status open_turns(struct km_workload *w, uint64_t seed, struct km_error *error)
{
    const struct km_workload_settings *s = &w->settings;
    enum km_status status =
        s->recording ? KM_OK : km_recording_load(s->trace, s->trace_format, &w->own, error);
    const struct km_turns_settings settings = {
        .recording = s->recording ? s->recording : w->own,
        .start_ps = w->start_ps,
        .end_ps = w->end_ps,
        .think_s = s->has_turn_think ? &s->turn_think_s : NULL,
        .prompts = s->turn_prompts,
        .seed = seed,
    };
    return status == KM_OK ? km_turns_create(&settings, &w->turns, error) : status;
}

/* Does a later turn come before the next request that waits for nobody? */
static bool turn_is_next(const struct km_workload *w)
{
    if (!w->turns || (w->settings.requests && w->taken >= w->settings.requests))
        return false;
    uint64_t ready_ps = km_turns_ready_ps(w->turns);
    return ready_ps != KM_PS_NEVER && (!w->has_ahead || ready_ps <= w->ahead.arrival_ps);
}

/* --- interface ------------------------------------------------------------------------------------------ */

enum km_status km_workload_create(const struct km_workload_settings *settings, uint64_t seed,
                                  struct km_workload **out, struct km_error *error)
{
    *out = NULL;
    enum km_status status = check(settings, error);
    if (status != KM_OK)
        return status;
    struct km_workload *w = km_alloc(sizeof *w);
    w->settings = *settings;
    w->start_ps = km_ps_from_s(settings->start_s);
    w->end_ps = settings->end_s > 0 ? km_ps_from_s(settings->end_s) : KM_PS_NEVER;
    w->arrivals_rng = km_random_stream(seed, KM_RANDOM_ARRIVALS);
    w->prompt_rng = km_random_stream(seed, KM_RANDOM_PROMPT_TOKENS);
    w->output_rng = km_random_stream(seed, KM_RANDOM_OUTPUT_TOKENS);
    w->think_rng = km_random_stream(seed, KM_RANDOM_THINK);
    w->cancel_rng = km_random_stream(seed, KM_RANDOM_CANCEL);
    if (settings->has_cancel_after)
        w->cancel_after = km_sampler_create(&settings->cancel_after_s);
    if (settings->has_cancel_tokens)
        w->cancel_tokens = km_sampler_create(&settings->cancel_tokens);
    if (settings->has_prompt_tokens)
        w->prompt = km_sampler_create(&settings->prompt_tokens);
    if (settings->has_output_tokens)
        w->output = km_sampler_create(&settings->output_tokens);
    if (closed_loop(w)) {
        w->think = km_sampler_create(&settings->think_s);
        for (uint64_t i = 0; i < settings->clients; i++)
            push_ready(w, 0);
    } else if (settings->process != KM_ARRIVAL_TRACE && settings->process != KM_ARRIVAL_AT_ONCE) {
        km_arrival_init(&w->arrival, settings->process, settings->rate_per_s, settings->cv);
    }
    if (settings->turns == KM_TURNS_AFTER_ANSWER)
        status = open_turns(w, seed, error);
    else if (has_trace(settings))
        status = km_source_open(settings, seed, &w->trace, error);
    if (status == KM_OK)
        status = look_ahead(w, error);
    if (status == KM_OK && !w->has_ahead)
        status =
            km_fail(error, KM_BAD_INPUT, settings->trace, 0, 0,
                    settings->start_s > 0 || settings->end_s > 0 ? "no request lies between start_s and end_s"
                                                                 : "the trace has no requests");
    if (status != KM_OK) {
        km_workload_destroy(w);
        return status;
    }
    *out = w;
    return KM_OK;
}

void km_workload_destroy(struct km_workload *w)
{
    if (!w)
        return;
    if (w->has_ahead)
        km_request_release(&w->ahead);
    km_source_close(w->trace);
    km_turns_destroy(w->turns);
    km_recording_destroy(w->own);
    km_sampler_destroy(w->prompt);
    km_sampler_destroy(w->output);
    km_sampler_destroy(w->think);
    km_sampler_destroy(w->cancel_after);
    km_sampler_destroy(w->cancel_tokens);
    gsl_rng_free(w->arrivals_rng);
    gsl_rng_free(w->prompt_rng);
    gsl_rng_free(w->output_rng);
    gsl_rng_free(w->think_rng);
    gsl_rng_free(w->cancel_rng);
    free(w->ready_ps);
    free(w);
}

enum km_status km_workload_peek(struct km_workload *w, uint64_t *arrival_ps, struct km_error *error)
{
    *arrival_ps = KM_PS_NEVER;
    if (!w->has_ahead && !w->ended)
        w->status = look_ahead(w, &w->failure);
    if (w->status != KM_OK) {
        if (error)
            *error = w->failure;
        return w->status;
    }
    if (turn_is_next(w))
        *arrival_ps = km_turns_ready_ps(w->turns);
    else if (!w->has_ahead)
        return KM_OK;
    else if (!closed_loop(w))
        *arrival_ps = w->ahead.arrival_ps;
    else if (w->ready_count > 0 && (w->trace || w->ready_ps[0] < w->end_ps))
        *arrival_ps = w->ready_ps[0];
    return KM_OK;
}

void km_workload_take(struct km_workload *w, struct km_request *out)
{
    if (turn_is_next(w)) {
        km_turns_take(w->turns, out);
        out->id = w->taken++;
        foresee_end(w, out);
        return;
    }
    assert(w->has_ahead && (!closed_loop(w) || w->ready_count > 0));
    *out = w->ahead;
    if (closed_loop(w))
        out->arrival_ps = pop_ready(w);
    out->id = w->taken;
    foresee_end(w, out);
    w->has_ahead = false;
    w->taken++;
}

static const char *class_name(const void *workload, uint32_t class_index)
{
    return km_workload_class_name(workload, class_index);
}

enum km_status km_workload_capture(const struct km_workload_settings *settings, uint64_t seed,
                                   struct km_recording **out, struct km_error *error)
{
    struct km_workload_settings unscaled = *settings;
    struct km_workload *workload;
    *out = NULL;
    assert(!km_workload_waits(settings));
    unscaled.rate_scale = 1;
    enum km_status status = km_workload_create(&unscaled, seed, &workload, error);
    if (status != KM_OK)
        return status;
    struct km_recording *recording = km_recording_create();
    uint32_t classes = 1;
    for (;;) {
        struct km_request request;
        uint64_t arrival_ps;
        status = km_workload_peek(workload, &arrival_ps, error);
        if (status != KM_OK || arrival_ps == KM_PS_NEVER)
            break;
        km_workload_take(workload, &request);
        classes = request.class_index < classes ? classes : request.class_index + 1;
        km_recording_append(recording, &request);
    }
    km_recording_name_classes(recording, classes, class_name, workload);
    km_workload_destroy(workload);
    if (status != KM_OK) {
        km_recording_destroy(recording);
        return status;
    }
    *out = recording;
    return KM_OK;
}

uint64_t km_workload_unsent(const struct km_workload *w)
{
    return w->turns ? km_turns_unsent(w->turns) : 0;
}

const char *km_workload_class_name(const struct km_workload *w, uint32_t class_index)
{
    if (w->turns)
        return km_recording_class_name(w->settings.recording ? w->settings.recording : w->own, class_index);
    return w->trace ? km_source_class_name(w->trace, class_index) : "";
}

double km_workload_progress(const struct km_workload *w)
{
    const struct km_workload_settings *s = &w->settings;
    double share = w->trace ? km_source_progress(w->trace) : w->turns ? km_turns_progress(w->turns) : -1;
    if (s->requests)
        share = fmax(share, (double)w->taken / (double)s->requests);
    if (s->end_s > 0 && !closed_loop(w) && (s->process == KM_ARRIVAL_TRACE || !has_trace(s)))
        share = fmax(share, fmin(1, km_s_from_ps(w->own_ps) / s->end_s));
    return w->ended && !w->has_ahead ? 1 : share;
}
