/* Shipped models by the repository they come from: models/ids.csv, a line each: repository, model. Several
 * repositories may hold checkpoints of one shape. */
#ifndef KM_SCENARIO_MODEL_ID_H
#define KM_SCENARIO_MODEL_ID_H

#include "base/memory.h"

#include <stdbool.h>

/* "organisation/model", as a Hugging Face id is: one slash, and no file's extension. */
bool km_is_model_id(const char *name);
/* The name below models/ of a repository's model, in any case of letters; NULL when none is shipped. `nearest`: a
 * repository of nearly that name, else NULL. `file`: the table's path. Strings live in `arena`. */
const char *km_model_of_id(const char *file, const char *id, const char **nearest, struct km_arena *arena);

#endif
