/* Random streams. Every purpose (arrivals, prompt lengths, routing, ...) draws from its own stream, derived
 * from the run's seed and the purpose's number, so that changing one policy never disturbs what another
 * purpose draws. The generator is GSL's MT19937; the seed of a stream is a 64-bit mix (SplitMix64 finaliser,
 * Steele et al. 2014, doi:10.1145/2660193.2660195) of (seed, purpose). */
#ifndef KM_BASE_RANDOM_H
#define KM_BASE_RANDOM_H

#include <gsl/gsl_rng.h>
#include <stdint.h>

enum km_purpose {
    KM_RANDOM_ARRIVALS = 1,
    KM_RANDOM_PROMPT_TOKENS,
    KM_RANDOM_OUTPUT_TOKENS,
    KM_RANDOM_ROUTING,
    KM_RANDOM_PREDICTION,
    KM_RANDOM_THINK,
    KM_RANDOM_PREFIX,
    KM_RANDOM_BOOTSTRAP,
    KM_RANDOM_CANCEL,
};

/* A generator for one purpose, owned by the caller: gsl_rng_free() it. */
gsl_rng *km_random_stream(uint64_t seed, enum km_purpose purpose);

#endif
