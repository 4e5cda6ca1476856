#include "cost/attention_tail.h"
#include "cost/profile/ideal.h"
#include "cost/profile/measured_lookup.h"

#include <math.h>
#include <string.h>

#define LONG_PROMPT 8192.0 /* tokens: attention of such prompts runs at its full rate */

/* The dims that all attention tables share, from what the operator says of one rank. */
static bool attention_dims(const struct km_measured *m, const struct km_op *op, double *at)
{
    const struct km_layer *layer = NULL;
    const struct km_model *model = m->config->model;
    for (uint32_t i = 0; i < model->layer_count && !layer; i++)
        if (model->layers[i].mixer == KM_ATTENTION && model->layers[i].window == op->window)
            layer = &model->layers[i];
    if (!layer)
        return false;
    double dims = (double)layer->head_dim + layer->value_dim;
    at[KM_ATTENTION_HEAD_DIM] = dims / 2.0;
    at[KM_ATTENTION_KV_DTYPE] = m->config->precision.kv_cache;
    at[KM_ATTENTION_HEADS] = op->tile_flops / (2.0 * dims);
    at[KM_ATTENTION_KV_HEADS] = op->kv_bytes / (dims * km_dtype_bytes(m->config->precision.kv_cache));
    return true;
}

static double attention_ideal_s(const struct km_measured *m, const struct km_op *op, double flops,
                                double bytes)
{
    return km_ideal_s(m->config->device, flops, op->activations, op->activations, bytes);
}

static bool attend(struct km_measured *m, enum km_profile_class class, double *at, double ideal_s,
                   double *time_s, enum km_origin *origin)
{
    if (km_measured_time(m, class, at, ideal_s, time_s, origin))
        return true;
    double dtype = at[KM_ATTENTION_KV_DTYPE];
    at[KM_ATTENTION_KV_DTYPE] = km_measured_sibling(dtype);
    bool found = km_measured_time(m, class, at, ideal_s, time_s, origin);
    at[KM_ATTENTION_KV_DTYPE] = dtype;
    return found;
}

static double prefill_ideal_s(const struct km_measured *m, const struct km_op *op,
                              const struct km_attention_load *load)
{
    return attention_ideal_s(m, op, op->pair_flops * load->prefill_pairs,
                             op->prefill_kv_bytes * load->prefill_context +
                                 op->prefill_query_bytes * load->prefill_tokens);
}

static double decode_ideal_s(const struct km_measured *m, const struct km_op *op,
                             const struct km_attention_load *load)
{
    return attention_ideal_s(m, op, op->tile_flops * load->decode_context,
                             op->kv_bytes * load->decode_context + op->query_bytes * load->decodes);
}

static bool prefill(struct km_measured *m, const struct km_op *op, const double *shared,
                    const struct km_attention_load *load, double *time_s, enum km_origin *origin)
{
    double at[KM_PROFILE_DIMS];
    memcpy(at, shared, sizeof at);
    at[KM_ATTENTION_WINDOW] = op->window;
    at[KM_PREFILL_SEQUENCES] = load->chunks;
    at[KM_PREFILL_PAST] = load->past / load->chunks;
    at[KM_PREFILL_TOKENS] = load->prefill_tokens / load->chunks;
    return attend(m, KM_PROFILE_PREFILL, at, prefill_ideal_s(m, op, load), time_s, origin);
}

static bool decode(struct km_measured *m, const struct km_op *op, const double *shared,
                   const struct km_attention_load *load, double *time_s, enum km_origin *origin)
{
    double at[KM_PROFILE_DIMS];
    memcpy(at, shared, sizeof at);
    at[KM_ATTENTION_WINDOW] = op->window;
    at[KM_DECODE_BATCH] = load->decodes;
    at[KM_DECODE_CONTEXT] = load->decode_context / load->decodes;
    return attend(m, KM_PROFILE_DECODE, at, decode_ideal_s(m, op, load), time_s, origin);
}

/* What FlashAttention 3 does with a mixed step: in steps of captured sizes the graphs' bound on splits lets
 * it share any sequence out (vllm/v1/attention/backends/flash_attn.py); others split nothing where the tiles
 * of the longest chunk, the query heads of a KV head side by side, fill four fifths of the multiprocessors
 * (hopper/heuristics.h, num_splits_heuristic; hopper/flash_api.cpp asks it as if that chunk were alone). */
static enum km_split launch_split(const struct km_measured *m, const double *at,
                                  const struct km_attention_load *load)
{
    bool captured;
    km_engine_padded_tokens(m->config->engine, (uint32_t)(load->prefill_tokens + load->decodes), &captured);
    const double rows = load->longest_chunk * at[KM_ATTENTION_HEADS] / at[KM_ATTENTION_KV_HEADS];
    const double tiles = at[KM_ATTENTION_KV_HEADS] * ceil(rows / KM_ATTENTION_TILE_ROWS);
    return !captured && tiles >= 0.8 * m->config->device->multiprocessors ? KM_SPLIT_NONE : KM_SPLIT_ANY;
}

/* The first source that has rows of such launches answers, or rows that do not say of which. */
static bool mixed_of(struct km_measured *m, double *at, double all_s, double piece_s, enum km_split split,
                     double *time_s, enum km_origin *origin)
{
    for (uint32_t i = 0; i < m->source_count; i++) {
        const double ideal_s = split == KM_SPLIT_NONE ? fmax(all_s, piece_s) : all_s;
        at[KM_MIXED_SPLIT] = split;
        if (km_measured_time_of(m, i, KM_PROFILE_MIXED, at, ideal_s, time_s, origin))
            return true;
        at[KM_MIXED_SPLIT] = KM_SPLIT_UNSTATED;
        if (km_measured_time_of(m, i, KM_PROFILE_MIXED, at, all_s, time_s, origin))
            return true;
    }
    return false;
}

/* Several prompts as the one chunk with as many tokens and query-key pairs. */
static bool mixed(struct km_measured *m, const struct km_op *op, const double *shared,
                  const struct km_attention_load *load, double *time_s, enum km_origin *origin)
{
    double at[KM_PROFILE_DIMS], tokens = load->prefill_tokens;
    if (op->window)
        return false; /* the class is of full contexts */
    memcpy(at, shared, sizeof at);
    at[KM_MIXED_TOKENS] = tokens;
    at[KM_MIXED_PAST] = fmax(0.0, load->prefill_pairs / tokens - (tokens + 1.0) / 2.0);
    at[KM_MIXED_BATCH] = load->decodes;
    at[KM_MIXED_CONTEXT] = load->decode_context / load->decodes;
    const double all_s = prefill_ideal_s(m, op, load) + decode_ideal_s(m, op, load);
    const double piece_s =
        km_piece_ideal_s(m->config->device, at, fmax(load->longest_context, load->longest_read));
    const enum km_split split = launch_split(m, at, load);
    if (mixed_of(m, at, all_s, piece_s, split, time_s, origin))
        return true;
    at[KM_ATTENTION_KV_DTYPE] = km_measured_sibling(at[KM_ATTENTION_KV_DTYPE]);
    return mixed_of(m, at, all_s, piece_s, split, time_s, origin);
}

static double skew(const struct km_measured *m, const struct km_attention_load *load)
{
    double mean = load->decode_context / load->decodes;
    const double at[KM_PROFILE_DIMS] = {[KM_SKEW_TOKENS] = load->prefill_tokens,
                                        [KM_SKEW_BATCH] = load->decodes,
                                        [KM_SKEW_PERCENT] = 100.0 * fmax(1.0, load->longest_context / mean),
                                        [KM_SKEW_CONTEXT] = mean};
    struct km_profile_answer answer;
    if (load->decodes < 2.0 || !km_profile_lookup(&m->sources[0].profile, KM_PROFILE_SKEW, at, &answer))
        return 1.0;
    return answer.value;
}

static enum km_origin worse(enum km_origin a, enum km_origin b)
{
    return a > b ? a : b;
}

/* Decodes in the launch of a prompt's kernel: without a launch of their own, but each query row fills a tile
 * and computes at the rate of long prompts. */
static double decodes_beside_prompts(struct km_measured *m, const struct km_op *op,
                                     const struct km_attention_load *load, double alone_s)
{
    const struct km_attention_load least = {.decodes = 1.0,
                                            .decode_context = 1.0,
                                            .longest_context = 1.0,
                                            .prefill_scale = 1.0,
                                            .decode_scale = 1.0};
    const struct km_attention_load most = {.prefill_tokens = LONG_PROMPT,
                                           .prefill_pairs = LONG_PROMPT * (LONG_PROMPT + 1.0) / 2.0,
                                           .prefill_context = LONG_PROMPT,
                                           .chunks = 1.0,
                                           .prefill_scale = 1.0,
                                           .decode_scale = 1.0};
    double launch_s = 0.0, long_s = 0.0, tile_rows = km_mixed_tile_rows(m->config->engine, op);
    enum km_origin ignored;
    bool unused;
    km_measured_attention(m, op, &least, &launch_s, &ignored, &unused);
    double beside_s = fmax(0.0, alone_s - launch_s);
    if (m->config->engine->mixed_tile_rows == 0 ||
        !km_measured_attention(m, op, &most, &long_s, &ignored, &unused))
        return beside_s;
    double tiles_s =
        long_s * tile_rows * op->tile_flops * load->decode_context / (op->pair_flops * most.prefill_pairs);
    return fmax(beside_s, tiles_s);
}

static bool look_up_attention(struct km_measured *m, const struct km_op *op,
                              const struct km_attention_load *load, double *time_s, enum km_origin *origin)
{
    double shared[KM_PROFILE_DIMS] = {0}, prompts_s = 0.0, decodes_s = 0.0;
    enum km_origin first = KM_ORIGIN_MEASURED, second = KM_ORIGIN_MEASURED;
    if (strcmp(op->name, "mla_attention") == 0)
        return km_measured_look_up_latent(m, op, load, time_s, origin);
    if (!attention_dims(m, op, shared))
        return false;
    bool prompts = load->prefill_tokens > 0.0, decodes = load->decodes > 0.0;
    if (prompts && decodes && !load->apart && mixed(m, op, shared, load, time_s, origin)) {
        *time_s *= skew(m, load);
        return true;
    }
    if (prompts && !prefill(m, op, shared, load, &prompts_s, &first))
        return false;
    if (decodes && !decode(m, op, shared, load, &decodes_s, &second))
        return false;
    if (decodes && !prompts)
        decodes_s *= skew(m, load);
    if (decodes && prompts && !load->apart)
        decodes_s = decodes_beside_prompts(m, op, load, decodes_s);
    if (decodes && (prompts || m->sources[0].profile.tables[KM_PROFILE_SKEW].count == 0))
        decodes_s += km_attention_tail_s(m->config->device, m->config->engine, op, load);
    *time_s = load->prefill_scale * prompts_s + load->decode_scale * decodes_s;
    *origin = worse(first, second);
    return true;
}

static uint64_t mix(uint64_t key, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (key ^ bits) * 0x9E3779B97F4A7C15u;
}

static bool same_load(const struct km_attention_load *a, const struct km_attention_load *b)
{
    return a->decode_context == b->decode_context && a->decodes == b->decodes &&
           a->longest_context == b->longest_context && a->prefill_pairs == b->prefill_pairs &&
           a->prefill_context == b->prefill_context && a->prefill_tokens == b->prefill_tokens &&
           a->longest_chunk == b->longest_chunk && a->longest_read == b->longest_read &&
           a->chunks == b->chunks && a->past == b->past && a->prefill_scale == b->prefill_scale &&
           a->decode_scale == b->decode_scale && a->apart == b->apart;
}

bool km_measured_attention(struct km_measured *m, const struct km_op *op,
                           const struct km_attention_load *load, double *time_s, enum km_origin *origin,
                           bool *supplement)
{
    uint64_t key = (uint64_t)(uintptr_t)op;
    key = mix(mix(mix(mix(key, load->decode_context), load->decodes), load->longest_context),
              load->prefill_pairs);
    struct km_measured_attention_answer *slot = &m->attended[key >> 52 & (KM_MEASURED_REMEMBERED - 1)];
    if (slot->answer.op != op || !same_load(&slot->load, load)) {
        struct km_measured_attention_answer fresh = {.answer = {.op = op}, .load = *load};
        const struct km_measured_parts before = km_measured_begin(m);
        fresh.answer.found = look_up_attention(m, op, load, &fresh.answer.time_s, &fresh.answer.origin);
        km_measured_end(m, before, &fresh.answer);
        *slot = fresh; /* only now: an answer may need others, which may take this slot */
    }
    if (slot->answer.found)
        km_measured_say(&slot->answer, time_s, origin, supplement);
    return slot->answer.found;
}
