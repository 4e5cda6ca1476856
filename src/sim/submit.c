/* How a batch is opened, and how, once it is formed, it is submitted: its shape, when it runs, and what that
 * does to those in it. */
#include "base/memory.h"
#include "base/simtime.h"
#include "sim/replica_state.h"

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

    km_lanes_gather(replica);
    flight->lane = replica->lane;
}

/* Rows of a decode step that finished members still fill. */
static uint32_t padding_rows(const struct km_replica *replica)
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
    struct km_step_shape step = {0};
    km_cohort_shape(cohort, &step.decode);
    step.decode.padding = padding_rows(replica);
    replica->config.executor->line(replica->executor_state, &step, &replica->line);
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
                km_loose_add(replica, slot);
        }
        for (size_t i = first; i < replica->loose_count; i++)
            km_lane_leave(replica, slot_at(replica, replica->loose[i]));
        batch->changed = true;
    }
    replica->kv->promised_blocks = 0;
    replica->config.kv_manager->decode(replica->kv, &cohort->growth, cohort->clock, 1);
    cohort->clock++;
    km_cohort_shape(cohort, shape);
    shape->padding = padding_rows(replica);
    flight->decode_count = cohort->count;
    if (cohort->classes.used > 1)
        km_class_counts_copy(&flight->classes, &cohort->classes);
    for (size_t i = 0; i < batch->late_count; i++) {
        struct km_slot *slot = slot_at(replica, batch->late[i]);
        if (!slot->late || slot->goal > slot->request.output_tokens)
            continue;
        slot->late = false;
        flight->late_count++;
        if (flight->classes.used)
            km_class_counts_remove(&flight->classes, slot->request.class_index);
        km_flight_note(flight, batch->late[i], ENTRY_LATE);
    }
}

/* Members whose goal this step was: they end, unless the engine cannot know before it sees the token; their
 * clients give up; or they had ended before, and the row was in vain. */
static void reach_goals(struct km_batch *batch)
{
    struct km_replica *replica = batch->replica;
    struct km_flight *flight = batch->flight;
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    while (km_heap_key(&cohort->finish) == cohort->clock) {
        struct km_slot *slot = slot_at(replica, cohort->finish.entries[0].item);
        const struct km_request *request = &slot->request;
        if (slot->goal < request->output_tokens) {
            km_flight_note(flight, slot->sequence.slot, ENTRY_GIVE_UP);
            slot->goal = request->output_tokens;
            km_cohort_go_on(cohort, slot, request->output_tokens - request->cancel_tokens);
            continue;
        }
        bool in_vain = slot->goal > request->output_tokens;
        if (in_vain) { /* no token, no gap */
            flight->late_count++;
            if (flight->classes.used)
                km_class_counts_remove(&flight->classes, request->class_index);
            if (slot->until >= flight->number) /* its last token came with its prompt */
                slot->until = flight->number - 1;
        } else {
            slot->until = flight->number;
            km_flight_note(flight, slot->sequence.slot, ENTRY_END);
        }
        if (!in_vain && request->ends_by_eos) {
            slot->goal = request->output_tokens + 1;
            km_cohort_go_on(cohort, slot, 1);
            continue;
        }
        slot->late = false;
        slot->sequence.computed_tokens = km_cohort_context(cohort, slot);
        slot->generated = request->output_tokens;
        slot->sequence.state = KM_SEQ_ENDING;
        km_cohort_leave(cohort, slot);
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
            slot->generated++;
            slot->since = slot->until = 0;
            bool last = slot->generated == slot->request.output_tokens;
            flags |= last ? ENTRY_END : slot->generated == slot->request.cancel_tokens ? ENTRY_GIVE_UP : 0;
            if (last && !slot->request.ends_by_eos) {
                sequence->state = KM_SEQ_ENDING;
            } else {
                sequence->state = KM_SEQ_DECODE;
                if (in_step) {
                    km_lane_join(replica, replica->lane, slot);
                    flight->steps_cohort = true;
                } else {
                    km_loose_add(replica, slot);
                }
            }
        }
        if (replica->config.kv.groups.windowed && replica->config.kv_manager->settle)
            flags |= ENTRY_CHUNK;
        if (!flags)
            continue;
        km_flight_note(flight, batch->chunk_slots[i], flags);
        flight->entries[flight->entry_count - 1].tokens = sequence->computed_tokens;
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

static void place(struct km_replica *replica, struct km_flight *flight, const struct km_step_time *time,
                  const uint64_t *stage_ps, uint64_t now_ps)
{
    const struct km_placed_step placed =
        km_clock_place(&replica->clock, time, stage_ps, now_ps, tokens_back_ps(replica, flight));
    flight->start_ps = placed.start_ps;
    flight->end_ps = placed.end_ps;
    flight->process_ps = placed.process_ps;
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

static enum km_status run_step(struct km_batch *batch, struct km_step_time *out)
{
    struct km_replica *replica = batch->replica;
    return replica->config.executor->run(replica->executor_state, &batch->step, out, &replica->failure);
}

/* A rank's step is timed with those of its peers, when members that end with it have left: what its time
 * depends on is kept. */
static void await_peers(struct km_batch *batch)
{
    struct km_replica *replica = batch->replica;
    struct km_cohort *cohort = &replica->lanes[replica->lane];
    batch->clock = cohort->clock;
    batch->window_steps = km_cohort_window_steps(cohort);
    replica->line_valid &= !cohort->changed;
    cohort->changed = false;
}

static bool same_peers(const struct km_step_peers *a, const struct km_step_peers *b)
{
    return a->ranks == b->ranks && a->prompts == b->prompts && a->most_tokens == b->most_tokens &&
           a->all_tokens == b->all_tokens;
}

enum km_status km_batch_time(struct km_replica *replica, const struct km_step_peers *peers,
                             struct km_step_time *out)
{
    struct km_batch *batch = &replica->batch;
    struct km_step_line *line = &replica->line;
    if (replica->failure.status != KM_OK)
        return replica->failure.status;
    batch->step.shape.peers = *peers;
    if (batch->chunk_count || !replica->config.executor->line)
        return run_step(batch, out);
    if (!replica->line_valid || replica->line_lane != batch->flight->lane ||
        batch->clock - replica->line_clock >= line->steps || !same_peers(peers, &replica->line_peers)) {
        replica->config.executor->line(replica->executor_state, &batch->step.shape, line);
        line->steps = line->steps < batch->window_steps ? line->steps : batch->window_steps;
        replica->line_valid = true;
        replica->line_lane = batch->flight->lane;
        replica->line_clock = batch->clock;
        replica->line_peers = *peers;
    }
    *out = line->time;
    for (uint32_t s = 0; s < replica->config.pace.stages; s++)
        out->stage_ps[s] =
            km_ps_along(line->time.stage_ps[s], line->slope_ps[s], batch->clock - replica->line_clock);
    return KM_OK;
}

static enum km_status time_step(struct km_batch *batch, uint64_t now_ps)
{
    struct km_replica *replica = batch->replica;
    const struct km_step_shape *shape = &batch->step.shape;
    if (replica->failure.status != KM_OK)
        return replica->failure.status; /* it could not be opened */
    if (replica->config.ranks) {
        await_peers(batch);
        return KM_OK;
    }
    if (shape->chunk_count || !replica->config.executor->line) {
        struct km_step_time time;
        enum km_status status = run_step(batch, &time);
        if (status != KM_OK)
            return status;
        km_u128 before_ps = replica->clock.busy_ps;
        place(replica, batch->flight, &time, time.stage_ps, now_ps);
        share_out(replica, shape, replica->clock.busy_ps - before_ps);
        return KM_OK;
    }
    km_replica_decode_line(replica, &replica->lanes[replica->lane]);
    uint64_t offset = replica->lanes[replica->lane].clock - replica->line_clock;
    uint64_t stage_ps[KM_MAX_STAGES];
    for (uint32_t s = 0; s < replica->config.pace.stages; s++)
        stage_ps[s] = km_ps_along(replica->line.time.stage_ps[s], replica->line.slope_ps[s], offset);
    place(replica, batch->flight, &replica->line.time, stage_ps, now_ps);
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
                km_lane_leave(replica, slot);
                km_loose_add(replica, slot);
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
    batch->step = (struct km_step){.shape = shape};
    if (replica->config.executor->wants_rows)
        list_rows(batch, &batch->step);
    if (time_step(batch, now_ps) != KM_OK)
        return false;

    uint32_t sampled = flight->decode_count;
    if (batch->decodes)
        reach_goals(batch);
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
