/* Axes: scenario keys with the values each may take, as a `sweep:` or `search:` section states them, and the
 * grid that they span.
 *
 *     sweep:
 *       engine.batching.max_num_seqs: [32, 64, 128]
 *       workload.arrivals.rate_per_s: {from: 1, to: 20, points: 10}   # evenly spaced, both ends included
 *       workload.rate_scale: {from: 0.1, to: 10, points: 5, spacing: log}
 *       cluster.device: h200-sxm                                      # one value
 *
 * `--set sweep.workload.rate_scale=[1, 2]` replaces one axis, or adds it; `--set sweep={...}` replaces all.
 *
 * A value is any YAML that the key itself may hold. A point of the grid is one override a key; the last axis
 * moves fastest. */
#ifndef KM_SCENARIO_AXES_H
#define KM_SCENARIO_AXES_H

#include "base/yaml.h"
#include "scenario/scenario.h"

#define KM_AXES_LIMIT_POINTS 10000000u /* of the whole grid */

struct km_axis {
    const char *key;           /* dotted path of the scenario */
    const char *const *values; /* [count] YAML text */
    uint32_t count;            /* >= 1 */
    const struct km_yaml *at;  /* where it is stated, for messages */
};

struct km_axes {
    const struct km_axis *axes; /* [count] in the order of the file */
    uint32_t count;
    uint64_t points; /* product of the axes' counts; 1 when there are none */
};

/* Keys in `reserved` (NULL-terminated) are left to the caller. Everything lives in `arena`. Values are not
 * checked against the scenario's tables here: km_scenario_read() with a point's overrides does that. */
enum km_status km_axes_read(const struct km_yaml *section, const char *const *reserved,
                            struct km_arena *arena, struct km_axes *out, struct km_error *error);

/* The overrides of a point, 0 <= point < axes->points: [axes->count], pointing into the axes. */
void km_axes_point(const struct km_axes *axes, uint64_t point, struct km_override *out);

#endif
