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

/* report_json.c: the block of one latency, under its key; `count` and what is behind the interval included */
void km_report_latency_json(struct km_json_writer *w, enum km_latency metric,
                            const struct km_latency_summary *latency);

/* report_cost.c; NULL: nothing is known, all null */
void km_report_cost_json(const struct km_bill *bill, struct km_json_writer *w);
void km_report_cost_text(const struct km_bill *bill, struct km_text *out);

/* report_fleet.c: the replicas; the text says nothing of a single one */
void km_report_fleet_json(const struct km_report *report, struct km_json_writer *w);
void km_report_fleet_text(const struct km_report *report, struct km_text *out);

/* report_csv.c: seconds, every picosecond kept */
void km_report_csv_time(FILE *stream, uint64_t ps);

#endif
