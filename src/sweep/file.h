/* The output file of a sweep: rows in the order of their numbers, whatever order they come in, on a disk that
 * may lose the process at any moment.
 *
 * FILE holds the header and the rows 0, 1, 2, ... without a gap; each is appended by one write. A row that
 * comes before its turn waits in memory and, so that nothing is lost, in the journal FILE.partial, which is
 * gone when the sweep is complete. Opening the same FILE again cuts off a torn last line, takes up what both
 * hold, and refuses a FILE that is not this sweep's, touching nothing. So a sweep that is killed and run
 * again, however often, ends with the bytes of one that was not. The file is flushed to the disk about once a
 * second and at the end.
 *
 * Not thread-safe: the caller locks. A second process that opens the same FILE meanwhile is refused. */
#ifndef KM_SWEEP_FILE_H
#define KM_SWEEP_FILE_H

#include "base/error.h"
#include "sweep/rows.h"

struct km_sweep_file; /* opaque */

/* `path` NULL: no file, only the order. row() is called for every row once, in order, those found in the file
 * during this call; `line` ends in a line break. Everything is borrowed until the close. KM_BAD_INPUT: the
 * file is something else, or another process has it; KM_IO: it cannot be read or written. */
enum km_status km_sweep_file_open(const char *path, const struct km_rows *rows, uint64_t runs,
                                  void (*row)(void *context, const char *line, size_t length), void *context,
                                  struct km_sweep_file **out, struct km_error *error);

bool km_sweep_file_has(const struct km_sweep_file *file, uint64_t run);
uint64_t km_sweep_file_count(const struct km_sweep_file *file); /* rows it has, waiting ones included */

/* The row of a run it does not have. On failure the file ends with its last whole row. */
enum km_status km_sweep_file_add(struct km_sweep_file *file, uint64_t run, const char *line, size_t length,
                                 struct km_error *error);

/* Flush, close, free; the journal stays only when rows are missing. */
enum km_status km_sweep_file_close(struct km_sweep_file *file, struct km_error *error);

#endif
