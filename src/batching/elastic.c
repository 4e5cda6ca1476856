/* Elastic batching (arXiv 2407.05347, section IV-C): members leave as they finish, so the running batch
 * shrinks and nobody waits for the longest; the next batch is formed when the last has left. Filled to
 * exactly batch_size when that is stated, else with all that wait, up to batch_cap. */
#include "batching/whole_batch.h"

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    (void)state;
    uint32_t size = view->settings->batch_size, cap = view->settings->batch_cap;
    km_whole_batch_form(view, batch, size ? size : 1, size ? size : cap ? cap : UINT32_MAX);
}

const struct km_batching_policy km_batching_elastic = {
    .entry = {"elastic", "as dynamic or fixed, but members leave as they finish"},
    .form = form,
};
