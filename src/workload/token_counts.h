/* How often each token count occurs: exact up to KM_TOKEN_COUNTS_LIMIT, beyond which values share one bin
 * that reads as the maximum. */
#ifndef KM_WORKLOAD_TOKEN_COUNTS_H
#define KM_WORKLOAD_TOKEN_COUNTS_H

#include <stddef.h>
#include <stdint.h>

#define KM_TOKEN_COUNTS_LIMIT (1u << 20)

struct km_token_counts {
    uint64_t *count; /* [capacity] by value */
    size_t capacity;
    uint64_t total; /* values added */
    uint64_t tokens;
    double squares; /* sum of squared values */
    uint32_t min, max;
};

void km_token_counts_add(struct km_token_counts *counts, uint32_t tokens);
void km_token_counts_release(struct km_token_counts *counts);

/* Zero when nothing was added. */
double km_token_counts_mean(const struct km_token_counts *counts);
double km_token_counts_sd(const struct km_token_counts *counts); /* of the sample (n - 1) */
/* Smallest value v with at least a share q of the values <= v. */
uint32_t km_token_counts_quantile(const struct km_token_counts *counts, double q);

#endif
