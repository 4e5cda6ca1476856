/* The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA'14): 64 bits to 64 well mixed ones, one to one. */
#ifndef KM_BASE_MIX_H
#define KM_BASE_MIX_H

#include <stdint.h>

#define KM_GOLDEN 0x9e3779b97f4a7c15u /* 2^64 / golden ratio, odd */

static inline uint64_t km_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* SplitMix64 itself: so mixes numbers that may be 0, or small. */
static inline uint64_t km_mix_next(uint64_t x)
{
    return km_mix(x + KM_GOLDEN);
}

#endif
