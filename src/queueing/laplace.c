#include "queueing/laplace.h"

#include <gsl/gsl_math.h>
#include <math.h>

#define A     18.4 /* discretisation error e^-A */
#define PLAIN 28   /* terms summed as they are */
#define EULER 12   /* terms averaged with binomial weights */

double km_laplace_invert(double complex (*transform)(double complex s, void *context), void *context,
                         double t)
{
    double sum = creal(transform(A / (2 * t), context)) / 2, averaged = 0, weight = 1;
    for (int i = 0; i < EULER; i++)
        weight /= 2;
    for (int k = 1; k <= PLAIN + EULER; k++) {
        double term = creal(transform(CMPLX(A, 2 * M_PI * k) / (2 * t), context));
        sum += k % 2 ? -term : term;
        if (k >= PLAIN) { /* C(EULER, i) 2^-EULER */
            int i = k - PLAIN;
            averaged += weight * sum;
            weight *= (double)(EULER - i) / (i + 1);
        }
    }
    return exp(A / 2) / t * averaged;
}
