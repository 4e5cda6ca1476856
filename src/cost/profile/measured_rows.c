#include "cost/collective.h"
#include "cost/profile/ideal.h"
#include "cost/profile/measured_lookup.h"

#include <math.h>
#include <string.h>

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
    if (km_measured_time(m, KM_PROFILE_GEMM, at, ideal_s, time_s, origin))
        return true;
    at[KM_GEMM_WEIGHTS] = km_measured_sibling(at[KM_GEMM_WEIGHTS]);
    at[KM_GEMM_ACTIVATIONS] = km_measured_sibling(at[KM_GEMM_ACTIVATIONS]);
    return km_measured_time(m, KM_PROFILE_GEMM, at, ideal_s, time_s, origin);
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
    return km_measured_time(m, KM_PROFILE_GROUPED_GEMM, at, ideal_s, time_s, origin);
}

/* The rows that choose at random among all experts and hit as many as `rows` that choose among `distinct` of them. */
static double rows_that_hit(const struct km_layer *layer, double distinct, double rows)
{
    const double hit = km_experts_hit(distinct, layer->experts_per_token, rows) / layer->experts;
    return log1p(-hit) / log1p(-(double)layer->experts_per_token / layer->experts);
}

/* A routed MLP measured as a whole, of rows at `at`; false when it was not. */
static bool whole_mlp(struct km_measured *m, double *at, double *time_s, double *share,
                      enum km_origin *origin)
{
    const double ideal_s = km_profile_ideal_s(m->config->device, KM_PROFILE_MOE, at);
    for (uint32_t i = 0; i < m->source_count; i++)
        for (int routing = 0; routing < KM_ROUTINGS; routing++) {
            at[KM_MOE_ROUTING] = routing;
            if (km_measured_time_of(m, i, KM_PROFILE_MOE, at, ideal_s, time_s, origin)) {
                *share = ideal_s / *time_s;
                return true;
            }
        }
    return false;
}

/* Of tokens that choose among fewer experts: what as many hit take, or their arithmetic at the rate of so many rows if that is more; never
 * more than tokens that choose among all. */
static bool fewer_experts(struct km_measured *m, const struct km_layer *layer, double distinct, double *at,
                          double *time_s, enum km_origin *origin)
{
    const double rows = at[KM_MOE_M];
    const double flops =
        6.0 * rows * at[KM_MOE_TOP_K] / at[KM_MOE_RANKS] * at[KM_MOE_HIDDEN] * at[KM_MOE_WIDTH];
    double all_s = *time_s, share, ignored;
    enum km_origin all = *origin;
    if (!whole_mlp(m, at, &all_s, &share, &all))
        return false;
    at[KM_MOE_M] = rows_that_hit(layer, distinct, rows);
    if (!whole_mlp(m, at, time_s, &ignored, origin))
        return false;
    const double arithmetic_s = km_ideal_s(m->config->device, flops, (enum km_dtype)at[KM_MOE_WEIGHTS],
                                           (enum km_dtype)at[KM_MOE_ACTIVATIONS], 0.0) /
                                share;
    *time_s = fmin(all_s, fmax(*time_s, arithmetic_s));
    return true;
}

/* A routed MLP measured as a whole: each of its products takes its share of the arithmetic, and what lies
 * between and around them takes nothing of its own. Routing is taken to be uniform; rows of balanced routing,
 * where there are no others, say which share of the roofline the kernel reaches, not which experts are hit.
 */
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
    double at[KM_PROFILE_DIMS] = {0}, whole_s = 0.0, share;
    at[KM_MOE_WEIGHTS] = op->weights;
    at[KM_MOE_ACTIVATIONS] = op->activations;
    at[KM_MOE_EXPERTS] = layer->experts;
    at[KM_MOE_TOP_K] = layer->experts_per_token;
    at[KM_MOE_RANKS] = (double)layer->experts / op->experts;
    at[KM_MOE_HIDDEN] = hidden;
    at[KM_MOE_WIDTH] = width;
    at[KM_MOE_M] = rows;
    const double distinct = op->distinct * layer->experts / op->experts;
    if (distinct < layer->experts ? !fewer_experts(m, layer, distinct, at, &whole_s, origin)
                                  : !whole_mlp(m, at, &whole_s, &share, origin))
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
    km_profile_word(&m->sources[0].profile, &km_profile_schemas[KM_PROFILE_STREAM].dims[KM_STREAM_KIND],
                    stream_kind(op->name), &at[KM_STREAM_KIND]);
    at[KM_STREAM_BYTES_PER_ROW] = op->bytes_per_row;
    at[KM_STREAM_ROWS] = rows;
    return km_measured_time(m, KM_PROFILE_STREAM, at,
                            km_profile_ideal_s(m->config->device, KM_PROFILE_STREAM, at), time_s, origin);
}

/* Do rows of this collective reach around the number of ranks? Another number is another algorithm's. */
static bool ranks_measured(const struct km_measured_source *source, const double *at)
{
    const struct km_profile_table *table = &source->profile.tables[KM_PROFILE_COLLECTIVE];
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

/* A collective as it was measured. */
struct candidate {
    double time_s; /* 0 = none */
    enum km_origin origin;
    uint32_t source;
    bool peers_kernel;
};

/* The fastest of the implementations that `may`, in a graph rather than launched singly, within the measured
 * sizes rather than beyond; of each, the first source that measured it for so many ranks. */
static struct candidate fastest(struct km_measured *m, double *at, double ideal_s,
                                bool (*may)(const char *implementation))
{
    const char *const *words =
        km_profile_schemas[KM_PROFILE_COLLECTIVE].dims[KM_COLLECTIVE_IMPLEMENTATION].words;
    struct candidate best = {0};
    for (double mode = 1.0; mode >= 0.0 && best.time_s == 0.0; mode--)
        for (size_t i = 0; words[i]; i++) {
            struct candidate one = {.peers_kernel = strstr(words[i], "_shot") != NULL};
            at[KM_COLLECTIVE_MODE] = mode;
            at[KM_COLLECTIVE_IMPLEMENTATION] = (double)i;
            while (one.source < m->source_count && !ranks_measured(&m->sources[one.source], at))
                one.source++;
            if (!may(words[i]) || one.source == m->source_count ||
                !km_measured_time_of(m, one.source, KM_PROFILE_COLLECTIVE, at, ideal_s, &one.time_s,
                                     &one.origin))
                continue;
            bool beyond = one.origin == KM_ORIGIN_EXTRAPOLATED,
                 best_beyond = best.time_s > 0.0 && best.origin == KM_ORIGIN_EXTRAPOLATED;
            if (best.time_s > 0.0 && (beyond == best_beyond ? one.time_s >= best.time_s : beyond))
                continue;
            best = one;
        }
    return best;
}

static bool any(const char *implementation)
{
    return implementation[0] != '\0';
}

static bool is_library(const char *implementation)
{
    return strcmp(implementation, "nccl") == 0;
}

static bool is_custom(const char *implementation)
{
    return strcmp(implementation, "custom") == 0;
}

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
    const bool reduces = op->collective == KM_ALL_REDUCE,
               library = reduces && km_all_reduce_by_library(&node->link, engine, op->group.ranks, bytes);
    double at[KM_PROFILE_DIMS] = {0};
    km_profile_word(&m->sources[0].profile, &dims[KM_COLLECTIVE_KIND], kinds[op->collective],
                    &at[KM_COLLECTIVE_KIND]);
    at[KM_COLLECTIVE_RANKS] = op->group.ranks;
    at[KM_COLLECTIVE_BYTES] = bytes;
    double ideal_s = km_profile_ideal_s(m->config->device, KM_PROFILE_COLLECTIVE, at);
    struct candidate best = {0};
    if (reduces && !library && engine->peer_kernel == KM_PEERS_CUSTOM)
        best = fastest(m, at, ideal_s, is_custom);
    if (best.time_s == 0.0 || best.origin == KM_ORIGIN_EXTRAPOLATED) {
        struct candidate other = fastest(m, at, ideal_s, library ? is_library : any);
        best = best.time_s == 0.0 || other.origin != KM_ORIGIN_EXTRAPOLATED ? other : best;
    }
    if (best.time_s == 0.0)
        return false;
    *time_s = best.time_s + (reduces ? engine->composition.all_reduce_launch_s : 0.0);
    *origin = best.origin;
    m->by_supplement = best.source > 0;
    double described_s = km_collective_s(node, engine, op->collective, op->group, bytes);
    if (m->sources[best.source].stand_in && best.peers_kernel && best.time_s < described_s) {
        *time_s = described_s;
        *origin = KM_ORIGIN_MODEL;
        m->by_supplement = false;
    }
    return true;
}

static bool look_up_rows(struct km_measured *m, const struct km_op *op, double rows, double *time_s,
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

bool km_measured_rows(struct km_measured *m, const struct km_op *op, double rows, double *time_s,
                      enum km_origin *origin, bool *supplement)
{
    uint64_t key = (uint64_t)(uintptr_t)op * 0x9E3779B97F4A7C15u ^ (uint64_t)rows * 0xD1B54A32D192ED03u;
    struct km_measured_answer *slot = &m->remembered[key >> 52 & (KM_MEASURED_REMEMBERED - 1)];
    if (slot->op != op || slot->rows != rows) {
        *slot = (struct km_measured_answer){.op = op, .rows = rows};
        const struct km_measured_parts before = km_measured_begin(m);
        slot->found = look_up_rows(m, op, rows, &slot->time_s, &slot->origin);
        km_measured_end(m, before, slot);
    }
    if (slot->found)
        km_measured_say(slot, time_s, origin, supplement);
    return slot->found;
}
