#include "model/kv_groups.h"

#include <math.h>

/* Values a token adds to one layer's cache, unsharded; 0 = the layer keeps none of its own. */
static double values_of(const struct km_layer *layer)
{
    return km_layer_kv_values(layer, 1);
}

static uint32_t groups_for(uint32_t layers, uint32_t each)
{
    return (layers + each - 1) / each;
}

/* Layers to a group: of all kinds the fewest; where no kind has half as many again, the most, padded. */
static uint32_t layers_each(const uint32_t *kinds, size_t count)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (size_t i = 0; i < count; i++) {
        if (kinds[i] && kinds[i] < least)
            least = kinds[i];
        most = kinds[i] > most ? kinds[i] : most;
    }
    return most < 1.5 * least ? most : least;
}

const char *km_kv_groups_of(const struct km_model *model, bool disabled, struct km_kv_groups *out)
{
    uint32_t full = 0, windowed = 0, recurrent = 0, window = 0;
    double values = 0.0;
    bool chunked = false, windows_differ = false, values_differ = false;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
        recurrent += km_layer_state_bytes(layer, 2.0) > 0.0;
        if (values_of(layer) <= 0.0)
            continue;
        values_differ = values_differ || (values > 0.0 && values_of(layer) != values);
        values = values_of(layer);
        if (!km_layer_slides(layer)) {
            full++;
            continue;
        }
        chunked = chunked || layer->chunked;
        windows_differ = windows_differ || (windowed && layer->window != window);
        window = layer->window;
        windowed++;
    }
    *out = (struct km_kv_groups){.full = 1, .layers = full + windowed};
    if (full + windowed == 0 || windowed + recurrent == 0)
        return NULL;
    if (disabled)
        return "disable_hybrid_kv_cache_manager";
    /* vllm/config/vllm.py switches the hybrid manager off for chunked local attention. */
    if (chunked)
        return "attention is chunked, not sliding";
    if (windows_differ)
        return "windows differ in length";
    if (values_differ)
        return "layers differ in the size of their KV cache";
    uint32_t each = layers_each((uint32_t[]){full, windowed, recurrent}, 3);
    *out = (struct km_kv_groups){.window_tokens = window,
                                 .full = groups_for(full, each),
                                 .windowed = groups_for(windowed, each),
                                 .recurrent = groups_for(recurrent, each),
                                 .layers = each};
    return NULL;
}

uint32_t km_kv_block_size(const struct km_model *model, const struct km_precision *precision,
                          const struct km_layout *layout, uint32_t block_size)
{
    double state_bytes = 0.0, token_bytes = 0.0;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
        state_bytes = fmax(state_bytes, km_layer_state_bytes(layer, 2.0) / layout->tensor_parallel);
        token_bytes = fmax(token_bytes, km_layer_kv_values(layer, layout->tensor_parallel));
    }
    token_bytes *= km_dtype_bytes(precision->kv_cache);
    if (state_bytes <= 0.0 || token_bytes <= 0.0)
        return block_size;
    double multiple = ceil(state_bytes / (token_bytes * block_size));
    return multiple > 1.0 ? (uint32_t)fmin(multiple * block_size, KM_MOST_BLOCK_SIZE) : block_size;
}

uint64_t km_kv_concurrency(const struct km_kv_groups *groups, uint64_t pages, uint32_t block_size,
                           uint64_t context)
{
    return pages / km_kv_pages(groups, block_size, (context + block_size - 1) / block_size);
}

uint64_t km_kv_most_tokens(const struct km_kv_groups *groups, uint64_t pages, uint32_t block_size,
                           uint64_t in_flight_tokens)
{
    if (groups->windowed + groups->recurrent == 0)
        return pages * block_size;
    pages = pages > groups->recurrent ? pages - groups->recurrent : 0;
    uint64_t window_blocks =
        groups->windowed ? km_kv_window_blocks_in_flight(groups, block_size, in_flight_tokens) : 0;
    uint64_t inside = pages / (groups->full + groups->windowed);
    if (inside < window_blocks)
        return inside * block_size;
    if (groups->full == 0)
        return UINT64_MAX;
    return (pages - groups->windowed * window_blocks) / groups->full * block_size;
}
