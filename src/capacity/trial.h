/* A trial: one run of a plan at one rate on one replication of the demand. Does the SLO hold?
 *
 * It holds when every term does, by the exact counts of metrics/slo.h; without an SLO, when no request is
 * rejected or leaves and the verdict (metrics/stability.h) is not that the queue grows without bound. With
 * terms that bound the load (km_slo_bounds_load()) that verdict does not count: limits loose enough for a
 * queue to grow through a whole run hold for runs of this length. A minimum goodput does not count either: it
 * grows with the rate, so it bounds rates from below (capacity.h).
 *
 * A trial ends as soon as it must fail whatever is still to come, which is exact, not a guess: of N requests
 * in all, a quantile q is missed once more than (1 - q) N are beyond its limit, a mean once what was summed
 * so far exceeds N times the limit, a share once more than that share of N goes unserved, and a late request
 * before a deadline decides at once.
 * Gaps (ITL) are not told to anybody while a run goes on, so their terms never end it. */
#ifndef KM_CAPACITY_TRIAL_H
#define KM_CAPACITY_TRIAL_H

#include "scenario/fleet.h"

enum { KM_TRIAL_NO_TERM = -1, KM_TRIAL_UNSERVED = -2, KM_TRIAL_SATURATED = -3 };

struct km_trial {
    bool holds;
    bool early; /* ended before the run did, since it must fail */
    int failed; /* the term of the scenario's SLO that decided, or of those missed the farthest beyond its
                   limit; or one of the above */
    bool goodput_met;                 /* every term of a minimum goodput; false when early */
    bool saturated;                   /* the verdict; false when early */
    double goodput_per_s, duration_s; /* NAN when early */
    uint64_t requests;                /* that ended in the run */
    uint64_t events;
};

/* `workload` with all its requests in memory (`recording`, process trace), or any closed loop; both borrowed
 * during the call. `whole`: never end early. */
enum km_status km_trial_run(const struct km_fleet *fleet, const struct km_workload_settings *workload,
                            uint64_t seed, bool whole, struct km_trial *out, struct km_error *error);

#endif
