/* Quantile sketch over integer picoseconds: bounded memory, relative error <= 0.1 %, exact count, sum, min
 * and max.
 *
 * Buckets are linear within each power of two (512 to an octave, so that a bucket's middle is within 1/1024
 * of every member), as in HdrHistogram (hdrhistogram.org). All state is integer, so the order of additions,
 * and whether equal steps came singly or as one progression, never changes a bit of the result. One sketch
 * takes 28,672 counters, 224 KiB. */
#ifndef KM_METRICS_SKETCH_H
#define KM_METRICS_SKETCH_H

#include <stdint.h>

struct km_sketch; /* opaque */

struct km_sketch *km_sketch_create(void);
void km_sketch_destroy(struct km_sketch *sketch);
void km_sketch_add(struct km_sketch *sketch, uint64_t value_ps, uint64_t weight);
/* Add first_ps + i * slope_ps for i = 0 .. count-1, each with `weight`, in time that grows with the buckets
 * crossed, not with count. Every value must be >= 0 (first + (count-1)*slope >= 0). Bit-identical to `count`
 * single additions. */
void km_sketch_add_progression(struct km_sketch *sketch, uint64_t first_ps, int64_t slope_ps, uint64_t count,
                               uint64_t weight);
void km_sketch_merge(struct km_sketch *into, const struct km_sketch *from);
uint64_t km_sketch_count(const struct km_sketch *sketch);
double km_sketch_mean_ps(const struct km_sketch *sketch); /* NAN when empty */
/* Smallest value v with at least a share q of the weight at or below it, to the bucket's middle, clamped to
 * [min, max]; NAN when empty. 0 <= q <= 1. */
double km_sketch_quantile_ps(const struct km_sketch *sketch, double q);
uint64_t km_sketch_min_ps(const struct km_sketch *sketch); /* 0 when empty, as max */
uint64_t km_sketch_max_ps(const struct km_sketch *sketch);
/* Number of weights whose value is <= limit_ps, to bucket resolution. */
uint64_t km_sketch_count_below(const struct km_sketch *sketch, uint64_t limit_ps);

#endif
