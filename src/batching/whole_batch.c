#include "batching/whole_batch.h"

#include "base/simtime.h"

#include <stddef.h>

static struct km_sequence *youngest_unfinished(const struct km_batching_view *view)
{
    struct km_sequence *sequence = view->running->last;
    while (sequence && sequence->state != KM_SEQ_DECODE && sequence->state != KM_SEQ_PREFILL)
        sequence = sequence->previous;
    return sequence;
}

bool km_whole_batch_decode(const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    bool at_once = true;
    while (!km_batch_decode_all(batch)) {
        struct km_sequence *victim = youngest_unfinished(view);
        if (!victim)
            return false;
        km_batch_preempt(batch, victim);
        at_once = false;
    }
    return at_once;
}

uint32_t km_whole_batch_admit(const struct km_batching_view *view, const struct km_batch_handle *batch,
                              uint32_t limit)
{
    uint32_t admitted = 0;
    while (admitted < limit && view->waiting->first && view->running->count < view->settings->max_num_seqs &&
           km_batch_admit(batch, view->waiting->first, UINT32_MAX))
        admitted++;
    return admitted;
}

void km_whole_batch_form(const struct km_batching_view *view, const struct km_batch_handle *batch,
                         uint32_t least, uint32_t most)
{
    if (view->running->count) {
        if (km_whole_batch_decode(view, batch))
            km_batch_steady(batch);
        return;
    }
    if (!view->waiting->first || (view->waiting->count < least && !view->draining))
        return;
    uint64_t company_ps = km_ps_after(view->waiting->first->arrival_ps, view->settings->max_wait_ps);
    if (view->waiting->count < most && !view->draining && company_ps > view->now_ps) {
        km_batch_wait_until(batch, company_ps);
        return;
    }
    km_whole_batch_admit(view, batch, most);
}
