#include "queueing/numeric/markov.h"

void km_markov_stationary(double *p, size_t states, double *pi)
{
    /* Take states out from the last on: what went through them goes on to the earlier ones. */
    for (size_t n = states - 1; n > 0; n--) {
        double *last = p + n * states, leave = 0;
        for (size_t j = 0; j < n; j++)
            leave += last[j];
        for (size_t i = 0; i < n; i++) {
            double *row = p + i * states;
            if (row[n] <= 0)
                continue;
            if (leave <= 0) { /* whoever got there would stay */
                row[n] = 0;
                continue;
            }
            double share = row[n] / leave;
            row[n] = share; /* kept for the way back */
            for (size_t j = 0; j < n; j++)
                row[j] += share * last[j];
        }
    }
    double total = pi[0] = 1;
    for (size_t n = 1; n < states; n++) {
        pi[n] = 0;
        for (size_t i = 0; i < n; i++)
            pi[n] += pi[i] * p[i * states + n];
        total += pi[n];
    }
    for (size_t n = 0; n < states; n++)
        pi[n] /= total;
}
