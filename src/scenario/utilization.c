/* What the GPUs of a run did, of what they could have. */
#include "scenario/fleet.h"

#include <math.h>

/* Model FLOPs of all steps: 2 a parameter and token, the LM head only where a token is sampled, and 4 * pairs
 * * heads * dim of attention in each layer (PaLM, arXiv 2204.02311, appendix B, forward pass). */
static double model_flops(const struct km_model *model, const struct km_work *work)
{
    struct km_parameters p;
    km_model_parameters(model, &p);
    double head = model->tied_embeddings ? p.embedding : p.lm_head;
    double body = p.active - p.lm_head - p.embedding;
    double flops = 2.0 * body * (double)work->tokens + 2.0 * head * (double)work->sampled;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
        if (!km_layer_attends(layer))
            continue;
        double pairs = layer->window ? work->prefill_pairs_windowed + work->decode_pairs_windowed
                                     : work->prefill_pairs + work->decode_pairs;
        flops += 2.0 * pairs * layer->heads * ((double)layer->head_dim + layer->value_dim);
    }
    return flops;
}

/* Bytes of all steps on all ranks of a replica: parameters once a step, and the KV cache once a decode. */
static double model_bytes(const struct km_setup *setup, const struct km_work *work)
{
    const struct km_model *model = setup->cost_config.model;
    const struct km_layout *layout = &setup->cost_config.layout;
    double bytes = work->weight_bytes * km_layout_stage_ranks(layout);
    /* Ranks that share out a sequence's tokens each read their own; data ranks have sequences of their own.
     */
    double readers = (double)layout->tensor_parallel / km_layout_decode_context(layout);
    for (uint32_t i = 0; i < model->layer_count; i++) {
        double values = km_layer_kv_values(&model->layers[i], layout->tensor_parallel) * readers;
        double pairs = model->layers[i].window ? work->decode_pairs_windowed : work->decode_pairs;
        bytes += pairs * values * km_dtype_bytes(setup->cost_config.precision.kv_cache);
    }
    return bytes;
}

/* What was done, and what could have been: FLOPs, bytes and seconds. */
struct effort {
    double flops, peak_flops, bytes, peak_bytes, busy_s, replica_s;
};

static struct km_utilization utilization(const struct effort *e, bool known)
{
    return (struct km_utilization){
        .mfu = known && e->peak_flops > 0.0 ? e->flops / e->peak_flops : (double)NAN,
        .mbu = known ? e->bytes / e->peak_bytes : (double)NAN,
        .busy = known ? e->busy_s / e->replica_s : (double)NAN,
    };
}

void km_fleet_utilizations(const struct km_fleet *fleet, struct km_run_result *out)
{
    struct effort all = {0};
    double span_s = out->summary.span_s;
    bool known = isfinite(span_s) && span_s > 0.0, all_peaks = true;
    for (uint32_t i = 0; i < fleet->group_count; i++) {
        const struct km_setup *setup = &fleet->groups[i];
        const struct km_scenario *scenario = setup->scenario;
        const struct km_group_result *group = &out->simulation.groups[i];
        const struct km_precision *precision = &scenario->precision;
        double ranks = km_layout_ranks(&setup->cost_config.layout), gpus = group->mean_replicas * ranks;
        double peak = 0.0;
        if (!km_device_peak(&scenario->device, precision->weights, precision->activations, &peak))
            all_peaks = false;
        const struct effort own = {
            .flops = model_flops(&scenario->model, &group->work),
            .peak_flops = gpus * peak * span_s,
            .bytes = model_bytes(setup, &group->work),
            .peak_bytes = gpus * scenario->device.bandwidth_bytes_per_s * span_s,
            .busy_s = group->work.busy_s,
            .replica_s = group->mean_replicas * span_s,
        };
        out->groups[i] = (struct km_run_group){.gpu_seconds = group->replica_seconds * ranks,
                                               .gpus_per_replica = (uint32_t)ranks,
                                               .utilization = utilization(&own, known)};
        out->gpu_seconds += out->groups[i].gpu_seconds;
        all.flops += own.flops;
        all.peak_flops += own.peak_flops;
        all.bytes += own.bytes;
        all.peak_bytes += own.peak_bytes;
        all.busy_s += own.busy_s;
        all.replica_s += own.replica_s;
    }
    const struct km_utilization total = utilization(&all, known);
    out->mfu = all_peaks ? total.mfu : (double)NAN;
    out->mbu = total.mbu;
    out->busy = total.busy;
}
