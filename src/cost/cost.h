/* Cost models: the time of one step on every pipeline stage. One file and one registry line each.
 *
 * A step's time is a fixed part, which depends on how many tokens and sequences there are, plus attention,
 * which depends on the contexts. A decode-only step is asked for in these two parts, so that a run of such
 * steps can be drawn as a line (executor). No function's work grows with the number of decodes. */
#ifndef KM_COST_COST_H
#define KM_COST_COST_H

#include "base/error.h"
#include "base/registry.h"
#include "cost/coverage.h"
#include "cost/power.h"
#include "cost/shape.h"
#include "engine/engine.h"
#include "hardware/device.h"
#include "model/layout.h"
#include "model/operators.h"

#include <stdint.h>

/* Service law of the queueing paper (arXiv 2407.05347): b requests of l output tokens each take k1*b + k2 +
 * (k3*b + k4)*l seconds. */
struct km_linear_law {
    double k1, k2, k3, k4;
};

/* Does a power limit stretch products bound by arithmetic (cost/power.h)? */
enum km_power_state {
    KM_POWER_AUTO,  /* by the device's recent work, as far as the engine description says, or else the profile
                     */
    KM_POWER_BURST, /* never: every step finds the device rested */
    KM_POWER_SUSTAINED, /* always, as after long work */
};

/* What there is to be timed. Borrowed for the life of the cost model. */
struct km_cost_config {
    const struct km_model *model;
    struct km_precision precision;
    struct km_layout layout;
    const struct km_device *device;
    const struct km_engine *engine;
    const char *profile;               /* path; NULL = none */
    struct km_profile_store *profiles; /* optional: where it is read once for many (profile_store.h) */
    struct km_linear_law linear;
    double time_scale; /* the simulated executor multiplies every step's time; 0 = 1 */
    enum km_power_state power_state;
};

/* What a time is bound by. */
enum km_bound {
    KM_BOUND_COMPUTE,
    KM_BOUND_MEMORY,
    KM_BOUND_NETWORK,
    KM_BOUND_LAUNCH,
    KM_BOUND_COUNT,
    KM_BOUND_NONE = KM_BOUND_COUNT, /* there is nothing that takes time */
};
/* "compute", ...; NULL of KM_BOUND_NONE. */
const char *km_bound_name(enum km_bound bound);

/* One operator's part of a step, for the breakdown. */
struct km_op_cost {
    const struct km_op *op;
    uint32_t stage;
    double rows;      /* as run, padding included */
    double time_s;    /* all `op->count` executions */
    double formula_s; /* the same by formula, whatever was measured */
    double flops, bytes;
    enum km_bound bound_by;
    enum km_origin origin;
    bool supplement; /* by rows of the profile's supplement */
};

struct km_cost_model {
    struct km_entry entry;
    enum km_status (*create)(const struct km_cost_config *config, void **state, struct km_error *error);
    void (*destroy)(void *state);
    /* A whole step of any shape: seconds on each stage, stage_s: [pipeline_parallel]. */
    void (*step)(const void *state, const struct km_step_shape *shape, double *stage_s);
    /* The part of step() that work bound by arithmetic takes, which a power limit stretches, and how much
     * longer that part takes under continuous load, as far as the engine description or measurements say.
     * Optional: NULL = not known. */
    void (*compute_bound)(const void *state, const struct km_step_shape *shape, double *stage_s,
                          double *longer_s);
    /* What was measured of the power limit (share unset; rise: of large products); all 0 = nothing. Optional.
     */
    void (*power)(const void *state, struct km_power_use *out);
    /* A decode-only step of `rows` sequences, padding included, without attention. */
    void (*decode_fixed)(const void *state, uint32_t rows, double *stage_s);
    /* Its attention. Optional: NULL = none. */
    void (*decode_attention)(const void *state, const struct km_decode_shape *shape, double *stage_s);
    /* Bytes of parameters read by a step, over all stages of one rank. Optional. */
    double (*weight_bytes)(const void *state, uint32_t tokens, uint32_t sampled);
    /* Calls `each` for every operator of the step. Optional. */
    void (*breakdown)(const void *state, const struct km_step_shape *shape,
                      void (*each)(void *context, const struct km_op_cost *cost), void *context);
    /* What step, decode_fixed and decode_attention were asked for so far. Optional: all is KM_ORIGIN_MODEL.
     */
    void (*coverage)(const void *state, struct km_coverage *out);
};

extern const struct km_entry *const km_cost_registry[];

/* NULL when there is none of that name. */
static inline const struct km_cost_model *km_cost_find(const char *name)
{
    return (const struct km_cost_model *)(const void *)km_registry_find(km_cost_registry, name);
}

#endif
