/* The step log of a running engine, and its requests, as CSV (base/table.h; columns in any order,
 * other columns ignored).
 *
 * One engine step a line, in order:
 *
 *     prefill_requests, prefill_tokens   prompt chunks in the step, and their tokens
 *     decode_requests                    sequences that took one token each
 *     time_s                             when the step's statistics were received, on a clock that never goes
 *                                        back; only differences count. May be absent where elapsed_ms is there
 *     elapsed_ms                         optional: the step's length, for engines that run one step at a time
 *     kv_usage                           optional: share of the KV blocks in use after the step, 0 to 1
 *     preempted                          optional: requests preempted in it
 *     replica                            optional: whose step it is; all of one
 *
 * A line with -1 for prefill_requests is one without a batch and is left out. One request a line:
 *
 *     input_tokens, output_tokens        as served (the first may be called prompt_tokens, as `kingman run
 *                                        --output` does)
 *     scheduled_s                        when its first chunk was scheduled
 *     first_token_s, last_token_s        when the engine's core had them: all on the one clock of the log
 *     sent_s, queued_s                   optional: handed over by the client, taken in by the engine */
#ifndef KM_CALIBRATION_STEPLOG_STEPS_H
#define KM_CALIBRATION_STEPLOG_STEPS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_STEPS_MOST 10000000u /* lines of a log; more are refused */

struct km_step_row {
    uint32_t line;
    double time_s; /* never decreasing */
    uint32_t prefill_requests, prefill_tokens, decode_requests;
    double kv_usage; /* NAN = not recorded */
};

struct km_step_log {
    const char *path; /* borrowed */
    struct km_step_row *rows;
    size_t count;
    bool preempts; /* some step did */
    bool summed;   /* time_s was added up from elapsed_ms */
};

/* KM_BAD_INPUT with the place for what is no such log, and for one without a step. On failure nothing is left
 * to release. */
enum km_status km_step_log_read(const char *path, struct km_step_log *out, struct km_error *error);
void km_step_log_release(struct km_step_log *log);

struct km_step_request {
    uint32_t line;
    uint32_t input_tokens, output_tokens;
    double scheduled_s, first_token_s, last_token_s;
    double sent_s, queued_s; /* NAN = not recorded */
};

struct km_step_requests {
    const char *path;              /* borrowed */
    struct km_step_request *items; /* [count], in the order they were scheduled */
    size_t count;
};

enum km_status km_step_requests_read(const char *path, struct km_step_requests *out, struct km_error *error);
void km_step_requests_release(struct km_step_requests *requests);

#endif
