/* A sweep: one scenario run at every point of a grid, each point with several seeds.
 *
 * The grid is the scenario's section `sweep:` (scenario/axes.h), which may also say `replications: 5`, and
 * which figures its table is to `show: [e2e_s.mean, slo.attained]` (no part of the question). Runs are
 * numbered from 0: run = point * replications + replication, so that the replications of a point follow one
 * another. Replication r of every point runs with the seed of that point's scenario + r: points share their
 * random numbers, and differences between them are not of the draw (common random numbers). Of a trace with
 * its own times the first replication is the trace, the others are resampled (sweep/sample.h).
 *
 * A run is a function of the sweep and its number alone, so it does not matter who computes it, or when. */
#ifndef KM_SWEEP_SWEEP_H
#define KM_SWEEP_SWEEP_H

#include "base/stop.h"
#include "scenario/axes.h"
#include "scenario/fleet.h"
#include "sweep/sample.h"

#define KM_SWEEP_LIMIT_RUNS   10000000u
#define KM_SWEEP_CHECK_POINTS 4096u /* of a larger grid, km_sweep_check() reads a part */

struct km_sweep {
    struct km_arena arena;
    const char *path;
    const struct km_override *base; /* [base_count] borrowed: what holds at every point */
    size_t base_count;
    struct km_axes axes;
    uint32_t replications;
    uint64_t runs; /* axes.points * replications */
    /* `show: [ttft_s.p99]`: figures that the table is to show; NULL = not stated */
    const struct km_yaml *show;
    struct km_profile_store *profiles; /* owned: measured profiles, read once for all runs */
    /* Of the question: the scenario with its overrides (comments aside), the replications, `version`, and the
     * contents of every file that it or an axis names. 16 hexadecimal digits. */
    char fingerprint[17];
};

/* `replications` 0: as the scenario says, else 1. `version`: of the program, whose answers may change.
 * `overrides` are borrowed until the release. */
enum km_status km_sweep_read(const char *path, const struct km_override *overrides, size_t override_count,
                             uint32_t replications, const char *version, struct km_sweep *out,
                             struct km_error *error);
void km_sweep_release(struct km_sweep *sweep);

/* Read the scenario of every point, on `workers` threads (0: all cores), and refuse the first that is bad
 * input, naming the axis or the point. Of more than KM_SWEEP_CHECK_POINTS points, those that differ from the
 * first in one axis. */
enum km_status km_sweep_check(const struct km_sweep *sweep, uint32_t workers, struct km_error *error);

enum km_sweep_state {
    KM_SWEEP_RAN,
    KM_SWEEP_INFEASIBLE, /* the model does not fit, or cannot be laid out so */
    KM_SWEEP_REFUSED,    /* the device or the workload refuses: no requests, no such number format, ... */
};
const char *km_sweep_state_name(enum km_sweep_state state); /* "ok", "infeasible", "error" */

struct km_sweep_answer {
    enum km_sweep_state state;
    const char *reason; /* why it did not run; NULL when it did */
    uint64_t seed;
    enum km_sweep_sample sample;
    const struct km_fleet *fleet;       /* NULL unless it ran */
    const struct km_run_result *result; /* NULL unless it ran */
};

/* Compute a run and tell the answer, which lives during the call of `tell` alone. KM_INTERRUPTED, and nothing
 * told, when `stop` became non-zero before the end; KM_BAD_INPUT when the point's scenario cannot be read. */
enum km_status km_sweep_run(const struct km_sweep *sweep, uint64_t run, const km_stop *stop,
                            void (*tell)(void *context, const struct km_sweep_answer *answer), void *context,
                            struct km_error *error);

#endif
