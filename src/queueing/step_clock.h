/* How long an engine's steps take, as the queueing models ask it: any batch shape, in seconds, host's part
 * and device's part apart; and the pace at which such steps follow each other.
 *
 * With H = form + launch + process (the host, one serial resource) and D the device's time, a step takes
 *
 *     one batch at a time:   form + launch + D + process        from captured graphs
 *                            form + max(launch, D) + process    outside them: kernels run as they come
 *     overlapped:            max(D, H)                          in a run of like steps
 *                            max(D, H + H' - D')                outside the graphs, after steps (H', D') that
 * hide their host
 *
 * The last: the host forms the next step when the step before begins, so it gains that step's time on the
 * launch, which in turn delays the forming of the step after. With P pipeline stages, and as many groups of
 * sequences, a cycle takes max(P * slowest stage, P * H, the step by itself; with placeholders D). (src/executor/step_account.h has the same
 * rules for one account.) */
#ifndef KM_QUEUEING_STEP_CLOCK_H
#define KM_QUEUEING_STEP_CLOCK_H

#include "cost/cost.h"
#include "cost/shape.h"

#include <stdbool.h>

struct km_step_seconds {
    double form_s, launch_s, process_s;
    double device_s;  /* all stages, one after another */
    double slowest_s; /* the slowest stage */
    bool captured;
};

struct km_step_clock {
    void *context;
    void (*time)(void *context, const struct km_step_shape *shape, struct km_step_seconds *out);
    bool overlapped;
    bool placeholders; /* in a pipeline: a group's batch is formed while its last one runs */
    uint32_t stages;   /* pipeline stages, 1 .. 64 */
    uint32_t window;   /* sliding window of the model's local layers; 0 = none */
};

/* A cost model by itself, without a host: km_step_clock.context is a `struct km_cost_clock *`. */
struct km_cost_clock {
    const struct km_cost_model *cost;
    const void *state;
    uint32_t stages;
};
struct km_step_clock km_step_clock_of_cost(struct km_cost_clock *clock);

/* The host's time of a step. */
double km_step_host_s(const struct km_step_seconds *step);
/* A step all by itself, from forming to results. */
double km_step_alone_s(const struct km_step_seconds *step);
/* From where its sequences' last tokens are there to where their next are: a step by itself, but for what
 * placeholders let the host do meanwhile. */
double km_step_through_s(const struct km_step_clock *clock, const struct km_step_seconds *step);
/* From one token of a sequence to its next, in a run of such steps. */
double km_step_pace_s(const struct km_step_clock *clock, const struct km_step_seconds *step);
/* What `step` adds to the time line when it follows steps like `before` (with one stage); `before` NULL:
 * steps like itself. */
double km_step_after_s(const struct km_step_clock *clock, const struct km_step_seconds *step,
                       const struct km_step_seconds *before);
/* Batches that share the sequences: 1 with one stage. */
uint32_t km_step_batches(const struct km_step_clock *clock);

/* Time a decode-only step of `count` sequences of real-valued mean context (windowed: the mean of each cut to
 * the window). */
void km_step_decode(const struct km_step_clock *clock, uint32_t count, double context, double windowed,
                    double longest, struct km_step_seconds *out);

#endif
