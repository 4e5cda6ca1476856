/* The load a plan must sustain: the scenario's workload at the rate that is asked for, as long as it takes to
 * tell (planner/length.h), and what bounds need to know of its requests. Read once, then never changed:
 * shared by all threads.
 *
 * Lengths and times are those of the run with the scenario's own seed, so that a bound over them speaks of
 * the very run that judges a plan. */
#ifndef KM_PLANNER_LOAD_H
#define KM_PLANNER_LOAD_H

#include "planner/search.h"

struct km_load_request {
    double arrival_s; /* since the first */
    uint32_t prompt_tokens, output_tokens;
};

struct km_load {
    struct km_workload_settings asked; /* strings and distributions borrowed from the scenario */
    struct km_recording *recording;    /* of the trace, if there is one; owned, and taken by `asked` */
    uint64_t seed;
    bool drawn_to_tell; /* as long as planner/length.h says, whatever the scenario does */
    bool open; /* requests come whatever the plan does: not a closed loop. Only then what follows is known */
    struct km_load_request *requests; /* [count] in order of arrival; owned */
    uint64_t count;
    double span_s;     /* first to last arrival */
    double rate_per_s; /* of the process; of a trace's own times (count - 1) / span_s; NAN when
                          all come at once */
    /* Seconds in which the load's tokens are bought: count / rate, since an open load goes on, and the time
     * at the end in which nobody arrives any more is not its price. NAN where the run itself is what is
     * bought: a job with a deadline, an offline batch, a closed loop. */
    double paid_s;
    double prompt_tokens, output_tokens; /* of all requests */
    bool hashed;                         /* some request has prefix hashes: a cache may have its blocks */
    /* Samples of each term of the SLO, in its order: what its quantile rests on. */
    uint64_t samples[KM_MAX_SLO_TERMS];
};

/* `lengthen` >= 1: runs that are drawn to tell are so many times as long. KM_BAD_INPUT: a rate is asked of a
 * closed loop or of requests that come all at once. */
enum km_status km_load_create(const struct km_scenario *scenario, const struct km_search *search,
                              double lengthen, struct km_load *out, struct km_error *error);
void km_load_release(struct km_load *load);

/* Of a recording (or what else is as long as it is): a term of the SLO whose quantile has too few samples
 * beyond it, so that no run of it can tell; -1 when there is none. */
int km_load_thin_term(const struct km_load *load, const struct km_scenario *scenario);

#endif
