/* One point of `kingman queue`: the answer of the equations and that of the event core to the same question.
 */
#ifndef KM_SCENARIO_QUEUE_POINT_H
#define KM_SCENARIO_QUEUE_POINT_H

#include "queueing/answer.h"
#include "scenario/queue_section.h"
#include "scenario/queue_simulation.h"

struct km_queue_point {
    struct km_queue_answer theory;
    struct km_wait_tail tail; /* of the theory */
    /* mg1 without patience, tokens limited: P(W > t) ~ coefficient e^{-eta t}; else NAN. */
    double asymptote_eta_per_s, asymptote_coefficient;
    /* dynamic without a cap, tokens limited: an upper bound on E[R] (queueing/bulk/bulk_bound.h); else NAN. */
    double bound_response_s;
    double bound_wait_s; /* ggc: an upper bound on E[W] (queueing/servers.h); else NAN */
    bool simulated;      /* a stable queue, unless the simulation was not wanted */
    struct km_queue_simulated simulation;
    uint64_t asked_requests; /* of the simulation, which has fewer where more do not arrive in time */
};

struct km_queue_effort {
    bool theory_only;
    uint64_t requests, seed; /* of the simulation */
};

/* `section` with the tokens of `law` (ggc: not looked at). KM_NO (unstable) fills the theory's utilization and stability. Arrays
 * live in `arena`. */
enum km_status km_queue_point_solve(const struct km_queue_section *section, const struct km_token_law *law,
                                    const struct km_queue_effort *effort, struct km_arena *arena,
                                    struct km_queue_point *out, struct km_error *error);

#endif
