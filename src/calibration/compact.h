/* Fewer rows, nearly the same answers: profiles that others measured on dense grids are thinned until they
 * fit in a file.
 *
 * Along the last dim of a table (the tokens, the context) rows are kept where interpolation between the
 * neighbours kept would miss most: a line of rows starts with its two ends, and the worst row is added until
 * none is missed by more than the tolerance (Ramer 1972, Douglas and Peucker 1973, with the error in the
 * answer's logarithm). */
#ifndef KM_CALIBRATION_COMPACT_H
#define KM_CALIBRATION_COMPACT_H

#include "cost/profile.h"

/* Thin a finished profile until its JSON has at most `limit_bytes`, with the least of the tolerances 0.5 %,
 * 0.75 %, 1.1 %, ... that does it. Returns the tolerance, 0 when nothing had to go. Spreads go first. */
double km_compact(struct km_profile *profile, const struct km_device *device, size_t limit_bytes);

#endif
