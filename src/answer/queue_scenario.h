/* `kingman queue SCENARIO.yaml`: the queueing question of an ordinary scenario. The service laws are fitted
 * to its engine's step times; the disciplines of the queueing paper are answered for its traffic beside each
 * other, and continuous batching by its approximation, each with its simulation. */
#ifndef KM_ANSWER_QUEUE_SCENARIO_H
#define KM_ANSWER_QUEUE_SCENARIO_H

#include "base/error.h"
#include "base/text.h"
#include "scenario/queue_point.h"
#include "scenario/scenario.h"

#include <stdbool.h>

/* Is the file an ordinary scenario (it names a model), not a queue section? false too when it cannot be read.
 */
bool km_queue_is_scenario(const char *path);

/* KM_NO when continuous batching cannot carry the load: table and JSON are there all the same. Both append.
 */
enum km_status km_queue_scenario_answer(const struct km_scenario *scenario,
                                        const struct km_queue_effort *effort, struct km_text *table,
                                        struct km_text *json, struct km_error *error);

#endif
