#include "planner/capacity.h"

#include "base/memory.h"
#include "base/simtime.h"
#include "planner/capacity_order.h"

#include <math.h>
#include <stdlib.h>

#define LOWEST_SCALE      1e-3
#define HIGHEST_SCALE     1e3
#define LONGEST_S         (50.0 * 86400) /* arrivals must end before KM_PS_LIMIT, 53 days */
#define PILOT             8u             /* replications before spread or interval are looked at */
#define SPREAD_AIM        (0.025 / 1.96) /* 95 % of thresholds within 2.5 % */
#define MOST_LENGTHENING  8.0            /* in one go */
#define TEST_LOG_RATIO    0.8472978604   /* ln(0.7 / 0.3) */
#define TEST_LOG_BOUNDARY 3.6635616461   /* ln(0.975 / 0.025) */

/* What one question works with. */
struct study {
    const struct km_fleet *fleet;
    const struct km_capacity_options *options;
    struct km_demand *demand;
    uint64_t seed;
    double log_step;
    int32_t lowest, highest; /* of the grid */
    int failed;              /* of the slowest trial that failed, in the last threshold */
    struct km_capacity *out; /* counts */
};

struct km_capacity_options km_capacity_exact(void)
{
    return (struct km_capacity_options){
        .step = 0.0025, .tolerance = 0.01, .max_replications = 64, .max_requests = 200000, .block_s = 60.0};
}

struct km_capacity_options km_capacity_coarse(void)
{
    return (struct km_capacity_options){
        .step = 0.03, .tolerance = 0.03, .max_replications = 1, .block_s = 60.0};
}

static double scale_at(const struct study *study, double k)
{
    return exp(k * study->log_step);
}

static int32_t grid_near(const struct study *study, double scale)
{
    double k = round(log(scale) / study->log_step);
    return (int32_t)fmin(fmax(k, study->lowest), study->highest);
}

/* --- trials -------------------------------------------------------------------------------------------- */

static enum km_status try(struct study *study, uint32_t replication, double scale, bool whole,
                          struct km_trial *trial, struct km_error *error)
{
    struct km_workload_settings workload = study->fleet->scenario->workload;
    enum km_status status = KM_OK;
    if (study->demand) {
        workload = (struct km_workload_settings){
            .process = KM_ARRIVAL_TRACE,
            .rate_scale = workload.rate_scale * scale,
            .patience_s = workload.patience_s,
        };
        status = km_demand_get(study->demand, replication, &workload.recording, error);
    }
    if (status == KM_OK)
        status = km_trial_run(study->fleet, &workload, study->seed + replication, whole, study->options->stop,
                              trial, error);
    if (status == KM_OK && study->options->stop && *study->options->stop)
        status = km_fail(error, KM_INTERRUPTED, NULL, 0, 0, "interrupted");
    study->out->runs++;
    study->out->runs_cut += trial->early;
    study->out->events += trial->events;
    return status;
}

/* The greatest rate of the grid at which the replication holds: lowest - 1 when none, highest when all.
 * Starts at `guess` and moves by `stride`, doubling, until the threshold is between two trials. */
static enum km_status find_threshold(struct study *study, uint32_t replication, int32_t guess, int32_t stride,
                                     int32_t *out, struct km_error *error)
{
    int32_t low = study->lowest - 1, high = study->highest + 1, k = guess;
    bool some_held = false, some_failed = false;
    while (high - low > 1) {
        struct km_trial trial;
        enum km_status status = try(study, replication, scale_at(study, k), false, &trial, error);
        if (status != KM_OK)
            return status;
        if (trial.holds) {
            low = k;
            some_held = true;
        } else {
            high = k;
            some_failed = true;
            study->failed = trial.failed;
        }
        if (some_held && some_failed) {
            k = low + (high - low) / 2;
            continue;
        }
        int64_t next = some_held ? (int64_t)low + stride : (int64_t)high - stride;
        k = (int32_t)(next < study->lowest ? study->lowest : next > study->highest ? study->highest : next);
        stride = stride < INT32_MAX / 2 ? 2 * stride : stride;
    }
    *out = low;
    return KM_OK;
}

/* --- replications -------------------------------------------------------------------------------------- */

struct thresholds {
    int32_t k[KM_DEMAND_MAX];
    uint32_t count;
};

static int32_t stride_of(const struct study *study, double spread)
{
    double width = isnan(spread) ? 0.05 : fmin(fmax(spread, study->log_step), 0.3);
    return (int32_t)fmax(1.0, round(width / study->log_step));
}

static void summarize(const struct study *study, const struct thresholds *found, struct km_capacity *out)
{
    struct km_order order;
    km_order_of(found->k, found->count, &order);
    /* A threshold lies between the greatest rate that held and the next one. */
    out->scale = scale_at(study, order.median + 0.5);
    out->low = order.has_interval ? scale_at(study, order.low) : (double)NAN;
    out->high = order.has_interval ? scale_at(study, order.high + 1.0) : (double)NAN;
    out->settled = order.has_interval && out->high / out->low - 1.0 <= study->options->tolerance;
    out->spread = order.deviation * study->log_step;
    out->replications = found->count;
    out->cautious_scale = order.has_twentieth ? scale_at(study, order.twentieth) : (double)NAN;
}

/* More replications until the interval is narrow enough; *wide: the spread asks for longer runs first. */
static enum km_status replicate(struct study *study, int32_t guess, bool may_lengthen, bool *wide,
                                struct km_capacity *out, struct km_error *error)
{
    struct thresholds found = {0};
    const uint32_t first = km_demand_first_drawn(study->demand);
    *wide = false;
    out->spread = (double)NAN;
    while (found.count < study->options->max_replications) {
        enum km_status status = find_threshold(study, first + found.count, guess,
                                               stride_of(study, out->spread), &found.k[found.count], error);
        if (status != KM_OK)
            return status;
        if (found.count == 0)
            out->failed = study->failed;
        found.count++;
        summarize(study, &found, out);
        guess = grid_near(study, out->scale);
        if (found.k[0] < study->lowest || found.k[0] >= study->highest)
            return KM_OK;
        if (found.count < PILOT || found.count % 4 != 0)
            continue;
        /* A standard deviation of n normal values is itself uncertain by 1 / sqrt(2 (n - 1)). */
        const double doubt = 1.0 + 1.0 / sqrt(2.0 * (found.count - 1));
        *wide = may_lengthen && out->spread > SPREAD_AIM * doubt;
        if (*wide || out->settled)
            return KM_OK;
    }
    return KM_OK;
}

/* --- one question -------------------------------------------------------------------------------------- */

static enum km_status mean_requests(struct study *study, double *out, struct km_error *error)
{
    const struct km_recording *recording;
    size_t count;
    enum km_status status =
        km_demand_get(study->demand, km_demand_first_drawn(study->demand), &recording, error);
    if (status == KM_OK)
        km_recording_requests(recording, &count);
    *out = status == KM_OK ? (double)count : 0.0;
    return status;
}

static enum km_status demand_of(const struct study *study, double length, struct km_demand **out,
                                struct km_error *error)
{
    const struct km_demand_config config = {
        .workload = &study->fleet->scenario->workload,
        .seed = study->seed,
        .block_s = study->options->block_s,
        .length = length,
    };
    return km_demand_create(&config, out, error);
}

static void limit_grid(struct study *study)
{
    double lowest = LOWEST_SCALE;
    const struct km_recording *recording;
    size_t count;
    if (km_demand_get(study->demand, 0, &recording, NULL) == KM_OK) {
        const struct km_request *requests = km_recording_requests(recording, &count);
        const double span_s = km_s_from_ps(requests[count - 1].arrival_ps);
        lowest = fmax(lowest, span_s / (study->fleet->scenario->workload.rate_scale * LONGEST_S));
    }
    study->lowest = (int32_t)ceil(log(lowest) / study->log_step);
    study->highest = (int32_t)floor(log(HIGHEST_SCALE) / study->log_step);
    if (study->lowest > study->highest)
        study->lowest = study->highest;
}

/* Replications of ever longer runs, until the spread is small enough. `lengthened`: the demand now in use,
 * when it is not the caller's. */
static enum km_status find_scale(struct study *study, struct km_demand **lengthened, struct km_capacity *out,
                                 struct km_error *error)
{
    const double guess_scale = study->options->guess > 0.0 ? study->options->guess : 1.0;
    const bool can_lengthen = km_demand_can_lengthen(&study->fleet->scenario->workload);
    double requests;
    enum km_status status = mean_requests(study, &requests, error);
    out->length = 1.0;
    out->scale = guess_scale;
    while (status == KM_OK) {
        limit_grid(study);
        out->requests = requests * out->length;
        const double most = (double)study->options->max_requests / requests;
        bool wide;
        status = replicate(study, grid_near(study, out->scale), can_lengthen && out->length < most, &wide,
                           out, error);
        if (status != KM_OK || !wide)
            break;
        const double factor = pow(out->spread / SPREAD_AIM, 2.0);
        const double length = out->length * fmin(fmax(factor, 1.5), MOST_LENGTHENING);
        struct km_demand *longer;
        out->length = fmin(length, most);
        status = demand_of(study, out->length, &longer, error);
        if (status == KM_OK) {
            km_demand_destroy(*lengthened);
            *lengthened = study->demand = longer;
        }
    }
    return status;
}

static bool states(const struct km_scenario *scenario, int metric)
{
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric == metric)
            return true;
    return false;
}

/* The least rate of the grid, up to `most`, at which the replication's goodput is met. */
static enum km_status find_least(struct study *study, uint32_t replication, int32_t most, double *out,
                                 struct km_error *error)
{
    int32_t low = study->lowest - 1, high = most;
    while (high - low > 1) {
        struct km_trial trial;
        const int32_t k = low + (high - low) / 2;
        enum km_status status = try(study, replication, scale_at(study, k), true, &trial, error);
        if (status != KM_OK)
            return status;
        if (trial.goodput_met)
            high = k;
        else
            low = k;
    }
    *out = scale_at(study, high);
    return KM_OK;
}

/* What a run looks like at the capacity, and whether the goodput is there. */
static enum km_status look_at_edge(struct study *study, struct km_capacity *out, struct km_error *error)
{
    const struct km_scenario *scenario = study->fleet->scenario;
    const uint32_t replication = km_demand_first_drawn(study->demand);
    int32_t k;
    struct km_trial trial;
    enum km_status status = find_threshold(study, replication, grid_near(study, out->scale),
                                           stride_of(study, out->spread), &k, error);
    if (status == KM_OK)
        status = try(study, replication, scale_at(study, k), true, &trial, error);
    if (status != KM_OK)
        return status;
    out->goodput_per_s = trial.goodput_per_s;
    out->saturated = trial.saturated;
    if (!states(scenario, KM_SLO_GOODPUT))
        return KM_OK;
    if (trial.goodput_met)
        return find_least(study, replication, k, &out->least_scale, error);
    out->kind = KM_CAPACITY_NONE;
    for (uint32_t i = 0; i < scenario->slo_count; i++)
        if (scenario->slo[i].metric == KM_SLO_GOODPUT)
            out->failed = (int)i;
    return KM_OK;
}

static enum km_status find_recorded(struct study *study, struct km_capacity *out, struct km_error *error)
{
    int32_t k;
    if (km_demand_first_drawn(study->demand) == 0)
        return KM_OK;
    enum km_status status =
        find_threshold(study, 0, grid_near(study, out->scale), stride_of(study, out->spread), &k, error);
    if (status == KM_OK)
        out->recorded_scale = scale_at(study, k + 0.5);
    return status;
}

/* A quick look: one threshold, of the trace itself if there is one. */
static enum km_status glance(struct study *study, struct km_capacity *out, struct km_error *error)
{
    int32_t k;
    enum km_status status = mean_requests(study, &out->requests, error);
    if (status != KM_OK)
        return status;
    limit_grid(study);
    const double guess = study->options->guess > 0.0 ? study->options->guess : 1.0;
    status = find_threshold(study, 0, grid_near(study, guess), stride_of(study, 0.2), &k, error);
    if (status != KM_OK)
        return status;
    const struct thresholds found = {.k = {k}, .count = 1};
    summarize(study, &found, out);
    out->failed = study->failed;
    if (km_demand_first_drawn(study->demand) == 1)
        out->recorded_scale = out->scale;
    return KM_OK;
}

static void classify(const struct study *study, struct km_capacity *out)
{
    const double k = log(out->scale) / study->log_step - 0.5;
    if (k < study->lowest - 0.25) {
        out->kind = KM_CAPACITY_NONE;
        out->high = scale_at(study, study->lowest);
        out->low = out->scale = 0.0;
    } else if (k > study->highest - 0.25) {
        out->kind = KM_CAPACITY_UNBOUNDED;
        out->low = out->scale = scale_at(study, study->highest);
        out->high = (double)INFINITY;
        out->failed = KM_TRIAL_NO_TERM;
    }
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

enum km_status km_capacity_find(const struct km_fleet *fleet, struct km_demand *demand,
                                const struct km_capacity_options *options, struct km_capacity *out,
                                struct km_error *error)
{
    const struct km_workload_settings *workload = &fleet->scenario->workload;
    struct km_demand *own = NULL;
    struct study study = {.fleet = fleet,
                          .options = options,
                          .demand = demand,
                          .seed = fleet->scenario->seed,
                          .log_step = log1p(options->step),
                          .out = out};
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
    if (workload->process == KM_ARRIVAL_CLOSED_LOOP || states(fleet->scenario, KM_SLO_DEADLINE))
        return as_it_is(fleet, demand, options, out, error);
    enum km_status status = demand ? KM_OK : demand_of(&study, 1.0, &own, error);
    if (status != KM_OK)
        return status;
    if (own)
        study.demand = own;
    if (options->max_replications <= 1) {
        status = glance(&study, out, error);
        if (status == KM_OK)
            classify(&study, out);
    } else {
        status = find_scale(&study, &own, out, error);
        if (status == KM_OK)
            classify(&study, out);
        if (status == KM_OK && out->kind == KM_CAPACITY_FOUND)
            status = find_recorded(&study, out, error);
        if (status == KM_OK && out->kind == KM_CAPACITY_FOUND)
            status = look_at_edge(&study, out, error);
    }
    out->holds = out->kind == KM_CAPACITY_UNBOUNDED || (out->kind == KM_CAPACITY_FOUND && out->scale >= 1.0);
    out->rate_per_s = out->scale * workload->rate_scale * km_demand_rate_per_s(study.demand);
    km_demand_destroy(own);
    return status;
}

enum km_status km_capacity_decide(const struct km_fleet *fleet, struct km_demand *demand, double scale,
                                  const struct km_capacity_options *options, struct km_decision *out,
                                  struct km_error *error)
{
    const bool open = fleet->scenario->workload.process != KM_ARRIVAL_CLOSED_LOOP;
    struct km_capacity counts = {0};
    struct km_demand *own = NULL;
    struct study study = {
        .fleet = fleet, .options = options, .demand = demand, .seed = fleet->scenario->seed, .out = &counts};
    *out = (struct km_decision){.recorded_holds = true, .failed = KM_TRIAL_NO_TERM};
    enum km_status status = demand || !open ? KM_OK : demand_of(&study, 1.0, &own, error);
    if (own)
        study.demand = own;
    const uint32_t first = study.demand ? km_demand_first_drawn(study.demand) : 0;
    struct km_trial trial;
    if (status == KM_OK && first == 1) {
        status = try(&study, 0, scale, false, &trial, error);
        out->recorded_holds = trial.holds;
        out->failed = trial.failed;
    }
    while (status == KM_OK && !out->settled && out->replications < options->max_replications) {
        status = try(&study, first + out->replications, scale, false, &trial, error);
        if (status != KM_OK)
            break;
        out->replications++;
        out->held += trial.holds;
        if (!trial.holds && out->failed == KM_TRIAL_NO_TERM)
            out->failed = trial.failed;
        const double balance = 2.0 * out->held - out->replications;
        out->settled = fabs(balance) * TEST_LOG_RATIO >= TEST_LOG_BOUNDARY;
    }
    out->holds = 2 * out->held > out->replications;
    km_demand_destroy(own);
    return status;
}
