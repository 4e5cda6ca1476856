/* When steps run: one host and the stages that it feeds, by the law of engine/pace.h. A replica has one; ranks
 * in lock-step share one. Private to src/sim. */
#ifndef KM_SIM_CLOCK_H
#define KM_SIM_CLOCK_H

#include "base/wide.h"
#include "cost/power.h"
#include "executor/executor.h"

#include <stdint.h>

struct km_clock {
    uint32_t stages;
    uint64_t host_free_ps, workers_free_ps;
    uint64_t stage_free_ps[KM_MAX_STAGES];
    struct km_power stage_power[KM_MAX_STAGES];
    km_u128 busy_ps, weight_bytes; /* of all steps, summed over the stages */
};

struct km_placed_step {
    uint64_t start_ps, end_ps, process_ps;
};

/* A batch that the host begins to form at now_ps runs after its predecessors on every stage, not before the
 * host has done its part, and on the first not before back_ps. stage_ps: [stages], instead of time->stage_ps. */
struct km_placed_step km_clock_place(struct km_clock *clock, const struct km_step_time *time,
                                     const uint64_t *stage_ps, uint64_t now_ps, uint64_t back_ps);
/* When the last step ends on any stage. */
uint64_t km_clock_busy_until_ps(const struct km_clock *clock);
/* Execution time, averaged over the stages. */
double km_clock_busy_s(const struct km_clock *clock);

#endif
