/* km_batch_transforms(): what most of the time of a bulk model goes into, so the inner loops are written for
 * the compiler to vectorise: in real numbers (its complex product checks every result for infinities), real
 * and imaginary parts apart, and in several independent chains. */
#include "queueing/bulk/batch_law.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

#define LANES      4
#define STRIDE     64
#define NEGLIGIBLE 1e-20

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

/* re[i] + i im[i] = e^{-s k support[i]} for i = first .. count-1: along runs of neighbours by multiplication,
 * a stride at a time. */
static void exponentials(const struct km_token_law *tokens, double complex s, double k, size_t first,
                         double *re, double *im)
{
    const uint32_t *support = tokens->support;
    struct number step = exponential(-s * k), stride = exponential(-s * k * STRIDE);
    for (size_t i = first; i < tokens->support_count;) {
        size_t end = i + STRIDE < tokens->support_count ? i + STRIDE : tokens->support_count;
        if (i >= first + STRIDE && support[end - 1] - support[i - STRIDE] == (end - 1) - (i - STRIDE) &&
            (i - first) / STRIDE % 16) { /* afresh now and then, so that rounding does not add up */
            for (; i < end; i++) {
                re[i] = re[i - STRIDE] * stride.re - im[i - STRIDE] * stride.im;
                im[i] = re[i - STRIDE] * stride.im + im[i - STRIDE] * stride.re;
            }
            continue;
        }
        for (size_t start = i; i < end; i++) {
            bool neighbour = i > start && support[i] == support[i - 1] + 1;
            struct number value = neighbour ? product((struct number){re[i - 1], im[i - 1]}, step)
                                            : exponential(-s * k * support[i]);
            re[i] = value.re;
            im[i] = value.im;
        }
    }
}

/* sums[b - from] += sum over lanes of term[lane] phi[lane]^{b - from} */
static void add_powers(const struct number *phi, const struct number *term, size_t lanes, uint32_t rows,
                       struct number *sums)
{
    double pr[LANES] = {0}, pi[LANES] = {0}, tr[LANES] = {0}, ti[LANES] = {0};
    for (size_t k = 0; k < lanes; k++) {
        pr[k] = phi[k].re;
        pi[k] = phi[k].im;
        tr[k] = term[k].re;
        ti[k] = term[k].im;
    }
    for (uint32_t r = 0; r < rows; r++) {
        double size = 0, re = 0, im = 0;
        for (size_t k = 0; k < LANES; k++) {
            double next = tr[k] * pr[k] - ti[k] * pi[k];
            re += tr[k];
            im += ti[k];
            size += fabs(tr[k]) + fabs(ti[k]);
            ti[k] = tr[k] * pi[k] + ti[k] * pr[k];
            tr[k] = next;
        }
        sums[r].re += re;
        sums[r].im += im;
        if (size < NEGLIGIBLE)
            break;
    }
}

static void elastic_sums(const struct km_batch_law *law, double complex s, uint32_t from, uint32_t to,
                         struct number *sums)
{
    const struct km_token_law *tokens = law->tokens;
    size_t count = tokens->support_count;
    double *work = km_alloc(4 * count * sizeof *work);
    double *sum_re = work, *sum_im = work + count, *longest_re = work + 2 * count,
           *longest_im = work + 3 * count;
    exponentials(tokens, s, law->k3_s, 0, sum_re, sum_im);
    exponentials(tokens, s, law->k4_s, 0, longest_re, longest_im);
    struct number phi = {0, 0}, phis[LANES], terms[LANES];
    size_t lanes = 0;
    for (size_t i = 0; i < count; i++) {
        double p = tokens->pmf[tokens->support[i]];
        phi.re += p * sum_re[i];
        phi.im += p * sum_im[i];
        /* Summed by parts: phi_l^b times e^{-s k4 l} minus its successor. */
        struct number weight = {longest_re[i], longest_im[i]};
        if (i + 1 < count) {
            weight.re -= longest_re[i + 1];
            weight.im -= longest_im[i + 1];
        }
        phis[lanes] = phi;
        terms[lanes++] = product(weight, power(phi, from));
        if (lanes == LANES || i + 1 == count) {
            add_powers(phis, terms, lanes, to - from + 1, sums);
            lanes = 0;
        }
    }
    free(work);
}

static void padded_sums(const struct km_batch_law *law, double complex s, uint32_t from, uint32_t to,
                        struct number *sums)
{
    const struct km_token_law *tokens = law->tokens;
    size_t count = tokens->support_count, first = 0;
    double *work = km_alloc(4 * count * sizeof *work);
    double *re = work, *im = work + count, *powers = work + 2 * count, *cdf = work + 3 * count;
    for (size_t i = 0; i < count; i++) {
        cdf[i] = tokens->cdf[tokens->support[i]];
        powers[i] = pow(cdf[i], from);
    }
    for (uint32_t b = from; b <= to; b++) {
        while (first + 1 < count && powers[first] < NEGLIGIBLE)
            first++;
        exponentials(tokens, s, law->k3_s * b + law->k4_s, first, re, im);
        double before = 0, sum_re[LANES] = {0}, sum_im[LANES] = {0};
        for (size_t i = first; i < count; i++) {
            double q = powers[i] - before;
            before = powers[i];
            sum_re[i % LANES] += q * re[i];
            sum_im[i % LANES] += q * im[i];
        }
        for (size_t i = first; i < count; i++)
            powers[i] *= cdf[i];
        for (size_t k = 0; k < LANES; k++) {
            sums[b - from].re += sum_re[k];
            sums[b - from].im += sum_im[k];
        }
    }
    free(work);
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
