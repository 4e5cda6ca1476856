#include "queueing/bulk/wiener_hopf.h"

#include "base/memory.h"

#include <gsl/gsl_fft_complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AMPLIFICATION 7.0 /* e^this times rounding error is what g_{-n} may carry */
#define ALIASING      80.0
#define POINTS_LIMIT  ((size_t)1 << 20)

/* b u - log K(e^u): how far below 1 the modulus of K z^{-b} stays. */
static double margin(const double *arrivals, size_t columns, uint32_t batch, double u)
{
    double sum = 0, power = exp(-u * batch), step = exp(u);
    for (size_t j = 0; j < columns; j++, power *= step)
        sum += arrivals[j] * power;
    return -log(sum);
}

/* log r: near the best margin, within the limit of amplification. */
static double choose_radius(const double *arrivals, size_t columns, uint32_t batch)
{
    double mass = 0, mean = 0, square = 0;
    for (size_t j = 0; j < columns; j++) {
        mass += arrivals[j];
        mean += (double)j * arrivals[j];
        square += (double)j * (double)j * arrivals[j];
    }
    mean /= mass;
    double variance = square / mass - mean * mean; /* log K(e^u) ~ mean u + variance u^2 / 2 */
    double u = (batch - mean) / fmax(variance, 1e-3), highest = AMPLIFICATION / (double)columns;
    u = fmin(u, highest);
    while (margin(arrivals, columns, batch, u / 2) > margin(arrivals, columns, batch, u))
        u /= 2;
    return u;
}

void km_wiener_hopf_solve(struct km_wiener_hopf *out, const double *arrivals, size_t columns, uint32_t batch)
{
    double u = choose_radius(arrivals, columns, batch);
    size_t points = 1024;
    while (points < POINTS_LIMIT && ((double)points < ALIASING / u || points < 4 * (columns + batch)))
        points *= 2;
    double *c = km_alloc(2 * points * sizeof *c);
    for (size_t j = 0; j < columns; j++) /* coefficient of z^{j - batch} */
        c[2 * ((j + points - batch) % points)] = arrivals[j] * exp(u * ((double)j - batch));
    gsl_fft_complex_radix2_backward(c, 1, points);
    for (size_t k = 0; k < points; k++) {
        double re = c[2 * k], im = c[2 * k + 1]; /* of w = K z^{-b}, modulus below 1: never on the cut */
        /* log|1 - w|: small w keep their digits by the one form, w next to 1 by the other. */
        c[2 * k] = hypot(re, im) < 0.5 ? log1p(re * (re - 2) + im * im) / 2 : log(hypot(1 - re, im));
        c[2 * k + 1] = atan2(-im, 1 - re);
    }
    gsl_fft_complex_radix2_forward(c, 1, points);

    double scale = 1 / (double)points, sum = 0;
    *out = (struct km_wiener_hopf){0};
    for (size_t n = points / 2; n >= 1; n--) {
        double g = c[2 * n] * scale * exp(-u * (double)n);
        sum += g;
        out->mean -= (double)n * g;
        out->variance -= (double)n * (double)n * g;
    }
    out->mean = fmax(out->mean, 0);
    out->variance = fmax(out->variance, 0);
    out->empty = fmin(exp(sum), 1);

    /* exp of a power series: e_n = (1/n) sum_k k g_{-k} e_{n-k}. */
    double *e = km_alloc(((size_t)batch + 1) * sizeof *e), total = 0;
    e[0] = 1;
    for (uint32_t n = 1; n <= batch; n++) {
        for (uint32_t k = 1; k <= n; k++)
            e[n] += k * c[2 * (points - k)] * scale * exp(u * k) * e[n - k];
        e[n] /= n;
    }
    for (uint32_t n = 1; n <= batch; n++) {
        e[n] = fmax(-e[n], 0);
        total += e[n];
    }
    for (uint32_t n = 1; n <= batch; n++)
        e[n] /= total;
    e[0] = 0;
    out->descent = e;
    free(c);
}
