#include "queueing/bulk/batch_law.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

enum km_status km_batch_law_check(const struct km_batch_law *law, struct km_error *error)
{
    const double k[] = {law->k1_s, law->k2_s, law->k3_s, law->k4_s};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        if (!(k[i] >= 0) || !isfinite(k[i]))
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "service: k%d must be finite and >= 0, got %g",
                           i + 1, k[i]);
        sum += k[i];
    }
    if (sum <= 0)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "service: takes no time: k1 .. k4 are all 0");
    return KM_OK;
}

/* F(l)^b without the cost of pow() for the b of a loop that starts here. */
static double first_power(double f, uint32_t b)
{
    return b == 1 ? f : pow(f, b);
}

/* E[max of b] */
static double mean_longest(const struct km_token_law *tokens, uint32_t b)
{
    double sum = 0, before = 0;
    for (size_t i = 0; i < tokens->support_count; i++) {
        uint32_t l = tokens->support[i];
        double power = first_power(tokens->cdf[l], b);
        sum += (power - before) * l;
        before = power;
    }
    return sum;
}

double km_batch_mean_s(const struct km_batch_law *law, uint32_t b)
{
    double longest = mean_longest(law->tokens, b), prefill = law->k1_s * b + law->k2_s;
    if (law->elastic)
        return prefill + law->k3_s * b * law->tokens->mean + law->k4_s * longest;
    return prefill + (law->k3_s * b + law->k4_s) * longest;
}

static void padded_moments(const struct km_batch_law *law, uint32_t from, uint32_t to,
                           struct km_batch_moments *out)
{
    const struct km_token_law *tokens = law->tokens;
    for (size_t i = 0; i < tokens->support_count; i++) {
        uint32_t l = tokens->support[i];
        double f = tokens->cdf[l], g = i ? tokens->cdf[tokens->support[i - 1]] : 0;
        double power = first_power(f, from), before = first_power(g, from);
        for (uint32_t b = from; b <= to; b++, power *= f, before *= g) {
            if (power < 1e-40) /* and ever smaller for larger b */
                break;
            double h = law->k1_s * b + law->k2_s + (law->k3_s * b + law->k4_s) * l, q = power - before;
            struct km_batch_moments *m = &out[b - from];
            m->m1 += q * h;
            m->m2 += q * h * h;
            m->m3 += q * h * h * h;
        }
    }
    for (uint32_t b = from; b <= to; b++)
        out[b - from].own_s = out[b - from].m1;
}

/* Power series in s up to s^3. */
struct cubic {
    double c[4];
};

static struct cubic cubic_product(struct cubic a, struct cubic b)
{
    return (struct cubic){{a.c[0] * b.c[0], a.c[0] * b.c[1] + a.c[1] * b.c[0],
                           a.c[0] * b.c[2] + a.c[1] * b.c[1] + a.c[2] * b.c[0],
                           a.c[0] * b.c[3] + a.c[1] * b.c[2] + a.c[2] * b.c[1] + a.c[3] * b.c[0]}};
}

static struct cubic cubic_exp(double x)
{
    return (struct cubic){{1, x, x * x / 2, x * x * x / 6}};
}

/* The moments are the coefficients of E[e^{+sT}]: the same sum as for the transform, every term positive. */
static void elastic_moments(const struct km_batch_law *law, uint32_t from, uint32_t to,
                            struct km_batch_moments *out)
{
    const struct km_token_law *tokens = law->tokens;
    size_t count = (size_t)(to - from) + 1;
    struct cubic *before = km_alloc(count * sizeof *before), *sum = km_alloc(count * sizeof *sum);
    struct cubic phi = {{0}};
    double overlap = 0; /* sum of P(N >= l)^2 */
    for (uint32_t l = 0; l < tokens->max; l++)
        overlap += tokens->survival[l] * tokens->survival[l];
    for (size_t i = 0; i < tokens->support_count; i++) {
        uint32_t l = tokens->support[i];
        struct cubic step = cubic_exp(law->k3_s * l), longest = cubic_exp(law->k4_s * l);
        for (int k = 0; k < 4; k++)
            phi.c[k] += tokens->pmf[l] * step.c[k];
        phi.c[0] = tokens->cdf[l];
        double u1 = phi.c[1] / phi.c[0], u2 = phi.c[2] / phi.c[0], u3 = phi.c[3] / phi.c[0];
        double power = first_power(phi.c[0], from);
        for (uint32_t b = from; b <= to; b++, power *= phi.c[0]) {
            if (power < 1e-40)
                break;
            double n = b, pairs = n * (n - 1) / 2, triples = pairs * (n - 2) / 3;
            struct cubic now = {{power, power * n * u1, power * (n * u2 + pairs * u1 * u1),
                                 power * (n * u3 + 2 * pairs * u1 * u2 + triples * u1 * u1 * u1)}};
            struct cubic gain = now;
            for (int k = 0; k < 4; k++)
                gain.c[k] -= before[b - from].c[k];
            gain = cubic_product(gain, longest);
            for (int k = 0; k < 4; k++)
                sum[b - from].c[k] += gain.c[k];
            before[b - from] = now;
        }
    }
    for (uint32_t b = from; b <= to; b++) {
        struct cubic m = cubic_product(sum[b - from], cubic_exp(law->k1_s * b + law->k2_s));
        out[b - from] = (struct km_batch_moments){m.c[1], 2 * m.c[2], 6 * m.c[3],
                                                  law->k1_s * b + law->k2_s + law->k4_s * tokens->mean +
                                                      law->k3_s * (tokens->mean + ((double)b - 1) * overlap)};
    }
    free(before);
    free(sum);
}

void km_batch_moments(const struct km_batch_law *law, uint32_t from, uint32_t to,
                      struct km_batch_moments *out)
{
    for (uint32_t b = from; b <= to; b++)
        out[b - from] = (struct km_batch_moments){0};
    if (law->elastic)
        elastic_moments(law, from, to, out);
    else
        padded_moments(law, from, to, out);
}

double km_batch_excess_s(const struct km_batch_law *law, uint32_t b, double t_s)
{
    const struct km_token_law *tokens = law->tokens;
    double start = law->k1_s * b + law->k2_s - t_s, slope = law->k3_s * b + law->k4_s, sum = 0, before = 0;
    for (size_t i = 0; i < tokens->support_count; i++) {
        double power = first_power(tokens->cdf[tokens->support[i]], b);
        double excess = start + slope * tokens->support[i];
        if (excess > 0)
            sum += (power - before) * excess;
        before = power;
    }
    return sum;
}

struct km_batch_law km_batch_law_manageable(const struct km_batch_law *law, struct km_token_law *coarse)
{
    struct km_batch_law manageable = *law;
    *coarse = (struct km_token_law){0};
    if (law->tokens->support_count > KM_BATCH_FINE_COUNTS) {
        km_token_law_coarsen(coarse, law->tokens);
        manageable.tokens = coarse;
    }
    return manageable;
}
