/* Latencies of the rows, in ascending order. */
#ifndef KM_TESTS_CAMPAIGN_SAMPLES_H
#define KM_TESTS_CAMPAIGN_SAMPLES_H

#include "campaign/run.h"

struct samples {
    uint64_t *ps; /* [count]; owned */
    size_t count;
};

/* Of completed requests, of those that `counts` says (NULL: all); never KM_ITL, of which rows know nothing.
 */
void samples_take(const struct run *run, enum km_latency metric, bool (*counts)(const struct ended *, void *),
                  void *context, struct samples *out);
uint64_t sample_of(const struct km_record *record, enum km_latency metric);
double samples_mean_s(const struct samples *samples);               /* NAN without any */
double samples_quantile_s(const struct samples *samples, double q); /* NAN without any */
void samples_release(struct samples *samples);

#endif
