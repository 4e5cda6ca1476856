/* What a policy's actions do to the replica, and how a formed batch is submitted. */
#include "base/memory.h"
#include "base/simtime.h"
#include "sim/replica_state.h"

#include <assert.h>
#include <string.h>

void km_flight_note(struct km_flight *flight, uint32_t slot, uint32_t flags)
{
    flight->entries =
        km_grow(flight->entries, &flight->entry_capacity, flight->entry_count + 1, sizeof *flight->entries);
    flight->entries[flight->entry_count++] = (struct km_entry_in_flight){slot, flags};
}

static struct km_flight *flight_with(struct km_replica *replica, uint64_t number)
{
    for (uint32_t i = 0; i < replica->flight_count; i++)
        if (flight_at(replica, i)->number == number)
            return flight_at(replica, i);
    return NULL;
}

static void push_loose(struct km_replica *replica, struct km_slot *slot)
{
    slot->loose = true;
    replica->loose =
        km_grow(replica->loose, &replica->loose_capacity, replica->loose_count + 1, sizeof *replica->loose);
    replica->loose[replica->loose_count++] = slot->sequence.slot;
}

static void drop_loose(struct km_replica *replica, const struct km_slot *slot)
{
    size_t kept = 0;
    for (size_t i = 0; i < replica->loose_count; i++)
        if (replica->loose[i] != slot->sequence.slot)
            replica->loose[kept++] = replica->loose[i];
    replica->loose_count = kept;
}

/* A member leaves its cohort but lives on: what the clock knew of it goes into its slot. If its latest token
 * is still in flight, that batch's return will tell the time. */
static void take_out(struct km_replica *replica, struct km_slot *slot)
{
    struct km_cohort *cohort = &replica->lanes[slot->lane];
    slot->sequence.computed_tokens = km_cohort_context(cohort, slot);
    slot->generated = slot->request.output_tokens - km_cohort_remaining(cohort, slot);
    km_cohort_leave(cohort, slot);
    if (slot->late) {
        slot->late = false;
        return;
    }
    struct km_flight *flight = flight_with(replica, cohort->last_batch);
    if (flight && flight->steps_cohort) {
        slot->in_batch = flight->number;
        km_flight_note(flight, slot->sequence.slot, ENTRY_STAMP);
    } else {
        slot->last_token_ps = cohort->last_token_ps;
    }
}

static void join(struct km_replica *replica, uint32_t lane, struct km_slot *slot)
{
    slot->lane = lane;
    slot->loose = false;
    km_cohort_join(&replica->lanes[lane], slot, slot->sequence.computed_tokens,
                   slot->request.output_tokens - slot->generated);
}

static void join_late(struct km_replica *replica, struct km_slot *slot)
{
    struct km_batch *batch = &replica->batch;
    join(replica, replica->lane, slot);
    slot->late = true;
    batch->late = km_grow(batch->late, &batch->late_capacity, batch->late_count + 1, sizeof *batch->late);
    batch->late[batch->late_count++] = slot->sequence.slot;
}

/* May what took part in batch `last` be part of the one that is being formed? */
static bool is_due(const struct km_replica *replica, uint64_t last)
{
    return last == 0 || last + replica->config.pace.stages <= replica->batch.flight->number;
}

/* The same of a sequence outside the cohorts. */
static bool may_join(struct km_replica *replica, const struct km_slot *slot)
{
    uint64_t oldest = replica->flight_count ? flight_at(replica, 0)->number : UINT64_MAX;
    return replica->lane_count == 1 ||
           (replica->run_ahead ? is_due(replica, slot->in_batch) : slot->in_batch < oldest);
}

static bool lane_is_due(const struct km_replica *replica, const struct km_cohort *cohort)
{
    return replica->run_ahead ? is_due(replica, cohort->last_batch) : !cohort->in_flight;
}

/* The lane of the next batch: of the cohorts that are due, the largest, into which the members of the others
 * move. None: its own turn's, which is empty. */
static void choose_lane(struct km_replica *replica)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t lane = 0; lane < replica->lane_count; lane++)
        if (lane_is_due(replica, &replica->lanes[lane]) &&
            (best == UINT32_MAX || replica->lanes[lane].count > replica->lanes[best].count))
            best = lane;
    assert(best != UINT32_MAX);
    replica->lane = best;
    for (uint32_t lane = 0; lane < replica->lane_count; lane++) {
        struct km_cohort *cohort = &replica->lanes[lane];
        if (lane == best || !lane_is_due(replica, cohort))
            continue;
        while (cohort->count) {
            struct km_slot *slot = slot_at(replica, cohort->finish.entries[0].item);
            take_out(replica, slot);
            join_late(replica, slot);
        }
    }
}

void km_batch_open(struct km_replica *replica, uint64_t now_ps)
{
    struct km_batch *batch = &replica->batch;
    batch->replica = replica;
    batch->flight = &replica->flights[(replica->flight_first + replica->flight_count) % replica->max_flights];
    struct km_flight *flight = batch->flight;
    *flight = (struct km_flight){.number = ++replica->batches,
                                 .entries = flight->entries,
                                 .entry_capacity = flight->entry_capacity,
                                 .classes = {flight->classes.counts, flight->classes.capacity, 0}};
    batch->decode_all = batch->changed = false;
    batch->steady_steps = 0;
    batch->decodes = 0;
    batch->wait_until_ps = now_ps;
    batch->chunk_count = 0;
    batch->late_count = 0;

    if (replica->lane_count > 1)
        choose_lane(replica);
    flight->lane = replica->lane;
    size_t kept = 0;
    for (size_t i = 0; i < replica->loose_count; i++) {
        struct km_slot *slot = slot_at(replica, replica->loose[i]);
        if (may_join(replica, slot))
            join_late(replica, slot);
        else
            replica->loose[kept++] = replica->loose[i];
    }
    replica->loose_count = kept;
}

static bool action_decode_all(struct km_batch *batch)
{
    struct km_replica *replica = batch->replica;
    const struct km_cohort *cohort = &replica->lanes[replica->lane];
    assert(batch->decodes == 0);
    if (replica->config.kv_manager->decode_steps(replica->kv, &cohort->growth, cohort->clock, 1) < 1)
        return false;
    batch->decode_all = true;
    batch->decodes = cohort->count;
    replica->kv->promised_blocks =
        replica->config.kv_manager->decode_blocks(replica->kv, &cohort->growth, cohort->clock, 1);
    return true;
}

static bool action_may_decode(const struct km_batch *batch, const struct km_sequence *sequence)
{
    const struct km_slot *slot = slot_at(batch->replica, sequence->slot);
    return sequence->state == KM_SEQ_DECODE && !slot->loose && slot->lane == batch->replica->lane &&
           !batch->decode_all && slot->decoded_in != batch->flight->number;
}

static bool action_decode(struct km_batch *batch, struct km_sequence *sequence)
{
    struct km_replica *replica = batch->replica;
    struct km_slot *slot = slot_of(sequence);
    assert(action_may_decode(batch, sequence));
    uint32_t context = km_cohort_context(&replica->lanes[replica->lane], slot);
    if (replica->config.kv_manager->decode_needs(replica->kv, context)) {
        if (km_kv_free_blocks(replica->kv) == 0)
            return false;
        replica->kv->promised_blocks++;
    }
    slot->decoded_in = batch->flight->number;
    batch->decodes++;
    return true;
}

static void add_chunk(struct km_batch *batch, struct km_slot *slot, uint32_t tokens)
{
    batch->chunks =
        km_grow(batch->chunks, &batch->chunk_capacity, batch->chunk_count + 1, sizeof *batch->chunks);
    batch->chunk_slots = km_grow(batch->chunk_slots, &batch->chunk_slot_capacity, batch->chunk_count + 1,
                                 sizeof *batch->chunk_slots);
    batch->chunks[batch->chunk_count] = (struct km_chunk){tokens, slot->sequence.computed_tokens};
    batch->chunk_slots[batch->chunk_count++] = slot->sequence.slot;
    batch->flight->prefill_tokens += tokens;
    slot->sequence.computed_tokens += tokens;
    slot->in_batch = batch->flight->number;
    batch->changed = true;
}

static bool action_chunk(struct km_batch *batch, struct km_sequence *sequence, uint32_t tokens)
{
    struct km_replica *replica = batch->replica;
    assert(sequence->state == KM_SEQ_PREFILL && tokens > 0 &&
           tokens <= sequence->target_tokens - sequence->computed_tokens);
    if (!replica->config.kv_manager->extend(replica->kv, sequence, sequence->computed_tokens,
                                            sequence->computed_tokens + tokens))
        return false;
    add_chunk(batch, slot_of(sequence), tokens);
    return true;
}

static bool action_may_admit(const struct km_batch *batch, const struct km_sequence *sequence)
{
    struct km_replica *replica = batch->replica;
    const struct km_slot *slot = slot_at(replica, sequence->slot);
    if (sequence->state != KM_SEQ_WAITING)
        return false; /* preempted with its last token in flight: it will end before it is needed again */
    /* What is to be recomputed may end with a token that has not returned. */
    return replica->lane_count == 1 || !slot->generated || !flight_with(replica, slot->in_batch);
}

static uint32_t action_admit(struct km_batch *batch, struct km_sequence *sequence, uint32_t max_tokens)
{
    struct km_replica *replica = batch->replica;
    const struct km_kv_manager *manager = replica->config.kv_manager;
    if (max_tokens == 0 || !action_may_admit(batch, sequence))
        return 0;
    uint32_t target = sequence->target_tokens;
    uint32_t hit = manager->match ? manager->match(replica->kv, sequence, target) : 0;
    uint32_t tokens = target - hit;
    if (tokens > max_tokens) {
        if (!replica->config.batching.enable_chunked_prefill)
            return 0;
        tokens = max_tokens;
    }
    if (!manager->admit(replica->kv, sequence, target, hit, hit + tokens))
        return 0;
    struct km_slot *slot = slot_of(sequence);
    if (manager->match && !slot->scheduled) /* a preempted sequence's own blocks are no hits */
        km_metrics_prefix(replica->config.metrics, target, hit);
    if (replica->first_fresh == sequence)
        replica->first_fresh = sequence->next;
    km_list_remove(&replica->waiting, sequence);
    km_list_append(&replica->running, sequence);
    sequence->admission = ++replica->admissions;
    sequence->state = KM_SEQ_PREFILL;
    sequence->computed_tokens = hit;
    slot->holds_blocks = true;
    km_replica_placed(replica, sequence, hit);
    replica->prefill_count++;
    add_chunk(batch, slot, tokens);
    km_replica_tell(replica, replica->config.policy->runs, sequence);
    return tokens;
}

uint32_t km_replica_held_tokens(const struct km_replica *replica, const struct km_slot *slot)
{
    if (slot->sequence.state == KM_SEQ_DECODE && !slot->loose)
        return km_cohort_context(&replica->lanes[slot->lane], slot);
    return slot->sequence.computed_tokens;
}

/* Take back what this batch gave a running sequence. Returns the tokens. */
static uint32_t withdraw_chunk(struct km_batch *batch, const struct km_slot *slot)
{
    size_t i = 0;
    while (batch->chunk_slots[i] != slot->sequence.slot)
        i++;
    uint32_t tokens = batch->chunks[i].tokens;
    size_t behind = --batch->chunk_count - i;
    memmove(&batch->chunks[i], &batch->chunks[i + 1], behind * sizeof *batch->chunks);
    memmove(&batch->chunk_slots[i], &batch->chunk_slots[i + 1], behind * sizeof *batch->chunk_slots);
    batch->flight->prefill_tokens -= tokens;
    return tokens;
}

static uint32_t withdraw_decode(struct km_batch *batch, const struct km_slot *slot)
{
    struct km_replica *replica = batch->replica;
    const struct km_cohort *cohort = &replica->lanes[replica->lane];
    const struct km_kv_manager *manager = replica->config.kv_manager;
    bool single = slot->decoded_in == batch->flight->number;
    if (slot->loose || slot->lane != replica->lane || !(single || batch->decode_all))
        return 0;
    batch->decodes--;
    if (manager->decode_needs(replica->kv, km_cohort_context(cohort, slot)))
        replica->kv->promised_blocks--;
    return 1;
}

static uint32_t action_preempt(struct km_batch *batch, struct km_sequence *sequence)
{
    struct km_replica *replica = batch->replica;
    struct km_slot *slot = slot_of(sequence);
    uint32_t withdrawn = 0;
    assert(slot->holds_blocks);
    replica->preempted++;
    if (sequence->state == KM_SEQ_DECODE) {
        withdrawn = withdraw_decode(batch, slot);
    } else if (sequence->state == KM_SEQ_PREFILL && slot->in_batch == batch->flight->number) {
        assert(slot->scheduled);
        withdrawn = withdraw_chunk(batch, slot);
    }
    replica->config.kv_manager->release(replica->kv, sequence, km_replica_held_tokens(replica, slot));
    km_replica_dropped(replica, sequence);
    slot->holds_blocks = false;
    switch (sequence->state) {
    case KM_SEQ_PREFILL:
        replica->prefill_count--;
        sequence->state = KM_SEQ_WAITING;
        slot->in_batch = 0; /* what is in flight of it yields no token */
        break;
    case KM_SEQ_DECODE:
        if (slot->loose)
            drop_loose(replica, slot);
        else
            take_out(replica, slot);
        slot->loose = false;
        sequence->state = KM_SEQ_WAITING;
        break;
    case KM_SEQ_PAUSED:
        replica->paused_count--;
        sequence->state = KM_SEQ_WAITING;
        break;
    case KM_SEQ_ENDING: /* stays ENDING: its last token is on the way, and then it is done */
    case KM_SEQ_WAITING:
        break;
    }
    sequence->target_tokens = sequence->prompt_tokens + slot->generated;
    sequence->computed_tokens = 0;
    sequence->preemptions++;
    km_list_remove(&replica->running, sequence);
    km_list_prepend(&replica->waiting, sequence);
    km_metrics_preemption(replica->config.metrics);
    batch->changed = true;
    const struct km_batching_policy *policy = replica->config.policy;
    km_replica_tell(replica, sequence->state == KM_SEQ_WAITING ? policy->waits : policy->leaves, sequence);
    return withdrawn;
}

static void action_pause(struct km_batch *batch, struct km_sequence *sequence)
{
    struct km_replica *replica = batch->replica;
    struct km_slot *slot = slot_of(sequence);
    assert(sequence->state == KM_SEQ_DECODE && !batch->decode_all);
    assert(slot->decoded_in != batch->flight->number);
    if (slot->loose)
        drop_loose(replica, slot);
    else
        take_out(replica, slot);
    slot->loose = false;
    sequence->state = KM_SEQ_PAUSED;
    replica->paused_count++;
    batch->changed = true;
}

static void action_resume(struct km_batch *batch, struct km_sequence *sequence)
{
    struct km_replica *replica = batch->replica;
    struct km_slot *slot = slot_of(sequence);
    assert(sequence->state == KM_SEQ_PAUSED && !batch->decode_all);
    sequence->state = KM_SEQ_DECODE;
    replica->paused_count--;
    if (may_join(replica, slot))
        join_late(replica, slot);
    else
        push_loose(replica, slot);
    batch->changed = true;
}

static uint32_t action_generated(const struct km_batch *batch, const struct km_sequence *sequence)
{
    const struct km_slot *slot = slot_at(batch->replica, sequence->slot);
    if (sequence->state != KM_SEQ_DECODE || slot->loose)
        return slot->generated;
    return slot->request.output_tokens - km_cohort_remaining(&batch->replica->lanes[slot->lane], slot);
}

static void action_wait_until(struct km_batch *batch, uint64_t time_ps)
{
    batch->wait_until_ps = time_ps;
}

static void action_steady(struct km_batch *batch, uint64_t steps)
{
    batch->steady_steps = steps;
}

const struct km_batch_actions km_batch_actions = {
    .decode_all = action_decode_all,
    .may_decode = action_may_decode,
    .decode = action_decode,
    .chunk = action_chunk,
    .admit = action_admit,
    .preempt = action_preempt,
    .pause = action_pause,
    .resume = action_resume,
    .may_admit = action_may_admit,
    .generated = action_generated,
    .wait_until = action_wait_until,
    .steady = action_steady,
};

uint32_t km_replica_padding(const struct km_replica *replica)
{
    if (!(replica->config.policy->traits & KM_BATCHING_HOLDS_FINISHED))
        return 0;
    uint32_t live = replica->prefill_count + (uint32_t)replica->loose_count + replica->paused_count;
    for (uint32_t lane = 0; lane < replica->lane_count; lane++)
        live += replica->lanes[lane].count;
    return replica->running.count - live;
}

void km_replica_decode_line(struct km_replica *replica, struct km_cohort *cohort)
{
    uint64_t offset = cohort->clock - replica->line_clock;
    if (replica->line_valid && !cohort->changed && replica->line_lane == replica->lane &&
        offset < replica->line.steps)
        return;
    struct km_decode_shape shape;
    km_cohort_shape(cohort, &shape);
    shape.padding = km_replica_padding(replica);
    replica->config.executor->line(replica->executor_state, &shape, &replica->line);
    uint64_t window_steps = km_cohort_window_steps(cohort);
    if (replica->line.steps > window_steps)
        replica->line.steps = window_steps;
    replica->line_valid = true;
    replica->line_lane = replica->lane;
    replica->line_clock = cohort->clock;
    cohort->changed = false;
}

/* Decodes of the batch: move the cohort's clock, and set aside who ends with this step. */
static void step_cohort(struct km_batch *batch, struct km_decode_shape *shape)
{
    struct km_replica *replica = batch->replica;
    struct km_flight *flight = batch->flight;
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    if (batch->decodes < cohort->count) { /* those left out sit outside until the next batch */
        size_t first = replica->loose_count;
        for (size_t i = 0; i < cohort->finish.count; i++) {
            struct km_slot *slot = slot_at(replica, cohort->finish.entries[i].item);
            if (slot->decoded_in != flight->number)
                push_loose(replica, slot);
        }
        for (size_t i = first; i < replica->loose_count; i++)
            take_out(replica, slot_at(replica, replica->loose[i]));
        batch->changed = true;
    }
    replica->kv->promised_blocks = 0;
    replica->config.kv_manager->decode(replica->kv, &cohort->growth, cohort->clock, 1);
    cohort->clock++;
    km_cohort_shape(cohort, shape);
    shape->padding = km_replica_padding(replica);
    flight->decode_count = cohort->count;
    if (cohort->classes.used > 1)
        km_class_counts_copy(&flight->classes, &cohort->classes);
    for (size_t i = 0; i < batch->late_count; i++) {
        struct km_slot *slot = slot_at(replica, batch->late[i]);
        if (!slot->late)
            continue;
        slot->late = false;
        flight->late_count++;
        if (flight->classes.used)
            km_class_counts_remove(&flight->classes, slot->request.class_index);
        km_flight_note(flight, batch->late[i], ENTRY_LATE);
    }
}

static void end_members(struct km_batch *batch)
{
    struct km_replica *replica = batch->replica;
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    while (km_heap_key(&cohort->finish) == cohort->clock) {
        struct km_slot *slot = slot_at(replica, cohort->finish.entries[0].item);
        slot->sequence.computed_tokens = km_cohort_context(cohort, slot);
        slot->generated = slot->request.output_tokens;
        slot->sequence.state = KM_SEQ_ENDING;
        km_cohort_leave(cohort, slot);
        km_flight_note(batch->flight, slot->sequence.slot, ENTRY_END);
    }
}

/* Prompts of the batch: who completes yields a token, and decodes from the next batch on. */
static void finish_chunks(struct km_batch *batch, uint32_t *sampled)
{
    struct km_replica *replica = batch->replica;
    struct km_flight *flight = batch->flight;
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    bool in_step = flight->decode_count > 0 || cohort->count == 0;
    for (size_t i = 0; i < batch->chunk_count; i++) {
        struct km_slot *slot = slot_at(replica, batch->chunk_slots[i]);
        struct km_sequence *sequence = &slot->sequence;
        uint32_t flags = slot->scheduled ? 0 : ENTRY_STARTED;
        if (sequence->computed_tokens == sequence->target_tokens) {
            flags |= ENTRY_TOKEN;
            ++*sampled;
            replica->prefill_count--;
            if (++slot->generated == slot->request.output_tokens) {
                sequence->state = KM_SEQ_ENDING;
                flags |= ENTRY_END;
            } else {
                sequence->state = KM_SEQ_DECODE;
                if (in_step) {
                    join(replica, replica->lane, slot);
                    flight->steps_cohort = true;
                } else {
                    push_loose(replica, slot);
                }
            }
        }
        if (flags)
            km_flight_note(flight, batch->chunk_slots[i], flags);
    }
}

/* Prompts padded to the longest of the batch: what is computed, though not what is stored. */
static void pad_chunks(struct km_batch *batch, struct km_step_shape *shape)
{
    const struct km_replica *replica = batch->replica;
    if (batch->chunk_count < 2 ||
        !(replica->config.batching.pad_prompts || replica->config.policy->traits & KM_BATCHING_PADS_PROMPTS))
        return;
    batch->padded =
        km_grow(batch->padded, &batch->padded_capacity, batch->chunk_count, sizeof *batch->padded);
    uint32_t longest = 0;
    for (size_t i = 0; i < batch->chunk_count; i++)
        longest = batch->chunks[i].tokens > longest ? batch->chunks[i].tokens : longest;
    for (size_t i = 0; i < batch->chunk_count; i++)
        batch->padded[i] = (struct km_chunk){longest, batch->chunks[i].past};
    shape->chunks = batch->padded;
    shape->prefill_tokens = longest * (uint32_t)batch->chunk_count;
}

static void count_pairs(struct km_replica *replica, const struct km_batch *batch)
{
    uint64_t window = replica->config.window;
    for (size_t i = 0; i < batch->chunk_count; i++) {
        uint64_t c = batch->chunks[i].tokens, past = batch->chunks[i].past;
        replica->prefill_pairs += (km_u128)c * past + (km_u128)c * (c + 1) / 2;
        /* Query j of the chunk sees min(past + j, window) keys. */
        uint64_t growing = window == 0 ? c : window <= past ? 0 : window - past < c ? window - past : c;
        replica->prefill_pairs_windowed +=
            (km_u128)growing * past + (km_u128)growing * (growing + 1) / 2 + (km_u128)(c - growing) * window;
    }
}

/* With placeholders, the first stage waits for the tokens of the batch `stages` before: prompts, too
 * (vllm/v1/worker/gpu/pp_utils.py). */
static uint64_t tokens_back_ps(struct km_replica *replica, const struct km_flight *flight)
{
    uint64_t back_ps = 0;
    for (uint32_t i = 0; replica->run_ahead && i < replica->flight_count; i++)
        if (flight_at(replica, i)->number + replica->config.pace.stages <= flight->number)
            back_ps = flight_at(replica, i)->end_ps;
    return back_ps;
}

/* When the batch runs: after its predecessors on every stage, and not before the host has done its part. */
static void schedule(struct km_replica *replica, struct km_flight *flight, const struct km_step_time *time,
                     const uint64_t *stage_ps, uint64_t now_ps)
{
    uint64_t launched_ps = km_pace_launched_ps(&time->host, now_ps);
    uint64_t at = km_pace_begun_ps(km_pace_ready_ps(&time->host, now_ps), tokens_back_ps(replica, flight));
    uint64_t busy_ps = 0;
    for (uint32_t s = 0; s < replica->config.pace.stages; s++) {
        at = km_pace_begun_ps(at, replica->stage_free_ps[s]);
        if (s == 0)
            flight->start_ps = at;
        double duty = km_power_step(&replica->stage_power[s], &time->power, (double)at * 1e-12,
                                    (double)stage_ps[s] * 1e-12);
        uint64_t longer_ps = km_ps_round((double)stage_ps[s] * time->power.share * time->power.rise * duty);
        uint64_t whole_ps = km_ps_after(stage_ps[s], longer_ps);
        if (time->power.share <= 0.0)
            replica->stage_power[s].other_ps += whole_ps;
        at = km_ps_after(at, whole_ps);
        busy_ps = km_ps_after(busy_ps, whole_ps);
        if (s + 1 == replica->config.pace.stages)
            at = km_pace_ended_ps(at, launched_ps);
        replica->stage_free_ps[s] = at;
    }
    flight->end_ps = at;
    flight->process_ps = time->host.process_ps;
    replica->host_free_ps = launched_ps;
    replica->busy_ps += busy_ps;
    replica->weight_bytes += time->weight_bytes;
}

/* Prompts bear as much of a step's time as they have of its tokens. */
static void share_out(struct km_replica *replica, const struct km_step_shape *shape, km_u128 busy_ps)
{
    uint64_t tokens = (uint64_t)shape->prefill_tokens + shape->decode.count;
    if (shape->prefill_tokens)
        replica->prompt_busy_ps += busy_ps * shape->prefill_tokens / tokens;
}

/* Who is in the batch, one by one. Decodes have been counted on already: the step computes their last token.
 * */
static void list_rows(struct km_batch *batch, struct km_step *step)
{
    const struct km_replica *replica = batch->replica;
    const struct km_cohort *cohort = &replica->lanes[replica->lane];
    const size_t decodes = batch->decodes ? cohort->finish.count : 0;
    batch->rows =
        km_grow(batch->rows, &batch->row_capacity, batch->chunk_count + decodes, sizeof *batch->rows);
    for (size_t i = 0; i < batch->chunk_count; i++) {
        const struct km_sequence *sequence = &slot_at(replica, batch->chunk_slots[i])->sequence;
        batch->rows[step->row_count++] =
            (struct km_row){.slot = sequence->slot,
                            .first = batch->chunks[i].past,
                            .tokens = batch->chunks[i].tokens,
                            .samples = sequence->computed_tokens == sequence->target_tokens};
    }
    for (size_t i = 0; i < decodes; i++) {
        const struct km_slot *slot = slot_at(replica, cohort->finish.entries[i].item);
        batch->rows[step->row_count++] = (struct km_row){.slot = slot->sequence.slot,
                                                         .first = km_cohort_context(cohort, slot) - 1,
                                                         .tokens = 1,
                                                         .samples = true};
    }
    step->rows = batch->rows;
}

static enum km_status run_step(struct km_batch *batch, const struct km_step_shape *shape,
                               struct km_step_time *out)
{
    struct km_replica *replica = batch->replica;
    const struct km_executor *executor = replica->config.executor;
    struct km_step step = {.shape = *shape};
    if (executor->wants_rows)
        list_rows(batch, &step);
    return executor->run(replica->executor_state, &step, out, &replica->failure);
}

static enum km_status time_step(struct km_batch *batch, const struct km_step_shape *shape, uint64_t now_ps)
{
    struct km_replica *replica = batch->replica;
    if (replica->failure.status != KM_OK)
        return replica->failure.status; /* it could not be opened */
    if (shape->chunk_count || !replica->config.executor->line) {
        struct km_step_time time;
        enum km_status status = run_step(batch, shape, &time);
        if (status != KM_OK)
            return status;
        km_u128 before_ps = replica->busy_ps;
        schedule(replica, batch->flight, &time, time.stage_ps, now_ps);
        share_out(replica, shape, replica->busy_ps - before_ps);
        return KM_OK;
    }
    km_replica_decode_line(replica, &replica->lanes[replica->lane]);
    uint64_t offset = replica->lanes[replica->lane].clock - replica->line_clock;
    uint64_t stage_ps[KM_MAX_STAGES];
    for (uint32_t s = 0; s < replica->config.pace.stages; s++)
        stage_ps[s] = km_ps_along(replica->line.time.stage_ps[s], replica->line.slope_ps[s], offset);
    schedule(replica, batch->flight, &replica->line.time, stage_ps, now_ps);
    return KM_OK;
}

bool km_batch_close(struct km_replica *replica, uint64_t now_ps)
{
    struct km_batch *batch = &replica->batch;
    struct km_flight *flight = batch->flight;
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    if (batch->decodes == 0) {
        for (size_t i = 0; i < batch->late_count; i++) { /* gathered for a step the policy did not take */
            struct km_slot *slot = slot_at(replica, batch->late[i]);
            if (slot->late) {
                take_out(replica, slot);
                push_loose(replica, slot);
            }
        }
    }
    if (batch->decodes == 0 && batch->chunk_count == 0) {
        replica->wait_until_ps = batch->wait_until_ps > now_ps ? batch->wait_until_ps : UINT64_MAX;
        return false;
    }
    struct km_step_shape shape = {0};
    if (batch->decodes) {
        step_cohort(batch, &shape.decode);
        flight->steps_cohort = true;
    }
    shape.chunks = batch->chunks;
    shape.chunk_count = (uint32_t)batch->chunk_count;
    shape.prefill_tokens = flight->prefill_tokens;
    shape.sampled = flight->decode_count;
    for (size_t i = 0; i < batch->chunk_count; i++) {
        const struct km_slot *slot = slot_at(replica, batch->chunk_slots[i]);
        shape.sampled += slot->sequence.computed_tokens == slot->sequence.target_tokens;
    }
    pad_chunks(batch, &shape);
    if (time_step(batch, &shape, now_ps) != KM_OK)
        return false;

    uint32_t sampled = flight->decode_count;
    if (batch->decodes)
        end_members(batch);
    finish_chunks(batch, &sampled);
    for (size_t i = 0; i < batch->chunk_count; i++) {
        struct km_slot *slot = slot_at(replica, batch->chunk_slots[i]);
        if (slot->scheduled)
            continue;
        slot->scheduled = true;
        slot->scheduled_ps = now_ps;
    }

    flight->chunk_count = (uint32_t)batch->chunk_count;
    flight->preempted = replica->preempted;
    replica->preempted = 0;
    replica->steps++;
    replica->prompt_steps += batch->chunk_count > 0;
    replica->tokens += flight->prefill_tokens + flight->decode_count;
    replica->sampled += sampled;
    replica->decode_pairs += shape.decode.sum_context;
    replica->decode_pairs_windowed += shape.decode.sum_windowed;
    count_pairs(replica, batch);
    cohort->last_batch = flight->steps_cohort ? flight->number : cohort->last_batch;
    cohort->in_flight = replica->lane_count > 1;
    replica->flight_count++;
    return true;
}
