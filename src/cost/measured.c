#include "cost/measured.h"

#include "base/memory.h"
#include "cost/attention_tail.h"
#include "cost/collective.h"
#include "cost/profile_roofline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REMEMBERED  4096u  /* a power of two */
#define LONG_PROMPT 8192.0 /* tokens: attention of such prompts runs at its full rate */

struct answer {
    const struct km_op *op;
    double rows, time_s;
    enum km_origin origin;
    bool found;
};

struct attention_answer {
    struct answer answer;
    struct km_attention_load load;
};

struct km_measured {
    struct km_profile profile;
    const struct km_cost_config *config;
    double gap_s; /* between kernels, where rows are bare kernel times */
    bool attention_writes_kv, moe_includes_router, moe_includes_shared;
    bool stand_in;                     /* kernels of another program than the engine */
    bool whole_experts;                /* routed MLPs were measured as a whole */
    struct answer *remembered;         /* [REMEMBERED], by operator and rows */
    struct attention_answer *attended; /* [REMEMBERED], by operator and load */
};

static enum km_origin origin_of(const struct km_profile_answer *answer)
{
    return answer->outside ? KM_ORIGIN_EXTRAPOLATED
           : answer->exact ? KM_ORIGIN_MEASURED
                           : KM_ORIGIN_INTERPOLATED;
}

/* Seconds of an operator whose least time is `ideal_s`. */
static bool time_of(struct km_measured *m, enum km_profile_class class, const double *at, double ideal_s,
                    double *time_s, enum km_origin *origin)
{
    struct km_profile_answer answer;
    if (ideal_s <= 0.0 || !km_profile_lookup(&m->profile, class, at, &answer))
        return false;
    *time_s = ideal_s / answer.value + m->gap_s;
    *origin = origin_of(&answer);
    return true;
}

/* fp16 and bf16 run at one rate: a table of one answers for the other. */
static double sibling(double dtype)
{
    return dtype == KM_BF16 ? KM_FP16 : dtype == KM_FP16 ? KM_BF16 : dtype;
}

static bool gemm(struct km_measured *m, const struct km_op *op, double rows, double *time_s,
                 enum km_origin *origin)
{
    double at[KM_PROFILE_DIMS] = {0};
    at[KM_GEMM_WEIGHTS] = op->weights;
    at[KM_GEMM_ACTIVATIONS] = op->activations;
    at[KM_GEMM_N] = op->n;
    at[KM_GEMM_K] = op->k;
    at[KM_GEMM_M] = rows;
    const struct km_device *device = m->config->device;
    double ideal_s = km_profile_ideal_s(device, KM_PROFILE_GEMM, at);
    if (time_of(m, KM_PROFILE_GEMM, at, ideal_s, time_s, origin))
        return true;
    at[KM_GEMM_WEIGHTS] = sibling(at[KM_GEMM_WEIGHTS]);
    at[KM_GEMM_ACTIVATIONS] = sibling(at[KM_GEMM_ACTIVATIONS]);
    return time_of(m, KM_PROFILE_GEMM, at, ideal_s, time_s, origin);
}

static bool grouped(struct km_measured *m, const struct km_op *op, double rows, double *time_s,
                    enum km_origin *origin)
{
    double at[KM_PROFILE_DIMS] = {0};
    at[KM_GROUPED_WEIGHTS] = op->weights;
    at[KM_GROUPED_ACTIVATIONS] = op->activations;
    at[KM_GROUPED_EXPERTS] = op->experts;
    at[KM_GROUPED_TOP_K] = op->routed_per_row;
    at[KM_GROUPED_N] = op->n;
    at[KM_GROUPED_K] = op->k;
    at[KM_GROUPED_M] = rows;
    double bytes = km_op_weight_bytes(op, rows) +
                   rows * op->routed_per_row * (op->n + op->k) * km_dtype_bytes(op->activations);
    double ideal_s = km_ideal_s(m->config->device, 2.0 * rows * op->routed_per_row * op->n * op->k,
                                op->weights, op->activations, bytes);
    return time_of(m, KM_PROFILE_GROUPED_GEMM, at, ideal_s, time_s, origin);
}

/* A routed MLP measured as a whole: each of its products takes its share of the arithmetic, and what lies
 * between and around them takes nothing of its own. */
static bool routed(struct km_measured *m, const struct km_op *op, double rows, double *time_s,
                   enum km_origin *origin)
{
    const struct km_layer *layer = NULL;
    const struct km_model *model = m->config->model;
    for (uint32_t i = 0; i < model->layer_count && !layer; i++)
        if (model->layers[i].mlp == KM_MLP_MOE)
            layer = &model->layers[i];
    if (!layer || !layer->gated)
        return false;
    double hidden = model->hidden, width = strcmp(op->name, "experts_down") == 0 ? op->k : op->n / 2.0;
    double at[KM_PROFILE_DIMS] = {0}, whole_s;
    at[KM_MOE_WEIGHTS] = op->weights;
    at[KM_MOE_ACTIVATIONS] = op->activations;
    at[KM_MOE_EXPERTS] = layer->experts;
    at[KM_MOE_TOP_K] = layer->experts_per_token;
    at[KM_MOE_RANKS] = (double)layer->experts / op->experts;
    at[KM_MOE_HIDDEN] = hidden;
    at[KM_MOE_WIDTH] = width;
    at[KM_MOE_M] = rows;
    if (!time_of(m, KM_PROFILE_MOE, at, km_profile_ideal_s(m->config->device, KM_PROFILE_MOE, at), &whole_s,
                 origin))
        return false;
    *time_s = whole_s * op->n * op->k / (3.0 * hidden * width);
    return true;
}

/* Is the operator part of another one, with which it was measured? */
static bool contained(const struct km_measured *m, const char *name)
{
    if (strcmp(name, "kv_write") == 0)
        return m->attention_writes_kv;
    if (!m->whole_experts)
        return false;
    return strcmp(name, "route") == 0 || strcmp(name, "experts_act") == 0 || strcmp(name, "combine") == 0 ||
           (m->moe_includes_router && strcmp(name, "router") == 0) ||
           (m->moe_includes_shared && strncmp(name, "shared_", 7) == 0);
}

static const char *stream_kind(const char *name)
{
    static const struct {
        const char *part, *kind;
    } kinds[] = {{"norm", "norm"},   {"rope", "rope"},     {"kv_write", "kv_write"}, {"act", "activation"},
                 {"embed", "embed"}, {"sample", "sample"}, {"route", "route"},       {"combine", "combine"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strstr(name, kinds[i].part))
            return kinds[i].kind;
    return "other";
}

static bool stream(struct km_measured *m, const struct km_op *op, double rows, double *time_s,
                   enum km_origin *origin)
{
    double at[KM_PROFILE_DIMS] = {0};
    km_profile_word(&m->profile, &km_profile_schemas[KM_PROFILE_STREAM].dims[KM_STREAM_KIND],
                    stream_kind(op->name), &at[KM_STREAM_KIND]);
    at[KM_STREAM_BYTES_PER_ROW] = op->bytes_per_row;
    at[KM_STREAM_ROWS] = rows;
    return time_of(m, KM_PROFILE_STREAM, at, km_profile_ideal_s(m->config->device, KM_PROFILE_STREAM, at),
                   time_s, origin);
}

/* Do rows of this collective reach around the number of ranks? Another number is another algorithm's. */
static bool ranks_measured(const struct km_measured *m, const double *at)
{
    const struct km_profile_table *table = &m->profile.tables[KM_PROFILE_COLLECTIVE];
    bool fewer = false, more = false;
    for (size_t i = 0; i < table->count && !(fewer && more); i++) {
        const double *dims = table->rows[i].dims;
        if (dims[KM_COLLECTIVE_KIND] != at[KM_COLLECTIVE_KIND] ||
            dims[KM_COLLECTIVE_IMPLEMENTATION] != at[KM_COLLECTIVE_IMPLEMENTATION] ||
            dims[KM_COLLECTIVE_MODE] != at[KM_COLLECTIVE_MODE])
            continue;
        fewer |= dims[KM_COLLECTIVE_RANKS] <= at[KM_COLLECTIVE_RANKS];
        more |= dims[KM_COLLECTIVE_RANKS] >= at[KM_COLLECTIVE_RANKS];
    }
    return fewer && more;
}

/* The fastest of the implementations that were measured, in a graph rather than launched singly, within the
 * measured sizes rather than beyond. */
static bool collective(struct km_measured *m, const struct km_op *op, double bytes, double *time_s,
                       enum km_origin *origin)
{
    static const char *const kinds[] = {[KM_ALL_REDUCE] = "all_reduce",
                                        [KM_ALL_GATHER] = "all_gather",
                                        [KM_REDUCE_SCATTER] = "reduce_scatter",
                                        [KM_ALL_TO_ALL] = "all_to_all",
                                        [KM_SEND_RECV] = "send_recv"};
    const struct km_profile_dim *dims = km_profile_schemas[KM_PROFILE_COLLECTIVE].dims;
    const struct km_node *node = &m->config->device->node;
    const struct km_engine *engine = m->config->engine;
    if (op->group.ranks < 2 ||
        op->group.first + (op->group.ranks - 1) * op->group.stride >= node->gpus_per_node)
        return false; /* profiles are of one node */
    const bool library = op->collective == KM_ALL_REDUCE &&
                         km_all_reduce_by_library(&node->link, engine, op->group.ranks, bytes);
    bool peers_kernel = false;
    double at[KM_PROFILE_DIMS] = {0}, least_s = 0.0;
    km_profile_word(&m->profile, &dims[KM_COLLECTIVE_KIND], kinds[op->collective], &at[KM_COLLECTIVE_KIND]);
    at[KM_COLLECTIVE_RANKS] = op->group.ranks;
    at[KM_COLLECTIVE_BYTES] = bytes;
    double ideal_s = km_profile_ideal_s(m->config->device, KM_PROFILE_COLLECTIVE, at);
    for (double mode = 1.0; mode >= 0.0 && least_s == 0.0; mode--)
        for (size_t i = 0; dims[KM_COLLECTIVE_IMPLEMENTATION].words[i]; i++) {
            const char *implementation = dims[KM_COLLECTIVE_IMPLEMENTATION].words[i];
            double candidate_s;
            enum km_origin from;
            at[KM_COLLECTIVE_MODE] = mode;
            at[KM_COLLECTIVE_IMPLEMENTATION] = (double)i;
            if ((library && strcmp(implementation, "nccl") != 0) || !ranks_measured(m, at) ||
                !time_of(m, KM_PROFILE_COLLECTIVE, at, ideal_s, &candidate_s, &from))
                continue;
            bool beyond = from == KM_ORIGIN_EXTRAPOLATED,
                 best_beyond = least_s > 0.0 && *origin == KM_ORIGIN_EXTRAPOLATED;
            if (least_s > 0.0 && (beyond == best_beyond ? candidate_s >= least_s : beyond))
                continue;
            least_s = candidate_s;
            *origin = from;
            peers_kernel = strstr(implementation, "_shot") != NULL;
        }
    if (least_s == 0.0)
        return false;
    *time_s = least_s + (op->collective == KM_ALL_REDUCE ? engine->composition.all_reduce_launch_s : 0.0);
    double described_s = km_collective_s(node, engine, op->collective, op->group, bytes);
    if (m->stand_in && peers_kernel && least_s < described_s) {
        *time_s = described_s;
        *origin = KM_ORIGIN_MODEL;
    }
    return true;
}

static bool look_up(struct km_measured *m, const struct km_op *op, double rows, double *time_s,
                    enum km_origin *origin)
{
    if (contained(m, op->name)) {
        *time_s = 0.0;
        *origin = KM_ORIGIN_MEASURED;
        return true;
    }
    switch (op->kind) {
    case KM_OP_GEMM:
        return gemm(m, op, rows, time_s, origin);
    case KM_OP_EXPERTS:
        return m->whole_experts ? routed(m, op, rows, time_s, origin) : grouped(m, op, rows, time_s, origin);
    case KM_OP_STREAM:
        return stream(m, op, rows, time_s, origin);
    case KM_OP_COLLECTIVE:
        return collective(m, op, op->message_bytes_per_row * rows, time_s, origin);
    case KM_OP_ATTENTION:
        break;
    }
    return false;
}

/* What kernels of another program say, never less than the engine's description. Operators that others
 * contain (0) stay so. */
static void answer_with(const struct km_measured *m, const struct answer *answer, double *time_s,
                        enum km_origin *origin)
{
    enum km_op_kind kind = answer->op->kind;
    bool engine_counts = m->stand_in && (kind == KM_OP_STREAM || kind == KM_OP_ATTENTION);
    if (engine_counts && answer->time_s > 0.0 && answer->time_s < *time_s)
        return;
    *time_s = answer->time_s;
    *origin = answer->origin;
}

bool km_measured_rows(struct km_measured *m, const struct km_op *op, double rows, double *time_s,
                      enum km_origin *origin)
{
    uint64_t key = (uint64_t)(uintptr_t)op * 0x9E3779B97F4A7C15u ^ (uint64_t)rows * 0xD1B54A32D192ED03u;
    struct answer *slot = &m->remembered[key >> 52 & (REMEMBERED - 1)];
    if (slot->op != op || slot->rows != rows) {
        *slot = (struct answer){.op = op, .rows = rows};
        slot->found = look_up(m, op, rows, &slot->time_s, &slot->origin);
    }
    if (slot->found)
        answer_with(m, slot, time_s, origin);
    return slot->found;
}

/* The dims that all attention tables share, from what the operator says of one rank. */
static bool attention_dims(const struct km_measured *m, const struct km_op *op, double *at)
{
    const struct km_layer *layer = NULL;
    const struct km_model *model = m->config->model;
    for (uint32_t i = 0; i < model->layer_count && !layer; i++)
        if (model->layers[i].mixer == KM_ATTENTION && model->layers[i].window == op->window)
            layer = &model->layers[i];
    if (!layer || strcmp(op->name, "mla_attention") == 0)
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
    if (time_of(m, class, at, ideal_s, time_s, origin))
        return true;
    double dtype = at[KM_ATTENTION_KV_DTYPE];
    at[KM_ATTENTION_KV_DTYPE] = sibling(dtype);
    bool found = time_of(m, class, at, ideal_s, time_s, origin);
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
    return attend(m, KM_PROFILE_MIXED, at, prefill_ideal_s(m, op, load) + decode_ideal_s(m, op, load), time_s,
                  origin);
}

static double skew(const struct km_measured *m, const struct km_attention_load *load)
{
    double mean = load->decode_context / load->decodes;
    const double at[KM_PROFILE_DIMS] = {[KM_SKEW_TOKENS] = load->prefill_tokens,
                                        [KM_SKEW_BATCH] = load->decodes,
                                        [KM_SKEW_PERCENT] = 100.0 * fmax(1.0, load->longest_context / mean),
                                        [KM_SKEW_CONTEXT] = mean};
    struct km_profile_answer answer;
    if (load->decodes < 2.0 || !km_profile_lookup(&m->profile, KM_PROFILE_SKEW, at, &answer))
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
    km_measured_attention(m, op, &least, &launch_s, &ignored);
    double beside_s = fmax(0.0, alone_s - launch_s);
    if (m->config->engine->mixed_tile_rows == 0 || !km_measured_attention(m, op, &most, &long_s, &ignored))
        return beside_s;
    double tiles_s =
        long_s * tile_rows * op->tile_flops * load->decode_context / (op->pair_flops * most.prefill_pairs);
    return fmax(beside_s, tiles_s);
}

static bool attention(struct km_measured *m, const struct km_op *op, const struct km_attention_load *load,
                      double *time_s, enum km_origin *origin)
{
    double shared[KM_PROFILE_DIMS] = {0}, prompts_s = 0.0, decodes_s = 0.0;
    enum km_origin first = KM_ORIGIN_MEASURED, second = KM_ORIGIN_MEASURED;
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
    if (decodes && (prompts || m->profile.tables[KM_PROFILE_SKEW].count == 0))
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
           a->chunks == b->chunks && a->past == b->past && a->prefill_scale == b->prefill_scale &&
           a->decode_scale == b->decode_scale && a->apart == b->apart;
}

bool km_measured_attention(struct km_measured *m, const struct km_op *op,
                           const struct km_attention_load *load, double *time_s, enum km_origin *origin)
{
    uint64_t key = (uint64_t)(uintptr_t)op;
    key = mix(mix(mix(mix(key, load->decode_context), load->decodes), load->longest_context),
              load->prefill_pairs);
    struct attention_answer *slot = &m->attended[key >> 52 & (REMEMBERED - 1)];
    if (slot->answer.op != op || !same_load(&slot->load, load)) {
        struct attention_answer fresh = {.answer = {.op = op}, .load = *load};
        fresh.answer.found = attention(m, op, load, &fresh.answer.time_s, &fresh.answer.origin);
        *slot = fresh; /* only now: an answer may need others, which may take this slot */
    }
    if (slot->answer.found)
        answer_with(m, &slot->answer, time_s, origin);
    return slot->answer.found;
}

/* Is the engine this program, in whatever version ("vllm-0.26" is "vllm")? */
static bool is_of(const char *engine, const char *program)
{
    size_t n = strlen(program);
    return strncmp(engine, program, n) == 0 && (engine[n] == '\0' || engine[n] == '-');
}

/* Are there rows of routed MLPs in the formats of this model? */
static bool answers_experts(const struct km_measured *m)
{
    const double at[KM_PROFILE_DIMS] = {[KM_MOE_WEIGHTS] = m->config->precision.weights,
                                        [KM_MOE_ACTIVATIONS] = m->config->precision.activations};
    struct km_profile_answer answer;
    return km_profile_lookup(&m->profile, KM_PROFILE_MOE, at, &answer);
}

enum km_status km_measured_create(const struct km_cost_config *config, struct km_measured **out,
                                  struct km_error *error)
{
    struct km_measured *m = km_alloc(sizeof *m);
    *out = NULL;
    if (!config->profile) {
        free(m);
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "cost model profile needs cost.profile: the file of a measured profile");
    }
    enum km_status status = km_profile_read(config->profile, &m->profile, error);
    if (status == KM_OK &&
        m->profile.tables[KM_PROFILE_GEMM].count + m->profile.tables[KM_PROFILE_DECODE].count == 0)
        status = km_fail(error, KM_BAD_INPUT, config->profile, 0, 0,
                         "has neither gemm nor attention_decode rows: nothing a model's time follows from");
    if (status == KM_OK && strcmp(m->profile.device, config->device->name) != 0)
        status = km_fail(error, KM_BAD_INPUT, config->profile, 0, 0,
                         "was measured on %s, but the cluster's device is %s", m->profile.device,
                         config->device->name);
    if (status != KM_OK) {
        km_profile_release(&m->profile);
        free(m);
        return status;
    }
    double value;
    m->config = config;
    km_profile_bind(&m->profile, config->device);
    m->gap_s = km_profile_scalar(&m->profile, "kernel_gap_us", &value) ? value * 1e-6 : 0.0;
    m->attention_writes_kv = km_profile_scalar(&m->profile, "attention_writes_kv", &value) && value > 0.0;
    m->moe_includes_router = km_profile_scalar(&m->profile, "moe_includes_router", &value) && value > 0.0;
    m->moe_includes_shared = km_profile_scalar(&m->profile, "moe_includes_shared", &value) && value > 0.0;
    m->stand_in = m->profile.kernels_of && !is_of(config->engine->name, m->profile.kernels_of);
    m->whole_experts = m->profile.tables[KM_PROFILE_GROUPED_GEMM].count == 0 && answers_experts(m);
    m->remembered = km_alloc(REMEMBERED * sizeof *m->remembered);
    m->attended = km_alloc(REMEMBERED * sizeof *m->attended);
    *out = m;
    return KM_OK;
}

void km_measured_destroy(struct km_measured *m)
{
    if (!m)
        return;
    km_profile_release(&m->profile);
    free(m->remembered);
    free(m->attended);
    free(m);
}
