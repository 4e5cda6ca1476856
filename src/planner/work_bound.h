/* Prices: what each part of a request's work costs at least, whatever the schedule.
 *
 * Every step of a replica yields a token of some d sequences (at most S) beyond their first, attending to C
 * tokens of context for them (at most K, unless sequences share blocks), computes p tokens of prompts, and
 * takes at least the seconds t(d, p, C) of planner/step_bound.h on a stage. Prices (per token yielded, per
 * prompt token, per token of context) are valid when none is negative and no step that is possible costs more
 * by them than it takes:
 *
 *     decode * d + token * p + context * C <= t(d, p, C).
 *
 * A preempted sequence yields its next token by the step that ends its recomputation, not by a decode; that
 * step, too, has a row for it, samples for it, holds its blocks and reads its context. (It computes pairs,
 * too, as prompts do; prices leave pairs out, since a kernel that is bound by its bytes does them for
 * nothing.)
 *
 * Then the work of any set of requests costs no more than the stage is busy with it. These are the feasible
 * points of the dual of a linear programme over all schedules (weak duality), so that any of them is a proof;
 * the one that prices the whole load highest is looked for on a small grid of (token, context). */
#ifndef KM_PLANNER_WORK_BOUND_H
#define KM_PLANNER_WORK_BOUND_H

#include "planner/step_bound.h"

/* Work of a request or of a load. */
struct km_work_amount {
    double decodes; /* output tokens beyond the first */
    double tokens;  /* of prompts, that must be computed */
    double context; /* attended to, summed over the output tokens beyond the first */
};

struct km_work_prices {
    uint32_t stage;
    double decode_s, token_s, context_s;
};

struct km_work_limits {
    double sequences;      /* S: that decode in one step */
    double context_tokens; /* K; 0 = no limit */
    double step_tokens;    /* no step has more tokens; 0 = not known */
};

/* The prices of the stage that makes `load` dearest. */
void km_work_prices_find(const struct km_step_bound *bound, const struct km_work_limits *limits,
                         const struct km_work_amount *load, struct km_work_prices *out);

static inline double km_work_price(const struct km_work_prices *prices, const struct km_work_amount *amount)
{
    return prices->decode_s * amount->decodes + prices->token_s * amount->tokens +
           prices->context_s * amount->context;
}

#endif
