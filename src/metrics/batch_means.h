/* Batch means: the confidence interval of the mean of a correlated sequence, in bounded memory.
 *
 * Samples come in order; each is a sum and the number of values in it, so that the mean is a ratio of totals
 * (one value for most metrics; for the gaps of one request, their sum and their number). Up to 1024 batches
 * of equally many samples are kept as integer sums; when they are full, neighbours merge and the batch size
 * doubles. So a sequence of any length takes 32 KiB, and the state depends on nothing but the sequence.
 *
 * The interval, computed once at the end:
 *  1. Warm-up: MSER-5 (White 1997, "An effective truncation heuristic for bias reduction in simulation
 *     output", Simulation 69(6)): drop the first d batches of >= 5 samples, where d minimises the squared
 *     standard error of the rest. As Hoad, Robinson and Davies advise (2010, "Automating warm-up length
 *     estimation", J. Oper. Res. Soc. 61), the last five batches are no candidates, and a minimum in the
 *     second half means that the sequence never settled: no interval.
 *  2. The rest is regrouped into 40 batches, then fewer, down to 20, until von Neumann's ratio (1941, Ann.
 *     Math. Statist. 12) no longer rejects independence of neighbours at the 10 % level (Fishman 1978,
 *     "Grouping observations in digital simulation", Management Science 24(5)).
 *  3. Half-width: Student's t with k - 1 degrees of freedom on the ratio estimator's residuals, the variance
 *     widened by (1 + r)/(1 - r) for what lag-1 correlation r > 0 is left (Tafazzoli, Wilson, Lada, Steiger
 *     2011, "Performance of Skart", INFORMS J. Computing 23(2)).
 * There is no interval below 20 batches, when r > 0.5 is left at 20 batches (too short a run for its
 * correlation), or when the batch means have a trend (slope of a least-squares line, significant at 1 %). */
#ifndef KM_METRICS_BATCH_MEANS_H
#define KM_METRICS_BATCH_MEANS_H

#include <stdint.h>

struct km_batch_means; /* opaque */

struct km_interval {
    double half_width;       /* of the 95 % interval of the mean of one value; NAN where there is none */
    double mean;             /* of the values behind it (warm-up excluded); NAN with no interval */
    uint32_t batches;        /* behind the half-width; 0 with no interval */
    uint64_t warmup_samples; /* left out at the start */
};

struct km_batch_means *km_batch_means_create(void);
void km_batch_means_destroy(struct km_batch_means *means);
void km_batch_means_copy(struct km_batch_means *into, const struct km_batch_means *from);
/* One sample: `count` >= 1 values that add up to `sum`. */
void km_batch_means_add(struct km_batch_means *means, uint64_t sum, uint64_t count);
void km_batch_means_interval(const struct km_batch_means *means, struct km_interval *out);

/* How the second half of the sequence moves. */
struct km_trend {
    double growth; /* mean of the last quarter over that of the third, less one; 0 when both are 0 */
    int sign; /* of the slope of a least-squares line through 16 batches, when significant at 1 %; else 0 */
};

/* No trend below 100 samples. */
struct km_trend km_batch_means_trend(const struct km_batch_means *means);

#endif
