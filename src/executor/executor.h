/* Executors: how long a step takes. The simulated one asks the cost model and the engine description; a real
 * one would launch kernels and measure. Nothing above knows which is in place. */
#ifndef KM_EXECUTOR_EXECUTOR_H
#define KM_EXECUTOR_EXECUTOR_H

#include "base/error.h"
#include "base/registry.h"
#include "cost/cost.h"
#include "cost/power.h"
#include "cost/shape.h"

#include <stdbool.h>
#include <stdint.h>

#define KM_MAX_STAGES 64

/* One step of a replica, in whole picoseconds. */
struct km_step_time {
    uint64_t form_ps;    /* host: schedule and prepare */
    uint64_t launch_ps;  /* host: launch; outside the graphs also a floor on the step's end, from when it was
                            formed */
    uint64_t process_ps; /* host: take the results */
    bool captured;       /* launched as one graph (or at no cost): runs only after the launch */
    struct km_power_use power;        /* stretches the execution time, by the device's recent work */
    uint64_t weight_bytes;            /* parameters read in this step, over all stages */
    uint64_t stage_ps[KM_MAX_STAGES]; /* execution time on each pipeline stage */
};

/* A run of decode-only steps of a fixed set of sequences: step i (from 0) takes time.stage_ps + i * slope_ps,
 * for `steps` steps. */
struct km_step_line {
    struct km_step_time time;
    int64_t slope_ps[KM_MAX_STAGES];
    uint64_t steps; /* >= 1 */
};

struct km_executor {
    struct km_entry entry;
    enum km_status (*create)(const struct km_cost_config *config, const struct km_cost_model *cost,
                             void **state, struct km_error *error);
    void (*destroy)(void *state);
    void (*run)(void *state, const struct km_step_shape *shape, struct km_step_time *out);
    /* Decode-only steps. Optional: NULL = every step must really be run. */
    void (*line)(void *state, const struct km_decode_shape *shape, struct km_step_line *out);
    /* Where the times of the steps so far came from. Optional: NULL = they are real, or not known. */
    void (*coverage)(const void *state, struct km_coverage *out);
};

extern const struct km_entry *const km_executor_registry[];

/* NULL when there is none of that name. */
static inline const struct km_executor *km_executor_find(const char *name)
{
    return (const struct km_executor *)(const void *)km_registry_find(km_executor_registry, name);
}

#endif
