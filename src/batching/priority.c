/* Continuous batching by priority (vLLM's scheduling policy `priority`: vllm/v1/core/sched/request_queue.py,
 * PriorityRequestQueue, and scheduler.py). The waiting ones are a heap ordered by (priority, arrival), the smallest
 * first, and a preempted one goes back to its place in it. The victim is the running one with the largest (priority,
 * arrival); if this batch had given it tokens already, others may have them. A waiting sequence never drives a
 * running one out, whatever their priorities: only want of blocks does.
 *
 * Arrivals are compared by the request's number, which increases with the time of arrival and tells those of one
 * moment apart. */
#include "batching/sequence_queue.h"
#include "batching/vllm_order.h"

struct priority {
    struct km_sequence_queue waiting; /* by (priority, number) */
    struct km_sequence_queue running; /* the same, the largest first */
};

/* Unsigned, in the order of the signed. */
static uint64_t rank_of(const struct km_sequence *sequence)
{
    return (uint32_t)sequence->priority ^ UINT32_C(0x80000000);
}

static void waits(void *state, struct km_sequence *sequence)
{
    struct priority *p = state;
    km_sequence_queue_remove(&p->running, sequence);
    km_sequence_queue_add(&p->waiting, rank_of(sequence), sequence->id, sequence);
}

static void runs(void *state, struct km_sequence *sequence)
{
    struct priority *p = state;
    km_sequence_queue_remove(&p->waiting, sequence);
    km_sequence_queue_add(&p->running, UINT64_MAX - rank_of(sequence), UINT64_MAX - sequence->id, sequence);
}

static void leaves(void *state, struct km_sequence *sequence)
{
    struct priority *p = state;
    km_sequence_queue_remove(&p->waiting, sequence);
    km_sequence_queue_remove(&p->running, sequence);
}

static void release(void *state)
{
    struct priority *p = state;
    km_sequence_queue_release(&p->waiting);
    km_sequence_queue_release(&p->running);
}

static struct km_sequence *worst(void *state, const struct km_batching_view *view)
{
    const struct priority *p = state;
    (void)view;
    return km_sequence_queue_first(&p->running);
}

static struct km_sequence *best(void *state, const struct km_batching_view *view)
{
    const struct priority *p = state;
    (void)view;
    return km_sequence_queue_first(&p->waiting);
}

static const struct km_vllm_order by_priority = {.victim = worst, .next = best};

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    km_vllm_order_form(&by_priority, state, view, batch);
}

const struct km_batching_policy km_batching_priority = {
    .entry = {"priority", "continuous, by the trace's priority, then by arrival (vLLM)"},
    .traits = KM_BATCHING_WITHIN_BUDGET,
    .state_bytes = sizeof(struct priority),
    .form = form,
    .waits = waits,
    .runs = runs,
    .leaves = leaves,
    .release = release,
};
