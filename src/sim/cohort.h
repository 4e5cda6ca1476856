/* A cohort: sequences that decode in lockstep, one token each in every step their cohort takes.
 *
 * A shared clock counts the cohort's steps. A member's context before a step is `base + clock`, with a base
 * fixed when it joins, so that a step moves everyone by moving the clock: sums, block growth, the next to
 * finish and the longest are all kept relative to it, and n steps cost no more than one. */
#ifndef KM_SIM_COHORT_H
#define KM_SIM_COHORT_H

#include "base/heap.h"
#include "cost/shape.h"
#include "kv/kv.h"
#include "sim/class_counts.h"
#include "sim/slot.h"

struct km_cohort {
    uint64_t clock; /* steps taken */
    uint32_t count;
    int64_t base_sum;
    /* when the members' latest tokens came; valid once that batch has been processed */
    uint64_t last_token_ps;
    uint64_t last_batch; /* number of the batch that took its latest step */
    bool in_flight;      /* may not join a batch (pipeline stages): its previous batch has not returned */
    bool changed;        /* members came or went since the step line was last drawn */
    struct km_growth growth;
    struct km_class_counts classes; /* of the members */
    struct km_heap finish;          /* by finish_clock */
    struct km_heap longest;         /* by base, largest first */
    /* Sliding window: members still inside it, by the clock at which they outgrow it */
    uint32_t window; /* 0 = none */
    struct km_heap inside;
    int64_t inside_base_sum;
};

void km_cohort_init(struct km_cohort *cohort, const struct km_kv_config *kv, uint32_t window);
void km_cohort_release(struct km_cohort *cohort);

/* `context` tokens are computed; `remaining` >= 1 tokens are still to come to its goal, one a step. */
void km_cohort_join(struct km_cohort *cohort, struct km_slot *slot, uint32_t context, uint32_t remaining);
/* A member that has reached its goal has another, `further` tokens away. */
void km_cohort_go_on(struct km_cohort *cohort, struct km_slot *slot, uint32_t further);
void km_cohort_leave(struct km_cohort *cohort, struct km_slot *slot);

/* Context of a member now. */
static inline uint32_t km_cohort_context(const struct km_cohort *cohort, const struct km_slot *slot)
{
    return (uint32_t)(slot->base + (int64_t)cohort->clock);
}
/* Tokens a member is from its goal. */
static inline uint32_t km_cohort_remaining(const struct km_cohort *cohort, const struct km_slot *slot)
{
    return (uint32_t)(slot->finish_clock - cohort->clock);
}
/* Steps that can be taken before the step in which somebody ends. */
static inline uint64_t km_cohort_plain_steps(const struct km_cohort *cohort)
{
    return cohort->finish.count ? km_heap_key(&cohort->finish) - 1 - cohort->clock : 0;
}

/* Shape of the step that the clock stands at, after it has been advanced; and move members that outgrew the
 * window. */
void km_cohort_shape(struct km_cohort *cohort, struct km_decode_shape *out);
/* Steps from the one the clock stands at (itself included) before another member outgrows the window. */
uint64_t km_cohort_window_steps(const struct km_cohort *cohort);

#endif
