/* What a power limit makes of recent work.
 *
 * A device that multiplies matrices for long draws more than it may and lowers its clock; after a pause it
 * starts fast again. The state of one device is its duty P, the share of recent time spent in products bound
 * by arithmetic, forgotten with the engine's gemm_power_time_s, tau:
 *
 *     dP/dt = (x - P) / tau        x: the share that such products have of the step that runs; 0 in pauses
 *
 * A step of length D that starts at P0 sees the mean duty
 *
 *     P = x + (P0 - x) (1 - exp(-D / tau)) tau / D
 *
 * and takes D (1 + x rise P), rise = gemm_power_rise. Decode-only steps count as pauses. */
#ifndef KM_COST_POWER_H
#define KM_COST_POWER_H

/* How a step takes part. */
struct km_power_use {
    double share; /* x; 0 = the limit does not matter to it */
    double rise;
    double time_s; /* tau */
};

/* All zero at the start. */
struct km_power {
    double duty, at_s; /* and when it was so */
};

/* Mean duty that a step sees which starts at `start_s`, not before the last one ended, and takes `step_s`;
 * the state moves on to its end. 0 when the use says nothing. */
double km_power_step(struct km_power *power, const struct km_power_use *use, double start_s, double step_s);

#endif
