/* How long the host takes to launch a step that no graph holds whole.
 *
 * A forward pass is launched layer by layer, and a layer by classes of kernels: attention, the rest of a
 * dense layer, and what routed experts, latent attention and the quantisation of activations add to it. The
 * host's speed multiplies all of them (launch_scale).
 *
 *     outside the graphs     scale * (layers * layer + routed * experts + latent * latent + quantised * quantize)
 *     piecewise graphs       scale * layers * piecewise       where prompts keep attention out of the graphs */
#ifndef KM_ENGINE_LAUNCH_H
#define KM_ENGINE_LAUNCH_H

#include "engine/engine.h"
#include "model/model.h"

/* Layers that one host launches, by what they launch. */
struct km_launch_layers {
    uint32_t layers;
    uint32_t routed;    /* with routed experts */
    uint32_t latent;    /* with latent attention (MLA) */
    uint32_t quantized; /* whose activations are quantised at run time */
};

/* Of layers [first, first + count) of a model. */
struct km_launch_layers km_launch_layers(const struct km_model *model, const struct km_precision *precision,
                                         uint32_t first, uint32_t count);

/* Seconds; *whole: it is launched as one graph (launch_graph_s). `captured`: within the sizes of graphs
 * (km_engine_padded_tokens); `prompts`: with chunks of prompts. */
double km_engine_launch_s(const struct km_engine *engine, const struct km_launch_layers *layers,
                          bool captured, bool prompts, bool *whole);

#endif
