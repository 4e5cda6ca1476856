/* A request that ended, and its latencies. All times are absolute simulated time.
 *
 * Arrival is the client's call. Latencies count from it to when the client has the tokens, delivery_ps after the engine; those "of the
 * engine" from when the request was in the engine's queue to when the engine had its tokens. */
#ifndef KM_METRICS_RECORD_H
#define KM_METRICS_RECORD_H

#include "metrics/slo.h"

#include <stdbool.h>
#include <stdint.h>

struct km_record {
    uint64_t id;
    const char *label; /* borrowed; NULL = print id */
    int64_t session;   /* -1 = none */
    uint64_t arrival_ps, queued_ps, scheduled_ps, started_ps, first_token_ps, last_token_ps;
    uint64_t delivery_ps; /* of each token */
    uint32_t prompt_tokens, output_tokens, preemptions, replica, class_index;
};

/* A latency of a completed request, to the nearest picosecond; false where it has none: ITL is of gaps, and TPOT needs two tokens. */
bool km_record_latency(const struct km_record *record, enum km_latency metric, uint64_t *out_ps);

#endif
