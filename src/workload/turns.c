#include "workload/turns.h"

#include "base/heap.h"
#include "base/memory.h"
#include "base/mix.h"
#include "base/random.h"
#include "base/simtime.h"

#include <inttypes.h>
#include <stdlib.h>

/* Hashes of our own have this bit, which those of traces hardly have (Mooncake's count from 0). */
#define OWN_HASH ((uint64_t)1 << 63)

struct position {
    int64_t session;
    uint32_t index; /* of requests[] */
};

struct session {
    int64_t number;
    uint32_t first, count; /* of order[] */
    uint32_t sent;         /* turns given out */
};

struct km_turns {
    struct km_request *requests; /* [count] those of the window's sessions, in the recording's order */
    size_t count, next, given;
    struct position *order;   /* of the requests that have a session: by session, then by index */
    struct session *sessions; /* [session_count] by number */
    size_t session_count;
    struct km_heap ready; /* sessions by the time of their next turn, then by number */
    uint64_t unsent;
};

/* --- sessions of the recording ------------------------------------------------------------------------- */

static int by_session(const void *a, const void *b)
{
    const struct position *x = a, *y = b;
    if (x->session != y->session)
        return x->session < y->session ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void group(struct km_turns *turns)
{
    size_t ordered = 0;
    turns->order = km_alloc((turns->count ? turns->count : 1) * sizeof *turns->order);
    for (size_t i = 0; i < turns->count; i++)
        if (turns->requests[i].session >= 0)
            turns->order[ordered++] = (struct position){turns->requests[i].session, (uint32_t)i};
    qsort(turns->order, ordered, sizeof *turns->order, by_session);
    turns->sessions = km_alloc((ordered ? ordered : 1) * sizeof *turns->sessions);
    for (size_t i = 0; i < ordered; i++) {
        int64_t number = turns->order[i].session;
        if (i == 0 || turns->sessions[turns->session_count - 1].number != number)
            turns->sessions[turns->session_count++] =
                (struct session){.number = number, .first = (uint32_t)i};
        turns->sessions[turns->session_count - 1].count++;
    }
}

static struct session *find_session(const struct km_turns *turns, int64_t number)
{
    size_t low = 0, high = turns->session_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (turns->sessions[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < turns->session_count && turns->sessions[low].number == number ? &turns->sessions[low] : NULL;
}

static struct km_request *turn(const struct km_turns *turns, const struct session *session, uint32_t k)
{
    return &turns->requests[turns->order[session->first + k].index];
}

static bool is_first(const struct km_turns *turns, size_t i)
{
    const struct session *session = find_session(turns, turns->requests[i].session);
    return !session || turns->order[session->first].index == i;
}

/* Of the whole recording, keep the sessions that begin in the window. */
static void keep_window(struct km_turns *turns, uint64_t start_ps, uint64_t end_ps)
{
    size_t kept = 0;
    for (size_t i = 0; i < turns->count; i++) {
        const struct session *session = find_session(turns, turns->requests[i].session);
        uint64_t begins_ps = session ? turn(turns, session, 0)->arrival_ps : turns->requests[i].arrival_ps;
        turns->requests[i].id = begins_ps >= start_ps && begins_ps < end_ps; /* a mark: ids are given later */
    }
    for (size_t i = 0; i < turns->count; i++) {
        if (turns->requests[i].id)
            turns->requests[kept++] = turns->requests[i];
        else
            km_request_release(&turns->requests[i]);
    }
    turns->count = kept;
    turns->session_count = 0;
    free(turns->order);
    free(turns->sessions);
    group(turns);
}

static enum km_status draw_think(struct km_turns *turns, const struct km_turns_settings *settings,
                                 struct km_error *error)
{
    struct km_sampler *think = settings->think_s ? km_sampler_create(settings->think_s) : NULL;
    gsl_rng *rng = km_random_stream(settings->seed, KM_RANDOM_THINK);
    enum km_status status = KM_OK;
    for (size_t i = 0; i < turns->count && status == KM_OK; i++) {
        struct km_request *request = &turns->requests[i];
        if (is_first(turns, i))
            continue;
        if (think)
            request->delay_ps = km_ps_from_s(km_sampler_draw(think, rng));
        else if (!request->has_delay)
            status =
                km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                        "workload.sessions: session %" PRId64 " has a turn without a delay; give think_s",
                        request->session);
    }
    gsl_rng_free(rng);
    km_sampler_destroy(think);
    return status;
}

/* --- what was said ------------------------------------------------------------------------------------- */

static uint32_t blocks_of(uint64_t tokens)
{
    return (uint32_t)((tokens + KM_PREFIX_BLOCK_TOKENS - 1) / KM_PREFIX_BLOCK_TOKENS);
}

static uint64_t said(const struct km_request *request)
{
    return (uint64_t)request->prompt_tokens + request->output_tokens;
}

static uint64_t own_hash(int64_t session, uint32_t history, uint32_t block)
{
    return km_mix((uint64_t)session * KM_GOLDEN + ((uint64_t)history << 32) + block) | OWN_HASH;
}

/* Hashes for all of the prompt and the answer: those it has, then the session's own. */
static void fill_own(struct km_request *request, uint32_t history)
{
    uint32_t blocks = blocks_of(said(request));
    size_t capacity = request->prefix_hash_count;
    request->prefix_hashes =
        km_grow(request->prefix_hashes, &capacity, blocks, sizeof *request->prefix_hashes);
    for (uint32_t i = request->prefix_hash_count; i < blocks; i++)
        request->prefix_hashes[i] = own_hash(request->session, history, i);
    request->prefix_hash_count = blocks;
}

/* The answer's hashes are those that the next turn has for it. */
static void fill_from(struct km_request *request, const struct km_request *next)
{
    uint32_t whole = request->prompt_tokens / KM_PREFIX_BLOCK_TOKENS, blocks = blocks_of(said(request));
    if (next->prompt_tokens < said(request) || request->prefix_hash_count < whole ||
        next->prefix_hash_count < whole)
        return;
    for (uint32_t i = 0; i < whole; i++)
        if (request->prefix_hashes[i] != next->prefix_hashes[i])
            return;
    blocks = blocks < next->prefix_hash_count ? blocks : next->prefix_hash_count;
    if (blocks <= whole)
        return;
    size_t capacity = request->prefix_hash_count;
    request->prefix_hashes =
        km_grow(request->prefix_hashes, &capacity, blocks, sizeof *request->prefix_hashes);
    for (uint32_t i = whole; i < blocks; i++)
        request->prefix_hashes[i] = next->prefix_hashes[i];
    request->prefix_hash_count = blocks;
}

static enum km_status refuse_prompt(const struct km_request *request, uint64_t before, struct km_error *error)
{
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                   "workload.sessions: a turn of session %" PRId64 " has %" PRIu32
                   " prompt tokens, but %" PRIu64
                   " were said before: is that the new message alone (prompts: added), or all that is sent "
                   "(prompts: whole)?",
                   request->session, request->prompt_tokens, before);
}

static enum km_status add_history(struct km_turns *turns, const struct session *session,
                                  struct km_error *error)
{
    for (uint32_t k = 0; k < session->count; k++) {
        struct km_request *request = turn(turns, session, k);
        uint64_t prompt = request->prompt_tokens + (k ? said(turn(turns, session, k - 1)) : 0);
        if (prompt > KM_TOKENS_LIMIT)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "workload.sessions: session %" PRId64 " grows beyond %u tokens", session->number,
                           KM_TOKENS_LIMIT);
        request->prompt_tokens = (uint32_t)prompt;
        if (k) { /* its own hashes are of the message alone; what is in front of it is the turn before */
            const struct km_request *before = turn(turns, session, k - 1);
            free(request->prefix_hashes);
            request->prefix_hash_count = before->prefix_hash_count;
            request->prefix_hashes = km_alloc(before->prefix_hash_count * sizeof *request->prefix_hashes);
            for (uint32_t i = 0; i < before->prefix_hash_count; i++)
                request->prefix_hashes[i] = before->prefix_hashes[i];
        }
        fill_own(request, 0);
    }
    return KM_OK;
}

static enum km_status share_history(struct km_turns *turns, const struct session *session,
                                    enum km_turn_prompts prompts, struct km_error *error)
{
    bool hashed = false;
    for (uint32_t k = 0; k < session->count; k++)
        hashed |= turn(turns, session, k)->prefix_hash_count > 0;
    for (uint32_t k = 0, history = 0; k < session->count; k++) {
        struct km_request *request = turn(turns, session, k);
        uint64_t before = k ? said(turn(turns, session, k - 1)) : 0;
        if (request->prompt_tokens < before && prompts == KM_PROMPTS_UNSTATED)
            return refuse_prompt(request, before, error);
        history += request->prompt_tokens < before;
        if (!hashed)
            fill_own(request, history);
    }
    for (uint32_t k = session->count;
         hashed && k-- > 1;) /* from the last, whose hashes hold for those before */
        fill_from(turn(turns, session, k - 1), turn(turns, session, k));
    return KM_OK;
}

/* --- interface ----------------------------------------------------------------------------------------- */

enum km_status km_turns_create(const struct km_turns_settings *settings, struct km_turns **out,
                               struct km_error *error)
{
    size_t count;
    const struct km_request *requests = km_recording_requests(settings->recording, &count);
    struct km_turns *turns = km_alloc(sizeof *turns);
    *out = NULL;
    turns->requests = km_alloc((count ? count : 1) * sizeof *turns->requests);
    for (; turns->count < count; turns->count++)
        km_request_copy(&requests[turns->count], &turns->requests[turns->count]);
    group(turns);
    keep_window(turns, settings->start_ps, settings->end_ps);
    enum km_status status = draw_think(turns, settings, error);
    for (size_t i = 0; i < turns->session_count && status == KM_OK; i++)
        status = settings->prompts == KM_PROMPTS_ADDED
                     ? add_history(turns, &turns->sessions[i], error)
                     : share_history(turns, &turns->sessions[i], settings->prompts, error);
    if (status != KM_OK) {
        km_turns_destroy(turns);
        return status;
    }
    *out = turns;
    return KM_OK;
}

void km_turns_destroy(struct km_turns *turns)
{
    if (!turns)
        return;
    for (size_t i = 0; i < turns->count; i++)
        km_request_release(&turns->requests[i]);
    free(turns->requests);
    free(turns->order);
    free(turns->sessions);
    km_heap_release(&turns->ready);
    free(turns);
}

static void give(struct km_turns *turns, struct km_request *from, struct km_request *out)
{
    turns->given++;
    *out = *from;
    from->prefix_hashes = NULL;
    from->prefix_hash_count = 0;
    from->label = NULL;
}

bool km_turns_first(struct km_turns *turns, struct km_request *out)
{
    while (turns->next < turns->count && !is_first(turns, turns->next))
        turns->next++;
    if (turns->next == turns->count)
        return false;
    struct session *session = find_session(turns, turns->requests[turns->next].session);
    if (session)
        session->sent = 1;
    give(turns, &turns->requests[turns->next++], out);
    return true;
}

uint64_t km_turns_ready_ps(const struct km_turns *turns)
{
    return km_heap_key(&turns->ready);
}

void km_turns_take(struct km_turns *turns, struct km_request *out)
{
    uint64_t at_ps = km_heap_key(&turns->ready);
    struct session *session = &turns->sessions[km_heap_pop(&turns->ready)];
    give(turns, turn(turns, session, session->sent++), out);
    out->arrival_ps = at_ps;
}

void km_turns_ended(struct km_turns *turns, int64_t number, bool answered, uint64_t now_ps)
{
    struct session *session = find_session(turns, number);
    if (!session || session->sent == session->count)
        return;
    if (!answered) {
        turns->unsent += session->count - session->sent;
        session->sent = session->count;
        return;
    }
    uint32_t index = (uint32_t)(session - turns->sessions);
    km_heap_push(&turns->ready, km_ps_after(now_ps, turn(turns, session, session->sent)->delay_ps), index,
                 index);
}

uint64_t km_turns_unsent(const struct km_turns *turns)
{
    return turns->unsent;
}

double km_turns_progress(const struct km_turns *turns)
{
    return turns->count ? (double)(turns->given + turns->unsent) / (double)turns->count : 1.0;
}
