/* Who decodes with whom: the members of the lanes' cohorts, and who is in none. */
#include "base/memory.h"
#include "sim/replica_state.h"

#include <assert.h>

void km_loose_add(struct km_replica *replica, struct km_slot *slot)
{
    slot->loose = true;
    replica->loose =
        km_grow(replica->loose, &replica->loose_capacity, replica->loose_count + 1, sizeof *replica->loose);
    replica->loose[replica->loose_count++] = slot->sequence.slot;
}

void km_loose_remove(struct km_replica *replica, const struct km_slot *slot)
{
    size_t kept = 0;
    for (size_t i = 0; i < replica->loose_count; i++)
        if (replica->loose[i] != slot->sequence.slot)
            replica->loose[kept++] = replica->loose[i];
    replica->loose_count = kept;
}

/* A member leaves its cohort but lives on: what the clock knew of it goes into its slot. If its latest token
 * is still in flight, that batch's return will tell the time. */
void km_lane_leave(struct km_replica *replica, struct km_slot *slot)
{
    struct km_cohort *cohort = &replica->lanes[slot->lane];
    slot->sequence.computed_tokens = km_cohort_context(cohort, slot);
    slot->generated = slot->goal - km_cohort_remaining(cohort, slot);
    slot->until = slot->late ? slot->since : cohort->last_batch;
    km_cohort_leave(cohort, slot);
    if (slot->late) {
        slot->late = false;
        return;
    }
    struct km_flight *flight = flight_with(replica, cohort->last_batch);
    const bool had_last = slot->generated == slot->request.output_tokens; /* its end is on the way */
    if (flight && flight->steps_cohort) {
        slot->in_batch = flight->number;
        if (!had_last)
            km_flight_note(flight, slot->sequence.slot, ENTRY_STAMP);
    } else if (!had_last) {
        slot->last_token_ps = cohort->last_token_ps;
    }
}

/* At how many output tokens something happens to it next, of which `generated` are scheduled. An end that the
 * engine does not know of yet costs it one more. */
static uint32_t goal_of(const struct km_request *request, uint32_t generated)
{
    if (request->cancel_tokens > generated && request->cancel_tokens < request->output_tokens)
        return request->cancel_tokens;
    return request->output_tokens + (generated == request->output_tokens);
}

void km_lane_join(struct km_replica *replica, uint32_t lane, struct km_slot *slot)
{
    slot->lane = lane;
    slot->loose = false;
    slot->since = replica->batch.flight->number;
    slot->until = UINT64_MAX;
    slot->goal = goal_of(&slot->request, slot->generated);
    km_cohort_join(&replica->lanes[lane], slot, slot->sequence.computed_tokens, slot->goal - slot->generated);
}

uint32_t km_replica_generated(const struct km_replica *replica, const struct km_slot *slot)
{
    if (slot->sequence.state != KM_SEQ_DECODE || slot->loose)
        return slot->generated;
    return slot->goal - km_cohort_remaining(&replica->lanes[slot->lane], slot);
}

void km_replica_stop_decoding(struct km_replica *replica, struct km_slot *slot)
{
    struct km_cohort *cohort = &replica->lanes[slot->lane];
    if (slot->sequence.state == KM_SEQ_PAUSED)
        replica->paused_count--;
    if (slot->sequence.state != KM_SEQ_DECODE)
        return;
    if (slot->loose) {
        km_loose_remove(replica, slot);
        slot->loose = false;
        return;
    }
    slot->sequence.computed_tokens = km_cohort_context(cohort, slot);
    slot->generated = km_replica_generated(replica, slot);
    slot->until = slot->until < cohort->last_batch ? slot->until : cohort->last_batch;
    slot->late = false;
    km_cohort_leave(cohort, slot);
}

void km_lane_join_late(struct km_replica *replica, struct km_slot *slot)
{
    struct km_batch *batch = &replica->batch;
    km_lane_join(replica, replica->lane, slot);
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
bool km_lane_may_join(struct km_replica *replica, const struct km_slot *slot)
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
            km_lane_leave(replica, slot);
            km_lane_join_late(replica, slot);
        }
    }
}

void km_lanes_gather(struct km_replica *replica)
{
    if (replica->lane_count > 1)
        choose_lane(replica);
    size_t kept = 0;
    for (size_t i = 0; i < replica->loose_count; i++) {
        struct km_slot *slot = slot_at(replica, replica->loose[i]);
        if (km_lane_may_join(replica, slot))
            km_lane_join_late(replica, slot);
        else
            replica->loose[kept++] = replica->loose[i];
    }
    replica->loose_count = kept;
}
