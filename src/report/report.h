/* Reports of one run: a table for a person, JSON for a program, a CSV row a request.
 *
 * A report sees the summary and what it is told about the run; it knows neither the scenario nor the
 * simulator. */
#ifndef KM_REPORT_REPORT_H
#define KM_REPORT_REPORT_H

#include "base/error.h"
#include "base/file.h"
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
    const char *const *notes; /* [note_count] one line each: extrapolated beyond a profile, and the like */
    size_t note_count;
    bool partial; /* stopped before the workload's end */

    double wall_s; /* wall time of the simulation */
    uint64_t events;
    const char *version;
};

/* The table, for a terminal 80 columns wide. Times with the unit that suits them. */
void km_report_text(const struct km_report *report, struct km_text *out);

/* The result object, schema 1. Every key is always there, in the same order; null where undefined. Beyond the
 * keys of the latency blocks that speak for themselves: `count` samples; `ci95_batches` and `warmup_requests`
 * (requests left out) of the interval. */
void km_report_json(const struct km_report *report, struct km_text *out);

/* Names of the latency metrics as the SLO section and the JSON spell them: "ttft", "tpot", ... */
const char *km_latency_key(enum km_latency metric);
/* "stable", "saturated", "unknown" */
const char *km_verdict_name(enum km_verdict verdict);

/* requests.csv, written as requests end, in that order; it appears under its name when committed. Times are
 * exact: seconds with as many of twelve decimals as are needed. Requests that were not served have empty
 * times and no replica. An id with a comma, quote or line break is quoted (RFC 4180). */
struct km_requests_csv {
    struct km_outfile file; /* private */
};

enum km_status km_requests_csv_open(struct km_requests_csv *csv, const char *path, struct km_error *error);
void km_requests_csv_row(struct km_requests_csv *csv, enum km_outcome outcome,
                         const struct km_record *record);
enum km_status km_requests_csv_commit(struct km_requests_csv *csv, struct km_error *error);
void km_requests_csv_abort(struct km_requests_csv *csv); /* harmless after commit */

#endif
