#include "model/model.h"

#include <math.h>

static double max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Weights of a matrix [in, out] and its bias. */
static double linear(double in, double out, bool bias)
{
    return in * out + (bias ? out : 0);
}

/* The indexer of sparse attention: queries from `query_in` values, one key, and, where keys are chosen singly, a
 * weight a head; norms (there: with a bias, of the key; else of both). */
static void count_indexer(const struct km_layer *l, double hidden, double query_in, struct km_parameters *out)
{
    if (!l->index_heads)
        return;
    out->attention += linear(query_in, (double)l->index_heads * l->index_dim, false);
    out->attention += linear(hidden, l->index_dim + (l->index_block ? 0.0 : l->index_heads), false);
    out->norms += 2.0 * l->index_dim;
}

static void count_attention(const struct km_layer *l, double hidden, struct km_parameters *out)
{
    double q = (double)l->heads * l->head_dim, k = (double)l->kv_heads * l->head_dim;
    double v = (double)l->kv_heads * l->value_dim;
    bool own_kv = l->kv_source < 0;
    out->attention += linear(hidden, q, l->qkv_bias);
    if (own_kv)
        out->attention +=
            linear(hidden, k, l->qkv_bias) + (l->value_of_key ? 0 : linear(hidden, v, l->qkv_bias));
    out->attention += linear((double)l->heads * l->value_dim, hidden, l->output_bias);
    out->attention += linear(hidden, l->gate_width, false);
    out->attention += l->sinks ? l->heads : 0;
    count_indexer(l, hidden, hidden, out);
    if (l->qk_norm) {
        out->norms += l->qk_norm_full ? q : l->head_dim;
        if (own_kv)
            out->norms += l->qk_norm_full ? k : l->head_dim;
    }
}

/* DeepSeek-V2, arXiv 2405.04434, equations 9 to 19 and appendix C. */
static void count_mla(const struct km_layer *l, double hidden, struct km_parameters *out)
{
    double q = (double)l->heads * l->head_dim, latent = l->kv_lora_rank;
    if (l->q_lora_rank) {
        out->attention += linear(hidden, l->q_lora_rank, l->qkv_bias) + linear(l->q_lora_rank, q, false);
        out->norms += l->q_lora_rank;
    } else {
        out->attention += linear(hidden, q, false);
    }
    out->attention += linear(hidden, latent + l->qk_rope_dim, l->qkv_bias);
    out->attention += linear(latent, (double)l->heads * ((double)l->qk_nope_dim + l->value_dim), false);
    out->attention += linear((double)l->heads * l->value_dim, hidden, l->output_bias);
    out->attention += linear(hidden, l->gate_width, false);
    out->norms += latent;
    count_indexer(l, hidden, l->q_lora_rank, out); /* its queries come from the latent */
}

/* Mamba, arXiv 2312.00752, section 3.4: in_proj, conv1d, x_proj, dt_proj, A, D, out_proj. */
static void count_ssm(const struct km_layer *l, double hidden, struct km_parameters *out)
{
    double inner = l->ssm_inner, state = l->ssm_state, rank = l->ssm_dt_rank;
    out->attention += linear(hidden, 2 * inner, l->ssm_proj_bias);
    out->attention += linear(l->ssm_conv, inner, l->ssm_conv_bias);
    out->attention += linear(inner, rank + 2 * state, false) + linear(rank, inner, true);
    out->attention += inner * state + inner;
    out->attention += linear(inner, hidden, l->ssm_proj_bias);
    out->norms += l->ssm_inner_norms ? rank + 2 * state : 0;
}

/* Width of what Mamba-2's convolution sees: x, B and C. */
static double ssd_conv_width(const struct km_layer *l)
{
    return l->ssm_inner + 2.0 * l->ssm_groups * l->ssm_state;
}

/* Mamba-2, arXiv 2405.21060, section 7: in_proj to z, x, B, C and dt; conv1d; A, D and dt bias a head; gated
 * norm; out_proj. */
static void count_ssd(const struct km_layer *l, double hidden, struct km_parameters *out)
{
    double inner = l->ssm_inner, conv = ssd_conv_width(l);
    out->attention += linear(hidden, inner + conv + l->ssm_heads, l->ssm_proj_bias);
    out->attention += linear(l->ssm_conv, conv, l->ssm_conv_bias);
    out->attention += 3.0 * l->ssm_heads;
    out->attention += linear(inner, hidden, l->ssm_proj_bias);
    out->norms += inner;
}

/* Width of what the delta rule's convolution sees: q, k and v. */
static double delta_conv_width(const struct km_layer *l)
{
    return 2.0 * l->delta_key_heads * l->delta_key_dim + (double)l->delta_value_heads * l->delta_value_dim;
}

/* Gated DeltaNet, arXiv 2412.06464, figure 1: q, k, v, their convolution; beta and decay a head, A and dt bias a
 * head; output gate; gated norm a head; out. Kimi Delta Attention, arXiv 2510.26692, section 4: the decay, and
 * its bias, a channel, through as many values as a head has. */
static void count_delta(const struct km_layer *l, double hidden, struct km_parameters *out)
{
    double conv = delta_conv_width(l), keys = (double)l->delta_key_heads * l->delta_key_dim;
    double heads = l->delta_value_heads, values = heads * l->delta_value_dim, rank = l->delta_gate_rank;
    out->attention += linear(hidden, conv, false) + linear(l->ssm_conv, conv, false);
    out->attention += linear(hidden, heads, false) + heads;
    if (l->mixer == KM_KDA)
        out->attention += linear(hidden, l->delta_value_dim, false) + linear(l->delta_value_dim, keys, true);
    else
        out->attention += linear(hidden, heads, true);
    out->attention +=
        rank > 0 ? linear(hidden, rank, false) + linear(rank, values, false) : linear(hidden, values, false);
    out->attention += linear(values, hidden, false);
    out->norms += l->delta_value_dim;
}

/* LFM2 (transformers, modeling_lfm2.py, Lfm2ShortConv): in to B, C and x, one convolution, out. */
static void count_conv(const struct km_layer *l, double hidden, struct km_parameters *out)
{
    out->attention += linear(hidden, 3.0 * hidden, l->ssm_proj_bias) +
                      linear(l->ssm_conv, hidden, l->ssm_conv_bias) +
                      linear(hidden, hidden, l->ssm_proj_bias);
}

static double mlp(double hidden, double width, bool gated, bool bias)
{
    return (gated ? 2 : 1) * linear(hidden, width, bias) + linear(width, hidden, bias);
}

void km_layer_parameters(const struct km_model *model, const struct km_layer *layer,
                         struct km_parameters *out)
{
    double hidden = model->hidden;
    *out = (struct km_parameters){0};
    switch (layer->mixer) {
    case KM_ATTENTION:
        count_attention(layer, hidden, out);
        break;
    case KM_MLA:
        count_mla(layer, hidden, out);
        break;
    case KM_SSM:
        count_ssm(layer, hidden, out);
        break;
    case KM_SSD:
        count_ssd(layer, hidden, out);
        break;
    case KM_GDN:
    case KM_KDA:
        count_delta(layer, hidden, out);
        break;
    case KM_CONV:
        count_conv(layer, hidden, out);
        break;
    case KM_NO_MIXER:
        break;
    }
    double unread = 0;
    if (layer->mlp == KM_MLP_DENSE) {
        out->dense_mlp = mlp(hidden, layer->intermediate, layer->gated, layer->mlp_bias);
    } else if (layer->mlp == KM_MLP_MOE) {
        double inside = layer->expert_hidden ? layer->expert_hidden : hidden;
        double expert = mlp(inside, layer->expert_intermediate, layer->gated, layer->expert_bias);
        out->routed_experts = layer->experts * expert;
        unread = (double)(layer->experts - layer->experts_per_token) * expert;
        if (layer->shared_intermediate)
            out->shared_experts = mlp(hidden, layer->shared_intermediate, layer->gated, layer->mlp_bias);
        out->shared_experts += layer->shared_gate ? hidden : 0;
        if (layer
                ->expert_hidden) /* down to the latent rows and up again (vllm/model_executor/models/nemotron_h.py) */
            out->shared_experts += 2.0 * hidden * layer->expert_hidden;
        out->norms += layer->expert_norm ? inside : 0;
        out->router = linear(hidden, layer->experts, layer->router_bias);
    }
    if (layer->residual_sources) /* a query and a norm each before mixer and MLP */
        out->norms += 4.0 * hidden;
    out->norms += layer->norms * hidden * (model->norm_bias ? 2 : 1);
    out->total = out->attention + out->dense_mlp + out->routed_experts + out->shared_experts + out->router +
                 out->norms;
    out->active = out->total - unread;
}

static void add(struct km_parameters *sum, const struct km_parameters *part)
{
    sum->attention += part->attention;
    sum->dense_mlp += part->dense_mlp;
    sum->routed_experts += part->routed_experts;
    sum->shared_experts += part->shared_experts;
    sum->router += part->router;
    sum->norms += part->norms;
    sum->total += part->total;
    sum->active += part->active;
}

void km_model_parameters(const struct km_model *model, struct km_parameters *out)
{
    double hidden = model->hidden, vocab = model->vocab;
    double width = model->embedding_dim ? model->embedding_dim : hidden;
    *out = (struct km_parameters){0};
    out->embedding = vocab * width + model->learned_positions * hidden;
    if (model->embedding_dim)
        out->embedding += 2 * width * hidden; /* projected in, and out again before the LM head */
    out->lm_head = (model->tied_embeddings ? 0 : vocab * width) + (model->lm_head_bias ? vocab : 0);
    if (model->final_norm)
        out->norms = hidden * (model->norm_bias ? 2 : 1);
    if (model->layers[model->layer_count - 1].residual_sources) /* and once more after the layers */
        out->norms += 2.0 * hidden;
    out->total = out->active = out->embedding + out->lm_head + out->norms;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        struct km_parameters part;
        km_layer_parameters(model, &model->layers[i], &part);
        add(out, &part);
    }
}

static struct km_format format_of(const struct km_model *model, const struct km_stored *stored,
                                  enum km_dtype usual, enum km_dtype checkpoint,
                                  const struct km_precision *precision)
{
    const struct km_precision served = km_precision_served(&model->precision);
    struct km_format out = {usual, km_dtype_operand(usual, precision->activations)};
    if (!stored->own || usual != checkpoint)
        return out;
    out.weights = stored->format.weights == KM_FP32 ? KM_BF16 : stored->format.weights;
    out.activations = km_dtype_operand(out.weights, precision->activations == served.activations
                                                        ? stored->format.activations
                                                        : precision->activations);
    return out;
}

struct km_format km_layer_format(const struct km_model *model, const struct km_layer *layer,
                                 enum km_module module, const struct km_precision *precision)
{
    const struct km_precision served = km_precision_served(&model->precision);
    const bool mixer = module == KM_MODULE_MIXER;
    return format_of(model, &layer->stored[module], mixer ? precision->attention : precision->weights,
                     mixer ? served.attention : served.weights, precision);
}

struct km_format km_lm_head_format(const struct km_model *model, const struct km_precision *precision)
{
    const struct km_precision served = km_precision_served(&model->precision);
    return format_of(model, &model->lm_head, precision->embeddings, served.embeddings, precision);
}

double km_model_weight_bytes(const struct km_model *model, const struct km_precision *precision)
{
    struct km_parameters all;
    km_model_parameters(model, &all);
    double bytes = (all.embedding + all.router + all.norms) * km_dtype_bytes(precision->embeddings) +
                   all.lm_head * km_dtype_bytes(km_lm_head_format(model, precision).weights);
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
        struct km_parameters part;
        km_layer_parameters(model, layer, &part);
        const double values[KM_MODULE_COUNT] = {part.attention, part.dense_mlp, part.routed_experts,
                                                part.shared_experts};
        for (int m = 0; m < KM_MODULE_COUNT; m++)
            bytes += values[m] *
                     km_dtype_bytes(km_layer_format(model, layer, (enum km_module)m, precision).weights);
    }
    return bytes;
}

double km_layer_kv_values(const struct km_layer *layer, uint32_t tensor_parallel)
{
    if (layer->kv_source >= 0)
        return 0;
    if (layer->mixer == KM_MLA)
        return (double)layer->kv_lora_rank + layer->qk_rope_dim;
    if (layer->mixer != KM_ATTENTION)
        return 0;
    /* Heads that do not divide evenly: the rank with most. */
    double heads = max_u32(1, (layer->kv_heads + tensor_parallel - 1) / tensor_parallel);
    return heads * ((double)layer->head_dim + layer->value_dim);
}

double km_layer_index_bytes(const struct km_layer *layer)
{
    const double scales = ceil(layer->index_dim / 128.0);
    if (!layer->index_heads)
        return 0.0;
    return layer->index_block ? 2.0 * layer->index_dim : layer->index_dim + 4.0 * scales;
}

double km_model_kv_bytes_per_token(const struct km_model *model, enum km_dtype kv_cache,
                                   uint32_t tensor_parallel)
{
    double values = 0, index_bytes = 0;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        values += km_layer_kv_values(&model->layers[i], tensor_parallel);
        index_bytes += km_layer_index_bytes(&model->layers[i]);
    }
    return values * km_dtype_bytes(kv_cache) + index_bytes;
}

double km_layer_state_bytes(const struct km_layer *layer, double value_bytes)
{
    double inner = layer->ssm_inner, window = layer->ssm_conv ? layer->ssm_conv - 1.0 : 0;
    double wide_bytes = layer->state_fp32 ? fmax(4.0, value_bytes) : value_bytes;
    switch (layer->mixer) {
    case KM_SSM:
        return inner * window * value_bytes + inner * layer->ssm_state * wide_bytes;
    case KM_SSD:
        return ssd_conv_width(layer) * window * value_bytes + inner * layer->ssm_state * wide_bytes;
    case KM_GDN:
    case KM_KDA:
        return delta_conv_width(layer) * window * value_bytes +
               (double)layer->delta_value_heads * layer->delta_key_dim * layer->delta_value_dim * wide_bytes;
    case KM_CONV:
        return layer->ssm_inner * window * value_bytes;
    case KM_ATTENTION:
    case KM_MLA:
    case KM_NO_MIXER:
        break;
    }
    return 0;
}

bool km_model_is_dense(const struct km_model *model)
{
    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct km_layer *layer = &model->layers[i];
        if (layer->mlp == KM_MLP_MOE || (!km_layer_attends(layer) && layer->mixer != KM_NO_MIXER))
            return false;
    }
    return true;
}
