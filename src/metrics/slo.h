/* Service-level objectives: the terms a run must keep, and how often it kept them, counted exactly.
 *
 * A term limits a quantile or the mean of a latency, asks for a goodput, sets a deadline, or allows some
 * requests to go unserved; it speaks of all requests or of one class. Limits of latencies are compared in
 * whole picoseconds as samples come, so whether a quantile is within its limit never depends on the
 * resolution of a sketch, and `within` of `count` samples is a binomial observation that a planner may put an
 * interval on.
 *
 *   latency    at least the stated share of samples is within the limit; or their mean is
 *   goodput    requests per second, over the duration of the run, that meet every latency limit stated for
 *              them (those of all requests and those of their class), whatever the quantile. ITL has no value
 *              of one request and does not count. Without latency terms every completed request counts.
 *   deadline   every request completes within the limit of the run's first arrival; one that is rejected or
 *              leaves misses it
 *   share      at most this share of the requests is rejected (can never be served), or leaves when its
 *              patience ends. A class that states a share of its own answers for itself: the term of all
 *              requests is then about those of the other classes. A scenario that states an SLO has both
 *              terms, with limit 0 unless it says otherwise.
 *
 * Latency terms see completed requests: what was not served is the shares' matter. A term without samples
 * holds (TPOT when no output has two tokens), but a term of requests that do not exist, or of which none
 * completed, is missed: a misspelt class must not pass. */
#ifndef KM_METRICS_SLO_H
#define KM_METRICS_SLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum km_latency {
    KM_TTFT,
    KM_TPOT, /* requests with >= 2 output tokens */
    KM_ITL,
    KM_E2E,
    KM_QUEUEING_DELAY,
    KM_NORMALIZED, /* E2E / output tokens */
    KM_TTFT_ENGINE,
    KM_E2E_ENGINE, /* metrics/record.h */
    KM_LATENCY_COUNT,
};

/* What a term may speak of besides latencies. */
enum { KM_SLO_GOODPUT = KM_LATENCY_COUNT, KM_SLO_DEADLINE, KM_SLO_REJECTED_SHARE, KM_SLO_ABANDONED_SHARE };

/* 32 that a scenario states, and the two shares that it need not. */
#define KM_MAX_SLO_TERMS  34
#define KM_MAX_CLASS_NAME 63 /* bytes of a class's name in a term or a summary; longer ones are cut */

/* A value that borrows nothing: terms go into results, which outlive the scenario that stated them. */
struct km_slo_term {
    int metric;                             /* enum km_latency or KM_SLO_... */
    double quantile;                        /* of a latency: 0.99; negative = mean */
    double limit;                           /* seconds; of goodput: requests per second; of a share: 0 .. 1 */
    bool of_class;                          /* false = of all requests */
    char class_name[KM_MAX_CLASS_NAME + 1]; /* "" = requests without a class */
};

struct km_slo_outcome {
    struct km_slo_term term;
    double value; /* measured, in the limit's unit; NAN without samples. On the limit's proven side. */
    bool attained;
    /* Samples within the limit, of how many. Latency: samples (of a mean too). Goodput: good requests, of all
     * that ended. Deadline: requests completed by then, of all. Share: those not rejected (that did not
     * leave), of all that ended. */
    uint64_t within, count;
    uint64_t requests; /* of the term's class (or all) that ended, served or not */
};

static inline bool km_slo_is_share(int metric)
{
    return metric == KM_SLO_REJECTED_SHARE || metric == KM_SLO_ABANDONED_SHARE;
}

/* How many of `requests` a share's limit allows to go unserved. */
uint64_t km_slo_share_allows(double limit, uint64_t requests);
/* Does a term keep a queue from growing without bound? Shares alone do not: whoever waits for ever neither
 * leaves nor is rejected. */
bool km_slo_bounds_load(const struct km_slo_term *terms, uint32_t count);

/* Does a quantile rest on too few requests to be told (metrics/quantile.h)? False of other terms. */
bool km_slo_is_thin(const struct km_slo_outcome *outcome);

/* The key as the scenario spells it: "ttft_p99_s", "classes.batch.deadline_s", "min_goodput_per_s",
 * "max_rejected_share". */
void km_slo_term_name(const struct km_slo_term *term, char *out, size_t size);
/* "ttft", "tpot", "itl", "e2e", "queueing_delay", "normalized", "ttft_engine", "e2e_engine", "goodput", "deadline", "rejected_share",
 * "abandoned_share" */
const char *km_slo_metric_name(int metric);

/* --- counting: private to this folder ------------------------------------------------------------------- */

#define KM_SLO_ALL -1 /* group of a term that speaks of all requests */

struct km_slo_count {
    struct km_slo_term term;
    uint64_t limit_ps;
    int group; /* KM_SLO_ALL, or the class's place in km_metrics */
    uint64_t within;
};

struct km_slo {
    uint32_t count;
    struct km_slo_count terms[KM_MAX_SLO_TERMS];
};

/* Latencies of one completed request, in picoseconds. */
struct km_served {
    uint64_t ps[KM_LATENCY_COUNT]; /* [KM_ITL] unused */
    uint64_t since_start_ps;       /* from the run's first arrival to its last token */
    uint64_t decode_ps, gaps;      /* gaps 0: a single token, and ps[KM_TPOT] means nothing */
};

/* Count a request of class `group`; is it within every latency limit that concerns it? */
bool km_slo_serve(struct km_slo *slo, int group, const struct km_served *served);
/* Gaps first_ps, first_ps + slope_ps, ... of `steps` steps, each seen by `sequences` requests of `group`;
 * those of classes are told besides those of KM_SLO_ALL. */
void km_slo_gaps(struct km_slo *slo, int group, uint64_t first_ps, int64_t slope_ps, uint64_t steps,
                 uint64_t sequences);

#endif
