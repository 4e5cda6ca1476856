/* What if? The capacity of a plan under other assumptions: the interval for the cost model's own error, and
 * the sensitivities that a planner asks for.
 *
 * A variation's threshold is compared with the plan's own on the same few replications; the answer is the
 * plan's capacity times the median ratio. The traffic's chance cancels out of the ratio, so few replications
 * do. Variations are worked on by up to options->workers threads, each with a fleet of its own. */
#ifndef KM_CAPACITY_VARY_H
#define KM_CAPACITY_VARY_H

#include "accuracy/accuracy.h"
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

/* Steps may really take `fast` to `slow` times as long as simulated. In this order:
 *
 *   cost.time_error e of the scenario: 1 - e to 1 + e
 *   step_time_error of the engine description, when it was fitted to recorded steps: the same
 *   linear: 1 to 1; the law is an assumption, not a measurement
 *   what measurements say: the 10th and 90th percentile of predicted / measured throughput in the closest row
 *   (accuracy/accuracy.h), since under load throughput is one over the steps' time; NAN where there are none.
 */
struct km_time_error {
    double fast, slow;
    const char *source; /* static: which of these */
    bool measured;      /* the last */
};

/* `closest`: the answer for the scenario's KM_ACCURACY_PACE. */
struct km_time_error km_time_error_of(const struct km_scenario *scenario,
                                      const struct km_accuracy_answer *closest);

/* --- what a planner asks next ----------------------------------------------------------------------------
 */

struct km_sensitivity {
    struct km_time_error time_error;
    double low,
        high; /* capacity if steps took `slow` and `fast` times as long; NAN where these are not known */
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
                                       const struct km_time_error *time_error,
                                       const struct km_capacity_options *options, struct km_sensitivity *out,
                                       struct km_error *error);

#endif
