/* Which profile a scenario that names none runs on: by what the profiles say of themselves, not by what their
 * files are called. */
#ifndef KM_SCENARIO_PROFILE_CHOICE_H
#define KM_SCENARIO_PROFILE_CHOICE_H

#include "base/error.h"
#include "base/memory.h"

/* Of the profiles that can be found (scenario/lookup.h), one of this device: best of the engine's own kernels
 * (provenance.engine is `engine`, or else the program that it is a version of), else one that states no
 * engine, else one of another engine; the first by name where several are as good. *path is NULL when there is none. */
enum km_status km_profile_choose(const char *device, const char *engine, struct km_arena *arena,
                                 const char **path, struct km_error *error);

#endif
