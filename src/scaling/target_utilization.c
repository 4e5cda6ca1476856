/* So much of a replica in use: of its sequence slots, of its KV cache, or of its time. The share of time says
 * little of language models: an engine with a single sequence is as busy as a full one. */
#include "scaling/scaling.h"

static double wanted(void *state, const struct km_scaling_settings *settings,
                     const struct km_scaling_view *view)
{
    (void)state;
    double share = settings->metric == KM_SCALING_SEQUENCES  ? view->sequences
                   : settings->metric == KM_SCALING_KV_CACHE ? view->kv_cache
                                                             : view->busy;
    return view->serving * share / settings->target_utilization;
}

const struct km_scaling_policy km_scaling_target_utilization = {
    .entry = {"target_utilization", "so much of the slots, the KV cache or the time in use"},
    .wanted = wanted,
};
