/* Request-level scheduling (FasterTransformer, as described in Orca, OSDI'22, section 3): max_num_seqs slots
 * are filled with whoever waits, prompts are padded to the longest, and the batch runs to the end of its
 * longest member before the next is formed. */
#include "batching/whole_batch.h"

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    (void)state;
    km_whole_batch_form(view, batch, 1, view->settings->max_num_seqs);
}

const struct km_batching_policy km_batching_request_level = {
    .entry = {"request_level", "fills max_num_seqs slots, pads, and runs to the longest (FasterTransformer)"},
    .traits = KM_BATCHING_HOLDS_FINISHED | KM_BATCHING_PADS_PROMPTS,
    .form = form,
};
