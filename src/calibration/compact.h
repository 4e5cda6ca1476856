/* Fewer rows, nearly the same answers: profiles that others measured on dense grids are thinned until they
 * fit in a file.
 *
 * Dim by dim, from the first to the last, the rows of one value of a dim go as a whole when interpolation
 * between the neighbouring values that stay would hardly miss them: the smallest and largest value stay, then
 * the worst missed one is added until none is missed by more than the tolerance (Ramer 1972, Douglas and
 * Peucker 1973; the error is the root mean square of the answers' logarithms over the rows of that value). */
#ifndef KM_CALIBRATION_COMPACT_H
#define KM_CALIBRATION_COMPACT_H

#include "cost/profile/profile.h"

/* Thin a finished profile until its JSON has at most `limit_bytes`, with the least of the tolerances 1 %,
 * 1.15 %, 1.32 %, ... that does it. Returns the tolerance, 0 when nothing had to go. Spreads go first. */
double km_compact(struct km_profile *profile, const struct km_device *device, size_t limit_bytes);

#endif
