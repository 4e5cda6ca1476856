/* The work of a sweep, shared out: runs go to whoever is free, threads of this process and of other ranks, in
 * the order of their numbers; their rows come back to rank 0 in any order.
 *
 * Every rank calls km_sweep_work(). Rank 0 computes, too, and alone calls has() and take(). Any other rank
 * holds one run more than it has threads, so that none waits for the next one. A rank whose question is not
 * rank 0's (another file on its disk, another program) or that could not read it is refused before it
 * computes. */
#ifndef KM_SWEEP_WORK_H
#define KM_SWEEP_WORK_H

#include "base/error.h"
#include "base/stop.h"
#include "base/text.h"
#include "sweep/ranks.h"

#include <stdbool.h>
#include <stdint.h>

struct km_sweep_work {
    uint64_t runs;
    uint32_t threads;        /* of this rank; >= 1 */
    const char *fingerprint; /* of the question */
    /* Set to non-zero to end early: runs under way are given up. A failure sets it, too. */
    km_stop *stop;
    void *context;
    /* On any thread: append the row of a run. KM_INTERRUPTED: given up. */
    enum km_status (*compute)(void *context, uint64_t run, struct km_text *row, struct km_error *error);
    /* Rank 0, one at a time: is there a row already? Here is one. */
    bool (*has)(void *context, uint64_t run);
    enum km_status (*take)(void *context, uint64_t run, const struct km_text *row, struct km_error *error);
};

/* `before`: how the rank fared so far; when not KM_OK, with `error` filled, it takes no part but says so to
 * the others, and gets that status back. On rank 0: KM_OK when every row was taken, KM_INTERRUPTED when some
 * were given up, or the first failure of any rank. On others: KM_OK unless they failed themselves. */
enum km_status km_sweep_work(const struct km_sweep_work *work, const struct km_ranks *ranks,
                             enum km_status before, struct km_error *error);

#endif
