#include "workload/distribution.h"

#include "base/memory.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_sf_gamma.h>
#include <math.h>
#include <stdlib.h>

/* Above this shape GSL's incomplete gamma function no longer converges in the upper tail (measured on
 * GSL 2.7). */
#define GAMMA_SHAPE_LIMIT 1e5
/* Survival below which an unbounded token distribution is cut, as the header promises. */
#define TAIL 1e-13

struct km_sampler {
    struct km_distribution distribution;
    uint32_t low, high;         /* clip of token values */
    double time_low, time_high; /* clip of times */
    double shape, scale;        /* gamma */
    double log_q;               /* geometric: ln(1 - p) */
    gsl_ran_discrete_t *alias;  /* zipf, weighted empirical */
};

void km_lognormal_from_moments(double mean, double sd, double *mu, double *sigma)
{
    double ratio = sd / mean;
    /* hypot keeps a ratio beyond 1e154 finite: ln(1 + r^2) = 2 ln hypot(1, r). */
    double variance = ratio < 1e-3 ? log1p(ratio * ratio) : 2 * log(hypot(1, ratio));
    *sigma = sqrt(variance) < KM_LEAST_SPREAD ? 0 : sqrt(variance);
    *mu = log(mean) - variance / 2;
}

/* --- checking ------------------------------------------------------------------------------------------ */

static bool finite_in(double x, double low, double high)
{
    return isfinite(x) && x >= low && x <= high;
}

static const char *empirical_problem(const struct km_distribution *d, bool tokens)
{
    double total = 0;
    if (d->count == 0 || !d->values)
        return "values must not be empty";
    for (size_t i = 0; i < d->count; i++) {
        if (tokens && !finite_in(d->values[i], 1, KM_TOKENS_LIMIT))
            return "values must be token counts from 1 to 1073741823";
        if (!tokens && !finite_in(d->values[i], 0, 1e300))
            return "values must be finite and >= 0";
        if (d->weights && !finite_in(d->weights[i], 0, 1e300))
            return "weights must be finite and >= 0";
        total += d->weights ? d->weights[i] : 1;
    }
    return finite_in(total, 1e-300, 1e300) ? NULL : "weights must have a positive, finite sum";
}

static const char *clip_problem(const struct km_distribution *d, bool tokens)
{
    double ceiling = tokens ? (double)KM_TOKENS_LIMIT : 1e300;
    if (!finite_in(d->min, 0, ceiling))
        return tokens ? "min must be from 0 to 1073741823" : "min must be finite and >= 0";
    if (!finite_in(d->max, 0, ceiling))
        return tokens ? "max must be from 0 to 1073741823" : "max must be finite and >= 0";
    if (d->max != 0 && d->max < d->min)
        return "max must not be below min";
    if (tokens && d->max != 0 && (d->max < 1 || floor(d->max) < ceil(d->min)))
        return "no whole number from 1 lies between min and max";
    return NULL;
}

static bool is_spread(double spread)
{
    return spread == 0 || finite_in(spread, KM_LEAST_SPREAD, 1e3);
}

const char *km_distribution_problem(const struct km_distribution *d, bool tokens)
{
    double ceiling = tokens ? (double)KM_TOKENS_LIMIT : 1e300;
    const char *problem = clip_problem(d, tokens);
    if (problem)
        return problem;
    switch (d->kind) {
    case KM_DIST_CONSTANT:
        if (tokens)
            return finite_in(d->value, 1, ceiling) ? NULL : "value must be from 1 to 1073741823";
        return finite_in(d->value, 0, ceiling) ? NULL : "value must be finite and >= 0";
    case KM_DIST_UNIFORM:
        return d->max > 0 || (!tokens && d->min == 0) ? NULL : "max must be given and > 0";
    case KM_DIST_GEOMETRIC:
        return finite_in(d->mean, 1, ceiling) ? NULL : "mean must be finite and >= 1";
    case KM_DIST_LOGNORMAL:
        if (!finite_in(d->mu, -700, 700))
            return "mu must be from -700 to 700";
        return is_spread(d->sigma) ? NULL : "sigma must be 0, or from 1e-100 to 1000";
    case KM_DIST_GAMMA:
        if (!finite_in(d->mean, 1e-300, ceiling))
            return "mean must be finite and > 0";
        return is_spread(d->cv) ? NULL : "cv must be 0, or from 1e-100 to 1000";
    case KM_DIST_ZIPF:
        if (!finite_in(d->exponent, 0, 1e3))
            return "exponent must be from 0 to 1000";
        return finite_in(d->limit, 1, KM_PMF_LIMIT) ? NULL : "max must be from 1 to 4194304";
    case KM_DIST_EMPIRICAL:
        return empirical_problem(d, tokens);
    }
    return "distribution is unknown";
}

/* --- distribution functions ---------------------------------------------------------------------------- */

/* P(X <= x) or, with `upper`, P(X > x); each computed directly, so that neither tail cancels. */
static double tail(const struct km_distribution *d, double x, bool upper)
{
    if (isinf(x))
        return (x > 0) == upper ? 0 : 1;
    if (d->kind == KM_DIST_GEOMETRIC) {
        if (x < 1)
            return upper ? 1 : 0;
        double log_survival = floor(x) * log1p(-1 / d->mean);
        return upper ? exp(log_survival) : -expm1(log_survival);
    }
    double spread = d->kind == KM_DIST_LOGNORMAL ? d->sigma : d->cv;
    double centre = d->kind == KM_DIST_LOGNORMAL ? exp(d->mu) : d->mean;
    if (x <= 0)
        return upper ? 1 : 0;
    if (spread == 0)
        return (x >= centre) == upper ? 0 : 1;
    double z;
    if (d->kind == KM_DIST_LOGNORMAL) {
        z = (log(x) - d->mu) / spread;
    } else {
        double shape = 1 / (spread * spread);
        if (shape <= GAMMA_SHAPE_LIMIT)
            return upper ? gsl_cdf_gamma_Q(x, shape, d->mean / shape)
                         : gsl_cdf_gamma_P(x, shape, d->mean / shape);
        z = (cbrt(x / d->mean) - (1 - spread * spread / 9)) * 3 / spread;
    }
    return upper ? gsl_cdf_ugaussian_Q(z) : gsl_cdf_ugaussian_P(z);
}

double km_distribution_cdf(const struct km_distribution *distribution, double x)
{
    return tail(distribution, x, false);
}

double km_distribution_survival(const struct km_distribution *distribution, double x)
{
    return tail(distribution, x, true);
}

/* --- drawing ------------------------------------------------------------------------------------------- */

static uint32_t low_tokens(const struct km_distribution *d)
{
    return d->min > 1 ? (uint32_t)ceil(d->min) : 1;
}

static uint32_t high_tokens(const struct km_distribution *d)
{
    return d->max > 0 ? (uint32_t)floor(d->max) : KM_TOKENS_LIMIT;
}

static double zipf_weight(const struct km_distribution *d, size_t n)
{
    return pow((double)n, -d->exponent);
}

static size_t point_count(const struct km_distribution *d)
{
    return d->kind == KM_DIST_ZIPF ? (size_t)d->limit : d->count;
}

static double point_weight(const struct km_distribution *d, size_t i)
{
    if (d->kind == KM_DIST_ZIPF)
        return zipf_weight(d, i + 1);
    return d->weights ? d->weights[i] : 1;
}

struct km_sampler *km_sampler_create(const struct km_distribution *distribution)
{
    struct km_sampler *s = km_alloc(sizeof *s);
    const struct km_distribution *d = &s->distribution;
    s->distribution = *distribution;
    s->low = low_tokens(d);
    s->high = high_tokens(d);
    s->time_low = d->min;
    s->time_high = d->max > 0 || d->kind == KM_DIST_UNIFORM ? d->max : HUGE_VAL;
    if (d->kind == KM_DIST_GAMMA && d->cv > 0) {
        s->shape = 1 / (d->cv * d->cv);
        s->scale = d->mean / s->shape;
    }
    if (d->kind == KM_DIST_GEOMETRIC)
        s->log_q = log1p(-1 / d->mean);
    if (d->kind == KM_DIST_ZIPF || (d->kind == KM_DIST_EMPIRICAL && d->weights)) {
        size_t count = point_count(d);
        double *weights = km_alloc(count * sizeof *weights);
        for (size_t i = 0; i < count; i++)
            weights[i] = point_weight(d, i);
        s->alias = gsl_ran_discrete_preproc(count, weights);
        free(weights);
        if (!s->alias)
            km_out_of_memory();
    }
    return s;
}

void km_sampler_destroy(struct km_sampler *sampler)
{
    if (!sampler)
        return;
    if (sampler->alias)
        gsl_ran_discrete_free(sampler->alias);
    free(sampler);
}

/* The value before rounding and clipping; never NaN, may be infinite. */
static double draw(const struct km_sampler *s, gsl_rng *rng)
{
    const struct km_distribution *d = &s->distribution;
    switch (d->kind) {
    case KM_DIST_CONSTANT:
        return d->value;
    case KM_DIST_UNIFORM:
        return d->min + (d->max - d->min) * gsl_rng_uniform(rng);
    case KM_DIST_GEOMETRIC:
        /* By inversion in doubles: gsl_ran_geometric() overflows its unsigned result for large means. */
        return d->mean > 1 ? floor(log(gsl_rng_uniform_pos(rng)) / s->log_q) + 1 : 1;
    case KM_DIST_LOGNORMAL:
        return gsl_ran_lognormal(rng, d->mu, d->sigma);
    case KM_DIST_GAMMA:
        return isfinite(s->shape) && s->shape > 0 ? gsl_ran_gamma(rng, s->shape, s->scale) : d->mean;
    case KM_DIST_ZIPF:
        return (double)(gsl_ran_discrete(rng, s->alias) + 1);
    case KM_DIST_EMPIRICAL:
        return d->values[s->alias ? gsl_ran_discrete(rng, s->alias)
                                  : gsl_rng_uniform_int(rng, (unsigned long)d->count)];
    }
    return 0;
}

double km_sampler_draw(const struct km_sampler *sampler, gsl_rng *rng)
{
    double x = draw(sampler, rng);
    x = x < sampler->time_low ? sampler->time_low : x;
    return x > sampler->time_high ? sampler->time_high : x;
}

static uint32_t clip(uint32_t low, uint32_t high, double x)
{
    double n = ceil(x);
    if (n <= (double)low)
        return low;
    return n >= (double)high ? high : (uint32_t)n;
}

uint32_t km_sampler_draw_tokens(const struct km_sampler *s, gsl_rng *rng)
{
    if (s->distribution.kind == KM_DIST_UNIFORM)
        return s->low + (uint32_t)gsl_rng_uniform_int(rng, (unsigned long)(s->high - s->low) + 1);
    return clip(s->low, s->high, draw(s, rng));
}

/* --- probability masses -------------------------------------------------------------------------------- */

static bool has_cdf(const struct km_distribution *d)
{
    return d->kind == KM_DIST_GEOMETRIC || d->kind == KM_DIST_LOGNORMAL || d->kind == KM_DIST_GAMMA;
}

/* Smallest n in [low, high] with P(X > n) < bound, or `high`. */
static uint32_t first_below(const struct km_distribution *d, uint32_t low, uint32_t high, double bound)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (km_distribution_survival(d, middle) < bound)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Last index of the mass function when the caller names none. */
static uint32_t own_maximum(const struct km_distribution *d)
{
    uint32_t low = low_tokens(d), high = high_tokens(d), last = high;
    if (d->kind == KM_DIST_CONSTANT)
        last = clip(low, high, d->value);
    else if (has_cdf(d) && d->max <= 0)
        last = first_below(d, low, high, TAIL);
    else if (d->kind == KM_DIST_ZIPF)
        last = clip(low, high, d->limit);
    else if (d->kind == KM_DIST_EMPIRICAL) {
        last = low;
        for (size_t i = 0; i < d->count; i++) {
            uint32_t n = clip(low, high, d->values[i]);
            last = n > last ? n : last;
        }
    }
    return last < KM_PMF_LIMIT ? last : KM_PMF_LIMIT;
}

static void cdf_masses(const struct km_distribution *d, double *pmf, uint32_t low, uint32_t high)
{
    double below = 0, above = 1; /* P(N <= n-1), P(N > n-1) */
    for (uint32_t n = low; n <= high; n++) {
        double cdf = n == high ? 1 : km_distribution_cdf(d, n);
        double survival = n == high ? 0 : km_distribution_survival(d, n);
        double mass = cdf < 0.5 ? cdf - below : above - survival;
        pmf[n] = mass > 0 ? mass : 0;
        below = cdf;
        above = survival;
    }
}

double *km_distribution_pmf(const struct km_distribution *d, uint32_t n_max, uint32_t *out_max)
{
    uint32_t low = low_tokens(d), high = high_tokens(d);
    uint32_t last = n_max ? n_max : own_maximum(d);
    last = last < KM_PMF_LIMIT ? last : KM_PMF_LIMIT;
    high = high < last ? high : last;
    low = low < high ? low : high;
    double *pmf = km_alloc(((size_t)last + 1) * sizeof *pmf);
    *out_max = last;
    if (has_cdf(d)) {
        cdf_masses(d, pmf, low, high);
    } else if (d->kind == KM_DIST_CONSTANT) {
        pmf[clip(low, high, d->value)] = 1;
    } else if (d->kind == KM_DIST_UNIFORM) {
        double each = 1 / ((double)high_tokens(d) - low_tokens(d) + 1);
        for (uint32_t n = low; n <= high; n++)
            pmf[n] = each;
        if (high < high_tokens(d)) /* clipped by n_max: the rest is piled on it */
            pmf[high] += each * ((double)high_tokens(d) - (low_tokens(d) > high ? low_tokens(d) - 1 : high));
        if (low_tokens(d) > high)
            pmf[high] = 1;
    } else {
        size_t count = point_count(d);
        double total = 0;
        for (size_t i = 0; i < count; i++)
            total += point_weight(d, i);
        for (size_t i = 0; i < count; i++) {
            double x = d->kind == KM_DIST_ZIPF ? (double)(i + 1) : d->values[i];
            pmf[clip(low, high, x)] += point_weight(d, i) / total;
        }
    }
    return pmf;
}

/* --- mean ---------------------------------------------------------------------------------------------- */

/* E[min(X, b)], the limited expected value (Klugman, Panjer and Willmot, Loss Models, appendix A). */
static double limited_mean(const struct km_distribution *d, double b)
{
    double above = b * km_distribution_survival(d, b);
    if (d->kind == KM_DIST_LOGNORMAL) {
        double z = (log(b) - d->mu - d->sigma * d->sigma) / d->sigma;
        return exp(d->mu + d->sigma * d->sigma / 2 + log(gsl_cdf_ugaussian_P(z))) + above;
    }
    double shape = 1 / (d->cv * d->cv);
    struct km_distribution raised = *d; /* gamma of shape + 1 and the same scale */
    raised.mean = d->mean / shape * (shape + 1);
    raised.cv = 1 / sqrt(shape + 1);
    return d->mean * km_distribution_cdf(&raised, b) + above;
}

static double density(const struct km_distribution *d, double x)
{
    if (d->kind == KM_DIST_LOGNORMAL)
        return gsl_ran_lognormal_pdf(x, d->mu, d->sigma);
    return gsl_ran_gamma_pdf(x, 1 / (d->cv * d->cv), d->mean * d->cv * d->cv);
}

/* E[N] = low + sum of P(X > n) over n = low .. high-1. Terms are 1 up to where the survival starts to fall;
 * then up to 2^17 are summed one by one; what is left of a wider distribution is smooth on the scale of one
 * token, and the Euler-Maclaurin formula with the integral of the survival (limited means) is exact to double
 * precision. */
static double cdf_mean(const struct km_distribution *d, uint32_t low, uint32_t high)
{
    if (d->kind == KM_DIST_GEOMETRIC) {
        double log_q = log1p(-1 / d->mean); /* sum of q^n over the range */
        return low + (d->mean > 1 ? d->mean * exp(low * log_q) * -expm1(((double)high - low) * log_q) : 0);
    }
    uint32_t start = first_below(d, low, high, 1 - 1e-16);
    uint32_t end = first_below(d, start, high, 1e-18);
    uint32_t direct = end - start > (1u << 17) ? start + (1u << 17) : end;
    double sum = start;
    for (uint32_t n = start; n < direct; n++)
        sum += km_distribution_survival(d, n);
    if (direct < high && direct < end) {
        double a = direct, b = end;
        sum += limited_mean(d, b) - limited_mean(d, a);
        sum += (km_distribution_survival(d, a) - km_distribution_survival(d, b)) / 2;
        sum += (density(d, a) - density(d, b)) / 12;
    }
    return sum;
}

uint32_t km_distribution_most_tokens(const struct km_distribution *d)
{
    const uint32_t low = low_tokens(d), high = high_tokens(d);
    if (has_cdf(d))
        return d->max > 0 ? high : 0;
    if (d->kind == KM_DIST_UNIFORM)
        return high;
    double most = d->kind == KM_DIST_ZIPF ? d->limit : d->value;
    for (size_t i = 0; i < d->count && d->kind == KM_DIST_EMPIRICAL; i++)
        most = i == 0 ? d->values[i] : fmax(most, d->values[i]);
    return clip(low, high, most);
}

double km_distribution_mean_tokens(const struct km_distribution *d)
{
    uint32_t low = low_tokens(d), high = high_tokens(d);
    if (has_cdf(d))
        return cdf_mean(d, low, high);
    if (d->kind == KM_DIST_CONSTANT)
        return clip(low, high, d->value);
    if (d->kind == KM_DIST_UNIFORM)
        return ((double)low + high) / 2;
    double total = 0, sum = 0;
    for (size_t i = 0, count = point_count(d); i < count; i++) {
        double weight = point_weight(d, i);
        total += weight;
        sum += weight * clip(low, high, d->kind == KM_DIST_ZIPF ? (double)(i + 1) : d->values[i]);
    }
    return sum / total;
}
