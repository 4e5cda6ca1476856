/* What of the measurements (accuracy/accuracy.h) a scenario is to be compared with. */
#ifndef KM_SCENARIO_ACCURACY_KEY_H
#define KM_SCENARIO_ACCURACY_KEY_H

#include "accuracy/accuracy.h"
#include "scenario/scenario.h"

/* The metric that tells how far step times are off: under load, throughput is one over them. */
#define KM_ACCURACY_PACE "throughput"

/* Of one kind of replicas (km_scenario_group()); words are static or the scenario's. A model with multi-head
 * latent attention is `mla`, one with routed experts `moe`. */
void km_scenario_accuracy_key(const struct km_scenario *scenario, const char *metric,
                              struct km_accuracy_key *out);

/* The points that ship, configs/accuracy/points.csv; without that file none. */
enum km_status km_scenario_read_accuracy(struct km_accuracy *out, struct km_error *error);

#endif
