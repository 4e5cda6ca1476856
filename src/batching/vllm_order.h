/* One step in the order of vLLM's V1 scheduler (vllm/v1/core/sched/scheduler.py, Scheduler.schedule): running
 * sequences first, in the order in which they were admitted, each decode one token, each unfinished prompt a
 * chunk; for want of blocks a victim is preempted, again and again, until the sequence has its blocks or is the
 * victim itself, which ends the round. Then, if nothing was preempted, waiting sequences are admitted until the
 * first that does not fit. What differs between its policies is who is the victim and who is next. */
#ifndef KM_BATCHING_VLLM_ORDER_H
#define KM_BATCHING_VLLM_ORDER_H

#include "batching/batching.h"

struct km_vllm_order {
    /* Of the running ones (there is one at least). */
    struct km_sequence *(*victim)(void *state, const struct km_batching_view *view);
    /* Of the waiting ones; NULL: nobody waits. */
    struct km_sequence *(*next)(void *state, const struct km_batching_view *view);
};

void km_vllm_order_form(const struct km_vllm_order *order, void *state, const struct km_batching_view *view,
                        const struct km_batch_handle *batch);

#endif
