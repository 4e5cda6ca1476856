/* Reports of one run: a table for a person, JSON for a program, a CSV row a request.
 *
 * A report sees the summary and what it is told about the run; it knows neither the scenario nor the
 * simulator. */
#ifndef KM_REPORT_REPORT_H
#define KM_REPORT_REPORT_H

#include "accuracy/accuracy.h"
#include "base/error.h"
#include "base/outfile.h"
#include "base/text.h"
#include "economics/economics.h"
#include "metrics/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct km_reject_reason {
    const char *reason; /* "prompt and output exceed max_model_len" */
    uint64_t count;
};

/* Replicas of one kind. Latencies are of the requests that they completed. */
struct km_report_group {
    const char *device, *layout; /* "TP 2 x PP 1" */
    uint32_t gpus_per_replica;
    uint32_t least_replicas, most_replicas; /* starting and serving at once */
    double mean_replicas;                   /* paid */
    double replica_seconds, gpu_seconds;    /* paid */
    uint64_t scale_ups, scale_downs;
    uint64_t requests, prompt_tokens, output_tokens, preemptions, steps;
    uint64_t kv_capacity_blocks, kv_peak_blocks; /* of as many replicas as there were at most */
    uint32_t max_model_len;
    uint64_t most_model_len; /* the engine starts with no more (scenario/run.h); UINT64_MAX = with any */
    struct km_report_group_latency {
        double mean_s, p50_s, p99_s; /* NAN where undefined */
    } ttft, tpot, e2e;
    double mfu, mbu, busy; /* shares 0..1 while paid; NAN where undefined */
};

/* One replica, from its start to its end; NAN where undefined. */
struct km_report_replica {
    uint32_t replica, group;
    uint64_t start_ps, end_ps;
    uint64_t requests, prompt_tokens, output_tokens, preemptions, steps;
    double ttft_mean_s, e2e_mean_s, busy;
    uint64_t kv_capacity_blocks, kv_peak_blocks;
};

struct km_report { /* everything is borrowed */
    const struct km_summary *summary;

    /* what ran, for the headline; any may be NULL */
    const char *model, *device;
    const char *layout;        /* "2 replicas x TP 4 x PP 1" */
    const char *policy;        /* "continuous, kv paged, engine vllm-0.26" */
    const char *workload;      /* "traces/conversation.csv" */
    const char *scenario_json; /* the resolved scenario as JSON; NULL = null */
    uint64_t seed;

    uint64_t kv_capacity_blocks; /* of all replicas together; 0 = none or unknown */
    double mfu, mbu, busy;       /* shares 0..1; NAN where undefined */
    const struct km_bill *bill;  /* NULL = unknown */
    const struct km_reject_reason *reasons;
    size_t reason_count;
    uint64_t unsent_turns;    /* of sessions that wait, after one that was not answered */
    const char *const *notes; /* [note_count] one line each: extrapolated beyond a profile, and the like */
    size_t note_count;
    const char *const *warnings; /* [warning_count] one line each: what makes the answer doubtful */
    size_t warning_count;
    /* How far such predictions were from measurements: a row for each metric (km_accuracy_metrics), of each
     * kind of replicas. */
    const struct km_accuracy_answer *accuracy; /* [accuracy_count] */
    size_t accuracy_count;
    bool partial;         /* stopped before the workload's end */
    bool behind_frontend; /* a server stands before an engine: its own latencies are shown besides */

    const char *router;
    double gpu_seconds;                   /* paid, of all groups */
    const struct km_report_group *groups; /* [group_count] */
    size_t group_count;
    const struct km_report_replica *replicas; /* [replica_count]; NULL = too many to list */
    size_t replica_count;

    double wall_s; /* wall time of the simulation */
    uint64_t events;
    const char *version;
};

/* The table, for a terminal 80 columns wide. Times with the unit that suits them. */
void km_report_text(const struct km_report *report, struct km_text *out);

/* The result object, schema 1. Every key is always there, in the same order; null where undefined. Beyond the
 * keys of the latency blocks that speak for themselves: `count` samples; `ci95_batches` and `warmup_requests`
 * (requests left out) of the interval; `too_few_samples_for`, the quantiles of the block that rest on too few
 * requests (metrics/quantile.h), as "p95, p99". */
void km_report_json(const struct km_report *report, struct km_text *out);

/* replicas.csv, one row a replica as it ends, all at the latest at the end of the run; times as in
 * requests.csv.
 */
struct km_replicas_csv {
    struct km_outfile file; /* to be committed (base/outfile.h); its stream is private */
};

enum km_status km_replicas_csv_open(struct km_replicas_csv *csv, const char *path, struct km_error *error);
void km_replicas_csv_row(struct km_replicas_csv *csv, const struct km_report_replica *replica);
void km_replicas_csv_abort(struct km_replicas_csv *csv); /* harmless after commit */

/* fleet.csv, one row at the beginning and at every change of a group's size. */
struct km_fleet_csv {
    struct km_outfile file; /* to be committed (base/outfile.h); its stream is private */
};

enum km_status km_fleet_csv_open(struct km_fleet_csv *csv, const char *path, struct km_error *error);
void km_fleet_csv_row(struct km_fleet_csv *csv, uint64_t now_ps, uint32_t group, uint32_t starting,
                      uint32_t serving, uint32_t draining);
void km_fleet_csv_abort(struct km_fleet_csv *csv); /* harmless after commit */

/* steps.csv, one row a step of a scheduler, in the columns of vLLM's log of iterations, one of the replica's
 * number and one of its data-parallel rank (engine, 0 without ranks), so that
 * `kingman calibrate --from-steps` reads it. time_s, exact as in requests.csv: when the host had taken the
 * step's results; kv_usage, running and waiting: then; elapsed_ms: how long the host had waited for its end,
 * which under asynchronous scheduling is not the step's length. Rows of one replica are in order. */
struct km_steps_csv {
    struct km_outfile file; /* to be committed (base/outfile.h); its stream is private */
};

struct km_report_step {
    uint64_t now_ps, waited_ps;
    uint32_t replica, rank, prefill_requests, prefill_tokens, decode_requests, preempted;
    uint64_t running, waiting;
    double kv_usage; /* share of the blocks */
};

enum km_status km_steps_csv_open(struct km_steps_csv *csv, const char *path, struct km_error *error);
void km_steps_csv_row(struct km_steps_csv *csv, const struct km_report_step *step);
void km_steps_csv_abort(struct km_steps_csv *csv); /* harmless after commit */

/* Names of the latency metrics as the SLO section and the JSON spell them: "ttft", "tpot", ... */
const char *km_latency_key(enum km_latency metric);
/* "stable", "saturated", "unknown" */
const char *km_verdict_name(enum km_verdict verdict);

/* requests.csv, written as requests end, in that order; it appears under its name when committed. Times are
 * exact: seconds with as many of twelve decimals as are needed. Requests that were not served have empty
 * times and no replica. An id with a comma, quote or line break is quoted (RFC 4180). */
struct km_requests_csv {
    struct km_outfile file; /* to be committed (base/outfile.h); its stream is private */
};

enum km_status km_requests_csv_open(struct km_requests_csv *csv, const char *path, struct km_error *error);
void km_requests_csv_row(struct km_requests_csv *csv, enum km_outcome outcome,
                         const struct km_record *record);
void km_requests_csv_abort(struct km_requests_csv *csv); /* harmless after commit */

#endif
