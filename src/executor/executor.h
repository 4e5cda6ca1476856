/* Executors: what runs a step, and says how long it took. The simulated one asks the cost model and the engine
 * description; the scripted one takes the times that it is told and fails where it is told to; a real one
 * launches kernels and measures. Nothing above knows which is in place.
 *
 * create() makes what all replicas of one kind share (a cost model, compiled kernels). Who also has something of
 * each replica (KV memory, a count of steps) adds open() and close(): the state that they make is the one that
 * the other hooks get. Without them all replicas use the shared one.
 *
 * A sequence has a slot while it lives, a small number that is used again after its end. placed() says that its
 * KV is there for so many tokens, which a prefix cache had (0 without), and dropped() that it is gone: the
 * sequence ended or was preempted. In between every row continues where the one before ended. */
#ifndef KM_EXECUTOR_EXECUTOR_H
#define KM_EXECUTOR_EXECUTOR_H

#include "base/error.h"
#include "base/registry.h"
#include "base/settings.h"
#include "cost/cost.h"
#include "cost/power.h"
#include "cost/shape.h"
#include "engine/pace.h"

#include <stdbool.h>
#include <stdint.h>

/* What replicas of one kind are. All borrowed, and alive as long as what create() makes. */
struct km_executor_config {
    const struct km_model *model;
    const struct km_engine *engine;
    struct km_layout layout;
    const void *settings; /* of the executor's own table; NULL = its defaults */
    /* For executors that ask instead of running. */
    const struct km_cost_model *cost;
    const struct km_cost_config *cost_config;
};

/* Consecutive tokens of one sequence in a step: a chunk of its prompt, or one decode. */
struct km_row {
    uint32_t slot;
    uint32_t first;  /* position of the first: so many tokens of the sequence have their KV already */
    uint32_t tokens; /* >= 1 */
    bool samples;    /* yields the sequence's next token */
};

/* What a replica runs at once. */
struct km_step {
    struct km_step_shape shape;
    const struct km_row *rows; /* [row_count] chunks, then decodes; only for who wants_rows */
    uint32_t row_count;
};

/* One step of a replica, in whole picoseconds. */
struct km_step_time {
    struct km_host_time host;
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
    /* Optional: what `executor: {name: ..., ...}` of a scenario may say besides the name. */
    const struct km_setting *settings;
    const void *defaults; /* [settings_bytes] */
    size_t settings_bytes;
    bool wants_rows;

    enum km_status (*create)(const struct km_executor_config *config, void **state, struct km_error *error);
    void (*destroy)(void *state);
    /* Optional: a replica's own state, from its start to its end. A replica that cannot be opened fails at its
     * first step. `shared`: what create() made, alive until all are closed. */
    enum km_status (*open)(void *shared, uint32_t replica, void **state, struct km_error *error);
    void (*close)(void *state);
    /* KM_FAILED ends the run: what was done so far is told as a partial result. */
    enum km_status (*run)(void *state, const struct km_step *step, struct km_step_time *out,
                          struct km_error *error);
    /* Decode-only steps: `shape` has no chunks. Optional: NULL = every step must really be run. */
    void (*line)(void *state, const struct km_step_shape *shape, struct km_step_line *out);
    /* Optional: what a page table follows. */
    void (*placed)(void *state, uint32_t slot, uint32_t cached_tokens);
    void (*dropped)(void *state, uint32_t slot);
    /* Where the times of the steps so far came from, of all replicas. Optional: NULL = they are real, or not
     * known. */
    void (*coverage)(const void *shared, struct km_coverage *out);
};

extern const struct km_entry *const km_executor_registry[];

/* NULL when there is none of that name. */
static inline const struct km_executor *km_executor_find(const char *name)
{
    return (const struct km_executor *)(const void *)km_registry_find(km_executor_registry, name);
}

#endif
