/* Continuous batching, first come first served (vLLM's scheduling policy `fcfs`): the victim is the running
 * sequence that was admitted last, and goes back to the front of the queue. */
#include "batching/vllm_order.h"

static struct km_sequence *youngest(void *state, const struct km_batching_view *view)
{
    (void)state;
    return view->running->last;
}

static struct km_sequence *first(void *state, const struct km_batching_view *view)
{
    (void)state;
    return view->waiting->first;
}

static const struct km_vllm_order first_come = {.victim = youngest, .next = first};

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    km_vllm_order_form(&first_come, state, view, batch);
}

const struct km_batching_policy km_batching_continuous = {
    .entry = {"continuous", "iteration-level batching with chunked prefill in vLLM V1's order (default)"},
    .traits = KM_BATCHING_WITHIN_BUDGET | KM_BATCHING_CONTINUOUS,
    .form = form,
};
