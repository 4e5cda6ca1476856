#include "engine/launch.h"

struct km_launch_layers km_launch_layers(const struct km_model *model, const struct km_precision *precision,
                                         uint32_t first, uint32_t count)
{
    struct km_launch_layers out = {.layers = count};
    for (uint32_t i = first; i < first + count; i++) {
        out.routed += model->layers[i].mlp == KM_MLP_MOE;
        out.latent += model->layers[i].mixer == KM_MLA;
    }
    if (km_dtype_bytes(precision->activations) < 2.0)
        out.quantized = count;
    return out;
}

double km_engine_launch_s(const struct km_engine *engine, const struct km_launch_layers *layers,
                          bool captured, bool prompts, bool *whole)
{
    *whole = captured && (!prompts || engine->launch_piecewise_layer_s <= 0.0);
    if (*whole)
        return engine->launch_graph_s;
    const double scale = engine->launch_scale > 0.0 ? engine->launch_scale : 1.0;
    if (captured)
        return scale * layers->layers * engine->launch_piecewise_layer_s;
    return scale *
           (layers->layers * engine->launch_layer_s + layers->routed * engine->launch_experts_layer_s +
            layers->latent * engine->launch_latent_layer_s +
            layers->quantized * engine->launch_quantize_layer_s);
}
