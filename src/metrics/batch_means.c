#include "metrics/batch_means.h"

#include "base/memory.h"
#include "base/wide.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#define CAPACITY    1024u
#define MSER_SIZE   5u
#define MIN_BATCHES 20u
#define MAX_BATCHES 40u

struct batch {
    km_u128 sum;
    uint64_t count;
};

struct km_batch_means {
    uint64_t size; /* samples to a batch */
    uint64_t open_samples;
    uint32_t closed;
    struct batch open;
    struct batch batches[CAPACITY];
};

struct km_batch_means *km_batch_means_create(void)
{
    struct km_batch_means *means = km_alloc(sizeof *means);
    means->size = 1;
    return means;
}

void km_batch_means_destroy(struct km_batch_means *means)
{
    free(means);
}

void km_batch_means_copy(struct km_batch_means *into, const struct km_batch_means *from)
{
    *into = *from;
}

void km_batch_means_add(struct km_batch_means *means, uint64_t sum, uint64_t count)
{
    means->open.sum += sum;
    means->open.count += count;
    if (++means->open_samples < means->size)
        return;
    means->batches[means->closed++] = means->open;
    means->open = (struct batch){0};
    means->open_samples = 0;
    if (means->closed < CAPACITY)
        return;
    for (uint32_t i = 0; i < CAPACITY / 2; i++) {
        struct batch a = means->batches[2 * i], b = means->batches[2 * i + 1];
        means->batches[i] = (struct batch){a.sum + b.sum, a.count + b.count};
    }
    means->closed = CAPACITY / 2;
    means->size *= 2;
}

static struct batch total(const struct km_batch_means *means, uint32_t begin, uint32_t end)
{
    struct batch all = {0};
    for (uint32_t i = begin; i < end; i++) {
        all.sum += means->batches[i].sum;
        all.count += means->batches[i].count;
    }
    return all;
}

/* Batch means of [begin, end) regrouped into k of nearly equal length, as the ratio estimator sees them:
 * y[j] = mean + (sum_j - mean * count_j) / average count. Returns the mean. */
static double regroup(const struct km_batch_means *means, uint32_t begin, uint32_t end, uint32_t k, double *y)
{
    struct batch all = total(means, begin, end);
    double mean = (double)all.sum / (double)all.count, average_count = (double)all.count / k;
    uint64_t length = end - begin;
    for (uint32_t j = 0; j < k; j++) {
        struct batch group =
            total(means, begin + (uint32_t)(length * j / k), begin + (uint32_t)(length * (j + 1) / k));
        y[j] = mean + ((double)group.sum - mean * (double)group.count) / average_count;
    }
    return mean;
}

/* Around the mean; 0 when there is nothing but rounding. */
static double sum_of_squares(const double *y, uint32_t k)
{
    double mean = 0, squares = 0;
    for (uint32_t j = 0; j < k; j++)
        mean += y[j] / k;
    for (uint32_t j = 0; j < k; j++)
        squares += (y[j] - mean) * (y[j] - mean);
    return squares > 1e-24 * mean * mean * k ? squares : 0;
}

/* One minus half of von Neumann's ratio: an estimate of the lag-1 correlation free of a mean. */
static double lag1(const double *y, uint32_t k)
{
    double squares = sum_of_squares(y, k), differences = 0;
    for (uint32_t j = 1; j < k; j++)
        differences += (y[j] - y[j - 1]) * (y[j] - y[j - 1]);
    return squares > 0 ? 1 - differences / (2 * squares) : 0;
}

/* The factor by which lag-1 correlation widens the variance of a mean. */
static double widening(double r)
{
    return r > 0 ? (1 + r) / (1 - fmin(r, 0.9)) : 1;
}

/* Sign of the slope of y over its index when it is significant at 1 % (two-sided), else 0. Correlation left
 * around the line widens the slope's error as it widens a mean's. */
static int slope_sign(const double *y, uint32_t k)
{
    double centre = (k - 1) / 2.0, mean = 0, xy = 0, xx = 0;
    for (uint32_t j = 0; j < k; j++)
        mean += y[j] / k;
    for (uint32_t j = 0; j < k; j++) {
        xy += (j - centre) * (y[j] - mean);
        xx += (j - centre) * (j - centre);
    }
    if (sum_of_squares(y, k) <= 0)
        return 0;
    double slope = xy / xx, rest[MAX_BATCHES];
    for (uint32_t j = 0; j < k; j++)
        rest[j] = y[j] - mean - slope * (j - centre);
    double error = sqrt(sum_of_squares(rest, k) / (k - 2) / xx * widening(lag1(rest, k)));
    if (fabs(slope) <= gsl_cdf_tdist_Pinv(0.995, k - 2) * error)
        return 0;
    return slope > 0 ? 1 : -1;
}

/* MSER-5 over the batches grouped to at least 5 samples: batches to drop, or false when it never settled or
 * is too short to tell. */
static bool warmup(const struct km_batch_means *means, uint32_t *drop)
{
    uint32_t group = means->size >= MSER_SIZE ? 1 : (uint32_t)((MSER_SIZE + means->size - 1) / means->size);
    uint32_t n = means->closed / group;
    if (n < MIN_BATCHES)
        return false;
    double best = (double)INFINITY, mean = 0, squares = 0;
    uint32_t best_drop = 0;
    for (uint32_t d = n; d-- > 0;) {
        struct batch b = total(means, d * group, (d + 1) * group);
        double y = (double)b.sum / (double)b.count, left = n - d, step = y - mean;
        mean += step / left;
        squares += step * (y - mean);
        /* On a tie keep more: d falls. */
        if (left > 5 && squares / (left * left) <= best) {
            best = squares / (left * left);
            best_drop = d;
        }
    }
    *drop = best_drop * group;
    return best_drop <= n / 2;
}

void km_batch_means_interval(const struct km_batch_means *means, struct km_interval *out)
{
    *out = (struct km_interval){.half_width = (double)NAN, .mean = (double)NAN};
    uint32_t drop = 0;
    if (!warmup(means, &drop) || means->closed - drop < MIN_BATCHES)
        return;
    uint32_t length = means->closed - drop;
    double y[MAX_BATCHES], mean = 0, r = 0;
    uint32_t k = length < MAX_BATCHES ? length : MAX_BATCHES;
    for (;; k -= k - 4 < MIN_BATCHES ? k - MIN_BATCHES : 4) {
        mean = regroup(means, drop, means->closed, k, y);
        r = lag1(y, k);
        if (k == MIN_BATCHES || r <= gsl_cdf_ugaussian_Pinv(0.9) * sqrt((k - 2.0) / (k * (double)k - 1)))
            break;
    }
    if (r > 0.5 || slope_sign(y, k) != 0)
        return;
    double variance = sum_of_squares(y, k) / (k - 1) / k * widening(r);
    out->half_width = gsl_cdf_tdist_Pinv(0.975, k - 1) * sqrt(variance);
    out->mean = mean;
    out->batches = k;
    out->warmup_samples = drop * means->size;
}

struct km_trend km_batch_means_trend(const struct km_batch_means *means)
{
    enum { GROUPS = 16 };
    uint32_t n = means->closed;
    if ((uint64_t)n * means->size < 100)
        return (struct km_trend){0};
    double y[GROUPS];
    regroup(means, n / 2, n, GROUPS, y);
    struct batch third = total(means, n / 2, n - n / 4), last = total(means, n - n / 4, n);
    double before = (double)third.sum / (double)third.count, after = (double)last.sum / (double)last.count;
    double growth = before > 0 ? after / before - 1 : after > 0 ? (double)INFINITY : 0;
    return (struct km_trend){growth, slope_sign(y, GROUPS)};
}
