/* Continuous batching in the order of vLLM's V1 scheduler (design section 5): running sequences first, in
 * admission order, each decode one token, each unfinished prompt a chunk; then, if nothing was preempted,
 * waiting sequences first come first served. */
#include "batching/batching.h"

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t chunk_limit(const struct km_batching_view *view, uint32_t budget)
{
    uint32_t threshold = view->settings->long_prefill_token_threshold;
    return threshold && view->settings->enable_chunked_prefill ? least(budget, threshold) : budget;
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

/* Give one running sequence its tokens, preempting the youngest for want of blocks. Returns the tokens, 0 if
 * it was preempted itself. */
static uint32_t serve(const struct km_batching_view *view, const struct km_batch_handle *batch,
                      struct km_sequence *sequence, uint32_t budget, bool *preempted)
{
    bool decode = sequence->state == KM_SEQ_DECODE;
    uint32_t tokens =
        decode ? 1 : least(sequence->target_tokens - sequence->computed_tokens, chunk_limit(view, budget));
    while (!(decode ? km_batch_decode(batch, sequence) : km_batch_chunk(batch, sequence, tokens))) {
        struct km_sequence *victim = view->running->last;
        bool self = victim == sequence;
        km_batch_preempt(batch, victim);
        *preempted = true;
        if (self)
            return 0;
    }
    return tokens;
}

static uint32_t serve_running(const struct km_batching_view *view, const struct km_batch_handle *batch,
                              bool decodes_done, uint32_t budget, bool *preempted)
{
    struct km_sequence *sequence = view->running->first;
    if (decodes_done) /* only prompts are left, and they stand at the end */
        for (sequence = view->running->last; sequence && sequence->previous; sequence = sequence->previous)
            if (sequence->previous->state == KM_SEQ_DECODE)
                break;
    while (sequence && budget) {
        bool mine =
            sequence->state == KM_SEQ_PREFILL || (!decodes_done && km_batch_may_decode(batch, sequence));
        if (mine) {
            uint32_t tokens = serve(view, batch, sequence, budget, preempted);
            if (!tokens)
                break;
            budget -= tokens;
        }
        sequence = sequence->next;
    }
    return budget;
}

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    (void)state;
    uint32_t budget = view->settings->max_num_batched_tokens;
    bool preempted = false;
    bool in_order = view->prefill_count == 0 || prompts_are_last(view);
    bool decodes_done = in_order && view->decode_count <= budget && km_batch_decode_all(batch);
    if (decodes_done)
        budget -= view->decode_count;
    bool only_decodes = decodes_done && view->prefill_count == 0;
    if (!only_decodes)
        budget = serve_running(view, batch, decodes_done, budget, &preempted);

    bool admitted = false;
    while (!preempted && budget && view->waiting->first &&
           view->running->count < view->settings->max_num_seqs) {
        uint32_t tokens = km_batch_admit(batch, view->waiting->first, chunk_limit(view, budget));
        if (!tokens)
            break;
        budget -= tokens;
        admitted = true;
    }
    /* Who waits now waits for a slot or for blocks, and decoding frees neither. */
    if (only_decodes && !admitted)
        km_batch_steady(batch);
}

const struct km_batching_policy km_batching_continuous = {
    .entry = {"continuous", "iteration-level batching with chunked prefill in vLLM V1's order (default)"},
    .form = form,
};
