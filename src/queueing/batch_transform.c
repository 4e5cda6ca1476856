/* km_batch_transforms(): the inner loops are written out in real numbers, since the compiler's complex
 * product checks every result for infinities. */
#include "queueing/batch_law.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

struct number {
    double re, im;
};

static struct number product(struct number a, struct number b)
{
    return (struct number){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

static struct number exponential(double complex x)
{
    double size = exp(creal(x));
    return (struct number){size * cos(cimag(x)), size * sin(cimag(x))};
}

static struct number power(struct number x, uint32_t n)
{
    struct number out = {1, 0};
    for (; n; n >>= 1, x = product(x, x))
        if (n & 1)
            out = product(out, x);
    return out;
}

/* The points at[i] = e^{-s k support[i]}, by multiplication along runs of neighbours. */
static void exponentials(const struct km_token_law *tokens, double complex s, double k, struct number *at)
{
    struct number step = exponential(-s * k);
    for (size_t i = 0; i < tokens->support_count; i++) {
        bool neighbour = i % 256 && tokens->support[i] == tokens->support[i - 1] + 1;
        at[i] = neighbour ? product(at[i - 1], step) : exponential(-s * k * tokens->support[i]);
    }
}

static void elastic_sums(const struct km_batch_law *law, double complex s, uint32_t from, uint32_t to,
                         struct number *sums)
{
    const struct km_token_law *tokens = law->tokens;
    size_t count = tokens->support_count;
    struct number *sum_part = km_alloc(2 * count * sizeof *sum_part), *longest = sum_part + count;
    exponentials(tokens, s, law->k3_s, sum_part);
    exponentials(tokens, s, law->k4_s, longest);
    struct number phi = {0, 0};
    for (size_t i = 0; i < count; i++) {
        double p = tokens->pmf[tokens->support[i]];
        phi.re += p * sum_part[i].re;
        phi.im += p * sum_part[i].im;
        /* Summed by parts: phi_l^b times e^{-s k4 l} minus its successor. */
        struct number weight = longest[i];
        if (i + 1 < count) {
            weight.re -= longest[i + 1].re;
            weight.im -= longest[i + 1].im;
        }
        struct number term = product(weight, power(phi, from));
        for (uint32_t b = from; b <= to; b++, term = product(term, phi)) {
            if (fabs(term.re) + fabs(term.im) < 1e-24)
                break;
            sums[b - from].re += term.re;
            sums[b - from].im += term.im;
        }
    }
    free(sum_part);
}

static void padded_sums(const struct km_batch_law *law, double complex s, uint32_t from, uint32_t to,
                        struct number *sums)
{
    const struct km_token_law *tokens = law->tokens;
    size_t count = tokens->support_count;
    struct number *at = km_alloc(count * sizeof *at);
    double *powers = km_alloc(count * sizeof *powers);
    for (size_t i = 0; i < count; i++)
        powers[i] = pow(tokens->cdf[tokens->support[i]], from);
    for (uint32_t b = from; b <= to; b++) {
        double before = 0;
        exponentials(tokens, s, law->k3_s * b + law->k4_s, at);
        for (size_t i = 0; i < count; i++) {
            double q = powers[i] - before;
            before = powers[i];
            sums[b - from].re += q * at[i].re;
            sums[b - from].im += q * at[i].im;
            powers[i] *= tokens->cdf[tokens->support[i]];
        }
    }
    free(at);
    free(powers);
}

void km_batch_transforms(const struct km_batch_law *law, double complex s, uint32_t from, uint32_t to,
                         double complex *out)
{
    struct number *sums = km_alloc(((size_t)(to - from) + 1) * sizeof *sums);
    if (law->elastic)
        elastic_sums(law, s, from, to, sums);
    else
        padded_sums(law, s, from, to, sums);
    for (uint32_t b = from; b <= to; b++) {
        struct number whole = product(sums[b - from], exponential(-s * (law->k1_s * b + law->k2_s)));
        out[b - from] = CMPLX(whole.re, whole.im);
    }
    free(sums);
}
