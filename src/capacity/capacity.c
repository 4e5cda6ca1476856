#include "capacity/capacity.h"

#include "base/memory.h"
#include "base/pool.h"
#include "capacity/order.h"
#include "capacity/study.h"
#include "workload/resample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH            4u  /* replications between looks at the interval, whatever the workers */
#define PILOT            8u  /* of them before the first look */
#define RECORDED_LEAST   20u /* of a trace, whose runs are no longer than it: enough for a spread */
#define SPREAD_AIM       (0.025 / 1.96) /* 95 % of thresholds within 2.5 % */
#define MOST_LENGTHENING 8.0            /* in one go */
#define FIRST_WIDTH      0.3            /* relative stride from a guess that knows nothing */

/* One question in work. */
struct work {
    struct km_study study;
    const struct km_scenario *scenario;
    struct km_prober probers[BATCH]; /* [workers] the first with the caller's fleet */
    struct km_fleet fleets[BATCH];   /* [workers - 1] of the others */
    uint32_t workers;
    struct km_demand *own; /* the demand in use, when it is not the caller's */
};

struct km_capacity_options km_capacity_exact(void)
{
    return (struct km_capacity_options){.step = 0.005,
                                        .tolerance = 0.02,
                                        .max_replications = 32,
                                        .max_requests = 200000,
                                        .block_s = KM_BOOTSTRAP_BLOCK_S};
}

struct km_capacity_options km_capacity_coarse(void)
{
    return (struct km_capacity_options){
        .step = 0.03, .tolerance = 0.03, .max_replications = 1, .block_s = KM_BOOTSTRAP_BLOCK_S};
}

/* --- replications -------------------------------------------------------------------------------------- */

struct thresholds {
    int32_t k[KM_DEMAND_MAX];
    uint32_t count;
};

/* Thresholds of the next replications, shared out between the workers. */
struct batch {
    struct work *work;
    uint32_t first, count; /* replications of the demand */
    int32_t guess, stride;
    int32_t k[BATCH];
    int failed[BATCH];
    enum km_status status[BATCH]; /* [workers] */
    struct km_error error[BATCH];
};

static void work_on_batch(void *context, uint64_t worker)
{
    struct batch *batch = context;
    struct km_prober *prober = &batch->work->probers[worker];
    batch->status[worker] = KM_OK;
    for (uint32_t i = (uint32_t)worker; i < batch->count && batch->status[worker] == KM_OK;
         i += batch->work->workers) {
        batch->status[worker] = km_study_threshold(prober, batch->first + i, batch->guess, batch->stride,
                                                   &batch->k[i], &batch->error[worker]);
        /* A demand of one's own is asked once for each but the first, and long ones are large. */
        if (batch->work->own && batch->first + i > 1)
            km_demand_drop(batch->work->own, batch->first + i);
        batch->failed[i] = prober->failed;
    }
}

static enum km_status run_batch(struct batch *batch, struct km_error *error)
{
    const uint32_t workers = batch->work->workers;
    km_pool_run(workers, workers, work_on_batch, batch);
    for (uint32_t i = 0; i < workers; i++)
        if (batch->status[i] != KM_OK) {
            *error = batch->error[i];
            return batch->status[i];
        }
    return KM_OK;
}

static void summarize(const struct km_study *study, const struct thresholds *found, struct km_capacity *out)
{
    struct km_order order;
    km_order_of(found->k, found->count, &order);
    /* A threshold lies between the greatest rate that held and the next one. */
    out->scale = km_study_scale(study, order.mean + 0.5);
    out->low = km_study_scale(study, order.mean + 0.5 - order.half_width);
    out->high = km_study_scale(study, order.mean + 0.5 + order.half_width);
    out->settled = out->high / out->low - 1.0 <= study->options->tolerance;
    out->spread = order.deviation * study->log_step;
    out->replications = found->count;
    out->threshold_count = found->count < KM_CAPACITY_THRESHOLDS ? found->count : KM_CAPACITY_THRESHOLDS;
    for (uint32_t i = 0; i < out->threshold_count; i++)
        out->thresholds[i] = km_study_scale(study, found->k[i] + 0.5);
    out->cautious_scale = order.has_twentieth ? km_study_scale(study, order.twentieth) : (double)NAN;
    if (order.median < study->lowest)
        out->kind = KM_CAPACITY_NONE;
    else
        out->kind = order.median >= study->highest ? KM_CAPACITY_UNBOUNDED : KM_CAPACITY_FOUND;
}

/* At most so many: the interval may be narrow enough before, or the spread ask for longer runs. */
static void tell_replications(const struct km_study *study, double requests, uint32_t count)
{
    char note[48];
    snprintf(note, sizeof note, "%.0f requests a run", requests);
    km_watch_tell(study->options->watch, "maximum rate", note,
                  (double)count / study->options->max_replications);
}

/* Replications until the interval is narrow enough; *wide: the spread asks for longer runs first. The first
 * is alone: it finds where the others begin, and whether there is anything to find. */
static enum km_status replicate(struct work *work, double guess, double width, bool may_lengthen, bool *wide,
                                struct km_capacity *out, struct km_error *error)
{
    const struct km_study *study = &work->study;
    const uint32_t first = km_demand_first_drawn(study->demand);
    const bool synthetic = km_demand_is_synthetic(study->workload);
    struct thresholds found = {0};
    out->first_replication = first;
    *wide = false;
    while (found.count < study->options->max_replications) {
        const uint32_t left = study->options->max_replications - found.count;
        const uint32_t size = found.count == 0 ? 1 : BATCH - found.count % BATCH;
        struct batch batch = {
            .work = work,
            .first = first + found.count,
            .count = size < left ? size : left,
            .guess = km_study_near(study, guess),
            .stride = km_study_stride(study, width),
        };
        tell_replications(study, out->requests, found.count);
        enum km_status status = run_batch(&batch, error);
        if (status != KM_OK)
            return status;
        if (found.count == 0)
            out->failed = batch.failed[0];
        for (uint32_t i = 0; i < batch.count; i++)
            found.k[found.count++] = batch.k[i];
        summarize(study, &found, out);
        if (out->kind != KM_CAPACITY_FOUND)
            return KM_OK;
        guess = out->scale;
        width = found.count < BATCH ? 0.04 : fmin(fmax(out->spread, 0.01), FIRST_WIDTH);
        if (found.count < PILOT)
            continue;
        /* A standard deviation of n normal values is itself uncertain by 1 / sqrt(2 (n - 1)). */
        const double doubt = 1.0 + 1.0 / sqrt(2.0 * (found.count - 1));
        *wide = may_lengthen && out->spread > SPREAD_AIM * doubt;
        if (*wide || (out->settled && (synthetic || found.count >= RECORDED_LEAST)))
            return KM_OK;
    }
    return KM_OK;
}

/* --- one question -------------------------------------------------------------------------------------- */

static enum km_status mean_requests(const struct km_study *study, double *out, struct km_error *error)
{
    const struct km_recording *recording;
    size_t count = 0;
    enum km_status status =
        km_demand_get(study->demand, km_demand_first_drawn(study->demand), &recording, error);
    if (status == KM_OK)
        km_recording_requests(recording, &count);
    *out = (double)count;
    return status;
}

static enum km_status use_demand(struct work *work, double length, struct km_error *error)
{
    const struct km_demand_config config = {
        .workload = &work->scenario->workload,
        .seed = work->scenario->seed,
        .block_s = work->study.options->block_s,
        .length = length,
    };
    struct km_demand *demand;
    enum km_status status = km_demand_create(&config, &demand, error);
    if (status != KM_OK)
        return status;
    km_demand_destroy(work->own);
    work->own = work->study.demand = demand;
    return KM_OK;
}

static bool may_lengthen(const struct work *work)
{
    const struct km_workload_settings *workload = work->study.workload;
    return km_demand_can_lengthen(workload) &&
           (km_demand_is_synthetic(workload) || work->study.options->lengthen_trace);
}

/* Replications of ever longer runs, until the spread is small enough. */
static enum km_status find_scale(struct work *work, struct km_capacity *out, struct km_error *error)
{
    const struct km_capacity_options *options = work->study.options;
    double requests, guess = options->guess > 0.0 ? options->guess : 1.0, width = FIRST_WIDTH;
    enum km_status status = mean_requests(&work->study, &requests, error);
    while (status == KM_OK) {
        out->requests = requests * out->length;
        const double most = (double)options->max_requests / requests;
        bool wide;
        status = km_study_grid(&work->study, error);
        if (status == KM_OK)
            status =
                replicate(work, guess, width, may_lengthen(work) && out->length < most, &wide, out, error);
        if (status != KM_OK || !wide)
            break;
        const double factor = fmin(fmax(pow(out->spread / SPREAD_AIM, 2.0), 1.5), MOST_LENGTHENING);
        out->length = fmin(out->length * factor, most);
        guess = out->scale;
        width = out->spread;
        status = use_demand(work, out->length, error);
    }
    return status;
}

static bool states(const struct km_scenario *scenario, int metric, int *term)
{
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric == metric) {
            *term = (int)i;
            return true;
        }
    return false;
}

/* The least rate of the grid, up to `most`, at which the replication's goodput is met. */
static enum km_status find_least(struct km_prober *prober, uint32_t replication, int32_t most, double *out,
                                 struct km_error *error)
{
    int32_t low = prober->study->lowest - 1, high = most;
    while (high - low > 1) {
        struct km_trial trial;
        const int32_t k = low + (high - low) / 2;
        enum km_status status =
            km_study_try(prober, replication, km_study_scale(prober->study, k), true, &trial, error);
        if (status != KM_OK)
            return status;
        if (trial.goodput_met)
            high = k;
        else
            low = k;
    }
    *out = km_study_scale(prober->study, high);
    return KM_OK;
}

/* What a run looks like at its threshold, and whether the goodput is there. */
static enum km_status look_at_edge(struct work *work, struct km_capacity *out, struct km_error *error)
{
    struct km_prober *prober = &work->probers[0];
    const uint32_t replication = km_demand_first_drawn(work->study.demand);
    int32_t k;
    int term;
    struct km_trial trial;
    enum km_status status = km_study_threshold(prober, replication, km_study_near(&work->study, out->scale),
                                               km_study_stride(&work->study, 0.02), &k, error);
    if (status == KM_OK)
        status = km_study_try(prober, replication, km_study_scale(&work->study, k), true, &trial, error);
    if (status != KM_OK)
        return status;
    out->goodput_per_s = trial.goodput_per_s;
    out->saturated = trial.saturated;
    if (!states(work->scenario, KM_SLO_GOODPUT, &term))
        return KM_OK;
    if (trial.goodput_met)
        return find_least(prober, replication, k, &out->least_scale, error);
    out->kind = KM_CAPACITY_NONE;
    out->failed = term;
    return KM_OK;
}

static enum km_status find_recorded(struct work *work, struct km_capacity *out, struct km_error *error)
{
    int32_t k;
    if (km_demand_first_drawn(work->study.demand) == 0)
        return KM_OK;
    enum km_status status = km_study_threshold(&work->probers[0], 0, km_study_near(&work->study, out->scale),
                                               km_study_stride(&work->study, 0.03), &k, error);
    if (status == KM_OK)
        out->recorded_scale = km_study_scale(&work->study, k + 0.5);
    return status;
}

/* A quick look: one threshold, of the trace itself if there is one. */
static enum km_status glance(struct work *work, struct km_capacity *out, struct km_error *error)
{
    const double guess = work->study.options->guess;
    struct thresholds found = {.count = 1};
    enum km_status status = mean_requests(&work->study, &out->requests, error);
    if (status == KM_OK)
        status = km_study_grid(&work->study, error);
    if (status == KM_OK)
        status =
            km_study_threshold(&work->probers[0], 0, km_study_near(&work->study, guess > 0.0 ? guess : 1.0),
                               km_study_stride(&work->study, FIRST_WIDTH), &found.k[0], error);
    if (status != KM_OK)
        return status;
    summarize(&work->study, &found, out);
    out->failed = work->probers[0].failed;
    if (km_demand_first_drawn(work->study.demand) == 1)
        out->recorded_scale = out->scale;
    return KM_OK;
}

static enum km_status search(struct work *work, struct km_capacity *out, struct km_error *error)
{
    if (work->study.options->max_replications <= 1)
        return glance(work, out, error);
    enum km_status status = find_scale(work, out, error);
    if (status == KM_OK && out->kind == KM_CAPACITY_FOUND)
        status = find_recorded(work, out, error);
    if (status == KM_OK && out->kind == KM_CAPACITY_FOUND)
        status = look_at_edge(work, out, error);
    return status;
}

/* Where nothing was found, the limits of the search stand for what is known. */
static void bound(const struct km_study *study, struct km_capacity *out)
{
    int missing = out->failed;
    if (out->kind == KM_CAPACITY_NONE) {
        out->low = out->scale = 0.0;
        out->high = km_study_scale(study, study->lowest);
    } else if (out->kind == KM_CAPACITY_UNBOUNDED) {
        out->low = out->scale = km_study_scale(study, study->highest);
        out->high = (double)INFINITY;
        missing = KM_TRIAL_NO_TERM;
    }
    out->failed = missing;
    out->holds = out->kind != KM_CAPACITY_NONE && out->scale >= 1.0;
}

static enum km_status as_it_is(const struct km_fleet *fleet, struct km_demand *demand,
                               const struct km_capacity_options *options, struct km_capacity *out,
                               struct km_error *error)
{
    struct km_decision decision;
    enum km_status status = km_capacity_decide(fleet, demand, 1.0, options, &decision, error);
    out->kind = KM_CAPACITY_AS_IT_IS;
    out->holds = decision.holds && decision.recorded_holds;
    out->settled = decision.settled;
    out->replications = decision.replications;
    out->failed = decision.failed;
    return status;
}

static enum km_status hire(struct work *work, const struct km_fleet *fleet, struct km_error *error)
{
    uint32_t workers = work->study.options->workers;
    workers = workers < 1 ? 1 : workers > BATCH ? BATCH : workers;
    enum km_status status = KM_OK;
    work->probers[0] = (struct km_prober){.study = &work->study, .fleet = fleet};
    for (work->workers = 1; work->workers < workers; work->workers++) {
        struct km_fleet *another = &work->fleets[work->workers - 1];
        status = km_fleet_create(work->scenario, another, error);
        if (status != KM_OK)
            break;
        work->probers[work->workers] = (struct km_prober){.study = &work->study, .fleet = another};
    }
    return status;
}

static void dismiss(struct work *work, struct km_capacity *out)
{
    for (uint32_t i = 0; i < work->workers; i++) {
        out->runs += work->probers[i].runs;
        out->runs_cut += work->probers[i].runs_cut;
        out->events += work->probers[i].events;
        if (i > 0)
            km_fleet_release(&work->fleets[i - 1]);
    }
    km_demand_destroy(work->own);
}

enum km_status km_capacity_find(const struct km_fleet *fleet, struct km_demand *demand,
                                const struct km_capacity_options *options, struct km_capacity *out,
                                struct km_error *error)
{
    const struct km_scenario *scenario = fleet->scenario;
    int term;
    *out = (struct km_capacity){.scale = (double)NAN,
                                .low = (double)NAN,
                                .high = (double)NAN,
                                .rate_per_s = (double)NAN,
                                .cautious_scale = (double)NAN,
                                .recorded_scale = (double)NAN,
                                .least_scale = (double)NAN,
                                .spread = (double)NAN,
                                .goodput_per_s = (double)NAN,
                                .length = 1.0,
                                .failed = KM_TRIAL_NO_TERM};
    if (!km_demand_has_rate(&scenario->workload) || states(scenario, KM_SLO_DEADLINE, &term))
        return as_it_is(fleet, demand, options, out, error);
    struct work work = {
        .study = {.workload = &scenario->workload,
                  .options = options,
                  .demand = demand,
                  .seed = scenario->seed,
                  .log_step = log1p(options->step)},
        .scenario = scenario,
    };
    enum km_status status = hire(&work, fleet, error);
    if (status == KM_OK && !demand)
        status = use_demand(&work, 1.0, error);
    if (status == KM_OK)
        status = search(&work, out, error);
    if (status == KM_OK) {
        bound(&work.study, out);
        out->rate_per_s =
            out->scale * scenario->workload.rate_scale * km_demand_rate_per_s(work.study.demand);
    }
    dismiss(&work, out);
    return status;
}
