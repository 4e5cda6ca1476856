/* Simulated time: integer picoseconds in a uint64_t, named `*_ps`. Wall time is a double named `wall_s` and
 * never meets it. Conversions happen at input and output only.
 *
 * The clock ends after 213 days. Arithmetic on times saturates there and never wraps, so that whatever takes
 * longer than the clock can tell is at its end, and a run that gets there is refused (sim/simulation.c). */
#ifndef KM_BASE_SIMTIME_H
#define KM_BASE_SIMTIME_H

#include <stdint.h>

#define KM_PS_PER_S 1000000000000ULL
#define KM_PS_NEVER UINT64_MAX       /* later than every event */
#define KM_PS_END   (UINT64_MAX - 1) /* the clock's end: this time or any later one */
#define KM_PS_LIMIT (UINT64_MAX / 4) /* inputs beyond this (53 days) are refused: what follows has room */
#define KM_CLOCK_END_MESSAGE                                                                                 \
    "simulated time runs beyond the clock, which ends after 213 days (18,446,744 s): fewer requests, or "    \
    "shorter steps"

/* The nearest whole picosecond, 0 for what is negative; the clock's end for what is beyond it, infinite or
 * not a number, since a time that is none must not pass for a short one. */
static inline uint64_t km_ps_round(double ps)
{
    if (ps <= 0.0)
        return 0;
    return ps < (double)KM_PS_END ? (uint64_t)(ps + 0.5) : KM_PS_END;
}

static inline uint64_t km_ps_from_s(double seconds)
{
    return km_ps_round(seconds * 1e12);
}

static inline double km_s_from_ps(uint64_t ps)
{
    return (double)ps * 1e-12;
}

/* `ps` after `from_ps`, at most the clock's end. */
static inline uint64_t km_ps_after(uint64_t from_ps, uint64_t ps)
{
    uint64_t sum;
    return __builtin_add_overflow(from_ps, ps, &sum) || sum > KM_PS_END ? KM_PS_END : sum;
}

/* The i-th of the durations first_ps, first_ps + slope_ps, ...; from 0 to the clock's end. */
static inline uint64_t km_ps_along(uint64_t first_ps, int64_t slope_ps, uint64_t i)
{
    int64_t change, value;
    if (!__builtin_mul_overflow(slope_ps, i, &change) && !__builtin_add_overflow(first_ps, change, &value))
        return value > 0 ? (uint64_t)value : 0;
    /* Out of 63 bits: rare, so the long way. */
    __extension__ typedef __int128 wide;
    const wide sum = (wide)first_ps + (wide)slope_ps * (wide)i;
    return sum <= 0 ? 0 : sum > (wide)KM_PS_END ? KM_PS_END : (uint64_t)sum;
}

#endif
