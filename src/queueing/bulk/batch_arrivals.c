#include "queueing/bulk/batch_arrivals.h"

#include "base/memory.h"

#include <gsl/gsl_fft_halfcomplex.h>
#include <gsl/gsl_math.h>
#include <gsl/gsl_sf_gamma.h>
#include <math.h>
#include <stdlib.h>

#define COLUMNS_LIMIT ((size_t)1 << 15)
#define NEGLIGIBLE    1e-14
#define TAIL_MASS     1e-12
#define SMALLEST_TERM 1e-20

/* row[j] += weight * Poisson(j; mean) */
static void add_poisson(double *row, size_t columns, double mean, double weight)
{
    if (mean <= 0) {
        row[0] += weight;
        return;
    }
    size_t mode = (size_t)mean;
    double top = exp((double)mode * log(mean) - mean - gsl_sf_lnfact((unsigned)mode)), term = top;
    for (size_t j = mode + 1; j-- > 0;) {
        if (j < columns)
            row[j] += weight * term;
        if (term < SMALLEST_TERM)
            break;
        term *= (double)j / mean;
    }
    term = top;
    for (size_t j = mode + 1; j < columns && term > SMALLEST_TERM; j++) {
        term *= mean / (double)j;
        row[j] += weight * term;
    }
}

/* --- padded -------------------------------------------------------------------------------------------- */

struct nodes {
    size_t count;
    double *at, *weight; /* barycentric; NULL when the nodes are the support itself */
    double *share;       /* [rows * count]: what the b-th row puts on each node; the sum is 1 */
};

static void nodes_place(struct nodes *nodes, const struct km_token_law *tokens, double spread)
{
    double low = tokens->support[0], high = tokens->max;
    /* Chebyshev coefficients of e^{-m} and of a Poisson mass over a range R fall as exp(-k^2 / R). */
    nodes->count = 14 + (size_t)ceil(6.5 * sqrt(spread));
    if (nodes->count >= tokens->support_count) {
        nodes->count = tokens->support_count;
        nodes->at = km_alloc(nodes->count * sizeof *nodes->at);
        for (size_t g = 0; g < nodes->count; g++)
            nodes->at[g] = tokens->support[g];
        return;
    }
    nodes->at = km_alloc(nodes->count * sizeof *nodes->at);
    nodes->weight = km_alloc(nodes->count * sizeof *nodes->weight);
    for (size_t g = 0; g < nodes->count; g++) {
        double angle = M_PI * ((double)g + 0.5) / (double)nodes->count;
        nodes->at[g] = (low + high) / 2 + (high - low) / 2 * cos(angle);
        nodes->weight[g] = (g % 2 ? -1 : 1) * sin(angle);
    }
}

/* The value at l of each node's Lagrange polynomial. */
static void nodes_basis(const struct nodes *nodes, double l, double *basis)
{
    double sum = 0;
    for (size_t g = 0; g < nodes->count; g++) {
        double distance = l - nodes->at[g];
        if (fabs(distance) < 1e-12 * fabs(l)) {
            for (size_t other = 0; other < nodes->count; other++)
                basis[other] = other == g;
            return;
        }
        basis[g] = nodes->weight[g] / distance;
        sum += basis[g];
    }
    for (size_t g = 0; g < nodes->count; g++)
        basis[g] /= sum;
}

static void nodes_share(struct nodes *nodes, const struct km_token_law *tokens, uint32_t from, uint32_t to)
{
    size_t count = nodes->count;
    double *basis = km_alloc(count * sizeof *basis), before = 0;
    nodes->share = km_alloc(((size_t)(to - from) + 1) * count * sizeof *nodes->share);
    for (size_t i = 0; i < tokens->support_count; i++) {
        uint32_t l = tokens->support[i];
        double now = tokens->cdf[l], power = pow(now, from), power_before = pow(before, from);
        if (nodes->weight)
            nodes_basis(nodes, l, basis);
        for (uint32_t b = from; b <= to && power > 1e-40; b++, power *= now, power_before *= before) {
            double q = power - power_before, *share = nodes->share + (b - from) * count;
            if (!nodes->weight) {
                share[i] = q;
                continue;
            }
            if (q < SMALLEST_TERM)
                continue;
            for (size_t g = 0; g < count; g++)
                share[g] += q * basis[g];
        }
        before = now;
    }
    free(basis);
}

static enum km_status padded_rows(struct km_batch_arrivals *a, const struct km_batch_law *law,
                                  double rate_per_s, struct km_error *error)
{
    const struct km_token_law *tokens = law->tokens;
    uint32_t longest = km_token_law_quantile_above(tokens, NEGLIGIBLE / a->to);
    double mean = rate_per_s * (law->k1_s * a->to + law->k2_s + (law->k3_s * a->to + law->k4_s) * longest);
    double columns = mean + 9 * sqrt(mean) + 30;
    if (columns > (double)COLUMNS_LIMIT)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "about %.3g requests arrive during one batch: beyond what can be solved", mean);
    a->columns = (size_t)columns;
    size_t rows = (size_t)(a->to - a->from) + 1;
    a->mass = km_alloc(rows * a->columns * sizeof *a->mass);
    struct nodes nodes = {0};
    nodes_place(&nodes, tokens,
                rate_per_s * (law->k3_s * a->to + law->k4_s) * (tokens->max - tokens->support[0]));
    nodes_share(&nodes, tokens, a->from, a->to);
    for (uint32_t b = a->from; b <= a->to; b++) {
        double *row = a->mass + (b - a->from) * a->columns;
        for (size_t g = 0; g < nodes.count; g++) {
            double share = nodes.share[(b - a->from) * nodes.count + g];
            double time_s = law->k1_s * b + law->k2_s + (law->k3_s * b + law->k4_s) * nodes.at[g];
            if (share > SMALLEST_TERM || share < -SMALLEST_TERM)
                add_poisson(row, a->columns, rate_per_s * time_s, share);
        }
    }
    free(nodes.at);
    free(nodes.weight);
    free(nodes.share);
    return KM_OK;
}

/* --- elastic ------------------------------------------------------------------------------------------- */

/* Rows of `size` masses (a power of two), or false when they do not fit. The circle has radius r > 1: what it
 * yields is the mass times r^j, so that the rounding error, even over the circle, falls as r^-j with the
 * masses. */
static bool elastic_try(struct km_batch_arrivals *a, const struct km_batch_law *law, double rate_per_s,
                        double radius, size_t size)
{
    size_t rows = (size_t)(a->to - a->from) + 1;
    double complex *transform = km_alloc(rows * sizeof *transform);
    a->columns = size;
    a->mass = km_alloc(rows * size * sizeof *a->mass);
    for (size_t k = 0; k <= size / 2; k++) {
        double angle = 2 * M_PI * (double)k / (double)size, half = sin(angle / 2);
        double complex gap = CMPLX(1 - radius + 2 * radius * half * half, -radius * sin(angle)); /* 1 - z */
        km_batch_transforms(law, rate_per_s * gap, a->from, a->to, transform);
        for (size_t r = 0; r < rows; r++) {
            a->mass[r * size + k] = creal(transform[r]);
            if (k > 0 && k < size / 2) /* conjugate: GSL's inverse turns the other way */
                a->mass[r * size + size - k] = -cimag(transform[r]);
        }
    }
    free(transform);
    double end = 0;
    for (size_t r = 0; r < rows; r++) {
        double *row = a->mass + r * size, scale = 1;
        gsl_fft_halfcomplex_radix2_inverse(row, 1, size);
        for (size_t j = size - size / 8; j < size; j++)
            end = fmax(end, fabs(row[j]));
        for (size_t j = 0; j < size; j++, scale /= radius)
            row[j] *= scale;
    }
    return end < TAIL_MASS;
}

static enum km_status elastic_rows(struct km_batch_arrivals *a, const struct km_batch_law *law,
                                   double rate_per_s, struct km_error *error)
{
    struct km_batch_moments m;
    km_batch_moments(law, a->to, a->to, &m);
    double mean = rate_per_s * m.m1;
    double spread = sqrt(mean + rate_per_s * rate_per_s * fmax(m.m2 - m.m1 * m.m1, 0));
    /* As far out as keeps e^{lambda (r - 1) T} below e for the longest batch there is. */
    double longest_s = law->k1_s * a->to + law->k2_s + (law->k3_s * a->to + law->k4_s) * law->tokens->max;
    double radius = 1 + 1 / (rate_per_s * longest_s);
    size_t size = 64;
    while ((double)size < mean + 9 * spread + 32 && size < COLUMNS_LIMIT)
        size *= 2;
    for (; size <= COLUMNS_LIMIT && mean < (double)COLUMNS_LIMIT; size *= 2) {
        if (elastic_try(a, law, rate_per_s, radius, size))
            return KM_OK;
        free(a->mass);
        a->mass = NULL;
    }
    return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                   "about %.3g requests arrive during one batch: beyond what can be solved", mean);
}

/* --- both ---------------------------------------------------------------------------------------------- */

enum km_status km_batch_arrivals_init(struct km_batch_arrivals *arrivals, const struct km_batch_law *law,
                                      double rate_per_s, uint32_t from, uint32_t to, struct km_error *error)
{
    *arrivals = (struct km_batch_arrivals){.from = from, .to = to};
    enum km_status status = law->elastic ? elastic_rows(arrivals, law, rate_per_s, error)
                                         : padded_rows(arrivals, law, rate_per_s, error);
    if (status != KM_OK)
        return status;
    size_t count = ((size_t)(to - from) + 1) * arrivals->columns;
    for (size_t i = 0; i < count; i++) /* rounding leaves masses of -1e-17 */
        arrivals->mass[i] = arrivals->mass[i] > 0 ? arrivals->mass[i] : 0;
    return KM_OK;
}

void km_batch_arrivals_release(struct km_batch_arrivals *arrivals)
{
    free(arrivals->mass);
    *arrivals = (struct km_batch_arrivals){0};
}

const double *km_batch_arrivals_row(const struct km_batch_arrivals *arrivals, uint32_t b)
{
    return arrivals->mass + (size_t)(b - arrivals->from) * arrivals->columns;
}
