#include "base/memory.h"
#include "cost/profile/measured_lookup.h"
#include "cost/profile/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The first source that answers `at` in a class; source_count when none does. */
static uint32_t source_for(const struct km_measured *m, enum km_profile_class class, const double *at)
{
    struct km_profile_answer answer;
    uint32_t i = 0;
    while (i < m->source_count && !km_profile_lookup(&m->sources[i].profile, class, at, &answer))
        i++;
    return i;
}

static bool says(const struct km_measured_source *source, const char *scalar)
{
    double value;
    return km_profile_scalar(&source->profile, scalar, &value) && value > 0.0;
}

/* Which kernels a model's experts are: as the engine says, where its kind was measured in the model's
 * formats.
 */
static void choose_experts(struct km_measured *m)
{
    const struct km_precision *precision = &m->config->precision;
    const enum km_experts_kernel kernel = m->config->engine->experts_kernel;
    double at[KM_PROFILE_DIMS] = {
        [KM_MOE_WEIGHTS] = precision->weights, [KM_MOE_ACTIVATIONS] = precision->activations};
    const uint32_t grouped = source_for(m, KM_PROFILE_GROUPED_GEMM, at);
    uint32_t whole = source_for(m, KM_PROFILE_MOE, at);
    at[KM_MOE_ROUTING] = KM_ROUTING_BALANCED;
    const uint32_t balanced = source_for(m, KM_PROFILE_MOE, at);
    whole = balanced < whole ? balanced : whole;
    if (whole == m->source_count)
        return;
    m->whole_experts = grouped == m->source_count || kernel == KM_EXPERTS_FUSED ||
                       (kernel == KM_EXPERTS_ANY && whole < grouped);
    m->moe_includes_router = says(&m->sources[whole], "moe_includes_router");
    m->moe_includes_shared = says(&m->sources[whole], "moe_includes_shared");
}

static enum km_status open_source(struct km_measured *m, const char *path, struct km_error *error)
{
    struct km_measured_source *source = &m->sources[m->source_count];
    const struct km_cost_config *config = m->config;
    double value;
    enum km_status status = config->profiles
                                ? km_profile_store_view(config->profiles, path, &source->profile, error)
                                : km_profile_read(path, &source->profile, error);
    if (status != KM_OK)
        return status;
    m->source_count++;
    if (strcmp(source->profile.device, config->device->name) != 0)
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "was measured on %s, but the cluster's device is %s",
                       source->profile.device, config->device->name);
    km_profile_bind(&source->profile, config->device);
    source->gap_s = km_profile_scalar(&source->profile, "kernel_gap_us", &value) ? value * 1e-6 : 0.0;
    source->stand_in =
        source->profile.kernels_of && !km_engine_is(config->engine->name, source->profile.kernels_of);
    return KM_OK;
}

static enum km_status open_supplement(struct km_measured *m, uint32_t of, struct km_error *error)
{
    struct km_profile *profile = &m->sources[of].profile;
    if (!profile->supplement)
        return KM_OK;
    if (m->source_count == KM_MEASURED_SOURCES)
        return km_fail(error, KM_BAD_INPUT, profile->path, 0, 0,
                       "names a supplement, and is one of one: a chain holds %d profiles",
                       KM_MEASURED_SOURCES);
    const char *slash = strrchr(profile->path, '/');
    int folder = slash ? (int)(slash - profile->path) + 1 : 0;
    return open_source(
        m, km_arena_printf(&profile->arena, "%.*s%s.json", folder, profile->path, profile->supplement),
        error);
}

static void source_power(const struct km_profile *profile, double idle_w, struct km_power_use *out)
{
    double rested, sustained, constant_s, gemm_w, stream_w;
    if (!km_profile_scalar(profile, "gemm_rested_flops_per_s", &rested) ||
        !km_profile_scalar(profile, "gemm_sustained_flops_per_s", &sustained) ||
        !km_profile_scalar(profile, "gemm_power_time_constant_s", &constant_s) || sustained <= 0.0)
        return;
    out->rise = fmax(0.0, rested / sustained - 1.0);
    out->time_s = constant_s;
    if (km_profile_scalar(profile, "power_gemm_w", &gemm_w) &&
        km_profile_scalar(profile, "power_stream_w", &stream_w) && gemm_w > idle_w)
        out->stream = fmin(1.0, fmax(0.0, (stream_w - idle_w) / (gemm_w - idle_w)));
}

/* Does an earlier source say so of these formats? */
static bool rise_known(const struct km_measured *m, size_t count, const double *dims)
{
    for (size_t i = 0; i < count; i++)
        if (m->rises[i].weights == dims[KM_GEMM_WEIGHTS] &&
            m->rises[i].activations == dims[KM_GEMM_ACTIVATIONS])
            return true;
    return false;
}

static void source_rises(struct km_measured *m, const struct km_profile *profile)
{
    const struct km_profile_table *table = &profile->tables[KM_PROFILE_GEMM_SUSTAINED];
    const size_t before = m->rise_count;
    m->rises = km_realloc(m->rises, (before + table->count + 1) * sizeof *m->rises);
    for (size_t i = 0; i < table->count; i++) {
        const double *dims = table->rows[i].dims;
        struct km_profile_answer rested;
        if (rise_known(m, before, dims) || !km_profile_lookup(profile, KM_PROFILE_GEMM, dims, &rested))
            continue;
        m->rises[m->rise_count++] =
            (struct km_measured_rise){.weights = dims[KM_GEMM_WEIGHTS],
                                      .activations = dims[KM_GEMM_ACTIVATIONS],
                                      .log_n = log(dims[KM_GEMM_N]),
                                      .log_k = log(dims[KM_GEMM_K]),
                                      .log_m = log(dims[KM_GEMM_M]),
                                      .rise = fmax(0.0, rested.value / exp(table->answers[i]) - 1.0)};
    }
}

static void find_power(struct km_measured *m)
{
    for (uint32_t i = 0; i < m->source_count; i++) {
        if (m->power.time_s == 0.0)
            source_power(&m->sources[i].profile, m->config->device->idle_power_w, &m->power);
        source_rises(m, &m->sources[i].profile);
    }
}

void km_measured_power(const struct km_measured *m, struct km_power_use *out)
{
    *out = m->power;
}

static double square(double x)
{
    return x * x;
}

double km_measured_rise(const struct km_measured *m, const struct km_op *op, double rows)
{
    double rise = m->power.rise, nearest = INFINITY;
    if (op->kind != KM_OP_GEMM || rows <= 0.0)
        return rise;
    const double n = log(op->n), k = log(op->k), at = log(rows);
    for (size_t i = 0; i < m->rise_count; i++) {
        const struct km_measured_rise *r = &m->rises[i];
        if (r->weights != (double)op->weights || r->activations != (double)op->activations)
            continue;
        double far = square(r->log_n - n) + square(r->log_k - k) + square(r->log_m - at);
        if (far < nearest) {
            nearest = far;
            rise = r->rise;
        }
    }
    return rise;
}

enum km_status km_measured_create(const struct km_cost_config *config, struct km_measured **out,
                                  struct km_error *error)
{
    *out = NULL;
    if (!config->profile)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "cost model profile needs cost.profile: the file of a measured profile");
    struct km_measured *m = km_alloc(sizeof *m);
    m->config = config;
    enum km_status status = open_source(m, config->profile, error);
    const struct km_profile_table *tables = m->sources[0].profile.tables;
    if (status == KM_OK && tables[KM_PROFILE_GEMM].count + tables[KM_PROFILE_DECODE].count == 0)
        status = km_fail(error, KM_BAD_INPUT, config->profile, 0, 0,
                         "has neither gemm nor attention_decode rows: nothing a model's time follows from");
    for (uint32_t i = 0; status == KM_OK && i < m->source_count; i++)
        status = open_supplement(m, i, error);
    if (status != KM_OK) {
        km_measured_destroy(m);
        return status;
    }
    choose_experts(m);
    find_power(m);
    m->attention_writes_kv = says(&m->sources[0], "attention_writes_kv");
    m->remembered = km_alloc(KM_MEASURED_REMEMBERED * sizeof *m->remembered);
    m->attended = km_alloc(KM_MEASURED_REMEMBERED * sizeof *m->attended);
    *out = m;
    return KM_OK;
}

void km_measured_destroy(struct km_measured *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->source_count; i++)
        (m->config->profiles ? km_profile_view_release : km_profile_release)(&m->sources[i].profile);
    free(m->remembered);
    free(m->attended);
    free(m->rises);
    free(m);
}
