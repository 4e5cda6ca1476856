/* Block bootstrap of a recording: another trace that might as well have been recorded.
 *
 * Blocks of `block_ps` of the recording's time are drawn with replacement, each beginning anywhere in the
 * window (moving blocks: Kuensch 1989, "The jackknife and the bootstrap for general stationary observations",
 * Annals of Statistics 17(3)), which is taken as a circle so that its ends are as likely as its middle
 * (Politis and Romano 1992, "A circular block-resampling procedure for stationary data"), and laid one after
 * another until `length` times the window's span is filled. So the resample keeps what happens within a block
 * (bursts, sessions, which prompt follows which), and loses what is slower than a block (a daily wave). The
 * number of requests varies.
 *
 * The window ends with its last request and one mean gap, or where it is stated to end, if that is sooner. A
 * request keeps its lengths, class, session and id. Drawn for the second time (third, ...), its prefix hashes
 * are changed to others, the same way for all requests drawn as often: the same content sent again would be
 * found in the prefix cache, which the real traffic's new content is not. */
#ifndef KM_WORKLOAD_RESAMPLE_H
#define KM_WORKLOAD_RESAMPLE_H

/* Length of the blocks where nobody states one: several times as long as a request is there, so that a block
 * holds bursts whole, and short against an hour. */
#define KM_BOOTSTRAP_BLOCK_S 60.0
/* Of k blocks the variance comes out too small by a share 1 / k: blocks that begin anywhere on the circle
 * differ from its mean by Var(block) - Var(mean) = Var(block) (1 - 1 / k). Five make an interval 11 % too
 * narrow. */
#define KM_BOOTSTRAP_LEAST_BLOCKS 5

#include "workload/recording.h"

#include <stdbool.h>

struct km_resample; /* opaque */

/* `recording` is borrowed; [start_ps, end_ps) is the window in its time; block_ps > 0; a block longer than
 * the window goes round it from another moment on; length > 0. NULL when the window is empty. */
struct km_resample *km_resample_create(const struct km_recording *recording, uint64_t start_ps,
                                       uint64_t end_ps, uint64_t block_ps, double length, uint64_t seed);
void km_resample_destroy(struct km_resample *resample);

/* Does the window [start_s, end_s) (end_s 0: to the end) hold KM_BOOTSTRAP_LEAST_BLOCKS of this length? A
 * resample of fewer is hardly another one, and its interval too narrow. */
bool km_resample_is_possible(const struct km_recording *recording, double start_s, double end_s,
                             double block_s);

/* The next request, owned by the caller; arrival_ps counts from the window's start. False at the end. */
bool km_resample_next(struct km_resample *resample, struct km_request *out);
/* Share of the span already laid out. */
double km_resample_progress(const struct km_resample *resample);

#endif
