/* Order statistics of whole numbers: median with its interval, and a low quantile. */
#ifndef KM_PLANNER_CAPACITY_ORDER_H
#define KM_PLANNER_CAPACITY_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct km_order {
    double median;
    /* 95 % interval of the population's median: the values of ranks l and n + 1 - l, l the greatest with
     * P(B < l) <= 0.025, B binomial of n and 1/2 (the sign test). From 6 values on. */
    bool has_interval;
    int32_t low, high;
    /* The greatest value that at least 95 % of the values reach. From 20 values on. */
    bool has_twentieth;
    int32_t twentieth;
    double deviation; /* standard deviation (n - 1); NAN of one value */
};

/* `values`: [count], 1 <= count; any order. */
void km_order_of(const int32_t *values, uint32_t count, struct km_order *out);

#endif
