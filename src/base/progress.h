/* A progress bar on a terminal: one line, redrawn in place at most five times a second, erased at the end.
 *
 * On anything but a terminal nothing is ever written. Work of several phases restarts the clock with each:
 * the bar, and the time left, are of the phase that the line names. */
#ifndef KM_BASE_PROGRESS_H
#define KM_BASE_PROGRESS_H

#include "base/watch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct km_progress { /* private */
    FILE *stream;
    const char *label;
    double start_wall_s, next_wall_s;
    double start_share;
    unsigned calls;
    bool terminal, drawn;
    char phase[48];
};

/* `label` is borrowed until the end; `stream` is stderr, usually. */
void km_progress_begin(struct km_progress *progress, FILE *stream, const char *label);
/* What an earlier process has done: a share that says nothing about the pace. */
void km_progress_resume(struct km_progress *progress, double share);
/* `share` of the work done, 0..1; negative when unknown: then only the time passed is shown. May be called
 * for every event: all but one call in 64 return at once. */
void km_progress_update(struct km_progress *progress, double share);
/* The same for calls that are few: each is looked at. */
void km_progress_tell(struct km_progress *progress, double share);
void km_progress_end(struct km_progress *progress);
/* As somebody who watches, until the end. */
struct km_watch km_progress_watch(struct km_progress *progress);

/* The line itself: label, bar, percentage, time left at the pace from start_share on; in a phase, its own. */
void km_progress_format(char *out, size_t size, const char *label, double start_share, double share,
                        double elapsed_wall_s);

#endif
