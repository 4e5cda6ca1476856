/* Capacity: the greatest rate at which a plan sustains its SLO.
 *
 * The rate is a factor x on the scenario's own (x = 1), by which every gap between arrivals is divided. On
 * one replication of the demand (capacity/demand.h) the SLO holds up to some x and fails beyond; that
 * threshold is found by bisection on a grid of rates x = (1 + step)^k that is the same for all replications
 * and plans (common random numbers). Thresholds differ between replications, since traffic does. The answer
 * is their geometric mean, with Student's interval of the logarithms; replications are added until it is as
 * narrow as asked. Near it a run of this length holds about as likely as not. `cautious_scale` is the rate
 * that 95 % of the replications sustained.
 *
 * How far single runs lie from the mean is `spread`. It belongs to the traffic, the SLO and the length of a
 * run. A synthetic stream is made longer until 95 % of runs have their threshold within 2.5 % of the mean (or
 * max_requests is met): the answer then speaks of runs of `requests` requests, more than the scenario asked
 * for, and tends to the capacity in steady state. Of a recorded trace the spread is what it is, unless
 * `lengthen_trace` asks for bootstraps longer than the trace, too.
 *
 * Of a trace with its own times, replications are block bootstraps of it, which keep its bursts but not what
 * is slower than a block; the threshold of the trace itself, with its rush hour, is `recorded_scale`.
 *
 * "Holds" is capacity/trial.h's. A minimum goodput bounds rates from below, since goodput grows with the rate
 * as long as the latencies hold: the plan sustains rates from `least_scale` to `scale`, or none when the
 * goodput is not there at `scale` either. A closed loop and requests that come all at once have no rate, and
 * a deadline fixes the time in which all must be done: such a plan is only asked whether it holds as it is.
 *
 * All functions are pure: they depend on their arguments alone (not on the number of workers), and different
 * fleets may be used on different threads with the same demand. */
#ifndef KM_CAPACITY_CAPACITY_H
#define KM_CAPACITY_CAPACITY_H

#include "base/watch.h"
#include "capacity/demand.h"
#include "capacity/trial.h"

#define KM_CAPACITY_THRESHOLDS 5

struct km_capacity_options {
    double step;      /* of the grid of rates, relative: 0.0025 = a quarter of a per cent */
    double tolerance; /* upper over lower end of the interval, less one: add replications until then */
    uint32_t max_replications; /* at most KM_DEMAND_MAX - 1; 1 = a quick look, without an interval */
    uint64_t max_requests;     /* a synthetic run is made no longer than this, or than the scenario's */
    bool lengthen_trace;       /* bootstraps of a trace may be longer than it, up to max_requests */
    double block_s;            /* of the bootstrap, in the trace's time */
    uint32_t workers;          /* threads, each with a fleet of its own; 0 and 1: the caller's; at most 4 */
    double guess;              /* rate to try first; 0 = 1 */
    const struct km_watch *watch; /* optional */
};

/* Interval of 2 %, up to 32 replications, synthetic runs of up to 200,000 requests. */
struct km_capacity_options km_capacity_exact(void);
/* For ranking: the trace itself (or one synthetic run as the scenario has it), to 3 %. No interval. */
struct km_capacity_options km_capacity_coarse(void);

enum km_capacity_kind {
    KM_CAPACITY_FOUND,
    KM_CAPACITY_NONE,      /* the SLO fails even at `high` (a thousandth), or the goodput is never met */
    KM_CAPACITY_UNBOUNDED, /* it still holds at `low` (a thousandfold) */
    KM_CAPACITY_AS_IT_IS,  /* there is no rate to change: see `holds` */
};

struct km_capacity {
    enum km_capacity_kind kind;
    bool holds;              /* at x = 1: of the interval, or of the decision where there is no rate */
    double scale, low, high; /* mean threshold and its 95 % interval; ends NAN without an interval */
    bool settled;            /* the interval is within the tolerance; a rate of one replication never is */
    double rate_per_s;       /* requests a second at `scale`; NAN when the demand has no rate */
    double cautious_scale;   /* NAN below 20 replications */
    double recorded_scale;   /* of the trace as it is; NAN when there is none */
    double least_scale;      /* from which on the minimum goodput is met; NAN when none is stated */
    double spread;           /* standard deviation of the thresholds' logarithm; NAN below 2 replications */
    uint32_t replications;   /* drawn */
    /* Thresholds of the first of them (of the trace itself, after a quick look): what variations are compared
     * with. The first is this replication of the demand. */
    double thresholds[KM_CAPACITY_THRESHOLDS];
    uint32_t threshold_count, first_replication;
    double requests; /* mean number in a run */
    double length;   /* of a run over the scenario's */
    int failed;      /* what fails beyond `scale`: the term, or as in struct km_trial */
    /* The first drawn replication at its threshold. */
    double goodput_per_s;
    bool saturated; /* its queue grows all the same: the limits are loose for a run of this length */
    uint64_t runs, runs_cut, events; /* what it took: simulations, those ended early, their events */
};

/* `demand`: of the fleet's scenario, made with its seed; NULL = one is made for this question (needed to
 * lengthen synthetic runs, too). */
enum km_status km_capacity_find(const struct km_fleet *fleet, struct km_demand *demand,
                                const struct km_capacity_options *options, struct km_capacity *out,
                                struct km_error *error);

/* Accept or reject a plan at one rate: Wald's sequential test (1945, "Sequential tests of statistical
 * hypotheses", Ann. Math. Statist. 16(2)) on whether replications hold, of "7 in 10 do" against "3 in 10 do"
 * with 2.5 % for either error: five equal answers in a row settle it. */
struct km_decision {
    bool holds;          /* more of the replications than not */
    bool settled;        /* as the test demands; false when max_replications were not enough */
    bool recorded_holds; /* the trace as it is; true when there is none */
    uint32_t held, replications;
    int failed; /* of the first that failed */
};

enum km_status km_capacity_decide(const struct km_fleet *fleet, struct km_demand *demand, double scale,
                                  const struct km_capacity_options *options, struct km_decision *out,
                                  struct km_error *error);

#endif
