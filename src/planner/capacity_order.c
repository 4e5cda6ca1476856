#include "planner/capacity_order.h"

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

static double deviation(const int32_t *values, uint32_t count)
{
    double sum = 0.0, squares = 0.0;
    for (uint32_t i = 0; i < count; i++)
        sum += values[i];
    const double mean = sum / count;
    for (uint32_t i = 0; i < count; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    return count > 1 ? sqrt(squares / (count - 1)) : (double)NAN;
}

void km_order_of(const int32_t *values, uint32_t count, struct km_order *out)
{
    int32_t *sorted = km_alloc(count * sizeof *sorted);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    uint32_t rank = 0; /* the greatest l with P(B <= l - 1) <= 0.025 */
    while (rank < count / 2 && gsl_cdf_binomial_P(rank, 0.5, count) <= 0.025)
        rank++;
    *out = (struct km_order){
        .median = 0.5 * ((double)sorted[(count - 1) / 2] + (double)sorted[count / 2]),
        .has_interval = rank > 0,
        .low = sorted[rank > 0 ? rank - 1 : 0],
        .high = sorted[rank > 0 ? count - rank : count - 1],
        .has_twentieth = count >= 20,
        .twentieth = sorted[count / 20],
        .deviation = deviation(values, count),
    };
    free(sorted);
}
