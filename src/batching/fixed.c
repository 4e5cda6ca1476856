/* Fixed batching (arXiv 2407.05347, section IV-B): an idle server waits until exactly batch_size requests are
 * buffered; the batch ends when its longest member ends. At the end of a workload the rest is served as it
 * is. */
#include "batching/whole_batch.h"

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    (void)state;
    km_whole_batch_form(view, batch, view->settings->batch_size, view->settings->batch_size);
}

const struct km_batching_policy km_batching_fixed = {
    .entry = {"fixed", "waits for exactly batch_size requests; the batch ends with its longest"},
    .traits = KM_BATCHING_HOLDS_FINISHED | KM_BATCHING_ONE_SIZE,
    .form = form,
};
