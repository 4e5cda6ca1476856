/* So many requests a replica: waiting and running, as Knative and KServe scale by concurrency
 * (knative.dev/docs/serving/autoscaling/concurrency), or only those that wait, as KEDA does with vLLM's
 * vllm:num_requests_waiting (docs.vllm.ai, production stack, "Autoscaling with KEDA"). */
#include "scaling/scaling.h"

static double wanted(void *state, const struct km_scaling_settings *settings,
                     const struct km_scaling_view *view)
{
    (void)state;
    uint64_t requests = view->waiting + (settings->waiting_only ? 0 : view->running);
    return (double)requests / settings->target_requests;
}

const struct km_scaling_policy km_scaling_target_queue = {
    .entry = {"target_queue", "so many requests a replica"},
    .wanted = wanted,
};
