/* The requests of a replication.
 *
 * A workload that draws (arrivals, lengths or think times) draws others with each seed: its replications are
 * independent, and the mean of n has an error of s / sqrt(n), s the standard deviation among them.
 *
 * A trace with its own times is one recording, the same with every seed. Replication 0 is the trace as it is;
 * the others are block bootstraps of it (workload/resample.h). How much these differ among themselves is how
 * much the recording's own figure might have differed had another day been recorded: its standard error is
 * s itself, however many there are (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter
 * 6), and its interval the recording's figure +- t s. A scenario that asks for a bootstrap gets nothing else.
 *
 * A recording too short to be resampled (km_resample_is_possible()), or whose requests come all at once or
 * one after another (a closed loop), is the same requests in every replication: there is no interval. */
#ifndef KM_SWEEP_SAMPLE_H
#define KM_SWEEP_SAMPLE_H

#include "workload/workload.h"

enum km_sweep_sample {
    KM_SWEEP_DRAWN,
    KM_SWEEP_RECORDED,  /* a trace, as it is */
    KM_SWEEP_RESAMPLED, /* a block bootstrap of one */
    KM_SWEEP_SAMPLES,
};
const char *km_sweep_sample_name(enum km_sweep_sample sample); /* "drawn", "recorded", "resampled" */

/* Change `workload` to what this replication of it runs. *recording is then borrowed by it, and owned by the
 * caller; NULL when there is none to free. */
enum km_status km_sweep_sample(struct km_workload_settings *workload, uint32_t replication,
                               enum km_sweep_sample *out, struct km_recording **recording,
                               struct km_error *error);

#endif
