#include "cost/attention_tail.h"

#include <math.h>

double km_mixed_tile_rows(const struct km_engine *engine, const struct km_op *op)
{
    double rows = engine->mixed_tile_rows;
    if (engine->mixed_tile_packs_heads && op->kv_heads > 0.0)
        rows *= op->kv_heads / op->heads;
    return fmax(1.0, rows);
}

static double decode_tail_s(const struct km_device *device, const struct km_engine *engine,
                            const struct km_op *op, const struct km_attention_load *load)
{
    double processors_a_head = device->multiprocessors / op->kv_heads, whole = load->decode_context;
    double mean = whole / load->decodes;
    double longest = fmin(load->longest_context * processors_a_head, whole);
    double even = fmin(mean * processors_a_head, whole);
    return engine->decode_tail_share * fmax(0.0, longest - even) * op->kv_bytes /
           device->bandwidth_bytes_per_s;
}

static double mixed_tail_s(const struct km_device *device, const struct km_engine *engine,
                           const struct km_op *op, const struct km_attention_load *load)
{
    double peak;
    if (engine->mixed_tile_rows == 0 || !km_device_peak(device, op->activations, op->activations, &peak))
        return 0.0;
    double tile_flops = engine->mixed_tile_rows * op->tile_flops / op->heads;
    return engine->mixed_tail_share * load->longest_context * tile_flops * device->multiprocessors /
           (peak * device->attention_prefill_efficiency);
}

double km_attention_tail_s(const struct km_device *device, const struct km_engine *engine,
                           const struct km_op *op, const struct km_attention_load *load)
{
    if (load->decodes <= 0.0 || op->kv_heads <= 0.0 || device->multiprocessors == 0)
        return 0.0;
    return load->mixed ? mixed_tail_s(device, engine, op, load) : decode_tail_s(device, engine, op, load);
}
