#include "capacity/vary.h"

#include "base/memory.h"
#include "base/pool.h"
#include "capacity/study.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct job {
    const struct km_capacity *found;
    const struct km_capacity_options *options;
    struct km_scenario scenario;               /* the variation's: what it owns stays the original's */
    double guess;                              /* of the ratio between its capacity and the plan's */
    double log_ratios[KM_CAPACITY_THRESHOLDS]; /* of thresholds */
    bool never;                                /* the SLO fails at any rate */
    struct km_study study;
    enum km_status status;
    struct km_error error;
};

static enum km_status find_thresholds(struct job *job, const struct km_fleet *fleet)
{
    const struct km_capacity *found = job->found;
    const struct km_study *study = &job->study;
    struct km_prober prober = {.study = study, .fleet = fleet};
    double ratio = job->guess;
    for (uint32_t i = 0; i < found->threshold_count; i++) {
        int32_t k;
        const int32_t guess = km_study_near(study, found->thresholds[i] * ratio);
        enum km_status status =
            km_study_threshold(&prober, found->first_replication + i, guess,
                               km_study_stride(study, i == 0 ? 0.05 : 0.01), &k, &job->error);
        if (status != KM_OK)
            return status;
        job->never = k < study->lowest;
        if (job->never)
            return KM_OK;
        ratio = km_study_scale(study, k + 0.5) / found->thresholds[i];
        job->log_ratios[i] = log(ratio);
    }
    return KM_OK;
}

static void run_job(void *context, uint64_t index)
{
    struct job *job = (struct job *)context + index;
    const struct km_demand_config config = {
        .workload = &job->scenario.workload,
        .seed = job->scenario.seed,
        .block_s = job->options->block_s,
        .length = job->found->length,
    };
    struct km_fleet fleet;
    job->study = (struct km_study){
        .workload = &job->scenario.workload,
        .options = job->options,
        .seed = job->scenario.seed,
        .log_step = log1p(job->options->step),
    };
    job->status = km_demand_create(&config, &job->study.demand, &job->error);
    if (job->status == KM_OK)
        job->status = km_study_grid(&job->study, &job->error);
    if (job->status == KM_OK) {
        job->status = km_fleet_create(&job->scenario, &fleet, &job->error);
        if (job->status == KM_OK) {
            job->status = find_thresholds(job, &fleet);
            km_fleet_release(&fleet);
        }
    }
    km_demand_destroy(job->study.demand);
    job->study.demand = NULL;
}

static int compare(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double scale_of(struct job *job)
{
    const uint32_t count = job->found->threshold_count;
    if (job->never)
        return 0.0;
    qsort(job->log_ratios, count, sizeof *job->log_ratios, compare);
    return job->found->scale * exp(0.5 * (job->log_ratios[(count - 1) / 2] + job->log_ratios[count / 2]));
}

static void vary(struct job *job, const struct km_variation *variation)
{
    struct km_workload_settings *workload = &job->scenario.workload;
    const double outputs = workload->output_tokens_scale > 0 ? workload->output_tokens_scale : 1;
    const double prompts = workload->prompt_tokens_scale > 0 ? workload->prompt_tokens_scale : 1;
    job->scenario.time_scale *= variation->time_scale;
    workload->output_tokens_scale = outputs * variation->output_scale;
    workload->prompt_tokens_scale = prompts * variation->prompt_scale;
    /* Who expects longer requests starts the engine for them, as far as the model goes; the KV cache decides.
     */
    const double longer = fmax(variation->output_scale, variation->prompt_scale);
    struct km_engine *engine = &job->scenario.engine;
    if (longer > 1.0)
        engine->max_model_len =
            (uint32_t)fmin(ceil(engine->max_model_len * longer), job->scenario.model.max_position_embeddings);
    /* Prefill and decode each take about half of the time. */
    job->guess = 1.0 / (variation->time_scale * sqrt(variation->output_scale * variation->prompt_scale));
}

enum km_status km_capacity_vary(const struct km_scenario *scenario, const struct km_capacity *found,
                                const struct km_capacity_options *options, struct km_variation *variations,
                                uint32_t count, struct km_error *error)
{
    assert(count <= KM_MAX_VARIATIONS && found->kind == KM_CAPACITY_FOUND && found->threshold_count > 0);
    struct job *jobs = km_alloc(count * sizeof *jobs);
    for (uint32_t i = 0; i < count; i++) {
        jobs[i].found = found;
        jobs[i].options = options;
        jobs[i].scenario = *scenario;
        vary(&jobs[i], &variations[i]);
    }
    km_pool_run_watched(options->workers > 1 ? options->workers : 1, count, run_job, jobs, options->watch,
                        "what if", NULL);
    enum km_status status = KM_OK;
    for (uint32_t i = 0; i < count && status == KM_OK; i++) {
        if (jobs[i].status != KM_OK) {
            status = jobs[i].status;
            *error = jobs[i].error;
        }
        variations[i].scale = status == KM_OK ? scale_of(&jobs[i]) : (double)NAN;
    }
    free(jobs);
    return status;
}

static struct km_time_error stated(double relative, const char *source)
{
    return (struct km_time_error){1.0 - relative, 1.0 + relative, source, false};
}

struct km_time_error km_time_error_of(const struct km_scenario *scenario,
                                      const struct km_accuracy_answer *closest)
{
    if (scenario->time_error >= 0.0)
        return stated(scenario->time_error, "stated by the scenario: cost.time_error");
    if (scenario->engine.step_time_error > 0.0)
        return stated(scenario->engine.step_time_error, "stated by the engine description: step_time_error");
    if (strcmp(scenario->cost_model, "linear") == 0)
        return stated(0.0, "the linear law is taken as given");
    return (struct km_time_error){closest->row.p10, closest->row.p90, "measured throughput", true};
}

static enum km_status ask_fleet(const struct km_scenario *scenario, struct km_demand *demand,
                                const struct km_capacity_options *options, struct km_sensitivity *out,
                                struct km_error *error)
{
    struct km_fleet fleet;
    enum km_status status = km_fleet_create(scenario, &fleet, error);
    if (status != KM_OK)
        return status;
    status = km_capacity_decide(&fleet, demand, 0.8, options, &out->less_load, error);
    if (status == KM_OK)
        status = km_capacity_decide(&fleet, demand, 1.2, options, &out->more_load, error);
    km_fleet_release(&fleet);
    return status;
}

enum km_status km_capacity_sensitivity(const struct km_scenario *scenario, struct km_demand *demand,
                                       const struct km_capacity *found,
                                       const struct km_time_error *time_error,
                                       const struct km_capacity_options *options, struct km_sensitivity *out,
                                       struct km_error *error)
{
    const struct km_demand_config config = {&scenario->workload, scenario->seed, options->block_s,
                                            found->length};
    struct km_demand *own = NULL;
    const bool borrowed = demand && found->length <= 1.0;
    enum km_status status = borrowed ? KM_OK : km_demand_create(&config, &own, error);
    *out = (struct km_sensitivity){
        .time_error = *time_error, .headroom = found->scale - 1.0, .low = (double)NAN, .high = (double)NAN};
    if (status == KM_OK)
        status = ask_fleet(scenario, own ? own : demand, options, out, error);
    km_demand_destroy(own);
    if (status != KM_OK)
        return status;
    struct km_variation variations[] = {
        {.time_scale = 1.2, .output_scale = 1.0, .prompt_scale = 1.0},
        {.time_scale = 1.0, .output_scale = 1.2, .prompt_scale = 1.0},
        {.time_scale = time_error->slow, .output_scale = 1.0, .prompt_scale = 1.0},
        {.time_scale = time_error->fast, .output_scale = 1.0, .prompt_scale = 1.0},
    };
    const bool known = isfinite(time_error->slow);
    status = km_capacity_vary(scenario, found, options, variations, known ? 4 : 2, error);
    out->slower_scale = variations[0].scale;
    out->longer_scale = variations[1].scale;
    if (known) {
        out->low = variations[2].scale;
        out->high = variations[3].scale;
    }
    return status;
}
