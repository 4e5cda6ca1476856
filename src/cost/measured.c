#include "base/memory.h"
#include "cost/measured_lookup.h"

#include <stdlib.h>
#include <string.h>

#define REMEMBERED 4096u /* a power of two */

static enum km_origin origin_of(const struct km_profile_answer *answer)
{
    return answer->outside ? KM_ORIGIN_EXTRAPOLATED
           : answer->exact ? KM_ORIGIN_MEASURED
                           : KM_ORIGIN_INTERPOLATED;
}

/* Seconds of an operator whose least time is `ideal_s`. */
bool km_measured_time(struct km_measured *m, enum km_profile_class class, const double *at, double ideal_s,
                      double *time_s, enum km_origin *origin)
{
    struct km_profile_answer answer;
    if (ideal_s <= 0.0 || !km_profile_lookup(&m->profile, class, at, &answer))
        return false;
    *time_s = ideal_s / answer.value + m->gap_s;
    *origin = origin_of(&answer);
    return true;
}

/* What kernels of another program say, never less than the engine's description. Operators that others
 * contain (0) stay so. */
static void answer_with(const struct km_measured *m, const struct km_measured_answer *answer, double *time_s,
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
    struct km_measured_answer *slot = &m->remembered[key >> 52 & (REMEMBERED - 1)];
    if (slot->op != op || slot->rows != rows) {
        *slot = (struct km_measured_answer){.op = op, .rows = rows};
        slot->found = km_measured_look_up_rows(m, op, rows, &slot->time_s, &slot->origin);
    }
    if (slot->found)
        answer_with(m, slot, time_s, origin);
    return slot->found;
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
    struct km_measured_attention_answer *slot = &m->attended[key >> 52 & (REMEMBERED - 1)];
    if (slot->answer.op != op || !same_load(&slot->load, load)) {
        struct km_measured_attention_answer fresh = {.answer = {.op = op}, .load = *load};
        fresh.answer.found =
            km_measured_look_up_attention(m, op, load, &fresh.answer.time_s, &fresh.answer.origin);
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
