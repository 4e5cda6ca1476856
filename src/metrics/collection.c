#include "metrics/collection.h"

#include "base/memory.h"
#include "base/simtime.h"

#include <math.h>
#include <stdlib.h>

struct km_collection *km_collection_create(void)
{
    struct km_collection *group = km_alloc(sizeof *group);
    for (int i = 0; i < KM_LATENCY_COUNT; i++) {
        group->samples[i] = km_sketch_create();
        group->means[i] = km_batch_means_create();
    }
    return group;
}

struct km_collection *km_collection_copy(const struct km_collection *group)
{
    struct km_collection *copy = km_collection_create();
    copy->tally = group->tally;
    for (int i = 0; i < KM_LATENCY_COUNT; i++) {
        km_sketch_merge(copy->samples[i], group->samples[i]);
        km_batch_means_copy(copy->means[i], group->means[i]);
    }
    return copy;
}

void km_collection_destroy(struct km_collection *group)
{
    if (!group)
        return;
    for (int i = 0; i < KM_LATENCY_COUNT; i++) {
        km_sketch_destroy(group->samples[i]);
        km_batch_means_destroy(group->means[i]);
    }
    free(group);
}

static void sample(struct km_collection *group, enum km_latency metric, uint64_t value_ps)
{
    km_sketch_add(group->samples[metric], value_ps, 1);
    km_batch_means_add(group->means[metric], value_ps, 1);
}

void km_collection_serve(struct km_collection *group, const struct km_served *served, uint32_t prompt_tokens,
                         uint32_t output_tokens, bool good)
{
    struct km_tally *tally = &group->tally;
    tally->completed++;
    tally->prompt_tokens += prompt_tokens;
    tally->output_tokens += output_tokens;
    tally->good += good;
    if (served->since_start_ps > tally->last_end_ps)
        tally->last_end_ps = served->since_start_ps;
    sample(group, KM_TTFT, served->ps[KM_TTFT]);
    sample(group, KM_E2E, served->ps[KM_E2E]);
    sample(group, KM_QUEUEING_DELAY, served->ps[KM_QUEUEING_DELAY]);
    sample(group, KM_NORMALIZED, served->ps[KM_NORMALIZED]);
    sample(group, KM_TTFT_ENGINE, served->ps[KM_TTFT_ENGINE]);
    sample(group, KM_E2E_ENGINE, served->ps[KM_E2E_ENGINE]);
    if (served->gaps == 0)
        return;
    sample(group, KM_TPOT, served->ps[KM_TPOT]);
    /* The gaps of one request add up to its decode time: whatever order replicas told the gaps in, this order
     * is that of completions. */
    km_batch_means_add(group->means[KM_ITL], served->decode_ps, served->gaps);
}

void km_collection_summarize(const struct km_collection *group, enum km_latency metric, bool stationary,
                             struct km_latency_summary *out)
{
    const struct km_sketch *s = group->samples[metric];
    struct km_interval interval = {.half_width = (double)NAN};
    if (stationary)
        km_batch_means_interval(group->means[metric], &interval);
    *out = (struct km_latency_summary){
        .mean_s = km_sketch_mean_ps(s) * 1e-12,
        .ci95_s = interval.half_width * 1e-12,
        .p50_s = km_sketch_quantile_ps(s, 0.5) * 1e-12,
        .p90_s = km_sketch_quantile_ps(s, 0.9) * 1e-12,
        .p95_s = km_sketch_quantile_ps(s, 0.95) * 1e-12,
        .p99_s = km_sketch_quantile_ps(s, 0.99) * 1e-12,
        .max_s = km_sketch_count(s) ? km_s_from_ps(km_sketch_max_ps(s)) : (double)NAN,
        .count = km_sketch_count(s),
        .independent = km_sketch_count(group->samples[metric == KM_ITL ? KM_TPOT : metric]),
        .warmup_count = interval.warmup_samples,
        .ci95_batches = interval.batches,
    };
}
