/* Clients that give up: their requests leave the engine wherever they are, with what is in flight for them.
 * The engine hears of it when its host has its next turn: before it forms a batch, and before it takes the
 * results of one, whose tokens for them are dropped (vllm/v1/engine/core.py: _process_aborts_queue;
 * vllm/v1/core/sched/scheduler.py: finish_requests). Their blocks are free at once. */
#include "base/simtime.h"
#include "sim/replica_state.h"

/* The server in front passes it on at once, whoever waits there. */
void km_replica_gives_up(struct km_replica *replica, struct km_slot *slot, uint64_t at_ps)
{
    uint64_t heard_ps = km_ps_after(at_ps, replica->config.frontend.fixed_ps);
    if (heard_ps >= slot->cancel_ps)
        return;
    slot->cancel_ps = heard_ps;
    km_heap_remove(&replica->cancels, slot->sequence.slot);
    km_heap_push(&replica->cancels, heard_ps, slot->sequence.id, slot->sequence.slot);
}

uint32_t km_replica_forget_entries(struct km_replica *replica, const struct km_slot *slot)
{
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < replica->flight_count; i++) {
        struct km_flight *flight = flight_at(replica, i);
        for (size_t j = 0; j < flight->entry_count; j++) {
            struct km_entry_in_flight *entry = &flight->entries[j];
            if (entry->slot != slot->sequence.slot)
                continue;
            tokens += (entry->flags & (ENTRY_TOKEN | ENTRY_LATE)) != 0;
            entry->flags = 0;
        }
    }
    return tokens;
}

/* Forget it in the batches in flight. Returns the output tokens that were to come with them. */
static uint32_t forget_in_flight(struct km_replica *replica, const struct km_slot *slot)
{
    uint32_t tokens = km_replica_forget_entries(replica, slot);
    for (uint32_t i = 0; i < replica->flight_count; i++) {
        struct km_flight *flight = flight_at(replica, i);
        bool with_cohort = flight->decode_count && flight->lane == slot->lane &&
                           flight->number > slot->since && flight->number <= slot->until;
        if (with_cohort) {
            tokens++;
            flight->late_count++;
            if (flight->classes.used)
                km_class_counts_remove(&flight->classes, slot->request.class_index);
        }
    }
    return tokens;
}

static void drop_held(struct km_replica *replica, const struct km_slot *slot)
{
    size_t kept = 0;
    for (size_t i = 0; i < replica->held_count; i++)
        if (replica->held[i] != slot->sequence.slot)
            replica->held[kept++] = replica->held[i];
    if (kept < replica->held_count)
        replica->line_valid = false; /* it filled a row of every step */
    replica->held_count = kept;
}

static void cancel(struct km_replica *replica, struct km_slot *slot, uint64_t now_ps)
{
    struct km_sequence *sequence = &slot->sequence;
    bool known =
        slot->queued && (slot->holds_blocks || sequence->state == KM_SEQ_WAITING); /* to the policy */
    km_replica_stop_decoding(replica, slot);
    uint32_t tokens = slot->generated - forget_in_flight(replica, slot);
    if (slot->holds_blocks) {
        if (sequence->state == KM_SEQ_PREFILL)
            replica->prefill_count--;
        replica->config.kv_manager->release(replica->kv, sequence, sequence->computed_tokens);
        km_replica_dropped(replica, sequence);
        km_list_remove(&replica->running, sequence);
        drop_held(replica, slot);
    } else {
        if (replica->first_fresh == sequence)
            replica->first_fresh = sequence->next;
        km_list_remove(slot->queued ? &replica->waiting : &replica->inbox, sequence);
    }
    if (known)
        km_replica_tell(replica, replica->config.policy->leaves, sequence);
    slot->last_token_ps = now_ps;
    km_replica_end_request(replica, slot, KM_CANCELLED, tokens, now_ps);
}

bool km_replica_cancel(struct km_replica *replica, uint64_t heard_ps, uint64_t now_ps)
{
    if (km_heap_key(&replica->cancels) > heard_ps)
        return false;
    uint64_t used_before = replica->kv->used_blocks;
    while (km_heap_key(&replica->cancels) <= heard_ps)
        cancel(replica, slot_at(replica, replica->cancels.entries[0].item), now_ps);
    km_replica_note_blocks(replica, now_ps, used_before);
    return true;
}
