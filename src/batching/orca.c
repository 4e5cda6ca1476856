/* Iteration-level scheduling (Orca, Yu et al., OSDI'22, algorithm 1): after every step, whoever finished
 * leaves and whoever waits joins, first come first served, as long as slots and reserved memory allow;
 * prompts are computed whole, beside the decodes. Faithful with KV manager `reserve_max`. */
#include "batching/whole_batch.h"

static void form(void *state, const struct km_batching_view *view, const struct km_batch_handle *batch)
{
    (void)state;
    bool served = km_whole_batch_decode(view, batch);
    uint32_t admitted = served ? km_whole_batch_admit(view, batch, UINT32_MAX) : 0;
    if (served && !admitted && (!view->waiting->first || !view->kv->manager->match))
        km_batch_steady(batch);
}

const struct km_batching_policy km_batching_orca = {
    .entry = {"orca", "iteration-level, whole prompts, first come first served (Orca)"},
    .form = form,
};
