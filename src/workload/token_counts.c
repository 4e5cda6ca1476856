#include "workload/token_counts.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void km_token_counts_add(struct km_token_counts *counts, uint32_t tokens)
{
    size_t bin = tokens < KM_TOKEN_COUNTS_LIMIT ? tokens : KM_TOKEN_COUNTS_LIMIT;
    size_t before = counts->capacity;
    counts->count = km_grow(counts->count, &counts->capacity, bin + 1, sizeof *counts->count);
    memset(counts->count + before, 0, (counts->capacity - before) * sizeof *counts->count);
    counts->count[bin]++;
    if (counts->total == 0 || tokens < counts->min)
        counts->min = tokens;
    if (tokens > counts->max)
        counts->max = tokens;
    counts->total++;
    counts->tokens += tokens;
    counts->squares += (double)tokens * tokens;
}

void km_token_counts_release(struct km_token_counts *counts)
{
    free(counts->count);
    *counts = (struct km_token_counts){0};
}

double km_token_counts_mean(const struct km_token_counts *counts)
{
    return counts->total ? (double)counts->tokens / (double)counts->total : 0;
}

double km_token_counts_sd(const struct km_token_counts *counts)
{
    double n = (double)counts->total, mean = km_token_counts_mean(counts);
    double variance = n > 1 ? (counts->squares - n * mean * mean) / (n - 1) : 0;
    return counts->min < counts->max && variance > 0 ? sqrt(variance) : 0;
}

uint32_t km_token_counts_quantile(const struct km_token_counts *counts, double q)
{
    double rank = ceil(q * (double)counts->total);
    uint64_t need = rank < 1 ? 1 : (uint64_t)rank, seen = 0;
    for (uint32_t value = counts->min; value < counts->max && value < KM_TOKEN_COUNTS_LIMIT; value++) {
        seen += counts->count[value];
        if (seen >= need)
            return value;
    }
    return counts->max;
}
