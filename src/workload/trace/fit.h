/* Fits of parametric workloads to a trace's statistics, each with its Kolmogorov-Smirnov distance (the
 * largest difference between the two distribution functions), as the measure of how well it describes the
 * trace.
 *
 * Lengths: maximum likelihood on n - 1/2 for a count n, as drawn values are rounded up; lognormal in closed
 * form, gamma by Newton's method on the shape (Minka 2002, "Estimating a Gamma distribution"). The distance
 * compares with the distribution as drawn, rounded but not clipped. Gaps: mean and cv; distances at the edges
 * of the statistics' gap bins. */
#ifndef KM_WORKLOAD_TRACE_FIT_H
#define KM_WORKLOAD_TRACE_FIT_H

#include "workload/trace/stats.h"
#include "workload/workload.h"

struct km_length_fit {
    struct km_distribution distribution; /* lognormal or gamma, without clip; constant when all are equal */
    double distance;                     /* 0..1 */
};

struct km_arrival_fit {
    enum km_arrival_process process; /* poisson, gamma or weibull; constant when all gaps are equal */
    double rate_per_s, cv;
    double distance;
};

/* Two fits, the nearer first; the number of fits (1 when all values are equal). The counts are not empty. */
size_t km_length_fit_find(const struct km_token_counts *counts, struct km_length_fit fits[2]);
/* Up to three fits, the nearest first; 0 when all requests arrive at once. */
size_t km_fit_arrivals(const struct km_trace_stats *stats, struct km_arrival_fit fits[3]);

#endif
