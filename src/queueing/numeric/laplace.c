#include "queueing/numeric/laplace.h"

#include <gsl/gsl_math.h>
#include <math.h>

#define A        18.4 /* discretisation error e^-A */
#define EULER    12   /* partial sums averaged with binomial weights */
#define FIRST    28   /* terms before the first average */
#define BETWEEN  12   /* and between averages */
#define LAST     400
#define RELATIVE 2e-5
#define ABSOLUTE 1e-8

double km_laplace_invert(double complex (*transform)(double complex s, void *context), void *context,
                         double t)
{
    double scale = exp(A / 2) / t, sum = creal(transform(A / (2 * t), context)) / 2;
    double partial[EULER + 1] = {0}, value = 0; /* the latest partial sums, the newest last */
    for (int k = 1, average_at = FIRST; k <= LAST; k++) {
        double term = creal(transform(CMPLX(A, 2 * M_PI * k) / (2 * t), context));
        sum += k % 2 ? -term : term;
        for (int i = 0; i < EULER; i++)
            partial[i] = partial[i + 1];
        partial[EULER] = sum;
        if (k < average_at)
            continue;
        double weight = pow(2, -EULER), averaged = 0, before = value; /* C(EULER, i) 2^-EULER */
        for (int i = 0; i <= EULER; i++) {
            averaged += weight * partial[i];
            weight *= (double)(EULER - i) / (i + 1);
        }
        value = scale * averaged;
        if (k > FIRST && fabs(value - before) <= RELATIVE * fabs(value) + ABSOLUTE)
            break;
        average_at = k + BETWEEN;
    }
    return value;
}
