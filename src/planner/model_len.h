/* max_model_len of a plan. An engine that demands it may refuse to start with the model's own length
 * (scenario/run.h): a plan then takes the longest request of the workload instead, prompt and output, as who
 * deploys it would; of a workload without a longest request, the greatest length that starts. A length that
 * the scenario states, below the model's, is not touched. */
#ifndef KM_PLANNER_MODEL_LEN_H
#define KM_PLANNER_MODEL_LEN_H

#include "planner/load.h"
#include "scenario/run.h"

/* The most tokens of a request of the load, prompt and output: of a trace its longest, of distributions the
 * sum of their greatest values; 0 = without bound. */
uint64_t km_load_longest_tokens(const struct km_load *load);

/* Lower scenario->engine.max_model_len when the engine does not start without. Was it? */
bool km_model_len_lower(struct km_scenario *scenario, uint64_t longest_tokens);

/* Why the engine does not start all the same; appends nothing when it does. */
void km_model_len_explain(const struct km_scenario *scenario, uint64_t longest_tokens, struct km_text *out);

#endif
