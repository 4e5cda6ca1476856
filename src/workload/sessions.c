#include "workload/sessions.h"

#include "base/heap.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/simtime.h"
#include "workload/arrival.h"

#include <stdlib.h>
#include <string.h>

struct session {
    int64_t number;
    uint32_t turns_left;
    uint32_t context_tokens; /* said so far, system prompt included */
    uint64_t pause_ps;       /* before its next turn */
    bool begun;
    uint64_t *hashes;
    size_t hash_count, hash_capacity;
    uint32_t next_free;
};

struct km_sessions {
    struct km_sessions_settings settings;
    struct km_arrival arrival;
    struct km_sampler *turns, *prompt, *output, *gap;
    gsl_rng *arrivals_rng, *turns_rng, *prompt_rng, *output_rng, *gap_rng;
    struct session *active; /* slots; free ones are chained by next_free (index + 1) from `free_slot` */
    size_t active_count, active_capacity;
    uint32_t free_slot;
    struct km_heap order; /* active slots by the arrival of their next turn, then by session */
    uint64_t next_start_ps;
    int64_t started;
    uint64_t next_hash, sent;
};

enum km_status km_sessions_create(const struct km_sessions_settings *settings, uint64_t seed,
                                  struct km_sessions **out, struct km_error *error)
{
    *out = NULL;
    if (settings->system_prompt_tokens % KM_PREFIX_BLOCK_TOKENS)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "system_prompt_tokens: must be a multiple of %u",
                       KM_PREFIX_BLOCK_TOKENS);
    if (settings->max_prompt_tokens <= settings->system_prompt_tokens ||
        settings->max_prompt_tokens > KM_TOKENS_LIMIT)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "max_prompt_tokens: must be greater than system_prompt_tokens and at most %u",
                       KM_TOKENS_LIMIT);
    struct km_sessions *s = km_alloc(sizeof *s);
    s->settings = *settings;
    km_arrival_init(&s->arrival, settings->process, settings->rate_per_s, settings->cv);
    s->turns = km_sampler_create(&settings->turns);
    s->prompt = km_sampler_create(&settings->prompt_tokens);
    s->output = km_sampler_create(&settings->output_tokens);
    s->gap = km_sampler_create(&settings->gap_s);
    s->arrivals_rng = km_random_stream(seed, KM_RANDOM_ARRIVALS);
    s->turns_rng = km_random_stream(seed, KM_RANDOM_PREFIX);
    s->prompt_rng = km_random_stream(seed, KM_RANDOM_PROMPT_TOKENS);
    s->output_rng = km_random_stream(seed, KM_RANDOM_OUTPUT_TOKENS);
    s->gap_rng = km_random_stream(seed, KM_RANDOM_THINK);
    s->next_hash = settings->system_prompt_tokens / KM_PREFIX_BLOCK_TOKENS;
    *out = s;
    return KM_OK;
}

void km_sessions_destroy(struct km_sessions *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->active_count; i++)
        free(s->active[i].hashes);
    free(s->active);
    km_heap_release(&s->order);
    km_sampler_destroy(s->turns);
    km_sampler_destroy(s->prompt);
    km_sampler_destroy(s->output);
    km_sampler_destroy(s->gap);
    gsl_rng_free(s->arrivals_rng);
    gsl_rng_free(s->turns_rng);
    gsl_rng_free(s->prompt_rng);
    gsl_rng_free(s->output_rng);
    gsl_rng_free(s->gap_rng);
    free(s);
}

static void start_session(struct km_sessions *s)
{
    uint32_t slot = s->free_slot ? s->free_slot - 1 : (uint32_t)s->active_count;
    if (s->free_slot) {
        s->free_slot = s->active[slot].next_free;
    } else {
        s->active = km_grow(s->active, &s->active_capacity, s->active_count + 1, sizeof *s->active);
        s->active[s->active_count++] = (struct session){0};
    }
    struct session *session = &s->active[slot];
    session->number = s->started++;
    session->turns_left = km_sampler_draw_tokens(s->turns, s->turns_rng);
    session->context_tokens = s->settings.system_prompt_tokens;
    session->hash_count = 0;
    session->begun = false;
    km_heap_push(&s->order, s->next_start_ps, (uint64_t)session->number, slot);
    s->next_start_ps =
        km_ps_after(s->next_start_ps, km_ps_from_s(km_arrival_gap_s(&s->arrival, s->arrivals_rng)));
}

static void end_session(struct km_sessions *s, uint32_t slot)
{
    s->active[slot].next_free = s->free_slot;
    s->free_slot = slot + 1;
}

/* One turn: the request and, unless it was the last, the time of the next. False when the prompt is too long.
 */
static bool take_turn(struct km_sessions *s, uint32_t slot, uint64_t now_ps, struct km_request *out)
{
    struct session *session = &s->active[slot];
    uint64_t prompt = session->context_tokens + (uint64_t)km_sampler_draw_tokens(s->prompt, s->prompt_rng);
    if (prompt > s->settings.max_prompt_tokens && session->context_tokens > s->settings.system_prompt_tokens)
        return false;
    if (prompt > s->settings.max_prompt_tokens) /* a first message is cut */
        prompt = s->settings.max_prompt_tokens;
    size_t blocks = (size_t)(prompt + KM_PREFIX_BLOCK_TOKENS - 1) / KM_PREFIX_BLOCK_TOKENS;
    size_t shared = s->settings.system_prompt_tokens / KM_PREFIX_BLOCK_TOKENS;
    session->hashes = km_grow(session->hashes, &session->hash_capacity, blocks, sizeof *session->hashes);
    for (; session->hash_count < blocks; session->hash_count++)
        session->hashes[session->hash_count] =
            session->hash_count < shared ? session->hash_count : s->next_hash++;
    *out = (struct km_request){
        .id = s->sent++,
        .arrival_ps = now_ps,
        .prompt_tokens = (uint32_t)prompt,
        .output_tokens = km_sampler_draw_tokens(s->output, s->output_rng),
        .session = session->number,
        .has_delay = s->settings.delays && session->begun,
        .delay_ps = session->begun ? session->pause_ps : 0,
        .prefix_hash_count = (uint32_t)blocks,
        .prefix_hashes = km_alloc(blocks * sizeof *session->hashes),
    };
    memcpy(out->prefix_hashes, session->hashes, blocks * sizeof *session->hashes);
    session->begun = true;
    session->turns_left--;
    session->context_tokens = out->prompt_tokens + out->output_tokens;
    return true;
}

enum km_status km_sessions_next(struct km_sessions *s, struct km_request *out, bool *found,
                                struct km_error *error)
{
    *found = false;
    while (s->sent < s->settings.requests) {
        if (s->next_start_ps <= km_heap_key(&s->order))
            start_session(s);
        uint64_t now_ps = km_heap_key(&s->order);
        if (now_ps >= KM_PS_LIMIT)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "arrivals: request %llu arrives after more than 53 days",
                           (unsigned long long)s->sent);
        uint32_t slot = km_heap_pop(&s->order);
        *found = take_turn(s, slot, now_ps, out);
        struct session *session = &s->active[slot];
        if (*found && session->turns_left > 0) {
            session->pause_ps = km_ps_from_s(km_sampler_draw(s->gap, s->gap_rng));
            km_heap_push(&s->order, km_ps_after(now_ps, session->pause_ps), (uint64_t)session->number, slot);
        } else {
            end_session(s, slot);
        }
        if (*found)
            return KM_OK;
    }
    return KM_OK;
}
