#include "scenario/remedy.h"

#include "scenario/run.h"

#define MOST_RANKS 1024u /* as cluster.tensor_parallel_size */

static void find_ranks(const struct km_scenario *scenario, struct km_remedy *out)
{
    const struct km_memory_limits limits = km_setup_limits(scenario);
    struct km_layout layout = km_setup_layout(scenario);
    for (layout.tensor_parallel++; layout.tensor_parallel <= MOST_RANKS; layout.tensor_parallel++) {
        if (km_layout_check(&scenario->model, &layout, NULL) != KM_OK)
            continue;
        struct km_memory_map map;
        km_memory_map(&scenario->model, &scenario->precision, &layout, &limits, &map);
        if (map.blocks == 0)
            continue;
        out->tensor_parallel_size = layout.tensor_parallel;
        out->ranks_map = map;
        return;
    }
}

static void find_weights(const struct km_scenario *scenario, struct km_remedy *out)
{
    const struct km_memory_limits limits = km_setup_limits(scenario);
    const struct km_layout layout = km_setup_layout(scenario);
    for (int i = 0; i < KM_DTYPE_COUNT; i++) {
        enum km_dtype dtype = (enum km_dtype)i;
        double rate, bits = km_dtype_bits(dtype);
        if (bits >= km_dtype_bits(scenario->precision.weights) || dtype == KM_INT2 ||
            (out->has_weights && bits <= km_dtype_bits(out->weights)) ||
            !km_device_peak(&scenario->device, dtype, scenario->precision.activations, &rate))
            continue;
        struct km_precision precision = scenario->precision;
        precision.weights = dtype;
        if (km_dtype_bits(precision.attention) > bits)
            precision.attention = dtype;
        struct km_memory_map map;
        km_memory_map(&scenario->model, &precision, &layout, &limits, &map);
        if (map.blocks == 0)
            continue;
        out->has_weights = true;
        out->weights = dtype;
        out->weights_map = map;
    }
}

void km_remedy_find(const struct km_scenario *scenario, struct km_remedy *out)
{
    *out = (struct km_remedy){0};
    find_ranks(scenario, out);
    find_weights(scenario, out);
}

static void describe_map(const struct km_memory_map *map, struct km_text *out)
{
    km_text_printf(out, " (weights %.1f GiB a GPU", map->weight_bytes / KM_GIB);
    if (map->block_bytes > 0.0)
        km_text_printf(out, ", %llu KV blocks", (unsigned long long)map->blocks);
    km_text_puts(out, ")");
}

void km_remedy_describe(const struct km_remedy *fit, struct km_text *out)
{
    if (!fit->tensor_parallel_size && !fit->has_weights) {
        km_text_puts(out, "neither more tensor-parallel ranks nor narrower weights would");
        return;
    }
    if (fit->tensor_parallel_size) {
        km_text_printf(out, "tensor_parallel_size %u would fit", fit->tensor_parallel_size);
        describe_map(&fit->ranks_map, out);
    }
    if (fit->has_weights) {
        km_text_printf(out, "%s%s weights%s", fit->tensor_parallel_size ? ", or " : "",
                       km_dtype_name(fit->weights), fit->tensor_parallel_size ? "" : " would fit");
        describe_map(&fit->weights_map, out);
    }
}
