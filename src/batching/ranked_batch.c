#include "batching/ranked_batch.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* Unsigned, in the order of the floats. */
static uint64_t ordered(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & UINT32_C(0x80000000) ? ~bits : bits | UINT32_C(0x80000000);
}

/* Whoever was promoted before all others. */
static uint64_t rank_of(const struct km_ranked *ranked, km_rank_function *rank, const struct km_sequence *s,
                        uint32_t generated)
{
    uint64_t first = ranked->ages[s->slot].promoted ? 0 : UINT64_C(1) << 32;
    return first | ordered(rank(s, generated));
}

/* Of one that waits: what was generated is to be recomputed. */
static uint64_t waiting_rank(const struct km_ranked *ranked, km_rank_function *rank,
                             const struct km_sequence *s)
{
    return rank_of(ranked, rank, s, s->target_tokens - s->prompt_tokens);
}

static void enqueue(struct km_ranked *ranked, km_rank_function *rank, struct km_sequence *s)
{
    km_sequence_queue_add(&ranked->waiting, waiting_rank(ranked, rank, s), s->id, s);
}

void km_ranked_waits(struct km_ranked *ranked, km_rank_function *rank, struct km_sequence *sequence)
{
    ranked->ages =
        km_grow(ranked->ages, &ranked->age_capacity, (size_t)sequence->slot + 1, sizeof *ranked->ages);
    if (sequence->preemptions == 0)
        ranked->ages[sequence->slot] = (struct km_ranked_age){0};
    ranked->fresh = km_grow(ranked->fresh, &ranked->fresh_capacity, ranked->fresh_count + 1,
                            sizeof(struct km_sequence *));
    ranked->fresh[ranked->fresh_count++] = sequence;
    enqueue(ranked, rank, sequence);
}

void km_ranked_runs(void *state, struct km_sequence *sequence)
{
    struct km_ranked *ranked = state;
    km_sequence_queue_remove(&ranked->waiting, sequence);
    ranked->running = km_grow(ranked->running, &ranked->capacity, ranked->count + 1, sizeof *ranked->running);
    ranked->running[ranked->count++] = (struct km_ranked_entry){.sequence = sequence, .served = true};
}

void km_ranked_leaves(void *state, struct km_sequence *sequence)
{
    struct km_ranked *ranked = state;
    km_sequence_queue_remove(&ranked->waiting, sequence);
    km_sequence_queue_remove(&ranked->idle, sequence);
    for (size_t i = 0; i < ranked->count; i++)
        if (ranked->running[i].sequence == sequence)
            ranked->running[i].sequence = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < ranked->fresh_count; i++) /* it may leave before its first batch is formed */
        if (ranked->fresh[i] != sequence)
            ranked->fresh[kept++] = ranked->fresh[i];
    ranked->fresh_count = kept;
}

void km_ranked_release(void *state)
{
    struct km_ranked *ranked = state;
    km_sequence_queue_release(&ranked->waiting);
    km_sequence_queue_release(&ranked->idle);
    free(ranked->ages);
    free(ranked->fresh);
    free(ranked->running);
    free(ranked->ahead);
    *ranked = (struct km_ranked){0};
}

/* --- one step ------------------------------------------------------------------------------------------- */

struct round {
    struct km_ranked *ranked;
    km_rank_function *rank;
    const struct km_ranked_settings *settings;
    const struct km_batching_view *view;
    const struct km_batch_handle *batch;
    size_t sorted;   /* running ones that this batch did not admit */
    size_t selected; /* of them, the first so many */
    uint32_t seats;  /* sequences that the batch may still have */
    uint32_t budget; /* and tokens */
    uint32_t decodes;
    bool cut;     /* somebody in the order did not get in: nobody after may */
    bool changed; /* anything but decodes that go on */
};

static bool before(uint64_t rank, const struct km_sequence *s, uint64_t other_rank,
                   const struct km_sequence *other)
{
    return rank != other_rank ? rank < other_rank : s->id < other->id;
}

static void set_idle(struct km_ranked *ranked, struct km_sequence *s)
{
    km_sequence_queue_remove(&ranked->idle, s);
    km_sequence_queue_add(&ranked->idle, ranked->ages[s->slot].since, s->id, s);
}

/* What the steps since the last look mean to those that run. */
static void age_running(struct km_ranked *ranked, uint64_t steps)
{
    uint64_t passed = steps - ranked->steps;
    for (size_t i = 0; i < ranked->count; i++) {
        const struct km_ranked_entry *entry = &ranked->running[i];
        if (!entry->sequence || entry->evicted)
            continue;
        struct km_ranked_age *age = &ranked->ages[entry->sequence->slot];
        if (entry->served && passed) {
            age->since = steps;
            /* A step of a prompt does not count: who is driven out before its token came would never end. */
            if (entry->sequence->state != KM_SEQ_PREFILL)
                age->left -= age->left < passed ? age->left : (uint32_t)passed;
            age->promoted = age->left > 0;
        }
        if (entry->served)
            km_sequence_queue_remove(&ranked->idle, entry->sequence);
        else
            set_idle(ranked, entry->sequence);
    }
    ranked->steps = steps;
}

/* Let whoever starves rank first. */
static void promote(struct round *r)
{
    struct km_ranked *ranked = r->ranked;
    uint64_t steps = r->view->steps, threshold = r->settings->starvation_threshold_steps;
    struct km_sequence *s;
    while ((s = km_sequence_queue_first(&ranked->idle)) && ranked->ages[s->slot].since + threshold <= steps) {
        ranked->ages[s->slot] = (struct km_ranked_age){steps, r->settings->priority_quantum_steps, true};
        set_idle(ranked, s);
        if (s->state == KM_SEQ_WAITING) {
            km_sequence_queue_remove(&ranked->waiting, s);
            enqueue(ranked, r->rank, s);
        }
    }
}

static void age(struct round *r)
{
    struct km_ranked *ranked = r->ranked;
    if (r->settings->starvation_threshold_steps) {
        age_running(ranked, r->view->steps);
        for (size_t i = 0; i < ranked->fresh_count; i++) {
            if (ranked->fresh[i]->preemptions == 0)
                ranked->ages[ranked->fresh[i]->slot].since = r->view->steps;
            set_idle(ranked, ranked->fresh[i]);
        }
        promote(r);
    }
    ranked->fresh_count = 0;
}

/* Steps, this one included, until somebody is promoted or has ranked first long enough. */
static uint64_t steps_in_order(const struct round *r)
{
    const struct km_ranked *ranked = r->ranked;
    uint64_t steps = UINT64_MAX;
    if (!r->settings->starvation_threshold_steps)
        return steps;
    for (size_t i = 0; i < ranked->count; i++) {
        const struct km_ranked_entry *entry = &ranked->running[i];
        const struct km_ranked_age *a = &ranked->ages[entry->sequence->slot];
        if (!entry->served)
            set_idle(r->ranked, entry->sequence);
        else
            km_sequence_queue_remove(&r->ranked->idle, entry->sequence);
        if (entry->served && a->promoted && a->left < steps)
            steps = a->left;
    }
    const struct km_sequence *starving = km_sequence_queue_first(&ranked->idle);
    if (starving) {
        uint64_t due = ranked->ages[starving->slot].since + r->settings->starvation_threshold_steps;
        steps = due - r->view->steps < steps ? due - r->view->steps : steps;
    }
    return steps;
}

/* Bring the running ones in order; almost all are. Those that have ended, or are about to, go. */
static void sort(struct round *r)
{
    struct km_ranked *ranked = r->ranked;
    size_t count = 0;
    for (size_t i = 0; i < ranked->count; i++) {
        struct km_sequence *s = ranked->running[i].sequence;
        if (!s || ranked->running[i].evicted || s->state == KM_SEQ_ENDING)
            continue;
        uint64_t rank = rank_of(ranked, r->rank, s, km_batch_generated(r->batch, s));
        size_t at = count++;
        for (; at > 0 && before(rank, s, ranked->running[at - 1].rank, ranked->running[at - 1].sequence);
             at--)
            ranked->running[at] = ranked->running[at - 1];
        ranked->running[at] = (struct km_ranked_entry){.sequence = s, .rank = rank};
    }
    ranked->count = r->sorted = count;
}

static uint32_t chunk_limit(const struct round *r, uint32_t tokens)
{
    const struct km_batching_settings *settings = r->view->settings;
    uint32_t most = r->budget, threshold = settings->long_prefill_token_threshold;
    if (settings->enable_chunked_prefill && threshold && threshold < most)
        most = threshold;
    return tokens < most ? tokens : most;
}

/* Take a seat and tokens; false: there are not enough. */
static bool seat(struct round *r, uint32_t tokens)
{
    uint32_t chunk = chunk_limit(r, tokens);
    r->cut = r->seats == 0 || chunk == 0 || (chunk < tokens && !r->view->settings->enable_chunked_prefill);
    if (r->cut)
        return false;
    r->seats--;
    r->budget -= chunk;
    return true;
}

/* Those who wait and rank before `entry`. */
static void seat_waiting(struct round *r, const struct km_ranked_entry *entry)
{
    struct km_ranked *ranked = r->ranked;
    while (!r->cut) {
        struct km_sequence *s = km_sequence_queue_first(&ranked->waiting);
        if (!s || !before(waiting_rank(r->ranked, r->rank, s), s, entry->rank, entry->sequence) ||
            !seat(r, s->target_tokens))
            return;
        km_sequence_queue_remove(&ranked->waiting, s);
        ranked->ahead = km_grow(ranked->ahead, &ranked->ahead_capacity, ranked->ahead_count + 1,
                                sizeof(struct km_sequence *));
        ranked->ahead[ranked->ahead_count++] = s;
    }
}

/* Is the sequence in a batch that has not returned? It neither takes a seat nor is paused. */
static bool is_away(const struct round *r, const struct km_sequence *s)
{
    return s->state == KM_SEQ_DECODE && !km_batch_may_decode(r->batch, s);
}

static void select(struct round *r)
{
    struct km_ranked *ranked = r->ranked;
    ranked->ahead_count = 0;
    for (r->selected = 0; r->selected < r->sorted; r->selected++) {
        const struct km_ranked_entry *entry = &ranked->running[r->selected];
        const struct km_sequence *s = entry->sequence;
        seat_waiting(r, entry);
        if (r->cut || (!is_away(r, s) &&
                       !seat(r, s->state == KM_SEQ_PREFILL ? s->target_tokens - s->computed_tokens : 1)))
            return;
    }
}

/* Let the selected decode, and the others sit out. */
static void choose_decodes(struct round *r)
{
    for (size_t i = 0; i < r->sorted; i++) {
        struct km_sequence *s = r->ranked->running[i].sequence;
        if (i >= r->selected && s->state == KM_SEQ_DECODE && !is_away(r, s)) {
            km_batch_pause(r->batch, s);
            r->changed = true;
        } else if (i < r->selected && s->state == KM_SEQ_PAUSED) {
            km_batch_resume(r->batch, s);
            r->changed = true;
        }
        r->ranked->running[i].decodes = s->state == KM_SEQ_DECODE && !is_away(r, s);
        r->ranked->running[i].served = r->ranked->running[i].decodes;
        r->decodes += r->ranked->running[i].decodes;
    }
}

/* Preempt who ranks last, but nobody up to position `keep`; false: nobody is left. */
static bool evict(struct round *r, size_t keep)
{
    for (size_t i = r->sorted; i-- > keep;) {
        struct km_ranked_entry *entry = &r->ranked->running[i];
        if (entry->evicted)
            continue;
        km_batch_preempt(r->batch, entry->sequence);
        r->decodes -= entry->decodes;
        entry->evicted = r->changed = true;
        return true;
    }
    return false;
}

static void decode(struct round *r)
{
    while (r->decodes && !km_batch_decode_all(r->batch))
        if (!evict(r, 1)) { /* who is about to end has the blocks: wait for them */
            km_batch_pause(r->batch, r->ranked->running[0].sequence);
            r->decodes = 0;
            r->cut = r->changed = true;
        }
}

/* The next tokens of a prompt that is being read. */
static void go_on(struct round *r, size_t position)
{
    struct km_sequence *s = r->ranked->running[position].sequence;
    uint32_t tokens = chunk_limit(r, s->target_tokens - s->computed_tokens);
    r->changed = true;
    while (tokens && !km_batch_chunk(r->batch, s, tokens))
        if (!evict(r, position + 1)) {
            if (position > 0)
                evict(r, position);
            r->cut = true;
            return;
        }
    r->ranked->running[position].served |= tokens > 0;
    r->budget -= tokens;
}

/* Admit one that waits before the running one at `position`. */
static void admit(struct round *r, struct km_sequence *s, size_t position)
{
    uint32_t tokens = 0;
    if (r->budget && km_batch_may_admit(r->batch, s))
        while ((tokens = km_batch_admit(r->batch, s, chunk_limit(r, UINT32_MAX))) == 0 && evict(r, position))
            ;
    r->cut = tokens == 0;
    r->budget -= tokens;
    r->changed |= tokens > 0;
}

/* Does the waiting one rank before whoever runs at `position`? (Admissions move the array: no pointer into it lasts.) */
static bool is_ahead(const struct round *r, const struct km_sequence *waiting, size_t position)
{
    const struct km_ranked_entry *entry = &r->ranked->running[position];
    return position == r->sorted ||
           before(waiting_rank(r->ranked, r->rank, waiting), waiting, entry->rank, entry->sequence);
}

/* Prompts in the order of ranks: those that are being read and those that wait. */
static void read_prompts(struct round *r)
{
    struct km_ranked *ranked = r->ranked;
    size_t next = 0;
    bool full = r->cut; /* the selection came to an end: after it there is no room */
    r->cut = false;
    for (size_t i = 0; i <= r->selected && !r->cut; i++) {
        while (!r->cut && next < ranked->ahead_count && is_ahead(r, ranked->ahead[next], i))
            admit(r, ranked->ahead[next++], i);
        if (!r->cut && i < r->sorted && ranked->running[i].evicted)
            r->cut = true; /* and so is whoever ranks after it */
        else if (!r->cut && i < r->selected && ranked->running[i].sequence->state == KM_SEQ_PREFILL)
            go_on(r, i);
    }
    for (size_t i = 0; i < ranked->ahead_count; i++)
        if (ranked->ahead[i]->state == KM_SEQ_WAITING)
            enqueue(ranked, r->rank, ranked->ahead[i]);
    if (r->sorted && ranked->running[r->sorted - 1].evicted)
        full = true;
    for (r->cut |= full; !r->cut && r->seats && r->budget; r->seats--) {
        struct km_sequence *s = km_sequence_queue_first(&ranked->waiting);
        if (!s)
            return;
        admit(r, s, r->sorted);
    }
}

void km_ranked_form(struct km_ranked *ranked, km_rank_function *rank,
                    const struct km_ranked_settings *settings, const struct km_batching_view *view,
                    const struct km_batch_handle *batch)
{
    uint32_t budget = view->settings->max_num_batched_tokens;
    struct round r = {.ranked = ranked,
                      .rank = rank,
                      .settings = settings,
                      .view = view,
                      .batch = batch,
                      .seats = view->settings->max_num_seqs,
                      .budget = budget};
    age(&r);
    sort(&r);
    select(&r);
    choose_decodes(&r);
    decode(&r);
    r.budget = budget - r.decodes;
    read_prompts(&r);
    /* Whoever decodes only gets further ahead, and who sits out or waits does so for a seat, tokens or blocks, none of
     * which decoding frees. */
    if (r.decodes && !r.changed)
        km_batch_steady_for(batch, steps_in_order(&r));
}
