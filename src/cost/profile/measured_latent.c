/* Latent attention (MLA) by rows of what vLLM launches on Hopper (v1/attention/backends/mla/flashattn_mla.py of 0.26): decodes and chunks
 * of up to 512 tokens attend to latents in absorbed form; longer chunks to keys and values made from them, to their own causally, and to
 * those before them in a launch apart. */
#include "cost/profile/ideal.h"
#include "cost/profile/measured_lookup.h"

#include <math.h>

#define ABSORBED_TOKENS 512.0 /* reorder_batch_threshold */
#define LEAST_PAST      512.0 /* measured; 0 is the launch over a chunk's own keys */

static double ideal_s(const struct km_measured *m, const struct km_op *op, double flops, double bytes)
{
    return km_ideal_s(m->config->device, flops, op->activations, op->activations, bytes);
}

static bool add(struct km_measured *m, enum km_profile_class class, const double *at, double least_s,
                double *sum_s, enum km_origin *origin)
{
    double time_s;
    enum km_origin one;
    if (!km_measured_time(m, class, at, least_s, &time_s, &one))
        return false;
    *sum_s += time_s;
    *origin = one > *origin ? one : *origin;
    return true;
}

static bool decodes(struct km_measured *m, const struct km_op *op, double *at,
                    const struct km_attention_load *load, double *sum_s, enum km_origin *origin)
{
    at[KM_LATENT_BATCH] = load->decodes;
    at[KM_LATENT_CONTEXT] = load->decode_context / load->decodes;
    return add(m, KM_PROFILE_LATENT_DECODE, at,
               ideal_s(m, op, op->tile_flops * load->decode_context,
                       op->kv_bytes * load->decode_context + op->query_bytes * load->decodes),
               sum_s, origin);
}

/* As so many chunks of their mean size after their mean past. */
static bool short_chunks(struct km_measured *m, const struct km_op *op, double *at,
                         const struct km_attention_load *load, double *sum_s, enum km_origin *origin)
{
    at[KM_LATENT_PAST] = load->past / load->chunks;
    at[KM_LATENT_TOKENS] = load->prefill_tokens / load->chunks;
    return add(m, KM_PROFILE_LATENT_CHUNK, at,
               ideal_s(m, op, op->tile_flops * load->prefill_pairs,
                       op->kv_bytes * load->prefill_context + op->query_bytes * load->prefill_tokens),
               sum_s, origin);
}

/* Over themselves as the one chunk with as many pairs; over what is before them as all queries over the mean past. */
static bool long_chunks(struct km_measured *m, const struct km_op *op, const struct km_layer *layer,
                        double *at, const struct km_attention_load *load, double *sum_s,
                        enum km_origin *origin)
{
    const double dims = (double)layer->head_dim + layer->value_dim, bytes = op->heads * dims * 2.0;
    const double past = load->past / load->chunks, before = load->prefill_tokens * past;
    const double own = fmax(load->prefill_tokens, load->prefill_pairs - before);
    at[KM_LATENT_PAST] = 0.0;
    at[KM_LATENT_TOKENS] = sqrt(2.0 * own);
    if (!add(m, KM_PROFILE_LATENT_PREFILL, at,
             ideal_s(m, op, op->pair_flops * own, 2.0 * load->prefill_tokens * bytes), sum_s, origin))
        return false;
    if (past < 1.0)
        return true;
    at[KM_LATENT_PAST] = fmax(past, LEAST_PAST);
    at[KM_LATENT_TOKENS] = load->prefill_tokens;
    return add(m, KM_PROFILE_LATENT_PREFILL, at,
               ideal_s(m, op, op->pair_flops * before, (load->prefill_tokens + load->past) * bytes), sum_s,
               origin);
}

bool km_measured_look_up_latent(struct km_measured *m, const struct km_op *op,
                                const struct km_attention_load *load, double *time_s, enum km_origin *origin)
{
    const struct km_layer *layer = NULL;
    const struct km_model *model = m->config->model;
    for (uint32_t i = 0; i < model->layer_count && !layer; i++)
        if (model->layers[i].mixer == KM_MLA)
            layer = &model->layers[i];
    if (!layer || op->window)
        return false;
    double at[KM_PROFILE_DIMS] = {[KM_LATENT_KV_DTYPE] = m->config->precision.kv_cache,
                                  [KM_LATENT_HEADS] = op->heads,
                                  [KM_LATENT_WIDTH] = layer->kv_lora_rank,
                                  [KM_LATENT_ROPE] = layer->qk_rope_dim};
    const bool absorbed = load->longest_chunk <= ABSORBED_TOKENS;
    if (!absorbed && (layer->qk_nope_dim != KM_LATENT_NOPE || layer->value_dim != KM_LATENT_VALUE))
        return false; /* rows are of heads of these */
    *time_s = 0.0;
    *origin = KM_ORIGIN_MEASURED;
    if (load->decodes > 0.0 && !decodes(m, op, at, load, time_s, origin))
        return false;
    if (load->prefill_tokens <= 0.0)
        return true;
    return absorbed ? short_chunks(m, op, at, load, time_s, origin)
                    : long_chunks(m, op, layer, at, load, time_s, origin);
}
