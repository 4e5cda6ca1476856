/* What a report says about a run: the commands that simulate share it. */
#ifndef KM_ANSWER_DESCRIBE_H
#define KM_ANSWER_DESCRIBE_H

#include "report/report.h"
#include "scenario/fleet.h"

/* Fills `report` with what ran and what came of it; it borrows from all of these, and from `arena`. */
void km_describe_run(const struct km_fleet *fleet, const struct km_run_result *result,
                     const char *scenario_json, uint64_t seed, double wall_s, struct km_arena *arena,
                     struct km_report *report);

/* Part of it: router, layouts and groups. */
void km_describe_fleet(const struct km_fleet *fleet, const struct km_run_result *result,
                       struct km_arena *arena, struct km_report *report);

/* What makes an answer of this coverage on this device doubtful, in words of `arena`; NULL: nothing. */
const char *km_describe_doubt(const struct km_coverage *coverage, const char *device, struct km_arena *arena);

/* The closest row of each metric (km_accuracy_metrics), for each kind of replicas. Strings live in `arena` or
 * are the scenario's. */
enum km_status km_describe_accuracy(const struct km_scenario *scenario, struct km_arena *arena,
                                    const struct km_accuracy_answer **out, size_t *count,
                                    struct km_error *error);

#endif
