/* Where names lead: model, device, engine and profile names to files, relative paths to real ones.
 *
 * A name is looked up as <folder>/<name><extension> below the current directory, then the source tree the
 * binary was built from, then the install prefix. What contains a "/" or ends in the extension is a path;
 * relative paths start at the folder of the file that states them, then at the current directory. A model that is no
 * file there may be the repository that a shipped one comes from (scenario/model_id.h). */
#ifndef KM_SCENARIO_LOOKUP_H
#define KM_SCENARIO_LOOKUP_H

#include "base/error.h"
#include "base/memory.h"
#include "base/yaml.h"

#include <stdbool.h>
#include <stddef.h>

enum km_lookup_kind {
    KM_LOOKUP_MODEL,    /* models/<name>.json */
    KM_LOOKUP_DEVICE,   /* configs/devices/<name>.yaml */
    KM_LOOKUP_ENGINE,   /* configs/engines/<name>.yaml */
    KM_LOOKUP_PROFILE,  /* configs/profiles/<name>.json */
    KM_LOOKUP_ACCURACY, /* configs/accuracy/<name>.csv */
};

/* All names of a kind that can be found, ascending, each once. The array and its strings live in `arena`. */
size_t km_lookup_names(enum km_lookup_kind kind, struct km_arena *arena, const char *const **out);

/* Is it a path rather than a name? */
bool km_lookup_is_path(enum km_lookup_kind kind, const char *name);
/* The file behind a name, in `arena`; NULL when there is none. */
const char *km_lookup_find(enum km_lookup_kind kind, const char *name, const char *folder,
                           struct km_arena *arena);
/* The same for the name at `value`; none is an error there, with a suggestion. */
enum km_status km_lookup(enum km_lookup_kind kind, const struct km_yaml *value, const char *folder,
                         struct km_arena *arena, const char **out, struct km_error *error);

/* A data file's path: relative ones in `folder` if it is there, else from the current directory. */
const char *km_lookup_path(const char *path, const char *folder, struct km_arena *arena);
/* The folder of a file, "" for the current one. */
const char *km_lookup_folder(const char *path, struct km_arena *arena);

#endif
