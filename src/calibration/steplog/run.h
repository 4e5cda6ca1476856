/* A recorded run: what every step of a log computed, and when it ended.
 *
 * With the requests, every chunk and context is known exactly: prompts are computed in the order in which
 * they were scheduled, all of a step's prompts but the last to their end, and every sequence takes one token
 * a step from the one after its prompt's last chunk on. The log checks it: a step with another number of
 * decodes than that leaves is an error (a preemption, a request that is missing or was aborted). The steps at
 * which requests got their first and last token then have the engine's own time, which is not late as a
 * client's is.
 *
 * Without them a step's prompts are taken as whole and equally long, and the decodes' contexts together as
 * what kv_usage says, equally long; without kv_usage contexts stay unknown and steps with decodes count with
 * none. */
#ifndef KM_CALIBRATION_STEPLOG_RUN_H
#define KM_CALIBRATION_STEPLOG_RUN_H

#include "base/memory.h"
#include "calibration/steplog/steps.h"
#include "cost/shape.h"

struct km_recorded_step {
    struct km_step_shape shape;
    double client_s; /* the log's time_s */
    double engine_s; /* by the requests; NAN = no request got its first or last token here */
    uint32_t line;
};

struct km_recorded_run {
    struct km_arena arena; /* owns the steps and their chunks */
    const char *path;      /* of the log; borrowed */
    struct km_recorded_step *steps;
    size_t count;
    size_t engine_times; /* steps that have one */
    bool exact;          /* from requests */
};

struct km_recorded_limits {
    double kv_tokens; /* that kv_usage is a share of; 0 = unknown */
    uint32_t block_size;
};

/* `requests` may be NULL. On failure nothing is left to release. */
enum km_status km_recorded_run_make(const struct km_step_log *log, const struct km_step_requests *requests,
                                    const struct km_recorded_limits *limits, struct km_recorded_run *out,
                                    struct km_error *error);
void km_recorded_run_release(struct km_recorded_run *run);

#endif
