#include "queueing/token_law.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

/* Mass that may lie beyond the largest mass function without anyone noticing. */
#define LOST_MASS 1e-12
/* Of a coarse law. */
#define FINE_TOKENS 2048
#define STEPS       1024

static bool has_limit(const struct km_distribution *d)
{
    return d->max > 0 || d->kind == KM_DIST_CONSTANT || d->kind == KM_DIST_ZIPF ||
           d->kind == KM_DIST_EMPIRICAL;
}

static void fill(struct km_token_law *law)
{
    size_t count = (size_t)law->max + 1;
    law->cdf = km_alloc(count * sizeof *law->cdf);
    law->survival = km_alloc(count * sizeof *law->survival);
    law->limited_mean = km_alloc(count * sizeof *law->limited_mean);
    law->limited_square = km_alloc(count * sizeof *law->limited_square);
    law->support = km_alloc(count * sizeof *law->support);
    for (uint32_t n = law->max; n > 0; n--)
        law->survival[n - 1] = law->survival[n] + law->pmf[n];
    double below = 0;
    for (uint32_t n = 1; n <= law->max; n++) {
        below += law->pmf[n];
        law->cdf[n] = below < 1 ? below : 1;
        law->limited_mean[n] = law->limited_mean[n - 1] + law->survival[n - 1];
        law->limited_square[n] = law->limited_square[n - 1] + (2.0 * n - 1) * law->survival[n - 1];
        if (law->pmf[n] > 0)
            law->support[law->support_count++] = n;
    }
    law->cdf[law->max] = 1;
    law->mean = law->limited_mean[law->max];
}

static enum km_status init(struct km_token_law *law, const struct km_distribution *distribution,
                           uint32_t max_tokens, struct km_error *error)
{
    *law = (struct km_token_law){0};
    const char *problem = km_distribution_problem(distribution, true);
    if (problem)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "output tokens: %s", problem);
    law->pmf = km_distribution_pmf(distribution, max_tokens, &law->max);
    while (law->max > 1 && law->pmf[law->max] <= 0) /* a limit above all mass limits nothing */
        law->max--;
    law->bounded = max_tokens > 0 || has_limit(distribution);
    if (law->max == KM_PMF_LIMIT && law->pmf[law->max] > LOST_MASS) {
        km_token_law_release(law);
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "output tokens: requests of %u tokens and more are beyond the equations; give a max",
                       KM_PMF_LIMIT);
    }
    fill(law);
    return KM_OK;
}

enum km_status km_token_law_init(struct km_token_law *law, const struct km_distribution *distribution,
                                 struct km_error *error)
{
    return init(law, distribution, 0, error);
}

enum km_status km_token_law_init_limited(struct km_token_law *law, const struct km_distribution *distribution,
                                         uint64_t max_tokens, struct km_error *error)
{
    if (max_tokens == 0) {
        *law = (struct km_token_law){0};
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "a token limit of 0 serves nothing; it must be at least 1");
    }
    return init(law, distribution, max_tokens < KM_PMF_LIMIT ? (uint32_t)max_tokens : KM_PMF_LIMIT, error);
}

void km_token_law_coarsen(struct km_token_law *coarse, const struct km_token_law *law)
{
    *coarse = (struct km_token_law){.max = law->max, .bounded = law->bounded};
    coarse->pmf = km_alloc(((size_t)law->max + 1) * sizeof *coarse->pmf);
    for (uint32_t low = 1, high; low < law->max; low = high) {
        high = low + (low < FINE_TOKENS ? 1 : (low + STEPS - 1) / STEPS);
        high = high < law->max ? high : law->max;
        for (uint32_t n = low; n < high; n++) {
            double share = (double)(n - low) / (high - low);
            coarse->pmf[low] += (1 - share) * law->pmf[n];
            coarse->pmf[high] += share * law->pmf[n];
        }
    }
    coarse->pmf[law->max] += law->pmf[law->max];
    fill(coarse);
}

void km_token_law_release(struct km_token_law *law)
{
    free(law->pmf);
    free(law->cdf);
    free(law->survival);
    free(law->limited_mean);
    free(law->limited_square);
    free(law->support);
    *law = (struct km_token_law){0};
}

double km_token_law_limited_mean(const struct km_token_law *law, double x)
{
    if (x >= law->max)
        return law->mean;
    uint32_t n = (uint32_t)x;
    return law->limited_mean[n] + (x - n) * law->survival[n];
}

double km_token_law_limited_square(const struct km_token_law *law, double x)
{
    if (x >= law->max)
        return law->limited_square[law->max];
    uint32_t n = (uint32_t)x;
    return law->limited_square[n] + (x - n) * (x + n) * law->survival[n];
}

uint32_t km_token_law_quantile_above(const struct km_token_law *law, double share)
{
    uint32_t low = 0, high = law->max;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (law->survival[middle] <= share)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
