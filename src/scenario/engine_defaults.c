/* What nobody states of an engine follows from device, model and usage (engine/defaults.h). */
#include "scenario/sections.h"

enum km_status km_scenario_apply_defaults(const struct km_yaml *root, struct km_scenario *s,
                                          struct km_error *error)
{
    struct km_engine *e = &s->engine;
    const char *name = s->device.vendor_name ? s->device.vendor_name : "";
    const struct km_default_rule *rule = km_default_rule(&e->defaults, name, s->device.memory_bytes);
    const char *open = !e->max_num_seqs             ? "engine.batching.max_num_seqs"
                       : !e->max_num_batched_tokens ? "engine.batching.max_num_batched_tokens"
                       : e->defaults.graph_sizes    ? "engine.cudagraph_capture_sizes"
                                                    : NULL;
    if (open && !rule)
        return km_scenario_refuse(root, open, error, "to be stated: engine %s has no default for this device",
                                  e->name);
    if (open)
        km_default_limits(rule, e->defaults.usage, e->enable_chunked_prefill,
                          e->max_model_len ? e->max_model_len : s->model.max_position_embeddings,
                          &e->max_num_seqs, &e->max_num_batched_tokens);
    if (e->defaults.graph_sizes)
        e->graph_size_count =
            km_default_graph_sizes(rule, e->max_num_seqs, e->max_num_batched_tokens, e->graph_sizes);
    bool hybrid = false;
    for (uint32_t i = 0; i < s->model.layer_count; i++)
        hybrid = hybrid || km_layer_state_bytes(&s->model.layers[i], 2.0) > 0.0;
    const struct km_yaml *kv = km_yaml_get(km_yaml_get(root, "engine"), "kv");
    if (hybrid && !e->hybrid_prefix_caching && !km_yaml_get(kv, "enable_prefix_caching"))
        e->enable_prefix_caching = false;
    return KM_OK;
}
