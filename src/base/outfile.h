/* Output that appears only when it is complete.
 *
 * A file is written to "<path>.kingman.tmp" beside its target, renamed on commit (flushed to the disk before,
 * where it replaces one), so that neither a crash nor a full disk nor Ctrl-C harms what was there before. The
 * temporary is locked while it is written: a second process that would write the same file is refused. It
 * goes with any end of the process that can be caught (base/leftovers.h); what a kill leaves behind
 * nobody has locked, and the next to write that file takes it over. What is there and no regular file (a
 * device, a pipe) is written to as it is. */
#ifndef KM_BASE_OUTFILE_H
#define KM_BASE_OUTFILE_H

#include "base/error.h"
#include "base/leftovers.h"
#include "base/text.h"

#include <stddef.h>
#include <stdio.h>

struct km_outfile {
    FILE *stream;                                /* write here */
    char path[512], temporary[KM_LEFTOVER_PATH]; /* temporary: "" = none */
    int lost; /* errno of the first write that was seen to fail; 0 = none */
};

/* KM_BAD_INPUT: another process is writing it; KM_IO: it cannot be created. */
enum km_status km_outfile_open(struct km_outfile *file, const char *path, struct km_error *error);
/* After a row of many: keeps the reason why writing failed, which errno says only now. */
void km_outfile_note(struct km_outfile *file);
/* Flush, check every earlier write, rename. On failure the temporary is removed. */
enum km_status km_outfile_commit(struct km_outfile *file, struct km_error *error);
/* Several of one origin, such as a run's: when one cannot be written none is replaced. The last is the seal:
 * its old version goes before the first appears, and the new one appears last, so that beside it there are
 * files of one origin alone. */
enum km_status km_outfiles_commit(struct km_outfile *const *files, size_t count, struct km_error *error);
void km_outfile_abort(struct km_outfile *file); /* remove the temporary; harmless after commit */

/* A whole file at once, in the same way. */
enum km_status km_file_write(const char *path, const struct km_text *text, struct km_error *error);

#endif
