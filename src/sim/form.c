/* What a policy's actions do to the batch that is being formed, and to the replica. */
#include "base/memory.h"
#include "sim/replica_state.h"

#include <assert.h>
#include <string.h>

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
    uint32_t blocks = replica->config.kv_manager->decode_needs(replica->kv, context);
    if (blocks > km_kv_free_blocks(replica->kv))
        return false;
    replica->kv->promised_blocks += blocks;
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

static uint32_t held_tokens(const struct km_replica *replica, const struct km_slot *slot)
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
    replica->kv->promised_blocks -= manager->decode_needs(replica->kv, km_cohort_context(cohort, slot));
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
    replica->config.kv_manager->release(replica->kv, sequence, held_tokens(replica, slot));
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
            km_loose_remove(replica, slot);
        else
            km_lane_leave(replica, slot);
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
        km_loose_remove(replica, slot);
    else
        km_lane_leave(replica, slot);
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
    if (km_lane_may_join(replica, slot))
        km_lane_join_late(replica, slot);
    else
        km_loose_add(replica, slot);
    batch->changed = true;
}

static uint32_t action_generated(const struct km_batch *batch, const struct km_sequence *sequence)
{
    return km_replica_generated(batch->replica, slot_at(batch->replica, sequence->slot));
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
