/* When things happen: arrivals, forming, processing, giving up. */
#include "sim/replica.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "sim/replica_state.h"

#include <assert.h>
#include <stdlib.h>

struct km_replica *km_replica_create(const struct km_replica_config *config)
{
    struct km_replica *replica = km_alloc(sizeof *replica);
    replica->config = *config;
    replica->kv = config->kv_manager->create(&config->kv);
    replica->policy_state = km_alloc(config->policy->state_bytes);
    replica->executor_state = config->executor_state;
    if (config->executor->open)
        config->executor->open(config->executor_state, config->index, &replica->executor_state,
                               &replica->failure);
    replica->run_ahead = config->pace.stages > 1 && config->pace.placeholders;
    replica->max_flights = km_pace_flights(&config->pace);
    replica->flights = km_alloc(replica->max_flights * sizeof *replica->flights);
    replica->clock.stages = replica->lane_count = config->pace.stages;
    replica->lanes = km_alloc(replica->lane_count * sizeof *replica->lanes);
    for (uint32_t i = 0; i < replica->lane_count; i++)
        km_cohort_init(&replica->lanes[i], &config->kv, config->window);
    replica->wait_until_ps = KM_PS_NEVER;
    return replica;
}

void km_replica_destroy(struct km_replica *replica)
{
    if (!replica)
        return;
    for (uint32_t i = 0; i < replica->lane_count; i++)
        km_cohort_release(&replica->lanes[i]);
    for (uint32_t i = 0; i < replica->max_flights; i++) {
        free(replica->flights[i].entries);
        km_class_counts_release(&replica->flights[i].classes);
    }
    if (replica->config.executor->close && replica->executor_state != replica->config.executor_state)
        replica->config.executor->close(replica->executor_state);
    replica->config.kv_manager->destroy(replica->kv);
    km_slots_release(&replica->slots);
    free(replica->lanes);
    free(replica->flights);
    if (replica->config.policy->release)
        replica->config.policy->release(replica->policy_state);
    free(replica->policy_state);
    free(replica->loose);
    km_heap_release(&replica->cancels);
    free(replica->held);
    free(replica->batch.padded);
    free(replica->batch.chunks);
    free(replica->batch.chunk_slots);
    free(replica->batch.late);
    free(replica->batch.rows);
    free(replica);
}

const char *km_replica_refuses(const struct km_replica *replica, const struct km_request *request)
{
    uint64_t tokens = (uint64_t)request->prompt_tokens + request->output_tokens;
    const struct km_replica_config *config = &replica->config;
    if (tokens > config->kv.max_model_len)
        return "longer than max_model_len";
    if (config->kv_manager->most_blocks(replica->kv, tokens) > config->kv.capacity_blocks)
        return "longer than the whole KV cache";
    if (!config->batching.enable_chunked_prefill && tokens > config->batching.max_num_batched_tokens)
        return "longer than max_num_batched_tokens without chunked prefill";
    return NULL;
}

/* The server in front serves whoever arrives, in order; when is the request in the engine's queue? */
static uint64_t take_in(struct km_replica *replica, uint32_t prompt_tokens, uint64_t now_ps)
{
    const struct km_replica_frontend *frontend = &replica->config.frontend;
    uint64_t from_ps = replica->frontend_free_ps > now_ps ? replica->frontend_free_ps : now_ps;
    replica->frontend_free_ps =
        km_ps_after(km_ps_after(from_ps, frontend->request_ps), frontend->token_ps * prompt_tokens);
    return km_ps_after(replica->frontend_free_ps, frontend->fixed_ps);
}

void km_replica_arrive(struct km_replica *replica, struct km_request *request, uint64_t now_ps)
{
    struct km_slot *slot = km_slots_take(&replica->slots);
    slot->request = *request;
    request->prefix_hashes = NULL;
    request->label = NULL;
    slot->visible_ps = take_in(replica, request->prompt_tokens, now_ps);
    slot->cancel_ps = KM_PS_NEVER;
    if (slot->request.cancel_after_ps)
        km_replica_gives_up(replica, slot, km_ps_after(now_ps, slot->request.cancel_after_ps));
    struct km_sequence *sequence = &slot->sequence;
    sequence->id = slot->request.id;
    sequence->arrival_ps = slot->request.arrival_ps;
    sequence->prompt_tokens = sequence->target_tokens = slot->request.prompt_tokens;
    sequence->class_index = slot->request.class_index;
    sequence->priority = slot->request.priority;
    sequence->max_tokens = slot->request.max_tokens;
    sequence->predicted_output_tokens = slot->request.predicted_output_tokens;
    sequence->session = slot->request.session;
    sequence->prefix_hashes = slot->request.prefix_hashes;
    sequence->prefix_hash_count = slot->request.prefix_hash_count;
    km_list_append(&replica->inbox, sequence);
    replica->draining = false;
    replica->events++;
}

void km_replica_drain(struct km_replica *replica, uint64_t now_ps)
{
    replica->draining = true;
    replica->may_form = replica->waiting.count > 0;
    if (replica->clock.host_free_ps < now_ps)
        replica->clock.host_free_ps = now_ps; /* it has idled until now: what it forms, it forms now */
}

uint64_t km_replica_busy_until_ps(const struct km_replica *replica)
{
    return km_clock_busy_until_ps(&replica->clock);
}

const struct km_kv *km_replica_kv(const struct km_replica *replica)
{
    return replica->kv;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t inbox_visible_ps(const struct km_replica *replica)
{
    return replica->inbox.first ? slot_of(replica->inbox.first)->visible_ps : KM_PS_NEVER;
}

/* Who never was scheduled stands in order of arrival, in the queue and then in the inbox, so the first is the
 * first to give up. */
static struct km_sequence *first_to_leave(const struct km_replica *replica)
{
    return replica->first_fresh ? replica->first_fresh : replica->inbox.first;
}

uint64_t km_replica_patience_ps(const struct km_replica *replica)
{
    const struct km_sequence *sequence = first_to_leave(replica);
    if (!sequence || replica->config.patience_ps == KM_PS_NEVER)
        return KM_PS_NEVER;
    return km_ps_after(sequence->arrival_ps, replica->config.patience_ps);
}

uint64_t km_replica_wakes_ps(const struct km_replica *replica)
{
    const uint64_t visible_ps = inbox_visible_ps(replica);
    return replica->wait_until_ps < visible_ps ? replica->wait_until_ps : visible_ps;
}

static uint64_t next_turn_ps(const struct km_replica *replica)
{
    if (replica->may_form && replica->flight_count < replica->max_flights)
        return replica->clock.host_free_ps;
    if (replica->flight_count) {
        const struct km_flight *oldest = &replica->flights[replica->flight_first];
        return km_pace_processed_ps(oldest->end_ps, replica->clock.host_free_ps, oldest->process_ps);
    }
    const uint64_t wake_ps = km_replica_wakes_ps(replica);
    return wake_ps == KM_PS_NEVER ? KM_PS_NEVER : later(wake_ps, replica->clock.host_free_ps);
}

/* A host that waits hears at once of who gives up; else with its next turn. */
static uint64_t idle_cancel_ps(const struct km_replica *replica)
{
    bool idle = !replica->flight_count && !replica->may_form;
    return idle ? km_heap_key(&replica->cancels) : KM_PS_NEVER;
}

uint64_t km_replica_next(const struct km_replica *replica)
{
    uint64_t turn_ps = next_turn_ps(replica), leave_ps = km_replica_patience_ps(replica),
             idle_ps = idle_cancel_ps(replica);
    leave_ps = idle_ps < leave_ps ? idle_ps : leave_ps;
    return leave_ps < turn_ps ? leave_ps : turn_ps;
}

bool km_replica_idle(const struct km_replica *replica)
{
    return next_turn_ps(replica) == KM_PS_NEVER;
}

bool km_replica_computes(const struct km_replica *replica)
{
    return replica->flight_count > 0;
}

void km_replica_leave(struct km_replica *replica, uint64_t now_ps)
{
    struct km_sequence *sequence = first_to_leave(replica);
    if (sequence == replica->first_fresh) {
        replica->first_fresh = sequence->next;
        km_list_remove(&replica->waiting, sequence);
        km_replica_tell(replica, replica->config.policy->leaves, sequence);
    } else {
        km_list_remove(&replica->inbox, sequence);
    }
    km_replica_end_request(replica, slot_of(sequence), KM_ABANDONED, slot_of(sequence)->request.output_tokens,
                           now_ps);
}

static void complete(struct km_replica *replica, struct km_slot *slot, uint64_t now_ps)
{
    struct km_sequence *sequence = &slot->sequence;
    if (slot->holds_blocks) {
        replica->config.kv_manager->release(replica->kv, sequence, sequence->computed_tokens);
        km_replica_dropped(replica, sequence);
        km_list_remove(&replica->running, sequence);
        km_replica_tell(replica, replica->config.policy->leaves, sequence);
    } else { /* preempted while its last token was in flight */
        km_list_remove(&replica->waiting, sequence);
        if (sequence->state == KM_SEQ_WAITING) /* the policy did not know that it was the last */
            km_replica_tell(replica, replica->config.policy->leaves, sequence);
    }
    km_replica_end_request(replica, slot, KM_COMPLETED, slot->request.output_tokens, now_ps);
}

static void process_entry(struct km_replica *replica, const struct km_flight *flight,
                          struct km_entry_in_flight entry, uint64_t done_ps)
{
    struct km_slot *slot = slot_at(replica, entry.slot);
    if (entry.flags & ENTRY_CHUNK && slot->holds_blocks)
        replica->config.kv_manager->settle(replica->kv, &slot->sequence, entry.tokens);
    if (entry.flags & ENTRY_STARTED)
        slot->started_ps = flight->start_ps;
    if (entry.flags & ENTRY_TOKEN && !slot->has_first_token) {
        slot->has_first_token = true;
        slot->first_token_ps = done_ps;
    } else if (entry.flags & (ENTRY_TOKEN | ENTRY_LATE)) {
        km_metrics_gaps(replica->config.metrics, done_ps - slot->last_token_ps, 0, 1, 1);
        km_metrics_class_gaps(replica->config.metrics, slot->request.class_index,
                              done_ps - slot->last_token_ps, 0, 1, 1);
    }
    if (entry.flags & ~(uint32_t)(ENTRY_STARTED | ENTRY_CHUNK))
        slot->last_token_ps = done_ps;
    if (entry.flags & ENTRY_GIVE_UP)
        km_replica_gives_up(replica, slot, km_ps_after(done_ps, replica->config.frontend.chunk_ps));
    if (!(entry.flags & ENTRY_END))
        return;
    km_replica_stop_decoding(replica, slot); /* the engine sees that it has ended */
    if (slot->request.ends_by_eos)
        km_replica_forget_entries(replica, slot); /* of a recomputation that begun meanwhile */
    if (slot->sequence.state == KM_SEQ_PREFILL)
        replica->prefill_count--;
    if (slot->sequence.state != KM_SEQ_WAITING)
        slot->sequence.state = KM_SEQ_ENDING;
    if (!(replica->config.policy->traits & KM_BATCHING_HOLDS_FINISHED) || !slot->holds_blocks) {
        complete(replica, slot, done_ps);
        return;
    }
    replica->held =
        km_grow(replica->held, &replica->held_capacity, replica->held_count + 1, sizeof *replica->held);
    replica->held[replica->held_count++] = entry.slot;
}

/* A batch that runs to the end of its longest member has ended: all complete together. */
bool km_replica_end_batch(struct km_replica *replica, uint64_t now_ps)
{
    if (replica->held_count == 0 || replica->held_count < replica->running.count)
        return false;
    for (size_t i = 0; i < replica->held_count; i++) {
        struct km_slot *slot = slot_at(replica, replica->held[i]);
        slot->last_token_ps = now_ps;
        complete(replica, slot, now_ps);
    }
    replica->held_count = 0;
    return true;
}

void km_replica_process(struct km_replica *replica, uint64_t done_ps)
{
    struct km_flight *flight = flight_at(replica, 0);
    struct km_cohort *cohort = &replica->lanes[flight->lane];
    struct km_metrics *metrics = replica->config.metrics;
    /* Clients that gave up while it ran get nothing more (vllm/v1/engine/core.py: step_with_batch_queue). */
    bool cancelled = km_replica_cancel(replica, done_ps - flight->process_ps, done_ps);
    uint32_t as_before = flight->decode_count - flight->late_count;
    if (!replica->config.ranks) /* else it is a step of all */
        km_metrics_steps(metrics, 1, flight->chunk_count + flight->decode_count,
                         flight->prefill_tokens + flight->decode_count, flight->end_ps - flight->start_ps);
    if (as_before)
        km_replica_tell_gaps(replica, &flight->classes, done_ps - cohort->last_token_ps, 0, 1, as_before);
    if (flight->steps_cohort)
        cohort->last_token_ps = done_ps;
    cohort->in_flight = false;
    replica->flight_first = (replica->flight_first + 1) % replica->max_flights;
    replica->flight_count--;
    if (flight->entry_count) {
        uint64_t used_before = replica->kv->used_blocks;
        for (size_t i = 0; i < flight->entry_count; i++)
            process_entry(replica, flight, flight->entries[i], done_ps);
        km_replica_end_batch(replica, done_ps);
        km_replica_note_blocks(replica, done_ps, used_before);
    } else if (cancelled) {
        km_replica_end_batch(replica, done_ps);
    }
    if (replica->config.stepped) {
        uint64_t free_ps = replica->clock.host_free_ps;
        km_replica_tell_step(replica, flight, done_ps,
                             flight->end_ps > free_ps ? flight->end_ps - free_ps : 0);
    }
    replica->clock.host_free_ps = done_ps;
    replica->may_form = true;
}

bool km_replica_form(struct km_replica *replica, uint64_t now_ps, uint64_t known_ps, uint64_t horizon_ps)
{
    while (inbox_visible_ps(replica) <= known_ps) {
        struct km_sequence *sequence = replica->inbox.first;
        km_list_remove(&replica->inbox, sequence);
        km_list_append(&replica->waiting, sequence);
        slot_of(sequence)->queued = true;
        if (!replica->first_fresh)
            replica->first_fresh = sequence;
        km_replica_tell(replica, replica->config.policy->waits, sequence);
    }
    bool cancelled =
        km_replica_cancel(replica, now_ps, now_ps); /* an end may bring an arrival before the horizon */
    uint64_t used_before = replica->kv->used_blocks;
    replica->wait_until_ps = KM_PS_NEVER;
    km_batch_open(replica, now_ps);
    struct km_batch *batch = &replica->batch;
    const struct km_batching_view view = {
        .now_ps = now_ps,
        .steps = replica->steps,
        .settings = &replica->config.batching,
        .kv = replica->kv,
        .waiting = &replica->waiting,
        .running = &replica->running,
        .prefill_count = replica->prefill_count,
        .decode_count = replica->lanes[replica->lane].count,
        .draining = replica->draining,
    };
    const struct km_batch_handle handle = {&km_batch_actions, batch};
    replica->config.policy->form(replica->policy_state, &view, &handle);

    if (replica->config.fast_forward && !replica->config.ranks && !cancelled && batch->decode_all &&
        batch->steady_steps && !batch->changed) {
        uint64_t until_ps = horizon_ps;
        if (inbox_visible_ps(replica) < until_ps)
            until_ps = inbox_visible_ps(replica);
        if (km_replica_patience_ps(replica) < until_ps)
            until_ps = km_replica_patience_ps(replica);
        if (km_heap_key(&replica->cancels) < until_ps)
            until_ps = km_heap_key(&replica->cancels);
        if (km_replica_jump(replica, now_ps, until_ps))
            return true;
    }
    const bool formed = replica->may_form = km_batch_close(replica, now_ps);
    if (!replica->may_form && replica->flight_count == 0 && km_replica_end_batch(replica, now_ps)) {
        batch->changed = true; /* the last unfinished member was preempted */
        replica->may_form = true;
    }
    if (batch->changed)
        km_replica_note_blocks(replica, now_ps, used_before);
    return formed;
}

enum km_status km_replica_act(struct km_replica *replica, uint64_t horizon_ps, struct km_error *error)
{
    uint64_t turn_ps = next_turn_ps(replica), leave_ps = km_replica_patience_ps(replica);
    replica->events++;
    uint64_t idle_ps = idle_cancel_ps(replica);
    if (idle_ps < turn_ps && idle_ps <= leave_ps) {
        km_replica_cancel(replica, idle_ps, idle_ps);
        km_replica_end_batch(replica, idle_ps);
    } else if (leave_ps < turn_ps)
        km_replica_leave(replica, leave_ps);
    else if (replica->flight_count && !(replica->may_form && replica->flight_count < replica->max_flights))
        km_replica_process(replica, turn_ps);
    else
        km_replica_form(replica, turn_ps, turn_ps, horizon_ps);
    if (replica->failure.status != KM_OK && error)
        *error = replica->failure;
    return replica->failure.status;
}

void km_replica_load(const struct km_replica *replica, struct km_replica_load *out)
{
    *out = (struct km_replica_load){
        .running = replica->running.count,
        .waiting = replica->waiting.count,
        .used_blocks = replica->kv->used_blocks,
        .busy_s = km_clock_busy_s(&replica->clock),
    };
}

void km_replica_work(const struct km_replica *replica, struct km_work *out)
{
    *out = (struct km_work){
        .steps = replica->steps,
        .prompt_steps = replica->prompt_steps,
        .tokens = replica->tokens,
        .sampled = replica->sampled,
        .prefill_pairs = (double)replica->prefill_pairs,
        .prefill_pairs_windowed = (double)replica->prefill_pairs_windowed,
        .decode_pairs = (double)replica->decode_pairs,
        .decode_pairs_windowed = (double)replica->decode_pairs_windowed,
        .weight_bytes = (double)replica->clock.weight_bytes,
        .busy_s = km_clock_busy_s(&replica->clock),
        .prompt_busy_s = (double)replica->prompt_busy_ps * 1e-12 / replica->config.pace.stages,
        .block_seconds = (double)replica->block_ps_twice * 0.5e-12,
        .peak_blocks = replica->kv->peak_blocks,
        .events = replica->events,
    };
}
