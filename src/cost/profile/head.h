/* What a profile says of itself before its tables: enough to choose one of many, at the price of a file's
 * first few kilobytes. */
#ifndef KM_COST_PROFILE_HEAD_H
#define KM_COST_PROFILE_HEAD_H

#include "base/error.h"
#include "base/memory.h"

struct km_profile_head {
    const char *device; /* name of a device description */
    const char *engine; /* program whose kernels were measured (provenance.engine); NULL = not stated */
};

/* Strings live in `arena`. KM_BAD_INPUT, with the place: no JSON, no device. The tables are not looked at
 * where they come last, as km_profile_write() puts them. */
enum km_status km_profile_read_head(const char *path, struct km_arena *arena, struct km_profile_head *out,
                                    struct km_error *error);

#endif
