#include "capacity/order.h"

#include "base/memory.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

void km_order_of(const int32_t *values, uint32_t count, struct km_order *out)
{
    int32_t *sorted = km_alloc(count * sizeof *sorted);
    double sum = 0.0, squares = 0.0;
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    for (uint32_t i = 0; i < count; i++)
        sum += sorted[i];
    const double mean = sum / count;
    for (uint32_t i = 0; i < count; i++)
        squares += (sorted[i] - mean) * (sorted[i] - mean);
    const double deviation = count > 1 ? sqrt(squares / (count - 1)) : (double)NAN;
    *out = (struct km_order){
        .median = 0.5 * ((double)sorted[(count - 1) / 2] + (double)sorted[count / 2]),
        .mean = mean,
        .deviation = deviation,
        .half_width = count < 6 ? (double)NAN
                                : fmax(0.5, gsl_cdf_tdist_Pinv(0.975, count - 1) * deviation / sqrt(count)),
        .has_twentieth = count >= 20,
        .twentieth = sorted[count / 20],
    };
    free(sorted);
}
