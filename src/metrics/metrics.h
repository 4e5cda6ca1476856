/* Metrics of one run: what the simulator tells as it goes, and the summary at the end.
 *
 * The simulator calls the km_metrics_* recorders; everything is kept in integer picoseconds and bounded
 * memory, independent of the number of requests. Runs of equal or linearly growing steps are recorded in one
 * call and give bit-identical results to the same steps recorded singly. All of it takes about 2.5 MiB, and 2
 * MiB more for each class of requests, of which up to KM_MAX_CLASSES are kept apart.
 *
 * Requests are told in the order of time: km_metrics_arrival() and km_metrics_request() never go back. Their
 * order is the order of the samples behind the confidence intervals (batch_means.h) and the verdict
 * (stability.h); that of gaps and steps does not matter, so replicas may tell theirs in runs. */
#ifndef KM_METRICS_METRICS_H
#define KM_METRICS_METRICS_H

#include "metrics/collection.h"
#include "metrics/record.h"
#include "metrics/slo.h"
#include "metrics/stability.h"

#include <stdbool.h>
#include <stdint.h>

enum km_outcome {
    KM_COMPLETED,
    KM_REJECTED,  /* could never be served: only arrival and lengths of the record are meaningful */
    KM_ABANDONED, /* patience ran out before it was scheduled */
    KM_CANCELLED, /* its client gave up: of the record, output_tokens are those it got */
};

/* Classes kept apart: those that SLO terms name, and of the others the first to appear. Later ones count in
 * the totals alone. */
#define KM_MAX_CLASSES 16

struct km_metrics_settings {
    const struct km_slo_term *slo; /* [slo_count] borrowed */
    uint32_t slo_count;            /* at most KM_MAX_SLO_TERMS */
};

struct km_metrics; /* opaque */

struct km_metrics *km_metrics_create(const struct km_metrics_settings *settings);
void km_metrics_destroy(struct km_metrics *metrics);

/* Requests of class `index` are called `name` (copied). To be told before the first request of a class other
 * than 0 ends; without it, all are of one class and nothing is kept apart. */
void km_metrics_class(struct km_metrics *metrics, uint32_t index, const char *name);

void km_metrics_arrival(struct km_metrics *metrics, uint64_t now_ps);
/* A request ended at `now_ps` (its last token, or the moment it was rejected or gave up). */
void km_metrics_request(struct km_metrics *metrics, enum km_outcome outcome, const struct km_record *record,
                        uint64_t now_ps);
/* The last step ends at until_ps: later than the last request where nobody waits for it any more. */
void km_metrics_until(struct km_metrics *metrics, uint64_t until_ps);
void km_metrics_preemption(struct km_metrics *metrics);
/* Gaps between consecutive output tokens: `steps` gaps of first_ps, first_ps + slope_ps, ..., each seen by
 * `sequences` requests. */
void km_metrics_gaps(struct km_metrics *metrics, uint64_t first_ps, int64_t slope_ps, uint64_t steps,
                     uint64_t sequences);
/* The same gaps once more, of requests of one class, where classes are told apart (else it does nothing). */
void km_metrics_class_gaps(struct km_metrics *metrics, uint32_t class_index, uint64_t first_ps,
                           int64_t slope_ps, uint64_t steps, uint64_t sequences);
bool km_metrics_has_classes(const struct km_metrics *metrics);
/* `steps` executed steps, each with these sequences and tokens; duration_ps is their summed execution time.
 */
void km_metrics_steps(struct km_metrics *metrics, uint64_t steps, uint64_t sequences, uint64_t tokens,
                      uint64_t duration_ps);
/* Totals a replica kept itself (in integers, so that they do not depend on how steps were grouped), told once
 * at the end; calls add up over replicas: execution time of all steps, the time integral of KV blocks
 * in use, the most blocks ever in use. */
void km_metrics_busy(struct km_metrics *metrics, double busy_s);
void km_metrics_kv(struct km_metrics *metrics, double block_seconds, uint64_t peak_blocks);
/* Requests waiting and running changed at now_ps (called at arrivals and ends, from time 0, in order of
 * time): for their mean and maximum over time. */
void km_metrics_in_system(struct km_metrics *metrics, uint64_t now_ps, uint64_t in_system);
void km_metrics_prefix(struct km_metrics *metrics, uint64_t queried_tokens, uint64_t hit_tokens);

struct km_class_summary {
    char name[KM_MAX_CLASS_NAME + 1]; /* "" = requests without a class */
    uint64_t requests;                /* that ended, served or not */
    uint64_t completed, rejected, abandoned, cancelled;
    uint64_t prompt_tokens, output_tokens; /* of completed requests */
    double requests_per_s;                 /* completed, over the duration of the run */
    double goodput_per_s;                  /* as in the summary */
    struct km_latency_summary latency[KM_LATENCY_COUNT];
};

struct km_summary {
    uint64_t submitted, completed, rejected, abandoned, preemptions;
    uint64_t cancelled, cancelled_tokens; /* requests whose clients gave up, and the output tokens they got */
    uint64_t prompt_tokens, output_tokens; /* of completed requests */
    double duration_s;                     /* first arrival to last completion; NAN when nothing completed */
    /* first arrival to the end of the last request that was let in, or of the last step; NAN as
     * duration_s */
    double span_s;
    double requests_per_s, output_tokens_per_s, total_tokens_per_s;
    struct km_latency_summary latency[KM_LATENCY_COUNT];
    uint64_t steps;
    double step_mean_s, mean_batch_sequences, mean_batch_tokens;
    uint64_t peak_blocks;
    double mean_blocks;     /* time-averaged blocks in use */
    double prefix_hit_rate; /* NAN when nothing was queried */
    double busy_s;
    enum km_verdict verdict;
    uint64_t waiting_at_last_arrival, in_system_at_last_arrival; /* what the verdict saw */
    double mean_in_system;                                       /* over span_s */
    uint64_t peak_in_system;
    bool slo_stated;
    bool slo_attained;    /* every term is; false when nothing completed, and in both cases below */
    bool partial;         /* the run was stopped before its end: the SLO is not decided, unless refused */
    bool refused;         /* the engine would not start so (scenario/fleet.h): the SLO is missed */
    double goodput_per_s; /* metrics/slo.h; NAN when no SLO is stated */
    uint32_t slo_count;
    struct km_slo_outcome slo[KM_MAX_SLO_TERMS];     /* [slo_count] in the order stated */
    uint32_t class_count;                            /* 0 when the workload names no class */
    uint32_t classes_left_out;                       /* beyond KM_MAX_CLASSES */
    struct km_class_summary classes[KM_MAX_CLASSES]; /* [class_count] by number, as they first appeared */
};
void km_metrics_summarize(const struct km_metrics *metrics, struct km_summary *out);

#endif
