/* What a replica tells of: requests that ended, steps, blocks held over time. */
#include "sim/replica_state.h"

void km_replica_note_blocks(struct km_replica *replica, uint64_t now_ps, uint64_t used_before)
{
    replica->block_ps_twice +=
        (km_u128)(replica->blocks_then + used_before) * (now_ps - replica->blocks_at_ps);
    replica->blocks_at_ps = now_ps;
    replica->blocks_then = replica->kv->used_blocks;
}

void km_replica_end_request(struct km_replica *replica, struct km_slot *slot, enum km_outcome outcome,
                            uint32_t output_tokens, uint64_t now_ps)
{
    const struct km_request *request = &slot->request;
    struct km_record record = {
        .id = request->id,
        .label = request->label,
        .session = request->session,
        .arrival_ps = request->arrival_ps,
        .queued_ps = slot->visible_ps,
        .scheduled_ps = slot->scheduled_ps,
        .started_ps = slot->started_ps,
        .first_token_ps = slot->first_token_ps,
        .last_token_ps = slot->last_token_ps,
        .delivery_ps = replica->config.frontend.chunk_ps,
        .prompt_tokens = request->prompt_tokens,
        .output_tokens = output_tokens,
        .preemptions = slot->sequence.preemptions,
        .replica = replica->config.index,
        .class_index = request->class_index,
    };
    km_heap_remove(&replica->cancels, slot->sequence.slot);
    replica->config.ended(replica->config.context, outcome, &record, now_ps);
    km_slots_give(&replica->slots, slot);
}

void km_replica_tell_step(const struct km_replica *replica, const struct km_flight *flight, uint64_t done_ps,
                          uint64_t waited_ps)
{
    const struct km_step_record record = {
        .now_ps = done_ps,
        .waited_ps = waited_ps,
        .replica = replica->config.index,
        .rank = replica->config.rank,
        .prefill_requests = flight->chunk_count,
        .prefill_tokens = flight->prefill_tokens,
        .decode_requests = flight->decode_count,
        .preempted = flight->preempted,
        .running = replica->running.count,
        .waiting = replica->waiting.count,
        .used_blocks = replica->kv->used_blocks,
        .capacity_blocks = replica->config.kv.capacity_blocks,
    };
    replica->config.stepped(replica->config.step_context, &record);
}
