#include "calibration/steplog/fit.h"

#include "base/memory.h"
#include "calibration/steplog/solve.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MOST      15
#define SETTLED          1e-3 /* of a parameter's scale */
#define LEAST_WINDOWS    30
#define INFLATION_MOST   1000.0
#define RELATIVE_SE_MOST (1.0 / 3.0)
#define CLOCK_S          0.3e-3
#define RELATIVE         0.025

#define AT(member) offsetof(struct km_engine, member)

/* Of two that the steps cannot tell apart, the one further up is kept. */
const struct km_step_parameter km_step_parameters[] = {
    {"kernels.op_overhead_scale", "element-wise and attention operators beyond their bytes",
     AT(op_overhead_scale), false, 4.0, 0.0, 100.0, .prices = true},
    {"kernels.attention_sequence_s", "decode attention, a sequence and layer", AT(attention_sequence_s),
     false, 0.2e-6, 0.0, 1e-3, .prices = true},
    {"kernels.decode_tail_share", "decode attention's last piece, ragged batches", AT(decode_tail_share),
     false, 0.3, 0.0, 10.0, .prices = true, .longest = true},
    {"kernels.mixed_tail_share", "longest decode of a mixed step", AT(mixed_tail_share), false, 0.5, 0.0,
     10.0, .prices = true, .longest = true},
    {"kernels.gemm_time_scale", "products bound by arithmetic, after a pause", AT(gemm_time_scale), false,
     1.0, 0.1, 10.0, .prices = true},
    {"kernels.gemm_power_rise", "their slowdown by recent work", AT(gemm_power_rise), false, 0.2, 0.0, 10.0,
     .prices = false},
    {"kernels.gemm_power_time_s", "how long work counts as recent", AT(gemm_power_time_s), false, 0.05, 1e-3,
     10.0, .prices = false},
    {"host.launch_layer_s", "launching a layer outside the graphs", AT(launch_layer_s), false, 0.5e-3, 0.0,
     1.0, .prices = false},
    {"host.launch_piecewise_layer_s", "launching a layer of a captured mixed step",
     AT(launch_piecewise_layer_s), false, 0.2e-3, 0.0, 1.0, .prices = false},
    {"host.launch_graph_s", "launching a captured step", AT(launch_graph_s), false, 0.1e-3, 0.0, 1.0,
     .prices = false},
    {"collectives.fixed_s", "a collective that is no all-reduce inside a node", AT(collective_fixed_s), false,
     5e-6, 0.0, 1.0, .prices = true},
    {"host.form_step_s", "forming a batch", AT(form_step_s), false, 0.3e-3, 0.0, 1.0, .prices = false},
    {"host.form_sequence_s", "forming, a sequence", AT(form_sequence_s), false, 5e-6, 0.0, 0.1,
     .prices = false},
    {"host.process_step_s", "taking results", AT(process_step_s), false, 0.3e-3, 0.0, 1.0, .prices = false},
    {"host.process_sequence_s", "taking results, a sequence", AT(process_sequence_s), false, 5e-6, 0.0, 0.1,
     .prices = false},
    {0},
};

double km_step_parameter_get(const struct km_step_parameter *parameter, const struct km_engine *engine)
{
    const char *at = (const char *)engine + parameter->offset;
    uint32_t whole;
    double value;
    if (parameter->integer) {
        memcpy(&whole, at, sizeof whole);
        return whole;
    }
    memcpy(&value, at, sizeof value);
    return value;
}

void km_step_parameter_set(const struct km_step_parameter *parameter, struct km_engine *engine, double value)
{
    char *at = (char *)engine + parameter->offset;
    uint32_t whole = parameter->integer ? (uint32_t)lround(value) : 0;
    if (parameter->integer)
        memcpy(at, &whole, sizeof whole);
    else
        memcpy(at, &value, sizeof value);
}

struct fit {
    const struct km_cost_model *cost;
    struct km_cost_config config; /* its engine is what is tried */
    const struct km_recorded_run *runs;
    size_t run_count;
    const struct km_step_windows *windows;
    const struct km_launch_layers *layers;
    const struct km_watch *watch;
    size_t n, p;                            /* windows, active parameters */
    size_t active[KM_STEP_PARAMETERS_MOST]; /* positions in out->estimates */
    struct km_step_price **prices, **tried; /* at the current point, at a neighbour */
    double *weight;                         /* [n] 1 / the unit of a window's error, in seconds */
    double *now_s, *then_s;                 /* [n] predicted, here and at a neighbour */
    double *columns, *rest;                 /* [n][p], [n]: the linear problem, weighted */
    struct km_step_fit *out;
};

static enum km_status price(struct fit *f, const struct km_engine *engine, struct km_step_price **prices,
                            struct km_error *error)
{
    struct km_cost_config config = f->config;
    config.engine = engine;
    return km_steps_price(f->cost, &config, f->runs, f->run_count, prices, error);
}

static void predict(const struct fit *f, const struct km_engine *engine, struct km_step_price *const *prices,
                    double *out_s)
{
    km_steps_predict(f->runs, f->run_count, prices, engine, f->layers, f->windows, out_s);
}

/* One column: the change of every window by a parameter, over its scale. A forward difference, wide enough to
 * see through a maximum. */
static enum km_status column(struct fit *f, size_t j, struct km_error *error)
{
    const struct km_step_parameter *parameter = f->out->estimates[f->active[j]].parameter;
    struct km_engine neighbour = f->out->engine;
    double here = km_step_parameter_get(parameter, &f->out->engine),
           step = 0.05 * fmax(here, parameter->scale);
    if (parameter->integer)
        step = fmax(1.0, round(step));
    if (here + step > parameter->max)
        step = -step;
    km_step_parameter_set(parameter, &neighbour, here + step);
    enum km_status status = parameter->prices ? price(f, &neighbour, f->tried, error) : KM_OK;
    if (status != KM_OK)
        return status;
    predict(f, &neighbour, parameter->prices ? f->tried : f->prices, f->then_s);
    for (size_t i = 0; i < f->n; i++)
        f->columns[i * f->p + j] = (f->then_s[i] - f->now_s[i]) / step * parameter->scale * f->weight[i];
    return KM_OK;
}

static enum km_status linearise(struct fit *f, struct km_error *error)
{
    enum km_status status = price(f, &f->out->engine, f->prices, error);
    if (status != KM_OK)
        return status;
    predict(f, &f->out->engine, f->prices, f->now_s);
    for (size_t i = 0; i < f->n; i++)
        f->rest[i] = (f->windows->items[i].seen_s - f->now_s[i]) * f->weight[i];
    for (size_t j = 0; j < f->p && status == KM_OK; j++)
        status = column(f, j, error);
    return status;
}

static void drop(struct fit *f, size_t j, enum km_step_verdict verdict)
{
    struct km_step_estimate *estimate = &f->out->estimates[f->active[j]];
    estimate->verdict = verdict;
    km_step_parameter_set(estimate->parameter, &f->out->engine, estimate->described);
    memmove(&f->active[j], &f->active[j + 1], (f->p - j - 1) * sizeof *f->active);
    f->p--;
}

/* Where the search begins, anew after each parameter dropped: not where a worse determined one has led. */
static void start(struct fit *f)
{
    for (size_t j = 0; j < f->p; j++) {
        const struct km_step_estimate *e = &f->out->estimates[f->active[j]];
        km_step_parameter_set(e->parameter, &f->out->engine,
                              e->described > 0.0 ? e->described : e->parameter->scale);
    }
}

/* A column that moves no window by a hundredth of its unit says nothing. */
static bool without_effect(const struct fit *f, size_t j)
{
    double most = 0.0;
    for (size_t i = 0; i < f->n; i++)
        most = fmax(most, fabs(f->columns[i * f->p + j]));
    return most < 0.01;
}

/* Move by a share of a solution, inside the bounds and at most twice a parameter's size. The largest move, in
 * scales. */
static double move(const struct fit *f, const double *by, double share, const struct km_engine *from,
                   struct km_engine *to)
{
    double most = 0.0;
    *to = *from;
    for (size_t j = 0; j < f->p; j++) {
        const struct km_step_parameter *parameter = f->out->estimates[f->active[j]].parameter;
        double here = km_step_parameter_get(parameter, from), far = 2.0 * fmax(here, parameter->scale);
        double there = here + share * fmax(-far, fmin(far, by[j] * parameter->scale));
        there = fmax(parameter->min, fmin(parameter->max, there));
        km_step_parameter_set(parameter, to, there);
        most = fmax(most, fabs(km_step_parameter_get(parameter, to) - here) / parameter->scale);
    }
    return most;
}

/* Sum of Huber's loss. */
static double loss(const struct fit *f, const double *predicted_s, double noise)
{
    double sum = 0.0;
    for (size_t i = 0; i < f->n; i++)
        sum += km_step_loss((f->windows->items[i].seen_s - predicted_s[i]) * f->weight[i], noise);
    return sum;
}

/* The whole way, or a half, a quarter, ... of it, until it leads downhill. */
static enum km_status advance(struct fit *f, const struct km_step_solution *solution, double *moved,
                              struct km_error *error)
{
    const double before = loss(f, f->now_s, solution->noise);
    const struct km_engine from = f->out->engine;
    for (double share = 1.0; share > 0.05; share /= 2.0) {
        struct km_engine to;
        *moved = move(f, solution->by, share, &from, &to);
        enum km_status status = price(f, &to, f->tried, error);
        if (status != KM_OK)
            return status;
        predict(f, &to, f->tried, f->then_s);
        if (loss(f, f->then_s, solution->noise) > before)
            continue;
        f->out->engine = to;
        return KM_OK;
    }
    *moved = 0.0;
    return KM_OK;
}

static bool determined(const struct fit *f, const struct km_step_solution *solution)
{
    for (size_t j = 0; j < f->p; j++)
        if (solution->inflation[j] > INFLATION_MOST)
            return false;
    return !solution->singular;
}

/* Gauss-Newton with the active parameters. */
static enum km_status settle(struct fit *f, struct km_step_solution *solution, struct km_error *error)
{
    double moved = 1.0;
    start(f);
    for (uint32_t round = 0; round < ROUNDS_MOST; round++) {
        char note[64];
        snprintf(note, sizeof note, "%zu parameters, round %u", f->p, round + 1);
        km_watch_tell(f->watch, "fit", note, -1);
        enum km_status status = linearise(f, error);
        if (status != KM_OK)
            return status;
        km_step_solve(f->columns, f->rest, NULL, f->n, f->p, solution);
        if (moved < SETTLED || !determined(f, solution))
            break;
        status = advance(f, solution, &moved, error);
        if (status != KM_OK)
            return status;
    }
    return KM_OK;
}

/* Standard errors: of least squares, or over the folds. */
static void judge(struct fit *f, const struct km_step_solution *solution)
{
    double fold[KM_STEP_FOLDS][KM_STEP_PARAMETERS_MOST];
    double *unseen = km_alloc(f->n * sizeof *unseen);
    size_t folds = 0;
    for (size_t k = 0; k < KM_STEP_FOLDS; k++) {
        struct km_step_solution without;
        size_t from = k * f->n / KM_STEP_FOLDS, to = (k + 1) * f->n / KM_STEP_FOLDS;
        const struct km_step_range left_out = {from, to};
        km_step_solve(f->columns, f->rest, &left_out, f->n, f->p, &without);
        if (!without.singular)
            memcpy(fold[folds++], without.by, sizeof fold[0]);
        for (size_t i = from; i < to; i++) {
            double change = 0.0;
            for (size_t j = 0; j < f->p && !without.singular; j++)
                change += f->columns[i * f->p + j] * without.by[j];
            unseen[i] = f->now_s[i] + change / f->weight[i];
        }
    }
    for (size_t j = 0; j < f->p; j++) {
        struct km_step_estimate *estimate = &f->out->estimates[f->active[j]];
        double mean = 0.0, squares = 0.0;
        for (size_t k = 0; k < folds; k++)
            mean += fold[k][j] / (double)folds;
        for (size_t k = 0; k < folds; k++)
            squares += (fold[k][j] - mean) * (fold[k][j] - mean);
        double jackknife = folds > 1 ? sqrt(squares * (double)(folds - 1) / (double)folds) : 0.0;
        estimate->value = km_step_parameter_get(estimate->parameter, &f->out->engine);
        estimate->se = fmax(jackknife, solution->se[j]) * estimate->parameter->scale;
        estimate->inflation = solution->inflation[j];
        estimate->twin = f->out->estimates[f->active[solution->twin[j]]].parameter->key;
    }
    memcpy(f->then_s, unseen, f->n * sizeof *unseen);
    free(unseen);
}

/* The parameter that should go first, and why; false: all may stay. */
static bool worst(const struct fit *f, bool singular, size_t *which, enum km_step_verdict *why)
{
    double least_certain = RELATIVE_SE_MOST, most = 0.0;
    bool found = false;
    for (size_t j = 0; j < f->p; j++)
        most = fmax(most, f->out->estimates[f->active[j]].inflation);
    for (size_t j = 0; j < f->p; j++)
        if (without_effect(f, j)) {
            *which = j;
            *why = KM_STEP_NO_EFFECT;
            return true;
        }
    /* Of those that do the same, the one that stands last in the table. */
    for (size_t j = 0; j < f->p && (singular || most > INFLATION_MOST); j++) {
        if (f->out->estimates[f->active[j]].inflation < 0.3 * most)
            continue;
        *which = j;
        *why = KM_STEP_COLLINEAR;
        found = true;
    }
    for (size_t j = 0; j < f->p && !found; j++) {
        const struct km_step_estimate *e = &f->out->estimates[f->active[j]];
        double slack = 1e-9 * e->parameter->scale;
        if (e->value > e->parameter->min + slack && e->value < e->parameter->max - slack)
            continue;
        *which = j;
        *why = KM_STEP_AT_BOUND;
        return true;
    }
    for (size_t j = 0; j < f->p && !found; j++) {
        const struct km_step_estimate *e = &f->out->estimates[f->active[j]];
        double relative = e->se / e->value;
        if (relative <= least_certain)
            continue;
        least_certain = relative;
        *which = j;
        *why = KM_STEP_UNCERTAIN;
    }
    return found || least_certain > RELATIVE_SE_MOST;
}

static struct km_step_errors errors_of(const struct fit *f, const double *predicted_s)
{
    double seen_s = 0.0, sum_s = 0.0;
    double *each = km_alloc(f->n * sizeof *each);
    for (size_t i = 0; i < f->n; i++) {
        seen_s += f->windows->items[i].seen_s;
        sum_s += predicted_s[i];
        each[i] = fabs(predicted_s[i] / f->windows->items[i].seen_s - 1.0);
    }
    const struct km_step_errors errors = {sum_s / seen_s - 1.0, km_step_median(each, f->n)};
    free(each);
    return errors;
}

static enum km_status estimate(struct fit *f, struct km_error *error)
{
    struct km_step_solution solution;
    enum km_step_verdict why;
    size_t which;
    while (f->p > 0) {
        enum km_status status = settle(f, &solution, error);
        if (status != KM_OK)
            return status;
        judge(f, &solution);
        if (!worst(f, solution.singular, &which, &why))
            break;
        drop(f, which, why);
    }
    f->out->noise = f->p > 0 ? solution.noise : (double)NAN;
    f->out->outliers = f->p > 0 ? solution.outliers : 0;
    return KM_OK;
}

static void begin(struct fit *f)
{
    struct km_step_fit *out = f->out;
    bool exact = true;
    for (size_t r = 0; r < f->run_count; r++)
        exact = exact && f->runs[r].exact;
    for (const struct km_step_parameter *p = km_step_parameters; p->key; p++) {
        double described = km_step_parameter_get(p, f->config.engine);
        out->estimates[out->count] = (struct km_step_estimate){
            .parameter = p, .described = described, .value = (double)NAN, .se = (double)NAN};
        if (p->longest && !exact)
            out->estimates[out->count].verdict = KM_STEP_NOT_RECORDED;
        else
            f->active[f->p++] = out->count;
        out->count++;
    }
}

static void allocate(struct fit *f)
{
    f->prices = km_alloc(f->run_count * sizeof *f->prices);
    f->tried = km_alloc(f->run_count * sizeof *f->tried);
    for (size_t r = 0; r < f->run_count; r++) {
        f->prices[r] = km_alloc(f->runs[r].count * sizeof *f->prices[r]);
        f->tried[r] = km_alloc(f->runs[r].count * sizeof *f->tried[r]);
    }
    f->weight = km_alloc(f->n * sizeof *f->weight);
    f->now_s = km_alloc(f->n * sizeof *f->now_s);
    f->then_s = km_alloc(f->n * sizeof *f->then_s);
    f->rest = km_alloc(f->n * sizeof *f->rest);
    f->columns = km_alloc(f->n * KM_STEP_PARAMETERS_MOST * sizeof *f->columns);
}

/* Steps err by themselves, so that a long window errs less for its length than a short one. */
static void weigh(struct fit *f)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct km_step_window *window = &f->windows->items[i];
        double variance = CLOCK_S * CLOCK_S;
        for (size_t k = window->first + 1; k <= window->last; k++) {
            double step_s = f->prices[window->run][k].device_s;
            variance += RELATIVE * RELATIVE * step_s * step_s;
        }
        f->weight[i] = 1.0 / sqrt(variance);
    }
}

static void release(struct fit *f)
{
    for (size_t r = 0; r < f->run_count; r++) {
        free(f->prices[r]);
        free(f->tried[r]);
    }
    free(f->prices);
    free(f->tried);
    free(f->weight);
    free(f->now_s);
    free(f->then_s);
    free(f->rest);
    free(f->columns);
}

enum km_status km_steps_fit(const struct km_cost_model *cost, const struct km_cost_config *config,
                            const struct km_recorded_run *runs, size_t run_count,
                            const struct km_step_windows *windows, const struct km_launch_layers *layers,
                            const struct km_watch *watch, struct km_step_fit *out, struct km_error *error)
{
    *out = (struct km_step_fit){.engine = *config->engine, .windows = windows->count};
    if (windows->count < LEAST_WINDOWS)
        return km_fail(error, KM_NO, NULL, 0, 0,
                       "%zu stretches of steps between two clear ends: too few to estimate anything from",
                       windows->count);
    struct fit f = {.cost = cost,
                    .config = *config,
                    .runs = runs,
                    .run_count = run_count,
                    .windows = windows,
                    .layers = layers,
                    .watch = watch,
                    .n = windows->count,
                    .out = out};
    for (size_t r = 0; r < run_count; r++)
        out->steps += runs[r].count;
    allocate(&f);
    enum km_status status = price(&f, config->engine, f.prices, error);
    if (status == KM_OK) {
        predict(&f, config->engine, f.prices, f.now_s);
        weigh(&f);
        out->described = out->fitted = out->unseen = errors_of(&f, f.now_s);
        begin(&f);
        status = estimate(&f, error);
    }
    if (status == KM_OK && f.p > 0) {
        out->unseen = errors_of(&f, f.then_s);
        out->fitted = errors_of(&f, f.now_s);
    }
    release(&f);
    return status;
}
