/* Dynamic batching (arXiv 2407.05347, section IV-A): an idle server takes all buffered requests, at most
 * batch_cap of them; the batch ends when its longest member ends. With max_wait_s the first request waits
 * that long for company, unless the cap is reached before (Triton Inference Server's dynamic batcher,
 * max_queue_delay_microseconds). */
#include "batching/whole_batch.h"

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    (void)state;
    km_whole_batch_form(view, batch, 1, view->settings->batch_cap ? view->settings->batch_cap : UINT32_MAX);
}

const struct km_batching_policy km_batching_dynamic = {
    .entry = {"dynamic", "takes all that wait, up to batch_cap; the batch ends with its longest"},
    .traits = KM_BATCHING_HOLDS_FINISHED,
    .form = form,
};
