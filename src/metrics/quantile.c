#include "metrics/quantile.h"

#include <math.h>

/* 1 - 0.9 is a little less than 0.1: a hundred samples have ten beyond their p90 all the same. */
#define ROUNDING 1e-9

bool km_quantile_is_thin(double quantile, uint64_t samples)
{
    return quantile >= 0 && (double)samples * (1 - quantile) < KM_QUANTILE_BEYOND * (1 - ROUNDING);
}

uint64_t km_quantile_least_samples(double quantile)
{
    return (uint64_t)ceil(KM_QUANTILE_BEYOND * (1 - ROUNDING) / (1 - quantile));
}
