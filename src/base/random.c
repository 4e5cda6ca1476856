#include "base/random.h"

#include "base/memory.h"
#include "base/mix.h"

gsl_rng *km_random_stream(uint64_t seed, enum km_purpose purpose)
{
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    if (!rng)
        km_out_of_memory();
    gsl_rng_set(rng, (unsigned long)(km_mix_next(km_mix_next(seed) ^ (uint64_t)purpose) & 0xffffffffUL));
    return rng;
}
