/* Statistics of a request stream, gathered in one pass.
 *
 * Memory is bounded (counts per token value, fixed bins of gaps and of time), except for the distinct prefix
 * hashes and sessions, which are remembered. Requests come in order of arrival. */
#ifndef KM_WORKLOAD_TRACE_STATS_H
#define KM_WORKLOAD_TRACE_STATS_H

#include "workload/request.h"
#include "workload/token_counts.h"

#include <stdbool.h>
#include <stddef.h>

#define KM_RATE_WINDOWS       20
#define KM_DISPERSION_WINDOWS 4
#define KM_GAP_BINS           4096

struct km_trace_stats; /* opaque */

struct km_trace_stats *km_trace_stats_create(void);
void km_trace_stats_destroy(struct km_trace_stats *stats);
void km_trace_stats_add(struct km_trace_stats *stats, const struct km_request *request);

struct km_trace_summary {
    uint64_t requests;
    double span_s;     /* first to last arrival */
    double rate_per_s; /* (requests - 1) / span; 0 when the span is */
    double gap_cv;     /* standard deviation over mean of the gaps; 0 when the span is */
    /* Index of dispersion for counts (Gusella 1991, doi:10.1109/49.68448): variance over mean of the arrivals
     * in consecutive windows; 1 for a Poisson process. Windows that the trace does not fill at least twice
     * have windows < 2 and no index. */
    struct {
        double window_s, index;
        uint64_t windows;
    } dispersion[KM_DISPERSION_WINDOWS];
    /* The span in equal parts (the last may be shorter); rate_count parts are used. */
    double rate_window_s;
    size_t rate_count;
    double rates_per_s[KM_RATE_WINDOWS];

    const struct km_token_counts *prompt, *output; /* borrowed from the statistics */

    /* Prefix sharing with an unlimited cache: a block is a hit when it and every block before it in its
     * prompt were part of an earlier request. */
    uint64_t hashed_requests, blocks, hit_blocks, distinct_blocks;
    uint64_t sessions, session_requests;
};

void km_trace_stats_summarize(const struct km_trace_stats *stats, struct km_trace_summary *out);
/* Requests of a class; 0 beyond the last one seen. */
uint64_t km_trace_stats_class(const struct km_trace_stats *stats, uint32_t class_index);

/* The gaps between arrivals in bins of an equal share of each power of two (64 to one): number of gaps in bin
 * i, and the bin's upper edge in picoseconds. */
uint64_t km_trace_stats_gaps(const struct km_trace_stats *stats, size_t bin);
double km_trace_stats_gap_edge_ps(size_t bin);

#endif
