/* What a question about capacity works with: the grid of rates, trials on it, thresholds. Private to
 * capacity*.c. */
#ifndef KM_CAPACITY_STUDY_H
#define KM_CAPACITY_STUDY_H

#include "capacity/capacity.h"

/* Shared by the threads of one question; none of them changes it. */
struct km_study {
    const struct km_workload_settings *workload;
    const struct km_capacity_options *options;
    struct km_demand *demand; /* NULL: a closed loop, run as it is */
    uint64_t seed;
    double log_step;         /* rate k of the grid is exp(k * log_step) */
    int32_t lowest, highest; /* k */
};

/* One thread's part of it. */
struct km_prober {
    const struct km_study *study;
    const struct km_fleet *fleet;
    int failed; /* of the slowest trial that failed in the last threshold; what KM_TRIAL_NO_TERM says if none
                 */
    uint64_t runs, runs_cut, events;
};

/* The grid for the demand: from a thousandth (or where arrivals would last too long) to a thousandfold. */
enum km_status km_study_grid(struct km_study *study, struct km_error *error);
double km_study_scale(const struct km_study *study, double k);
int32_t km_study_near(const struct km_study *study, double scale);
/* How many rates of the grid lie in this relative width. */
int32_t km_study_stride(const struct km_study *study, double width);

enum km_status km_study_try(struct km_prober *prober, uint32_t replication, double scale, bool whole,
                            struct km_trial *trial, struct km_error *error);
/* The greatest rate of the grid at which the replication holds: lowest - 1 when none, highest when all.
 * Starts at `guess` and moves by `stride`, doubling, until the threshold is between two trials. */
enum km_status km_study_threshold(struct km_prober *prober, uint32_t replication, int32_t guess,
                                  int32_t stride, int32_t *out, struct km_error *error);

#endif
