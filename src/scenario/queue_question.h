/* The queueing question that an ordinary scenario asks: how often requests come, how long they are, and how
 * long its engine takes.
 *
 * Lengths are the workload's distributions, or the recorded ones of its trace (window and replaced lengths
 * respected), prompts and outputs as they came together. The rate is that of one replica: of the arrival
 * process (of a trace: requests over the time from the first to the last), times rate_scale, over the
 * replicas. The theory assumes Poisson arrivals, whatever the process. */
#ifndef KM_SCENARIO_QUEUE_QUESTION_H
#define KM_SCENARIO_QUEUE_QUESTION_H

#include "base/memory.h"
#include "queueing/continuous/continuous.h"
#include "queueing/continuous/fit.h"
#include "scenario/run.h"

struct km_queue_question {
    double arrival_rate_per_s; /* of one replica */
    bool poisson;              /* the scenario's own arrivals are */
    struct km_length_mix mix;
    struct km_distribution output_tokens; /* the workload's, or the trace's as an empirical one */
    struct km_step_clock clock;           /* reads the setup's executor: one question a thread and setup */
    struct km_continuous_question continuous;
    struct km_law_question fit; /* max_batch: the policy's batch, or what max_num_seqs and the KV pool hold */

    struct km_arena arena; /* owns the arrays of output_tokens */
};

/* `setup` is borrowed until release, and `out` must not move until then (its parts point at each other).
 * KM_BAD_INPUT: the workload has no rate (a closed loop, a trace of one moment) or no requests. */
enum km_status km_queue_question_init(struct km_queue_question *out, const struct km_setup *setup,
                                      struct km_error *error);
void km_queue_question_release(struct km_queue_question *question);

#endif
