/* What every queueing model answers, in one shape.
 *
 * Times in seconds, rates per second. W = arrival to start of service, R = arrival to own completion. What a
 * model leaves undefined is NAN (and null in JSON). The solvers return
 *   KM_OK         the queue is stable and the answer filled;
 *   KM_NO         a well-posed question whose answer is that the queue grows without bound: utilization,
 *                 stable and stable_below_per_s are filled, and the message names both numbers;
 *   KM_BAD_INPUT  the question makes no sense (a rate of 0, a batch of 0, ...).
 * They are reentrant, do no I/O and keep no state. */
#ifndef KM_QUEUEING_ANSWER_H
#define KM_QUEUEING_ANSWER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct km_queue_answer {
    double utilization;        /* load over the largest load the queue can carry; >= 1 is unstable */
    bool stable;               /* with patience always */
    double stable_below_per_s; /* largest arrival rate; HUGE_VAL when every rate is carried */
    double mean_wait_s, var_wait_s;
    double mean_response_s;
    double mean_batch;      /* members of a batch, mean over batches */
    double mean_batch_seen; /* the same, mean over requests */
    double idle;            /* share of time in which nothing is served */
    double loss;            /* share of requests that leave unserved */
};

/* Where P(W > t) is wanted, and the place for it: NAN where the model has no waiting-time law. */
struct km_wait_tail {
    size_t count;
    const double *t_s;   /* [count] >= 0 */
    double *probability; /* [count] */
};

/* Everything undefined, not stable, no loss. */
struct km_queue_answer km_queue_answer_blank(void);
/* Fill `tail` (may be NULL) with NAN. */
void km_wait_tail_blank(const struct km_wait_tail *tail);

/* KM_BAD_INPUT unless 0 < rate < infinity and every t of `tail` (may be NULL) is finite and >= 0. */
enum km_status km_queue_check(double rate_per_s, const struct km_wait_tail *tail, struct km_error *error);
/* Set utilization, stable and stable_below_per_s. KM_NO with the reason when utilization >= 1. */
enum km_status km_queue_judge(struct km_queue_answer *answer, double utilization, double stable_below_per_s,
                              struct km_error *error);

#endif
