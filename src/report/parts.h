/* Parts of a report that have files of their own; private to this folder. */
#ifndef KM_REPORT_PARTS_H
#define KM_REPORT_PARTS_H

#include "report/json_writer.h"
#include "report/report.h"

#define KM_REPORT_LABEL "%-12s" /* what a line of the table is about */

/* report_slo.c: the SLO's terms, and the classes of requests */
void km_report_slo_json(const struct km_summary *summary, struct km_json_writer *w);
void km_report_slo_text(const struct km_summary *summary, struct km_text *out);
void km_report_classes_json(const struct km_summary *summary, struct km_json_writer *w);
void km_report_classes_text(const struct km_summary *summary, struct km_text *out);

/* parts.c: the block of one latency, under its key; `count` and what is behind the interval included */
void km_report_latency_json(struct km_json_writer *w, enum km_latency metric,
                            const struct km_latency_summary *latency);

/* The key `too_few_samples_for` of such a block: "p95, p99", the quantiles that rest on too few of them
 * (metrics/quantile.h); null when none does. */
void km_report_thin_json(struct km_json_writer *w, uint64_t independent);

/* parts.c: a column of 8 with a quantile of this many independent samples. A mark for too few of them
 * stands in the gap before the next column: `gap` is what this column begins with, and becomes what the next
 * one does (begin with ' '). Is it marked? Then the table closes with km_report_mark_text(), what the mark
 * says. */
bool km_report_quantile_text(char *gap, double value_s, double quantile, uint64_t samples,
                             struct km_text *out);
void km_report_mark_text(struct km_text *out);

/* report_cost.c; NULL: nothing is known, all null */
void km_report_cost_json(const struct km_bill *bill, struct km_json_writer *w);
void km_report_cost_text(const struct km_bill *bill, struct km_text *out);

/* report_fleet.c, report_fleet_text.c: the replicas; the text says nothing of a single one */
void km_report_fleet_json(const struct km_report *report, struct km_json_writer *w);
void km_report_fleet_text(const struct km_report *report, struct km_text *out);

/* accuracy_report.c: member "accuracy"; for the text the line of the first metric of each kind of replicas,
 * with its label */
void km_report_accuracy_json(const struct km_accuracy_answer *answers, size_t count,
                             struct km_json_writer *w);
void km_report_accuracy_text(const struct km_accuracy_answer *answers, size_t count, const char *label,
                             struct km_text *out);

/* report_warnings.c: member "warnings"; a line each, with its label */
void km_report_warnings_json(const char *const *warnings, size_t count, struct km_json_writer *w);
void km_report_warnings_text(const char *const *warnings, size_t count, const char *label,
                             struct km_text *out);

/* report_start.c: does the engine start, and with what at most (UINT64_MAX: with anything); the text is for
 * one that does not */
void km_report_start_json(struct km_json_writer *w, uint32_t max_model_len, uint64_t most_model_len);
void km_report_start_text(struct km_text *out, uint32_t max_model_len, uint64_t most_model_len);

/* report_csv.c: seconds, every picosecond kept */
void km_report_csv_time(FILE *stream, uint64_t ps);

#endif
