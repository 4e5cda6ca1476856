#include "cost/profile/ideal.h"

#include <math.h>

#define VALUE_BYTES 2.0 /* activations stay in 16 bits in attention and between experts */

double km_ideal_s(const struct km_device *device, double flops, enum km_dtype weights,
                  enum km_dtype activations, double bytes)
{
    double rate = 0.0;
    if (flops > 0.0 && !km_device_peak(device, weights, activations, &rate))
        return 0.0;
    double compute_s = flops > 0.0 ? flops / rate : 0.0;
    return fmax(compute_s, bytes / device->bandwidth_bytes_per_s) + device->kernel_graph_s;
}

double km_chunk_pairs(double tokens, double past, double window)
{
    double growing = window > 0.0 ? fmin(tokens, fmax(0.0, window - past)) : tokens;
    return growing * (past + (growing + 1.0) / 2.0) + (tokens - growing) * window;
}

double km_chunk_reads(double tokens, double past, double window)
{
    return window > 0.0 ? fmin(past + tokens, window + tokens) : past + tokens;
}

double km_experts_hit(double experts, double top_k, double rows)
{
    return top_k >= experts ? experts : experts * -expm1(rows * log1p(-top_k / experts));
}

struct km_attention_work km_attention_work(const double *dims, double pairs, double queries,
                                           double read_tokens)
{
    double d = dims[KM_ATTENTION_HEAD_DIM], heads = dims[KM_ATTENTION_HEADS];
    double kv_bytes =
        2.0 * dims[KM_ATTENTION_KV_HEADS] * d * km_dtype_bytes((enum km_dtype)dims[KM_ATTENTION_KV_DTYPE]);
    return (struct km_attention_work){.flops = 4.0 * pairs * heads * d,
                                      .bytes =
                                          read_tokens * kv_bytes + queries * 2.0 * heads * d * VALUE_BYTES};
}

static double attention_s(const struct km_device *device, struct km_attention_work work)
{
    enum km_dtype dtype = device->peak_flops_per_s[KM_BF16] > 0.0 ? KM_BF16 : KM_FP16;
    return km_ideal_s(device, work.flops, dtype, dtype, work.bytes);
}

static double prefill_s(const struct km_device *device, const double *at, double sequences, double tokens,
                        double past, double window)
{
    return attention_s(device, km_attention_work(at, sequences * km_chunk_pairs(tokens, past, window),
                                                 sequences * tokens,
                                                 sequences * km_chunk_reads(tokens, past, window)));
}

static double decode_s(const struct km_device *device, const double *at, double batch, double context,
                       double window)
{
    double seen = batch * (window > 0.0 ? fmin(context, window) : context);
    return attention_s(device, km_attention_work(at, seen, batch, seen));
}

static double gemm_s(const struct km_device *device, const double *at)
{
    enum km_dtype weights = (enum km_dtype)at[KM_GEMM_WEIGHTS],
                  activations = (enum km_dtype)at[KM_GEMM_ACTIVATIONS];
    double n = at[KM_GEMM_N], k = at[KM_GEMM_K], m = at[KM_GEMM_M];
    return km_ideal_s(device, 2.0 * m * n * k, weights, activations,
                      n * k * km_dtype_bytes(weights) + m * (n + k) * km_dtype_bytes(activations));
}

static double grouped_s(const struct km_device *device, const double *at)
{
    enum km_dtype weights = (enum km_dtype)at[KM_GROUPED_WEIGHTS],
                  activations = (enum km_dtype)at[KM_GROUPED_ACTIVATIONS];
    double n = at[KM_GROUPED_N], k = at[KM_GROUPED_K], top_k = at[KM_GROUPED_TOP_K], m = at[KM_GROUPED_M];
    double hit = km_experts_hit(at[KM_GROUPED_EXPERTS], top_k, m);
    return km_ideal_s(device, 2.0 * m * top_k * n * k, weights, activations,
                      hit * n * k * km_dtype_bytes(weights) +
                          m * top_k * (n + k) * km_dtype_bytes(activations));
}

/* Gate, up and down products of the experts of one rank; what lies between them is bytes that a fused kernel
 * need not move. */
static double moe_s(const struct km_device *device, const double *at)
{
    enum km_dtype weights = (enum km_dtype)at[KM_MOE_WEIGHTS],
                  activations = (enum km_dtype)at[KM_MOE_ACTIVATIONS];
    double hidden = at[KM_MOE_HIDDEN], width = at[KM_MOE_WIDTH], m = at[KM_MOE_M];
    double routed = m * at[KM_MOE_TOP_K] / at[KM_MOE_RANKS];
    double hit = at[KM_MOE_ROUTING] == KM_ROUTING_BALANCED
                     ? fmin(at[KM_MOE_EXPERTS], m * at[KM_MOE_TOP_K])
                     : km_experts_hit(at[KM_MOE_EXPERTS], at[KM_MOE_TOP_K], m);
    hit /= at[KM_MOE_RANKS];
    return km_ideal_s(device, 2.0 * routed * 3.0 * hidden * width, weights, activations,
                      hit * 3.0 * hidden * width * km_dtype_bytes(weights) +
                          routed * 2.0 * hidden * km_dtype_bytes(activations));
}

double km_piece_ideal_s(const struct km_device *device, const double *at, double keys)
{
    const enum km_dtype dtype = device->peak_flops_per_s[KM_BF16] > 0.0 ? KM_BF16 : KM_FP16;
    const double tile_flops = 4.0 * KM_ATTENTION_TILE_ROWS * at[KM_ATTENTION_HEAD_DIM] * keys;
    return km_ideal_s(device, tile_flops * device->multiprocessors, dtype, dtype, 0.0);
}

static double mixed_s(const struct km_device *device, const double *at)
{
    const double tokens = at[KM_MIXED_TOKENS], past = at[KM_MIXED_PAST], context = at[KM_MIXED_CONTEXT];
    const double all_s = prefill_s(device, at, 1.0, tokens, past, 0.0) +
                         decode_s(device, at, at[KM_MIXED_BATCH], context, 0.0);
    if (at[KM_MIXED_SPLIT] != KM_SPLIT_NONE)
        return all_s;
    return fmax(all_s, km_piece_ideal_s(device, at, fmax(context, past + tokens)));
}

/* `pairs` of queries and keys, over `reads` latents: scores over latent and rope, sums of latents. */
static double absorbed_s(const struct km_device *device, const double *at, double pairs, double queries,
                         double reads)
{
    const double width = at[KM_LATENT_WIDTH], rope = at[KM_LATENT_ROPE], heads = at[KM_LATENT_HEADS];
    const double bytes = reads * (width + rope) * km_dtype_bytes((enum km_dtype)at[KM_LATENT_KV_DTYPE]) +
                         queries * heads * (2.0 * width + rope) * VALUE_BYTES;
    return attention_s(device, (struct km_attention_work){pairs * heads * 2.0 * (2.0 * width + rope), bytes});
}

/* Of keys and values made from latents: a chunk over itself, or over the past alone. */
static double decompressed_s(const struct km_device *device, const double *at)
{
    const double past = at[KM_LATENT_PAST], tokens = at[KM_LATENT_TOKENS];
    const double dims = KM_LATENT_NOPE + at[KM_LATENT_ROPE] + KM_LATENT_VALUE;
    const double pairs = past > 0.0 ? tokens * past : km_chunk_pairs(tokens, 0.0, 0.0);
    const double values = at[KM_LATENT_HEADS] * dims * (tokens + (past > 0.0 ? past : tokens));
    return attention_s(
        device, (struct km_attention_work){pairs * at[KM_LATENT_HEADS] * 2.0 * dims, values * VALUE_BYTES});
}

double km_profile_ideal_s(const struct km_device *device, enum km_profile_class class, const double *at)
{
    switch (class) {
    case KM_PROFILE_GEMM:
    case KM_PROFILE_GEMM_SUSTAINED:
        return gemm_s(device, at);
    case KM_PROFILE_GROUPED_GEMM:
        return grouped_s(device, at);
    case KM_PROFILE_MOE:
        return moe_s(device, at);
    case KM_PROFILE_PREFILL:
        return prefill_s(device, at, at[KM_PREFILL_SEQUENCES], at[KM_PREFILL_TOKENS], at[KM_PREFILL_PAST],
                         at[KM_ATTENTION_WINDOW]);
    case KM_PROFILE_DECODE:
        return decode_s(device, at, at[KM_DECODE_BATCH], at[KM_DECODE_CONTEXT], at[KM_ATTENTION_WINDOW]);
    case KM_PROFILE_MIXED:
        return mixed_s(device, at);
    case KM_PROFILE_LATENT_DECODE: {
        const double read = at[KM_LATENT_BATCH] * at[KM_LATENT_CONTEXT];
        return absorbed_s(device, at, read, at[KM_LATENT_BATCH], read);
    }
    case KM_PROFILE_LATENT_CHUNK:
        return absorbed_s(device, at, km_chunk_pairs(at[KM_LATENT_TOKENS], at[KM_LATENT_PAST], 0.0),
                          at[KM_LATENT_TOKENS], at[KM_LATENT_PAST] + at[KM_LATENT_TOKENS]);
    case KM_PROFILE_LATENT_PREFILL:
        return decompressed_s(device, at);
    case KM_PROFILE_STREAM:
        return at[KM_STREAM_ROWS] * at[KM_STREAM_BYTES_PER_ROW] / device->bandwidth_bytes_per_s +
               device->kernel_graph_s;
    case KM_PROFILE_COLLECTIVE:
        return device->node.link.latency_s +
               at[KM_COLLECTIVE_BYTES] / device->node.link.bandwidth_bytes_per_s;
    case KM_PROFILE_SKEW:
    case KM_PROFILE_SCALAR:
    case KM_PROFILE_LAYER:
    case KM_PROFILE_CLASSES:
        break;
    }
    return 0.0;
}

void km_profile_bind(struct km_profile *profile, const struct km_device *device)
{
    for (int class = 0; class < KM_PROFILE_CLASSES; class ++) {
        struct km_profile_table *table = &profile->tables[class];
        if (table->count == 0)
            continue;
        table->answers = km_realloc(table->answers, table->count * sizeof *table->answers);
        for (size_t i = 0; i < table->count; i++) {
            const struct km_profile_row *row = &table->rows[i];
            if (km_profile_schemas[class].value) {
                table->answers[i] = row->us;
                continue;
            }
            double ideal_s = km_profile_ideal_s(device, (enum km_profile_class) class, row->dims);
            table->answers[i] = log(ideal_s > 0.0 ? ideal_s / (row->us * 1e-6) : 1.0);
        }
    }
}
