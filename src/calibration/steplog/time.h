/* When recorded steps should have ended, by a cost model and an engine description.
 *
 * Two clocks stand in a recorded run: the client's, which every step has, and the engine's, which steps have
 * at which a request got its first or last token. Neither says when a step began: under asynchronous
 * scheduling the device goes from one step straight into the next, and a result is seen only once the host,
 * which may still be launching the next step, comes round to it. So what is compared are stretches of steps
 * between two ends: *windows*. A window begins at the end of a step after which the next one surely had been
 * launched already (it is decodes alone, from a captured graph), where the end seen is the end on the device;
 * inside it the host and the device are followed by the law that the simulator follows (engine/pace.h).
 *
 * Prompts without decodes end a window: the engine may have idled before them. A client's clock that stands
 * still and then jumps (bunched statistics) is no clock: ends that are followed by less than half a step's
 * time are left out, and a run where more than a fifth are so is not used at all. */
#ifndef KM_CALIBRATION_STEPLOG_TIME_H
#define KM_CALIBRATION_STEPLOG_TIME_H

#include "calibration/steplog/run.h"
#include "cost/cost.h"
#include "engine/launch.h"
#include "engine/pace.h"

/* Device time of every step of a run, at no duty (cost/power.h), and the share bound by arithmetic. */
struct km_step_price {
    double device_s, bound_share;
};

/* Prices of all steps of the runs, prices: [runs][steps of the run]. */
enum km_status km_steps_price(const struct km_cost_model *cost, const struct km_cost_config *config,
                              const struct km_recorded_run *runs, size_t run_count,
                              struct km_step_price *const *prices, struct km_error *error);

struct km_step_window {
    uint32_t run;
    uint32_t first, last; /* from the end of step `first` to that of `last`, which must be seen */
    double seen_s;
};

struct km_step_windows {
    struct km_step_window *items;
    size_t count, capacity;
};

/* Append the windows of one run; false: its clock is bunched. `bunched`: the share of ends left out. */
bool km_step_windows_add(struct km_step_windows *windows, const struct km_recorded_run *run, uint32_t index,
                         const struct km_engine *engine, const struct km_step_price *prices, double *bunched);

/* Length of each window, in order. Reads host times and the power limit from `engine`. `layers`: of the
 * stage that takes longest to launch. */
void km_steps_predict(const struct km_recorded_run *runs, size_t run_count,
                      struct km_step_price *const *prices, const struct km_engine *engine,
                      const struct km_launch_layers *layers, const struct km_step_windows *windows,
                      double *out_s);

#endif
