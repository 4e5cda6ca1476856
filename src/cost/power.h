/* What a power limit makes of recent work.
 *
 * A device that multiplies matrices for long draws more than it may and lowers its clock; after a pause it
 * starts fast again. The state of one device is its duty P, the power it drew of late over what products
 * bound by arithmetic draw for ever, both above idling, forgotten with a time constant tau:
 *
 *     dP/dt = (x - P) / tau        x = c + (1 - c) w within a step, w b between such steps
 *
 * c: the share that work bound by arithmetic has of the step that runs; w: what streaming memory draws over
 * what such work draws (an H200: (592 - 80) W / (709 - 80) W, configs/profiles/h200-sxm.json and the
 * device's file); b: the share of the time since the last such step in which the device ran others, decodes.
 * A step of length D that starts at P0 sees the mean duty
 *
 *     P = x + (P0 - x) (1 - exp(-D / tau)) tau / D
 *
 * and takes D (1 + c rise P), rise: how much longer its work takes under continuous load. Steps without work
 * bound by arithmetic only add to b, in whole picoseconds, so that it does not matter how they are grouped.
 *
 * Seen since (calibrate/results/h200-vllm-trains.csv): the clock of an H200 falls in steps, 20 to 60 ms after
 * products begin, not along an exponential; the mean delay is the same. */
#ifndef KM_COST_POWER_H
#define KM_COST_POWER_H

#include <stdint.h>

/* How a step takes part. */
struct km_power_use {
    double share; /* c; 0 = the limit does not matter to it */
    double rise;
    double time_s; /* tau; 0 = there is no limit */
    double stream; /* w; 0 = streaming is a pause */
};

/* All zero at the start. */
struct km_power {
    double duty, at_s; /* and when it was so */
    uint64_t other_ps; /* time since that the device ran other steps */
};

/* Mean duty that a step sees which starts at `start_s`, not before the last one ended, and takes `step_s`;
 * the state moves on to its end. 0 when the use says nothing. */
double km_power_step(struct km_power *power, const struct km_power_use *use, double start_s, double step_s);

#endif
