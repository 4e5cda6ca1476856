/* What if? The capacity of a plan under other assumptions: the interval for the cost model's own error, and
 * the sensitivities that a planner asks for.
 *
 * A variation's threshold is compared with the plan's own on the same few replications; the answer is the
 * plan's capacity times the median ratio. The traffic's chance cancels out of the ratio, so few replications
 * do. Variations are worked on by up to options->workers threads, each with a fleet of its own. */
#ifndef KM_CAPACITY_VARY_H
#define KM_CAPACITY_VARY_H

#include "capacity/capacity.h"

struct km_variation {
    double time_scale;   /* every step takes so many times as long */
    double output_scale; /* every output is so many times as long; 1 = as it is */
    double prompt_scale; /* every prompt */
    double scale;        /* out: its capacity; 0 when the SLO never holds */
};

#define KM_MAX_VARIATIONS 15

/* `found` (KM_CAPACITY_FOUND) is the answer of km_capacity_find() for this scenario. */
enum km_status km_capacity_vary(const struct km_scenario *scenario, const struct km_capacity *found,
                                const struct km_capacity_options *options, struct km_variation *variations,
                                uint32_t count, struct km_error *error);

/* --- the cost model's own error ------------------------------------------------------------------------- */

/* How far, in relative terms, are this scenario's step times from the truth (one standard error, or the worst
 * that was seen)? In this order:
 *
 *   cost.time_error of the scenario
 *   step_time_error of the engine description, when it was fitted to recorded steps
 *   linear: 0; the law is an assumption, not a measurement
 *   roofline: 8.3 %; profile: 4.3 % of what was measured or lies between measurements, 8.3 % of the rest.
 * These are the errors of the time that a saturated RTX 4090 took for 300 requests, hence of the sum of its
 * step times: the larger of those of the two recorded engines (tests/validation/README.md). The error of
 *   interpolation is part of them. */
struct km_time_error {
    double relative;
    const char *source; /* static, or the scenario's */
};

/* A fleet that has run: of a profile, what its runs looked up counts. */
struct km_time_error km_time_error_of(const struct km_fleet *fleet);

/* --- what a planner asks next ----------------------------------------------------------------------------
 */

struct km_sensitivity {
    struct km_time_error time_error;
    double low, high; /* capacity if steps took 1 + error and 1 - error times as long */
    /* Does it hold at 0.8 and 1.2 times the rate asked for? */
    struct km_decision less_load, more_load;
    double headroom;     /* capacity over the rate asked for, less one */
    double slower_scale; /* capacity with steps 20 % longer */
    double longer_scale; /* capacity with outputs 20 % longer */
};

/* Of a plan with KM_CAPACITY_FOUND, on runs as long as those that found it. `demand` may be NULL, as in
 * km_capacity_find(). */
enum km_status km_capacity_sensitivity(const struct km_scenario *scenario, struct km_demand *demand,
                                       const struct km_capacity *found,
                                       const struct km_capacity_options *options, struct km_sensitivity *out,
                                       struct km_error *error);

#endif
