/* Can a model be laid out, and multiplied, as a scenario says? */
#include "scenario/sections.h"

#include <stdio.h>

/* Cost and simulation follow each sequence's context inside one window. */
static enum km_status check_windows(const struct km_yaml *root, const struct km_scenario *s,
                                    struct km_error *error)
{
    uint32_t window = 0;
    for (uint32_t i = 0; i < s->model.layer_count; i++) {
        uint32_t own = s->model.layers[i].window;
        if (own && window && own != window)
            return km_scenario_refuse(
                root, "model", error,
                "%s has layers with windows of %u and of %u tokens; one size is supported", s->model.name,
                window, own);
        window = own ? own : window;
    }
    return KM_OK;
}

enum km_status km_plan_check(const struct km_yaml *root, const struct km_scenario *s, struct km_error *error)
{
    const struct km_layout layout = km_scenario_layout(s);
    struct km_layout_problem problem;
    char key[64];
    enum km_status status = check_windows(root, s, error);
    if (status == KM_OK && !km_layout_possible(&s->model, &layout, &problem)) {
        snprintf(key, sizeof key, "cluster.%s", problem.key);
        status = km_scenario_refuse(root, key, error, "%s", problem.message);
    }
    if (status == KM_OK)
        status = km_precision_check(root, s, error);
    return status;
}

struct km_layout km_scenario_layout(const struct km_scenario *scenario)
{
    const struct km_cluster *cluster = &scenario->cluster;
    return (struct km_layout){.tensor_parallel = cluster->tensor_parallel_size,
                              .pipeline_parallel = cluster->pipeline_parallel_size,
                              .expert_parallel = cluster->enable_expert_parallel,
                              .data_parallel = cluster->data_parallel_size,
                              .prefill_context_parallel = cluster->prefill_context_parallel_size,
                              .context_method = cluster->context_parallel_method,
                              .decode_context_parallel = cluster->decode_context_parallel_size,
                              .kv_parallel = cluster->kv_parallel_size,
                              .gpus_per_node = scenario->device.node.gpus_per_node};
}
