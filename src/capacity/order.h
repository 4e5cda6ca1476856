/* Thresholds in rates of a grid: their mean with its interval, and a low quantile. */
#ifndef KM_CAPACITY_ORDER_H
#define KM_CAPACITY_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct km_order {
    double median, mean;
    double deviation; /* standard deviation (n - 1); NAN of one value */
    /* Half-width of the 95 % interval of the population's mean (Student's t), at least half a rate, since a
     * threshold is known no better. From 6 values on, below NAN. */
    double half_width;
    /* The greatest value that at least 95 % of the values reach. From 20 values on. */
    bool has_twentieth;
    int32_t twentieth;
};

/* `values`: [count], 1 <= count; any order. */
void km_order_of(const int32_t *values, uint32_t count, struct km_order *out);

#endif
