#include "calibration/compare.h"

#include "cost/profile/measured.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The profile's own time, whatever the engine: an answer is asked for without a time to fall back to. */
static void ask_rows(struct km_measured *measured, const struct km_op *op, double rows, double *time_s,
                     enum km_origin *origin)
{
    *time_s = 0.0;
    *origin = KM_ORIGIN_MODEL;
    bool supplement;
    km_measured_rows(measured, op, rows, time_s, origin, &supplement);
}

static void ask_attention(struct km_measured *measured, const struct km_op *op,
                          const struct km_attention_load *load, double *time_s, enum km_origin *origin)
{
    *time_s = 0.0;
    *origin = KM_ORIGIN_MODEL;
    bool supplement;
    km_measured_attention(measured, op, load, time_s, origin, &supplement);
}

static struct km_compare_row *next(struct km_compare *out)
{
    return out->count < KM_COMPARE_ROWS ? &out->rows[out->count++] : NULL;
}

static void compare_product(struct km_measured *const measured[2], const struct km_op *op,
                            struct km_compare *out)
{
    static const double rows[] = {1, 8, 16, 64, 256, 512, 1024, 2048, 4096, 8192};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct km_compare_row *row = next(out);
        if (!row)
            return;
        *row = (struct km_compare_row){.op = op->name, .n = op->n, .k = op->k, .rows = rows[i]};
        for (int p = 0; p < 2; p++)
            ask_rows(measured[p], op, rows[i], &row->time_s[p], &row->origin[p]);
    }
}

static void compare_attention(struct km_measured *const measured[2], const struct km_op *op,
                              struct km_compare *out)
{
    static const double batches[] = {1, 16, 64, 256}, contexts[] = {256, 1024, 2048, 8192},
                        prompts[] = {256, 512, 1024, 2048, 4096, 8192};
    for (size_t i = 0; i < COUNT(batches) * COUNT(contexts) + COUNT(prompts); i++) {
        struct km_attention_load load = {0};
        struct km_compare_row *row = next(out);
        if (!row)
            return;
        if (i < COUNT(prompts)) {
            double tokens = prompts[i];
            load = (struct km_attention_load){.prefill_tokens = tokens,
                                              .prefill_pairs = tokens * (tokens + 1.0) / 2.0,
                                              .prefill_context = tokens,
                                              .chunks = 1.0,
                                              .prefill_scale = 1.0,
                                              .decode_scale = 1.0};
            *row = (struct km_compare_row){.op = "prefill", .rows = tokens, .context = tokens};
        } else {
            double batch = batches[(i - COUNT(prompts)) / COUNT(contexts)],
                   context = contexts[(i - COUNT(prompts)) % COUNT(contexts)];
            load = (struct km_attention_load){.decodes = batch,
                                              .decode_context = batch * context,
                                              .longest_context = context,
                                              .prefill_scale = 1.0,
                                              .decode_scale = 1.0};
            *row = (struct km_compare_row){.op = "decode", .rows = batch, .context = context};
        }
        for (int p = 0; p < 2; p++)
            ask_attention(measured[p], op, &load, &row->time_s[p], &row->origin[p]);
    }
}

enum km_status km_compare_profiles(const struct km_cost_config *config, const char *other,
                                   struct km_arena *arena, struct km_compare *out, struct km_error *error)
{
    struct km_cost_config second = *config;
    struct km_measured *measured[2] = {NULL, NULL};
    struct km_stage_operators stage;
    *out = (struct km_compare){0};
    second.profile = other;
    enum km_status status = km_measured_create(config, &measured[0], error);
    if (status == KM_OK)
        status = km_measured_create(&second, &measured[1], error);
    if (status == KM_OK) {
        km_operators_build(config->model, &config->precision, &config->layout, 0, arena, &stage);
        for (uint32_t i = 0; i < stage.count; i++) {
            if (stage.ops[i].kind == KM_OP_GEMM)
                compare_product(measured, &stage.ops[i], out);
            else if (stage.ops[i].kind == KM_OP_ATTENTION)
                compare_attention(measured, &stage.ops[i], out);
        }
    }
    km_measured_destroy(measured[0]);
    km_measured_destroy(measured[1]);
    return status;
}
