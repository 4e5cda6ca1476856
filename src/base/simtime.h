/* Simulated time: integer picoseconds in a uint64_t (213 days), named `*_ps`. Wall time is a double named
 * `wall_s` and never meets it. Conversions happen at input and output only. */
#ifndef KM_BASE_SIMTIME_H
#define KM_BASE_SIMTIME_H

#include <stdint.h>

#define KM_PS_PER_S 1000000000000ULL
#define KM_PS_NEVER UINT64_MAX /* later than every event */
#define KM_PS_LIMIT                                                                                          \
    (UINT64_MAX / 4) /* inputs beyond this (53 days) are refused, so that sums cannot wrap                   \
                      */

/* Nearest picosecond. seconds: finite, 0 <= seconds; larger than KM_PS_LIMIT saturates there (readers refuse
 * it first). */
static inline uint64_t km_ps_from_s(double seconds)
{
    double ps = seconds * 1e12;
    return ps >= (double)KM_PS_LIMIT ? KM_PS_LIMIT : (uint64_t)(ps + 0.5);
}

static inline double km_s_from_ps(uint64_t ps)
{
    return (double)ps * 1e-12;
}

#endif
