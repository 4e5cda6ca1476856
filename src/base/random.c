#include "base/random.h"

#include "base/memory.h"

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

gsl_rng *km_random_stream(uint64_t seed, enum km_purpose purpose)
{
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    if (!rng)
        km_out_of_memory();
    gsl_rng_set(rng, (unsigned long)(mix(mix(seed) ^ (uint64_t)purpose) & 0xffffffffUL));
    return rng;
}
