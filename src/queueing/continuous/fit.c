#include "queueing/continuous/fit.h"

#include "base/memory.h"

#include <gsl/gsl_multifit.h>
#include <math.h>
#include <stdlib.h>

#define CONSTANTS 4
/* A larger subset must beat a smaller one by this much of the total weight to be taken. */
#define WORTH_A_CONSTANT 1e-9
/* Contexts at which a decode run is timed; between them the step time is as good as straight. */
#define CONTEXT_KNOTS 5

struct point {
    double batch, tokens, seconds;
};

struct points {
    struct point *items;
    size_t count, capacity;
};

static double step_pace(const struct km_step_clock *clock, const struct km_step_shape *shape)
{
    struct km_step_seconds step;
    clock->time(clock->context, shape, &step);
    return km_step_pace_s(&clock->pace, &step);
}

/* Prompt i of b: a quantile of the workload's prompt lengths, scaled so that the b of them have the mean. */
static void draw_prompts(const struct km_length_mix *mix, uint32_t batch, uint32_t *prompts)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < batch; i++)
        sum += mix->prompt_class[(size_t)((i + 0.5) * KM_LENGTH_CLASSES / batch)];
    double scale = mix->prompt_mean * batch / sum;
    for (uint32_t i = 0; i < batch; i++) {
        double tokens = scale * mix->prompt_class[(size_t)((i + 0.5) * KM_LENGTH_CLASSES / batch)];
        prompts[i] = tokens < 1.5 ? 1 : (uint32_t)(tokens + 0.5);
    }
}

/* Time of the steps that compute the prompts, the budget filled in order. */
static double prefill_s(const struct km_law_question *q, uint32_t batch)
{
    uint32_t *prompts = km_alloc(batch * sizeof *prompts);
    struct km_chunk *chunks = km_alloc(batch * sizeof *chunks);
    draw_prompts(q->mix, batch, prompts);
    double seconds = 0.0;
    uint32_t past = 0;
    for (uint32_t i = 0; i < batch;) {
        struct km_step_shape shape = {.chunks = chunks};
        uint32_t budget = q->max_num_batched_tokens;
        while (i < batch && budget) {
            uint32_t left = prompts[i] - past, tokens = left < budget ? left : budget;
            chunks[shape.chunk_count++] = (struct km_chunk){tokens, past};
            shape.prefill_tokens += tokens;
            budget -= tokens;
            past += tokens;
            if (past == prompts[i]) {
                shape.sampled++;
                i++;
                past = 0;
            }
        }
        seconds += step_pace(q->clock, &shape);
    }
    free(prompts);
    free(chunks);
    return seconds;
}

static double decode_pace(const struct km_law_question *q, uint32_t batch, double step)
{
    double context = q->mix->prompt_mean + step, window = q->clock->window;
    double windowed = window > 0.0 && window < context ? window : context;
    struct km_step_seconds seconds;
    km_step_decode(q->clock, batch, context, windowed, context, &seconds);
    return km_step_pace_s(&q->clock->pace, &seconds);
}

/* Steps 1 .. count of b sequences, by the trapezoid rule between a few contexts. */
static double decode_s(const struct km_law_question *q, uint32_t batch, double count)
{
    if (count <= 0.0)
        return 0.0;
    double sum = 0.0, before = decode_pace(q, batch, 1.0);
    for (int i = 1; i < CONTEXT_KNOTS; i++) {
        double next = decode_pace(q, batch, 1.0 + (count - 1.0) * i / (CONTEXT_KNOTS - 1));
        sum += 0.5 * (before + next) / (CONTEXT_KNOTS - 1);
        before = next;
    }
    return count * sum;
}

static void add(struct points *points, double batch, double tokens, double seconds)
{
    points->items = km_grow(points->items, &points->capacity, points->count + 1, sizeof *points->items);
    points->items[points->count++] = (struct point){batch, tokens, seconds};
}

static void add_batch(const struct km_law_question *q, uint32_t batch, struct points *points)
{
    double prompts_s = prefill_s(q, batch);
    add(points, batch, 1.0, prompts_s);
    for (size_t i = 0; i < KM_LENGTH_CLASSES; i++) {
        double tokens = fmax(q->mix->output_class[i], 1.0);
        add(points, batch, tokens, prompts_s + decode_s(q, batch, tokens - 1.0));
    }
}

/* The law's terms at a point, and their constants: [CONSTANTS]. */
static void terms(const struct point *p, double *out)
{
    out[0] = p->batch;
    out[1] = 1.0;
    out[2] = p->batch * p->tokens;
    out[3] = p->tokens;
}

static double law_at(const double *k, const struct point *p)
{
    double t[CONSTANTS], sum = 0.0;
    terms(p, t);
    for (int i = 0; i < CONSTANTS; i++)
        sum += k[i] * t[i];
    return sum;
}

static double squares(const struct points *points, const double *k)
{
    double sum = 0.0;
    for (size_t i = 0; i < points->count; i++) {
        double relative = law_at(k, &points->items[i]) / points->items[i].seconds - 1.0;
        sum += relative * relative;
    }
    return sum;
}

/* Least squares with the constants of `subset` (bits) alone; false when one comes out negative. */
static bool solve(const struct points *points, unsigned subset, double *k)
{
    size_t columns = (size_t)__builtin_popcount(subset), rows = points->count;
    gsl_matrix *x = gsl_matrix_alloc(rows, columns);
    gsl_vector *y = gsl_vector_alloc(rows), *found = gsl_vector_alloc(columns);
    gsl_matrix *covariance = gsl_matrix_alloc(columns, columns);
    gsl_multifit_linear_workspace *work = gsl_multifit_linear_alloc(rows, columns);
    for (size_t row = 0; row < rows; row++) {
        double t[CONSTANTS];
        terms(&points->items[row], t);
        size_t column = 0;
        for (unsigned i = 0; i < CONSTANTS; i++)
            if (subset >> i & 1)
                gsl_matrix_set(x, row, column++, t[i] / points->items[row].seconds);
        gsl_vector_set(y, row, 1.0);
    }
    double chisq;
    gsl_multifit_linear(x, y, found, covariance, &chisq, work);
    bool feasible = true;
    size_t column = 0;
    for (unsigned i = 0; i < CONSTANTS; i++) {
        k[i] = subset >> i & 1 ? gsl_vector_get(found, column++) : 0.0;
        feasible &= isfinite(k[i]) && k[i] >= 0.0;
    }
    gsl_multifit_linear_free(work);
    gsl_matrix_free(covariance);
    gsl_vector_free(found);
    gsl_vector_free(y);
    gsl_matrix_free(x);
    return feasible;
}

static void non_negative(const struct points *points, unsigned allowed, double *best)
{
    const double none[CONSTANTS] = {0};
    double least = squares(points, none);
    for (int i = 0; i < CONSTANTS; i++)
        best[i] = 0.0;
    for (int size = 1; size <= CONSTANTS; size++)
        for (unsigned subset = 1; subset < 1u << CONSTANTS; subset++) {
            double k[CONSTANTS];
            if ((subset & ~allowed) || __builtin_popcount(subset) != size || (size_t)size > points->count ||
                !solve(points, subset, k))
                continue;
            double sum = squares(points, k);
            if (sum < least - WORTH_A_CONSTANT * (double)points->count) {
                least = sum;
                for (int i = 0; i < CONSTANTS; i++)
                    best[i] = k[i];
            }
        }
}

static void judge(const struct points *points, const double *k, struct km_law_quality *out)
{
    *out = (struct km_law_quality){.points = (uint32_t)points->count};
    for (size_t i = 0; i < points->count; i++) {
        const struct point *p = &points->items[i];
        double relative = fabs(law_at(k, p) / p->seconds - 1.0);
        if (relative >= out->max_relative) {
            out->max_relative = relative;
            out->worst_batch = (uint32_t)p->batch;
        }
    }
    out->rms_relative = sqrt(squares(points, k) / (double)points->count);
    out->poor = out->rms_relative > KM_FIT_POOR_RMS || out->max_relative > KM_FIT_POOR_MAX;
}

static enum km_status check(const struct km_law_question *q, struct km_error *error)
{
    if (q->max_batch == 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "a batch of 0 serves nothing; it must be at least 1");
    if (q->max_num_batched_tokens == 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "a budget of 0 tokens serves nothing");
    return KM_OK;
}

static enum km_status fit(const struct points *points, unsigned allowed, double *k,
                          struct km_law_quality *quality, struct km_error *error)
{
    for (size_t i = 0; i < points->count; i++)
        if (!isfinite(points->items[i].seconds) || points->items[i].seconds <= 0.0)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "a batch of %.0f requests of %.0f tokens takes %g s: there is nothing to fit",
                           points->items[i].batch, points->items[i].tokens, points->items[i].seconds);
    non_negative(points, allowed, k);
    judge(points, k, quality);
    return KM_OK;
}

enum km_status km_law_fit_find(const struct km_law_question *question, struct km_law_fit *out,
                               struct km_error *error)
{
    *out = (struct km_law_fit){0};
    enum km_status status = check(question, error);
    if (status != KM_OK)
        return status;
    struct points points = {0};
    for (uint32_t batch = 1; batch < question->max_batch && batch < 1u << 30; batch *= 2)
        add_batch(question, batch, &points);
    add_batch(question, question->max_batch, &points);
    double k[CONSTANTS];
    status = fit(&points, 0xf, k, &out->quality, error);
    if (status == KM_OK)
        out->law = (struct km_linear_law){k[0], k[1], k[2], k[3]};
    free(points.items);
    return status;
}

enum km_status km_service_fit_find(const struct km_law_question *question, struct km_service_fit *out,
                                   struct km_error *error)
{
    *out = (struct km_service_fit){0};
    enum km_status status = check(question, error);
    if (status != KM_OK)
        return status;
    struct points points = {0};
    add_batch(question, 1, &points);
    double k[CONSTANTS];
    status = fit(&points, 1u << 1 | 1u << 3, k, &out->quality, error);
    if (status == KM_OK) {
        out->a_s = k[3];
        out->c_s = k[1];
    }
    free(points.items);
    return status;
}
