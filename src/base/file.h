/* Files: whole-file reads with a size limit, and output that appears only when it is complete.
 *
 * An output file is written to "<path>.tmp.<pid>" beside its target and renamed on commit, so that a crash, a
 * full disk or Ctrl-C never harms what was there before. What is there and no regular file (a device, a pipe)
 * is written to as it is. */
#ifndef KM_BASE_FILE_H
#define KM_BASE_FILE_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Read all of `path` (at most `limit_bytes`) into a terminated buffer owned by the caller (free()). */
enum km_status km_file_read(const char *path, size_t limit_bytes, char **out, size_t *out_bytes,
                            struct km_error *error);
bool km_file_exists(const char *path); /* a readable regular file (or FIFO) */

struct km_outfile {
    FILE *stream;                   /* write here */
    char path[512], temporary[560]; /* temporary: "" = none */
};

enum km_status km_outfile_open(struct km_outfile *file, const char *path, struct km_error *error);
/* Flush, check every earlier write, rename. On failure the temporary is removed. */
enum km_status km_outfile_commit(struct km_outfile *file, struct km_error *error);
void km_outfile_abort(struct km_outfile *file); /* remove the temporary; harmless after commit */

/* A whole file at once, in the same way. */
enum km_status km_file_write(const char *path, const struct km_text *text, struct km_error *error);

/* Create `path` and its parents unless it is there already. */
enum km_status km_make_directory(const char *path, struct km_error *error);

#endif
