#include "batching/vllm_order.h"

struct round {
    const struct km_vllm_order *order;
    void *state;
    const struct km_batching_view *view;
    const struct km_batch_handle *batch;
    uint32_t budget; /* tokens that the batch may still have */
    bool preempted;
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t chunk_limit(const struct round *r)
{
    const struct km_batching_settings *settings = r->view->settings;
    uint32_t threshold = settings->enable_chunked_prefill ? settings->long_prefill_token_threshold : 0;
    if (settings->long_prefill_unlimited_alone && r->view->running->count + r->view->waiting->count == 1)
        threshold = 0;
    return threshold ? least(r->budget, threshold) : r->budget;
}

/* Are all unfinished prompts younger than all decodes? Then serving decodes first is serving in admission
 * order. Only long_prefill_token_threshold lets a sequence overtake a prompt that is still being read. */
static bool prompts_are_last(const struct km_batching_view *view)
{
    uint32_t left = view->prefill_count;
    for (const struct km_sequence *s = view->running->last; s && left; s = s->previous) {
        if (s->state == KM_SEQ_PREFILL)
            left--;
        else if (s->state == KM_SEQ_DECODE)
            return false;
    }
    return left == 0;
}

/* Give one running sequence its tokens, preempting others for want of blocks; false: it was the victim itself. */
static bool serve(struct round *r, struct km_sequence *sequence)
{
    bool decode = sequence->state == KM_SEQ_DECODE;
    uint32_t left = sequence->target_tokens - sequence->computed_tokens;
    uint32_t tokens = decode ? 1 : least(left, chunk_limit(r));
    while (!(decode ? km_batch_decode(r->batch, sequence) : km_batch_chunk(r->batch, sequence, tokens))) {
        struct km_sequence *victim = r->order->victim(r->state, r->view);
        r->budget += km_batch_preempt(r->batch, victim);
        r->preempted = true;
        if (victim == sequence)
            return false;
    }
    r->budget -= tokens;
    return true;
}

static void serve_running(struct round *r, bool decodes_done)
{
    const struct km_sequence_list *running = r->view->running;
    struct km_sequence *sequence = running->first;
    if (decodes_done) /* only prompts are left, and they stand at the end */
        for (sequence = running->last; sequence && sequence->previous; sequence = sequence->previous)
            if (sequence->previous->state == KM_SEQ_DECODE)
                break;
    while (sequence && r->budget) {
        bool mine =
            sequence->state == KM_SEQ_PREFILL || (!decodes_done && km_batch_may_decode(r->batch, sequence));
        if (mine && !serve(r, sequence))
            return;
        sequence = sequence->next;
    }
}

static bool admit_waiting(struct round *r)
{
    bool admitted = false;
    while (!r->preempted && r->budget && r->view->running->count < r->view->settings->max_num_seqs) {
        struct km_sequence *next = r->order->next(r->state, r->view);
        uint32_t tokens = next ? km_batch_admit(r->batch, next, chunk_limit(r)) : 0;
        if (!tokens)
            break;
        r->budget -= tokens;
        admitted = true;
    }
    return admitted;
}

void km_vllm_order_form(const struct km_vllm_order *order, void *state, const struct km_batching_view *view,
                        const struct km_batch_handle *batch)
{
    struct round r = {order, state, view, batch, view->settings->max_num_batched_tokens, false};
    bool in_order = view->prefill_count == 0 || prompts_are_last(view);
    bool decodes_done = in_order && view->decode_count <= r.budget && km_batch_decode_all(batch);
    if (decodes_done)
        r.budget -= view->decode_count;
    bool only_decodes = decodes_done && view->prefill_count == 0;
    if (!only_decodes)
        serve_running(&r, decodes_done);
    /* Who waits now waits for a slot or for blocks, and decoding frees neither. */
    if (!admit_waiting(&r) && only_decodes)
        km_batch_steady(batch);
}
