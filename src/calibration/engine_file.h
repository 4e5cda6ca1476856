/* An engine description with some values replaced, and everything else, comments too, as it stands. */
#ifndef KM_CALIBRATION_ENGINE_FILE_H
#define KM_CALIBRATION_ENGINE_FILE_H

#include "base/error.h"
#include "base/text.h"

#include <stddef.h>

struct km_engine_value {
    const char *key;     /* "name", or "section.key" */
    const char *value;   /* YAML */
    const char *comment; /* in place of the one on its line; NULL = keep that */
};

/* Read `path` (configs/engines/<name>.yaml) and append to `out`: the lines of `heading` as comments, then the
 * description. A key that is not there is put into its section. KM_BAD_INPUT: not a readable description, or
 * a section missing. */
enum km_status km_engine_file_edit(const char *path, const char *heading,
                                   const struct km_engine_value *values, size_t count, struct km_text *out,
                                   struct km_error *error);

#endif
