#include "model/kv_groups.h"

/* Values a token adds to one layer's cache, unsharded; 0 = the layer keeps none of its own. */
static double values_of(const struct km_layer *layer)
{
    return km_layer_kv_values(layer, 1);
}

static uint32_t groups_for(uint32_t layers, uint32_t each)
{
    return (layers + each - 1) / each;
}

const char *km_kv_groups_of(const struct km_model *model, bool keep_windows, struct km_kv_groups *out)
{
    uint32_t full = 0, windowed = 0, window = 0;
    double values = 0.0;
    bool chunked = false, windows_differ = false, values_differ = false;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
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
    if (windowed == 0)
        return NULL;
    if (keep_windows)
        return "disable_hybrid_kv_cache_manager";
    /* vllm/config/vllm.py switches the hybrid manager off for chunked local attention. */
    if (chunked)
        return "attention is chunked, not sliding";
    if (windows_differ)
        return "windows differ in length";
    if (values_differ)
        return "layers differ in the size of their KV cache";
    uint32_t least = full < windowed ? full : windowed, most = full + windowed - least;
    /* All layers alike are one group; kinds of nearly equal number are padded to the larger. */
    uint32_t each = least == 0 || most < 1.5 * least ? most : least;
    *out = (struct km_kv_groups){.window_tokens = window,
                                 .full = groups_for(full, each),
                                 .windowed = groups_for(windowed, each),
                                 .layers = each};
    return NULL;
}

uint64_t km_kv_concurrency(const struct km_kv_groups *groups, uint64_t pages, uint32_t block_size,
                           uint64_t context)
{
    return pages / km_kv_pages(groups, block_size, (context + block_size - 1) / block_size);
}

uint64_t km_kv_most_tokens(const struct km_kv_groups *groups, uint64_t pages, uint32_t block_size,
                           uint64_t in_flight_tokens)
{
    if (groups->windowed == 0)
        return pages * block_size;
    uint64_t window_blocks = km_kv_window_blocks_in_flight(groups, block_size, in_flight_tokens);
    uint64_t inside = pages / (groups->full + groups->windowed);
    if (inside < window_blocks)
        return inside * block_size;
    if (groups->full == 0)
        return UINT64_MAX;
    return (pages - groups->windowed * window_blocks) / groups->full * block_size;
}
