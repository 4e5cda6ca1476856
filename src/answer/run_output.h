/* The files of `kingman run --output DIR`, and the list of replicas that its report shows. */
#ifndef KM_ANSWER_RUN_OUTPUT_H
#define KM_ANSWER_RUN_OUTPUT_H

#include "report/report.h"
#include "scenario/fleet.h"

/* A report lists so many replicas; of more only the groups. replicas.csv has them all. */
#define KM_LISTED_REPLICAS 64

struct km_run_output { /* private */
    const char *folder;
    bool writes;
    struct km_requests_csv requests;
    struct km_replicas_csv replicas;
    struct km_fleet_csv fleet;
    struct km_steps_csv steps;
    struct km_report_replica listed[KM_LISTED_REPLICAS];
    size_t replica_count;
};

/* `folder` NULL: no files. */
enum km_status km_run_output_open(struct km_run_output *output, const char *folder, struct km_error *error);
void km_run_output_request(struct km_run_output *output, enum km_outcome outcome,
                           const struct km_record *record);
void km_run_output_step(struct km_run_output *output, const struct km_step_record *record);
void km_run_output_replica(struct km_run_output *output, const struct km_replica_result *result);
void km_run_output_resized(struct km_run_output *output, const struct km_group_size *size);
/* The replicas that ended, for the report: borrowed from `output`. */
void km_run_output_list(const struct km_run_output *output, struct km_report *report);
/* All files appear, or none: `result_json` as result.json, beside which lie files of its own run alone
 * (base/outfile.h), and as `json_path` (NULL = not wanted). */
enum km_status km_run_output_commit(struct km_run_output *output, const struct km_text *result_json,
                                    const char *json_path, struct km_error *error);
void km_run_output_abort(struct km_run_output *output); /* harmless after commit */

#endif
