/* Advice that harms is withdrawn, and what would help instead is looked for among a few changes, each of them
 * run. */
#include "advisor/advisor.h"
#include "base/pool.h"

#include <math.h>
#include <stdio.h>

static double e2e_p99_s(const struct km_advice_run *run)
{
    return run->summary.latency[KM_E2E].p99_s;
}

enum km_advice_harm km_advice_harms(const struct km_advice_run *before, const struct km_advice_run *after)
{
    const struct km_summary *was = &before->summary, *is = &after->summary;
    if (is->verdict == KM_SATURATED && was->verdict != KM_SATURATED)
        return KM_ADVICE_SATURATES;
    if (was->slo_attained && !is->slo_attained)
        return KM_ADVICE_MISSES_SLO;
    /* Who has an SLO that stays met, or is met at last, said what latency is worth. */
    if (!is->slo_attained && e2e_p99_s(after) > (1 + KM_ADVICE_WORSE) * e2e_p99_s(before))
        return KM_ADVICE_SLOWER;
    return KM_ADVICE_HARMLESS;
}

/* --- what would help ----------------------------------------------------------------------------------- */

/* More GPUs, or narrower weights on the same; max_num_seqs stays. False: not of this scenario. */
static bool change(int which, struct km_scenario *s, struct km_advice_run *run)
{
    double rate;
    switch (which) {
    case 0:
        if (km_dtype_bits(s->precision.weights) <= 8 ||
            !km_device_peak(&s->device, KM_FP8, s->precision.activations, &rate))
            return false;
        s->precision.weights = KM_FP8;
        if (km_dtype_bits(s->precision.attention) > 8)
            s->precision.attention = KM_FP8;
        run->name = "fp8 weights";
        snprintf(run->setting, sizeof run->setting, "precision.weights=fp8, precision.attention=%s",
                 km_dtype_name(s->precision.attention));
        return true;
    case 1:
        if (s->cluster.tensor_parallel_size * 2 > s->device.node.gpus_per_node)
            return false;
        s->cluster.tensor_parallel_size *= 2;
        run->name = "twice the TP";
        snprintf(run->setting, sizeof run->setting, "cluster.tensor_parallel_size=%u",
                 s->cluster.tensor_parallel_size);
        return true;
    default:
        if (s->scaling.policy) /* it has no fixed number of them */
            return false;
        s->cluster.replicas *= 2;
        run->name = "twice the replicas";
        snprintf(run->setting, sizeof run->setting, "cluster.replicas=%u", s->cluster.replicas);
        return true;
    }
}

struct trials {
    struct km_scenario scenarios[KM_ADVICE_TRIED];
    struct km_advice_run *runs;
    enum km_status statuses[KM_ADVICE_TRIED];
    struct km_error errors[KM_ADVICE_TRIED];
};

enum km_status km_advice_try(const struct km_scenario *scenario, struct km_advice_run *run,
                             struct km_error *error)
{
    struct km_fleet fleet;
    struct km_run_result result;
    const struct km_run_options options = {.fast_forward = true};
    const struct km_layout layout = km_scenario_layout(scenario);
    enum km_status status = km_fleet_create(scenario, &fleet, error);
    if (status != KM_OK)
        return status;
    status = km_fleet_run(&fleet, &scenario->workload, scenario->seed, &options, &result, error);
    km_fleet_release(&fleet);
    run->max_num_seqs = scenario->engine.max_num_seqs;
    run->replicas = scenario->cluster.replicas;
    run->gpus = scenario->cluster.replicas * km_layout_ranks(&layout);
    run->summary = result.summary;
    return status;
}

static void try_one(void *context, uint64_t i)
{
    struct trials *trials = context;
    trials->statuses[i] = km_advice_try(&trials->scenarios[i], &trials->runs[i], &trials->errors[i]);
}

/* Does it help against `before`? It meets an SLO that was missed; or harms nothing, and the slowest requests
 * are faster by as much as would have been harm the other way round, under a load that it carries. */
static bool helps(const struct km_advice_run *before, const struct km_advice_run *after)
{
    if (km_advice_harms(before, after) != KM_ADVICE_HARMLESS || after->summary.verdict == KM_SATURATED)
        return false;
    return (after->summary.slo_attained && !before->summary.slo_attained) ||
           (1 + KM_ADVICE_WORSE) * e2e_p99_s(after) < e2e_p99_s(before);
}

static bool is_better(const struct km_advice_run *a, const struct km_advice_run *b)
{
    if (a->summary.slo_attained != b->summary.slo_attained)
        return a->summary.slo_attained;
    return a->gpus != b->gpus ? a->gpus < b->gpus : e2e_p99_s(a) < e2e_p99_s(b);
}

enum km_status km_advise_instead(const struct km_scenario *scenario, const struct km_advice_options *options,
                                 struct km_advice *out, struct km_error *error)
{
    struct trials trials = {.runs = out->tried};
    uint32_t count = 0;
    for (int which = 0; which < KM_ADVICE_TRIED; which++) {
        trials.scenarios[count] = *scenario;
        count += change(which, &trials.scenarios[count], &out->tried[count]);
    }
    km_pool_run_watched(options->workers, count, try_one, &trials, &options->watch, "what would help", NULL);
    for (uint32_t i = 0; i < count; i++) {
        if (trials.statuses[i] == KM_NO) /* the model cannot be split so, or does not fit */
            continue;
        if (trials.statuses[i] != KM_OK) {
            *error = trials.errors[i];
            return trials.statuses[i];
        }
        out->tried[out->tried_count++] = out->tried[i];
    }
    for (uint32_t i = 0; i < out->tried_count; i++) {
        struct km_advice_run *run = &out->tried[i];
        run->helps = helps(&out->runs[0], run);
        if (run->helps && (!out->instead || is_better(run, km_advice_instead(out))))
            out->instead = i + 1;
    }
    return KM_OK;
}
