/* A collection of requests, all of a run's or those of one class: what became of them, and their latencies.
 * Takes about 2 MiB, whatever the number of requests. */
#ifndef KM_METRICS_COLLECTION_H
#define KM_METRICS_COLLECTION_H

#include "metrics/batch_means.h"
#include "metrics/sketch.h"
#include "metrics/slo.h"

#include <stdbool.h>
#include <stdint.h>

struct km_tally {
    uint64_t completed, rejected, abandoned, cancelled;
    uint64_t prompt_tokens, output_tokens; /* of completed requests */
    uint64_t good;                         /* within every latency limit of the SLO */
    uint64_t last_end_ps;                  /* longest time from the run's first arrival to a completion */
};

struct km_collection {
    struct km_tally tally;
    struct km_sketch *samples[KM_LATENCY_COUNT];
    struct km_batch_means *means[KM_LATENCY_COUNT];
};

struct km_latency_summary {
    double mean_s, ci95_s, p50_s, p90_s, p95_s, p99_s, max_s; /* NAN where undefined */
    uint64_t count;
    /* Of them, as many as are independent: the gaps of one request are not, so of ITL its requests with gaps.
     */
    uint64_t independent;
    uint64_t warmup_count; /* requests left out of ci95 as warm-up */
    uint32_t ci95_batches; /* behind ci95; 0 when it is undefined */
};

struct km_collection *km_collection_create(void);
struct km_collection *km_collection_copy(const struct km_collection *group);
void km_collection_destroy(struct km_collection *group);

/* A completed request; its gaps are told apart, to samples[KM_ITL]. */
void km_collection_serve(struct km_collection *group, const struct km_served *served, uint32_t prompt_tokens,
                         uint32_t output_tokens, bool good);
/* Intervals only when `stationary`. */
void km_collection_summarize(const struct km_collection *group, enum km_latency metric, bool stationary,
                             struct km_latency_summary *out);

static inline uint64_t km_tally_requests(const struct km_tally *tally)
{
    return tally->completed + tally->rejected + tally->abandoned + tally->cancelled;
}

#endif
