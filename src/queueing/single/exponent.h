/* The exponent that governs the far end of an M/G/1 queue: theta, the other real zero of f than 0
 * (queueing/single/cramer_lundberg.h). */
#ifndef KM_QUEUEING_SINGLE_EXPONENT_H
#define KM_QUEUEING_SINGLE_EXPONENT_H

#include "queueing/single/mg1.h"

struct km_exponent {
    double theta_per_s; /* the zero of g */
    double slope_s;     /* g'(theta) > 0 */
    bool found;         /* false: too far out for doubles (a load next to nothing) */
};

/* For the law as it is cut; any load. */
struct km_exponent km_exponent_find(const struct km_mg1 *queue);

#endif
