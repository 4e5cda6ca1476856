/* Files: whole-file reads with a size limit, folders. What is written: base/outfile.h. */
#ifndef KM_BASE_FILE_H
#define KM_BASE_FILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Read all of `path` (at most `limit_bytes`) into a terminated buffer owned by the caller (free()). */
enum km_status km_file_read(const char *path, size_t limit_bytes, char **out, size_t *out_bytes,
                            struct km_error *error);
bool km_file_exists(const char *path); /* a readable regular file (or FIFO) */

/* Create `path` and its parents unless it is there already. */
enum km_status km_make_directory(const char *path, struct km_error *error);

#endif
