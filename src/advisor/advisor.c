#include "advisor/advisor.h"

#include "base/pool.h"
#include "batching/batching.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_REQUESTS    200u /* of a run on the curve */
#define REQUESTS_A_CLIENT 16u
#define USUAL_LARGEST     512u
#define BISECTIONS        5
#define PLATEAU           1.001

/* --- one point of the curve ---------------------------------------------------------------------------- */

/* The scenario with max_num_seqs = batch and its requests in a closed loop of as many clients. Shares the
 * arena of `scenario`, which owns all that it points to. */
static struct km_scenario at_batch(const struct km_scenario *scenario, uint32_t batch)
{
    struct km_scenario at = *scenario;
    struct km_workload_settings *workload = &at.workload;
    uint64_t wanted = (uint64_t)batch * REQUESTS_A_CLIENT;
    wanted = wanted < LEAST_REQUESTS ? LEAST_REQUESTS : wanted;
    at.cluster.replicas = 1;
    at.scaling = (struct km_scaling_settings){0};
    at.engine.max_num_seqs = batch;
    if (at.engine.max_num_batched_tokens < batch)
        at.engine.max_num_batched_tokens = batch;
    workload->process = KM_ARRIVAL_CLOSED_LOOP;
    workload->turns = KM_TURNS_RECORDED;
    workload->clients = batch;
    workload->think_s = (struct km_distribution){.kind = KM_DIST_CONSTANT};
    workload->requests = wanted;
    workload->rate_scale = 1;
    workload->patience_s = 0;
    if (!workload->trace) {
        workload->start_s = 0;
        workload->end_s = 0;
    }
    return at;
}

static double worst_ratio(const struct km_summary *summary)
{
    double worst = 0;
    for (uint32_t i = 0; i < summary->slo_count; i++) {
        const struct km_slo_outcome *o = &summary->slo[i];
        if ((o->term.metric == KM_TPOT || o->term.metric == KM_ITL) && o->value / o->term.limit > worst)
            worst = o->value / o->term.limit;
    }
    return worst;
}

struct curve {
    const struct km_scenario *scenario;
    const struct km_advice_options *options;
    struct km_advice_point *points;
    struct km_error *errors;
    enum km_status *statuses;
    double mean_prompt_tokens, mean_output_tokens; /* of the run at batch 1 */
};

static enum km_status measure(struct curve *curve, struct km_advice_point *point, struct km_error *error)
{
    struct km_scenario scenario = at_batch(curve->scenario, point->batch);
    const struct km_run_options options = {.fast_forward = true};
    struct km_fleet fleet;
    struct km_run_result result;
    enum km_status status = km_fleet_create(&scenario, &fleet, error);
    if (status != KM_OK)
        return status;
    status = km_fleet_run(&fleet, &scenario.workload, scenario.seed, &options, &result, error);
    km_fleet_release(&fleet);
    if (status != KM_OK)
        return status;
    const struct km_summary *s = &result.summary;
    if (s->completed == 0)
        return km_fail(error, KM_NO, NULL, 0, 0, "none of the workload's requests can be served");
    double tokens = (double)s->output_tokens, requests = (double)s->completed;
    double clients = fmin(point->batch, requests);
    point->requests = s->completed;
    point->preemptions = s->preemptions;
    point->output_tokens_per_s = clients * tokens / (s->latency[KM_E2E].mean_s * requests);
    point->itl_mean_s = s->latency[KM_ITL].mean_s;
    point->itl_p99_s = s->latency[KM_ITL].p99_s;
    point->tpot_mean_s = s->latency[KM_TPOT].mean_s;
    point->slo_ratio = worst_ratio(s);
    if (curve->options->itl_slo_s > 0)
        point->slo_ratio = fmax(point->slo_ratio, point->itl_mean_s / curve->options->itl_slo_s);
    point->slo_met = point->slo_ratio <= 1;
    point->mfu = result.mfu;
    point->mbu = result.mbu;
    point->busy = result.busy;
    const struct km_work *work = &result.simulation.work;
    point->prompt_step_share = (double)work->prompt_steps / (double)work->steps;
    point->prompts_a_step = requests / fmax(1, (double)work->prompt_steps);
    point->peak_blocks = s->peak_blocks;
    if (point->batch == 1) {
        curve->mean_prompt_tokens = (double)s->prompt_tokens / requests;
        curve->mean_output_tokens = tokens / requests;
    }
    return KM_OK;
}

static void measure_job(void *context, uint64_t index)
{
    struct curve *curve = context;
    curve->statuses[index] = measure(curve, &curve->points[index], &curve->errors[index]);
}

/* --- the curve ----------------------------------------------------------------------------------------- */

static void judge(struct km_advice *advice, struct km_advice_point *point)
{
    point->efficiency = point->output_tokens_per_s / (point->batch * advice->points[0].output_tokens_per_s);
    point->efficient = point->efficiency >= advice->epsilon;
}

/* 1, 2, 4, 8, 16, then also half-way: 24, 32, 48, ..., and `most`. */
static void lay_grid(struct km_advice *advice, uint32_t most)
{
    uint32_t count = 0;
    for (uint64_t batch = 1; batch < most && count + BISECTIONS + 2 < KM_ADVICE_POINTS; batch *= 2) {
        advice->points[count++].batch = (uint32_t)batch;
        if (batch >= 16 && batch + batch / 2 < most)
            advice->points[count++].batch = (uint32_t)(batch + batch / 2);
    }
    advice->points[count++].batch = most;
    advice->point_count = count;
}

static enum km_status measure_grid(struct curve *curve, struct km_advice *advice, uint32_t most,
                                   struct km_error *error)
{
    lay_grid(advice, most);
    uint32_t count = advice->point_count - 1; /* the first is there */
    struct km_error errors[KM_ADVICE_POINTS];
    enum km_status statuses[KM_ADVICE_POINTS];
    curve->points = advice->points + 1;
    curve->errors = errors;
    curve->statuses = statuses;
    km_pool_run_watched(curve->options->workers, count, measure_job, curve, &curve->options->watch,
                        "batch sizes", NULL);
    for (uint32_t i = 0; i < count; i++)
        if (statuses[i] != KM_OK) {
            *error = errors[i];
            return statuses[i];
        }
    for (uint32_t i = 0; i < advice->point_count; i++)
        judge(advice, &advice->points[i]);
    return KM_OK;
}

static bool holds(const struct km_advice_point *point)
{
    return point->efficient && point->slo_met;
}

/* The first of the points with the most throughput that hold; KM_ADVICE_POINTS when none does. */
static uint32_t best_point(const struct km_advice *advice)
{
    uint32_t best = KM_ADVICE_POINTS;
    for (uint32_t i = 0; i < advice->point_count; i++)
        if (holds(&advice->points[i]) &&
            (best == KM_ADVICE_POINTS ||
             advice->points[i].output_tokens_per_s > advice->points[best].output_tokens_per_s * PLATEAU))
            best = i;
    return best;
}

static void insert_after(struct km_advice *advice, uint32_t index, const struct km_advice_point *point)
{
    memmove(&advice->points[index + 2], &advice->points[index + 1],
            (advice->point_count - index - 1) * sizeof advice->points[0]);
    advice->points[index + 1] = *point;
    advice->point_count++;
}

/* Between the best point and the next, which does not hold: where it ceases to. */
static enum km_status refine(struct curve *curve, struct km_advice *advice, struct km_error *error)
{
    for (int i = 0; i < BISECTIONS; i++) {
        uint32_t best = best_point(advice);
        if (best + 1 >= advice->point_count || holds(&advice->points[best + 1]))
            return KM_OK;
        uint32_t low = advice->points[best].batch, high = advice->points[best + 1].batch;
        if (high - low <= 1 + low / 16)
            return KM_OK;
        struct km_advice_point middle = {.batch = low + (high - low) / 2};
        km_watch_tell(&curve->options->watch, "the best batch size", NULL, (double)i / BISECTIONS);
        enum km_status status = measure(curve, &middle, error);
        if (status != KM_OK)
            return status;
        judge(advice, &middle);
        insert_after(advice, best, &middle);
    }
    return KM_OK;
}

static enum km_advice_bound bound_of(const struct km_advice *advice, uint32_t largest_asked)
{
    const struct km_advice_point *next = &advice->points[advice->advised + 1];
    if (advice->advised + 1 < advice->point_count)
        return !next->slo_met ? KM_ADVICE_SLO : !next->efficient ? KM_ADVICE_EFFICIENCY : KM_ADVICE_PLATEAU;
    return advice->points[advice->advised].batch < largest_asked ? KM_ADVICE_MEMORY : KM_ADVICE_AT_MOST;
}

/* One sequence at a time is too slow already. */
static enum km_status refuse(const struct km_advice_point *alone, struct km_error *error)
{
    const struct {
        const char *words;
        double value;
    } parts[] = {{"TPOT ", alone->tpot_mean_s},
                 {" s and ITL ", alone->itl_mean_s},
                 {" s on average, ", alone->slo_ratio}};
    struct km_text text = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        km_text_puts(&text, parts[i].words);
        km_text_number(&text, parts[i].value, 3);
    }
    enum km_status status = km_fail(
        error, KM_NO, NULL, 0, 0,
        "no batch size meets the SLO: one sequence at a time has %s times the limit", km_text_c(&text));
    km_text_release(&text);
    return status;
}

static enum km_status find_knee(const struct km_scenario *scenario, const struct km_advice_options *options,
                                const struct km_setup *setup, struct km_advice *out, struct km_error *error)
{
    struct curve curve = {.scenario = scenario, .options = options};
    const struct km_engine *engine = &scenario->engine;
    uint32_t asked = options->max_batch;
    if (asked == 0)
        asked = engine->max_num_seqs > USUAL_LARGEST ? engine->max_num_seqs : USUAL_LARGEST;
    out->points[0].batch = 1;
    enum km_status status = measure(&curve, &out->points[0], error);
    if (status != KM_OK)
        return status;
    out->mean_prompt_tokens = curve.mean_prompt_tokens;
    out->mean_output_tokens = curve.mean_output_tokens;
    uint64_t length = (uint64_t)ceil(curve.mean_prompt_tokens + curve.mean_output_tokens);
    uint64_t fits = km_kv_concurrency(&setup->memory.groups, setup->blocks, engine->block_size, length);
    out->fits_batch = (uint32_t)(fits < 1 ? 1 : fits > UINT32_MAX ? UINT32_MAX : fits);
    status = measure_grid(&curve, out, asked < out->fits_batch ? asked : out->fits_batch, error);
    if (status == KM_OK && best_point(out) == KM_ADVICE_POINTS)
        return refuse(&out->points[0], error);
    if (status == KM_OK)
        status = refine(&curve, out, error);
    if (status == KM_OK) {
        out->advised = best_point(out);
        out->bound = bound_of(out, asked);
    }
    return status;
}

/* --- confirmation -------------------------------------------------------------------------------------- */

struct confirmation {
    const struct km_scenario *scenario;
    struct km_advice *out;
    enum km_status statuses[3];
    struct km_error errors[3];
};

static void confirm_job(void *context, uint64_t index)
{
    struct confirmation *c = context;
    struct km_advice *advice = c->out;
    const struct km_advice_point *advised = &advice->points[advice->advised];
    struct km_advice_run *run = &advice->runs[index];
    struct km_scenario scenario = *c->scenario;
    if (index > 0) {
        scenario.engine.max_num_seqs = advised->batch;
        if (scenario.engine.max_num_batched_tokens < advised->batch)
            scenario.engine.max_num_batched_tokens = advised->batch;
    }
    if (index == 2) {
        const struct km_advice_share *s = &advice->shares[advice->advised_replicas - 1];
        double slower =
            s->replicas * advised->output_tokens_per_s / s->output_tokens_per_s[KM_SHARING_ADDING];
        scenario.cluster.replicas *= s->replicas;
        scenario.time_scale *= slower;
        scenario.engine.num_gpu_blocks_override =
            (uint32_t)(advice->needed_blocks / scenario.cluster.data_parallel_size);
    }
    c->statuses[index] = km_advice_try(&scenario, run, &c->errors[index]);
}

static enum km_status confirm(const struct km_scenario *scenario, const struct km_advice_options *options,
                              struct km_advice *out, struct km_error *error)
{
    static const char *const names[] = {"as it is", "advised batch", "replicas sharing"};
    struct confirmation c = {.scenario = scenario, .out = out};
    /* A fleet that scales itself has no fixed number of replicas to multiply. */
    out->run_count = out->advised_replicas > 1 && !scenario->scaling.policy ? 3 : 2;
    for (uint32_t i = 0; i < out->run_count; i++)
        out->runs[i].name = names[i];
    km_pool_run_watched(options->workers, out->run_count, confirm_job, &c, &options->watch,
                        "the scenario's own arrivals", NULL);
    for (uint32_t i = 0; i < out->run_count; i++)
        if (c.statuses[i] != KM_OK) {
            *error = c.errors[i];
            return c.statuses[i];
        }
    for (uint32_t i = 1; i < out->run_count; i++)
        out->runs[i].harm = km_advice_harms(&out->runs[0], &out->runs[i]);
    if (out->run_count > 2 && out->runs[2].harm != KM_ADVICE_HARMLESS)
        out->advised_replicas = 1;
    return km_advice_is_withdrawn(out) ? km_advise_instead(scenario, options, out, error) : KM_OK;
}

enum km_status km_advise(const struct km_scenario *scenario, const struct km_advice_options *options,
                         struct km_advice *out, struct km_error *error)
{
    struct km_setup setup;
    *out = (struct km_advice){.epsilon = options->epsilon, .itl_slo_s = options->itl_slo_s};
    if (scenario->group_count)
        return km_fail(error, KM_BAD_INPUT, scenario->path, 0, 0,
                       "cluster.groups: advice is for replicas of one kind; ask for each by itself");
    if (km_batching_find(scenario->engine.policy)->traits & KM_BATCHING_ONE_SIZE)
        return km_fail(error, KM_BAD_INPUT, scenario->path, 0, 0,
                       "engine.batching.policy: %s waits for batches of one size; advice is for those that "
                       "max_num_seqs limits",
                       scenario->engine.policy);
    enum km_status status = km_setup_create(scenario, &setup, error);
    if (status != KM_OK)
        return status;
    status = find_knee(scenario, options, &setup, out, error);
    if (status == KM_OK)
        status = km_advise_sharing(&setup, out, error);
    if (status == KM_OK)
        status = confirm(scenario, options, out, error);
    km_setup_release(&setup);
    return status;
}
