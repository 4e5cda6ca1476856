/* Distributions of token counts and of times: one grammar for both (design: constant, uniform, geometric,
 * lognormal, gamma, zipf, empirical), read from YAML by the scenario and used by workload and queueing alike.
 *
 * Token values are integers >= 1: continuous ones are rounded up; `min`/`max` clip after that, with the mass
 * beyond piled on the limit. Stated moments (mean, sd, cv) are those of the continuous distribution, before
 * rounding and clipping. */
#ifndef KM_WORKLOAD_DISTRIBUTION_H
#define KM_WORKLOAD_DISTRIBUTION_H

#include <gsl/gsl_rng.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum km_distribution_kind {
    KM_DIST_CONSTANT,  /* value */
    KM_DIST_UNIFORM,   /* min..max: inclusive integers for tokens, continuous for times */
    KM_DIST_GEOMETRIC, /* from 1, p = 1/mean */
    KM_DIST_LOGNORMAL, /* mu, sigma of the logarithm (mean, sd are converted when read) */
    KM_DIST_GAMMA,     /* mean, cv */
    KM_DIST_ZIPF,      /* P(n) proportional to n^-exponent, n = 1..limit */
    KM_DIST_EMPIRICAL, /* values with weights */
};

struct km_distribution {
    enum km_distribution_kind kind;
    double value;
    double mean, cv;                /* geometric: mean; gamma: mean, cv */
    double mu, sigma;               /* lognormal */
    double exponent, limit;         /* zipf */
    double min, max;                /* clip (for uniform: its range); max = 0: none */
    size_t count;                   /* empirical */
    const double *values, *weights; /* [count] borrowed; weights NULL = equal */
};

/* Largest token count of any request, drawn or read. */
#define KM_TOKENS_LIMIT (UINT32_MAX / 4)
/* Largest support of a zipf distribution and of a probability mass function. */
#define KM_PMF_LIMIT (1u << 22)

/* Parameters mu, sigma of the lognormal with this mean and standard deviation (mean > 0, sd >= 0):
 * sigma^2 = ln(1 + (sd/mean)^2), mu = ln(mean) - sigma^2/2. */
void km_lognormal_from_moments(double mean, double sd, double *mu, double *sigma);

/* Least cv or sigma that is not 0: squares of much less are no numbers any more. */
#define KM_LEAST_SPREAD 1e-100

/* What is wrong with a distribution of tokens (or of times), as a phrase starting with the parameter's name
 * ("mean must be ..."), or NULL when nothing is. The functions below want one without problems. */
const char *km_distribution_problem(const struct km_distribution *distribution, bool tokens);

struct km_sampler; /* opaque: a distribution prepared for drawing (alias tables and the like) */

struct km_sampler *km_sampler_create(const struct km_distribution *distribution);
void km_sampler_destroy(struct km_sampler *sampler);
double km_sampler_draw(const struct km_sampler *sampler, gsl_rng *rng);          /* a time, >= 0 */
uint32_t km_sampler_draw_tokens(const struct km_sampler *sampler, gsl_rng *rng); /* 1..UINT32_MAX/4 */

/* Distribution function of the underlying value before rounding and clipping, P(X <= x) and P(X > x):
 * lognormal, gamma and geometric only. Gamma by GSL up to shape 1e5, beyond by the cube-root normal
 * approximation (Wilson and Hilferty 1931, doi:10.1073/pnas.17.12.684), whose error there is below 4e-7. */
double km_distribution_cdf(const struct km_distribution *distribution, double x);
double km_distribution_survival(const struct km_distribution *distribution, double x);

/* Probability mass of the token distribution, rounded and clipped as above: pmf[n] = P(N = n) for n =
 * 0..n_max with pmf[0] = 0. `n_max` > 0 clips once more (mass above piled on it); 0 = the distribution's own
 * maximum, or the smallest n with P(N > n) < 1e-13 (at most 1 << 22) for an unbounded one. Owned by the
 * caller; *out_max is the last index, never above KM_PMF_LIMIT; the mass beyond it is piled on it. */
double *km_distribution_pmf(const struct km_distribution *distribution, uint32_t n_max, uint32_t *out_max);
/* Greatest token value that can be drawn; 0 = there is none. */
uint32_t km_distribution_most_tokens(const struct km_distribution *distribution);
/* Mean of the token value as drawn (after rounding and clipping). */
double km_distribution_mean_tokens(const struct km_distribution *distribution);

#endif
