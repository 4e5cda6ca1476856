/* Workload: the stream of requests of one run, from a trace file or drawn from distributions, one request at
 * a time, in constant memory.
 *
 * Times start at 0 with the first request (of a trace: of its window [start_s, end_s)). `rate_scale` divides
 * every gap. A closed loop has a fixed number of clients: each sends a request, waits for its completion,
 * thinks, and sends the next; so the stream depends on km_workload_ended(). All clients send their first
 * request at 0. At once, all requests arrive at 0 (an offline batch), whatever rate_scale says. Arrivals,
 * prompt lengths, output lengths and think times each draw from their own random stream: changing one never
 * changes another, and the k-th request gets the k-th draw of each.
 *
 * With a trace and another process, lengths (and all else) come from the trace, in its order and window, and
 * times are drawn. Replacing a trace's prompt lengths drops its prefix hashes, which describe the prompts
 * that were. Sessions of a trace may wait for their answers (turns.h): then only their first turns have times,
 * which rate_scale and the process change; people think as long as ever. A stream ends with the first of: its trace, `requests`, `end_s`. In a closed loop without a
 * trace end_s counts simulated time, and start_s is refused; rate_scale is refused in any closed loop.
 *
 * With `bootstrap_block_s` the trace is a block bootstrap of its window (resample.h), another for each seed;
 * the trace is then held in memory (recording.h). Token scales multiply every length, read or drawn (rounded
 * up, at least 1); scaled prompts are other prompts and have no prefix hashes. */
#ifndef KM_WORKLOAD_WORKLOAD_H
#define KM_WORKLOAD_WORKLOAD_H

#include "base/error.h"
#include "workload/distribution.h"
#include "workload/recording.h"
#include "workload/request.h"
#include "workload/turns.h"

#include <stdbool.h>
#include <stdint.h>

enum km_arrival_process {
    KM_ARRIVAL_TRACE, /* times (and lengths, unless overridden below) from `trace` */
    KM_ARRIVAL_POISSON,
    KM_ARRIVAL_GAMMA,
    KM_ARRIVAL_WEIBULL,
    KM_ARRIVAL_CONSTANT,
    KM_ARRIVAL_CLOSED_LOOP,
    KM_ARRIVAL_AT_ONCE,
};

/* When the later turns of a trace's sessions arrive. */
enum km_turns_arrive {
    KM_TURNS_UNSTATED, /* as recorded; a trace with delays is refused */
    KM_TURNS_RECORDED,
    KM_TURNS_AFTER_ANSWER,
};

/* Everything a scenario says about its workload; strings and distributions are borrowed and must outlive the
 * workload. */
struct km_workload_settings {
    enum km_arrival_process process;
    const char *trace;                    /* path; NULL when synthetic */
    const char *trace_format;             /* registry name, or NULL to detect */
    const struct km_recording *recording; /* a trace already read: instead of `trace`; NULL = read the file */
    double rate_per_s;                    /* > 0: poisson, gamma, weibull, constant */
    /* The same: the rate swings like day and night, rate_per_s (1 - swing cos(2 pi t / swing_period_s)), from
     * the trough at 0 on. 0 = it does not; at most 1. rate_scale would squeeze the days, too. */
    double swing, swing_period_s;
    double cv;        /* > 0: gamma, weibull: coefficient of variation of the gaps */
    uint64_t clients; /* closed loop */
    struct km_distribution think_s;
    bool has_prompt_tokens, has_output_tokens; /* with a trace: replace its lengths */
    struct km_distribution prompt_tokens, output_tokens;
    /* How outputs end whose trace states no max_tokens, which they reach or not: true: with a token that the
     * engine has not foreseen. */
    bool ends_by_eos;
    double cancel_share; /* of the requests, whose clients give up; 0 = none do */
    bool has_cancel_after, has_cancel_tokens;
    struct km_distribution cancel_after_s; /* so long after they sent it, or ... */
    /* ... with so many output tokens, if there are as many; the sooner */
    struct km_distribution cancel_tokens;
    enum km_turns_arrive turns;
    enum km_turn_prompts turn_prompts; /* after_answer, as what follows */
    bool has_turn_think;               /* else the trace's delays */
    struct km_distribution turn_think_s;
    uint64_t requests;        /* 0 = all of the trace; synthetic streams must have a number or end_s */
    double rate_scale;        /* > 0; 1 = as recorded */
    double start_s;           /* >= 0, in the trace's own time since its first request, before scaling */
    double end_s;             /* > start_s; 0 = none */
    double patience_s;        /* 0 = infinite; used by the simulator, not by the stream */
    double bootstrap_block_s; /* length of the blocks, in the trace's own time; 0 = the trace as it is */
    double bootstrap_length;  /* over the window's; > 0; 0 = 1 */
    double prompt_tokens_scale, output_tokens_scale; /* > 0; 0 = 1 */
};

struct km_workload; /* opaque */

enum km_status km_workload_create(const struct km_workload_settings *settings, uint64_t seed,
                                  struct km_workload **out, struct km_error *error);
void km_workload_destroy(struct km_workload *workload);

/* Arrival of the next request if it is already known (a closed loop may have to wait for completions):
 * KM_PS_NEVER when none is known now. A broken trace line surfaces here as KM_BAD_INPUT, with file and line.
 */
enum km_status km_workload_peek(struct km_workload *workload, uint64_t *arrival_ps, struct km_error *error);
/* Take the request km_workload_peek() announced; only after a peek that found one. The caller owns it
 * (km_request_release). */
void km_workload_take(struct km_workload *workload, struct km_request *out);
/* A request of `session` ended at `now_ps`, answered or not. Times never decrease from call to call. */
void km_workload_ended(struct km_workload *workload, int64_t session, bool answered, uint64_t now_ps);
/* Turns that are never sent, because one before them was not answered. */
uint64_t km_workload_unsent(const struct km_workload *workload);
/* Do arrivals depend on answers? A closed loop, or sessions that wait. */
bool km_workload_waits(const struct km_workload_settings *settings);

/* The whole stream of an open loop, unscaled in time (rate_scale is ignored), as a recording: `*out` run with
 * process trace and rate_scale x is what these settings are with rate_scale x, to the bit. Owned by the
 * caller. */
enum km_status km_workload_capture(const struct km_workload_settings *settings, uint64_t seed,
                                   struct km_recording **out, struct km_error *error);

/* Names of the request classes seen so far: [0] is "" (the default). */
const char *km_workload_class_name(const struct km_workload *workload, uint32_t class_index);
/* Share of the whole stream already taken, 0..1, for a progress bar; negative when unknown. */
double km_workload_progress(const struct km_workload *workload);

#endif
