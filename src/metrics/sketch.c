#include "metrics/sketch.h"

#include "base/memory.h"
#include "base/wide.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* Values below 2 * SUB are their own bucket; above, an octave [2^e, 2^(e+1)) has SUB buckets. */
#define SUB_BITS 9
#define SUB      (1u << SUB_BITS)
#define BUCKETS  ((63 - SUB_BITS) * SUB + 2 * SUB)

struct km_sketch {
    uint64_t count, min_ps, max_ps;
    km_u128 sum_ps;
    uint64_t weights[BUCKETS];
};

static unsigned bucket_shift(uint64_t value)
{
    return value < 2 * SUB ? 0 : 63u - SUB_BITS - (unsigned)__builtin_clzll(value);
}

static unsigned bucket_index(uint64_t value)
{
    unsigned shift = bucket_shift(value);
    return shift * SUB + (unsigned)(value >> shift);
}

static double bucket_middle(unsigned index)
{
    if (index < 2 * SUB)
        return index;
    unsigned shift = index / SUB - 1;
    uint64_t low = (uint64_t)(index - shift * SUB) << shift;
    return (double)low + ((double)((uint64_t)1 << shift) - 1.0) / 2.0;
}

struct km_sketch *km_sketch_create(void)
{
    struct km_sketch *sketch = km_alloc(sizeof *sketch);
    sketch->min_ps = UINT64_MAX;
    return sketch;
}

void km_sketch_destroy(struct km_sketch *sketch)
{
    free(sketch);
}

static void widen(struct km_sketch *sketch, uint64_t low, uint64_t high)
{
    if (low < sketch->min_ps)
        sketch->min_ps = low;
    if (high > sketch->max_ps)
        sketch->max_ps = high;
}

void km_sketch_add(struct km_sketch *sketch, uint64_t value_ps, uint64_t weight)
{
    if (weight == 0)
        return;
    sketch->weights[bucket_index(value_ps)] += weight;
    sketch->count += weight;
    sketch->sum_ps += (km_u128)value_ps * weight;
    widen(sketch, value_ps, value_ps);
}

void km_sketch_add_progression(struct km_sketch *sketch, uint64_t first_ps, int64_t slope_ps, uint64_t count,
                               uint64_t weight)
{
    if (count == 0 || weight == 0)
        return;
    bool falling = slope_ps < 0;
    uint64_t stride = falling ? 0 - (uint64_t)slope_ps : (uint64_t)slope_ps;
    km_u128 travel = (km_u128)stride * (count - 1);
    assert(!falling || travel <= first_ps);
    assert(falling || travel <= UINT64_MAX - first_ps);
    uint64_t last_ps = falling ? first_ps - (uint64_t)travel : first_ps + (uint64_t)travel;

    km_u128 steps = count;
    km_u128 pairs = count % 2 ? steps * ((steps - 1) / 2) : (steps / 2) * (steps - 1);
    km_u128 sum = falling ? steps * first_ps - pairs * stride : steps * first_ps + pairs * stride;
    sketch->sum_ps += sum * weight;
    sketch->count += count * weight;
    widen(sketch, falling ? last_ps : first_ps, falling ? first_ps : last_ps);

    uint64_t value = first_ps;
    while (count > 0) {
        unsigned shift = bucket_shift(value);
        uint64_t width = (uint64_t)1 << shift;
        uint64_t offset = value & (width - 1);
        uint64_t room = falling ? offset : width - 1 - offset; /* to the bucket's last value that way */
        uint64_t inside = stride == 0 ? count : room / stride + 1;
        if (inside > count)
            inside = count;
        sketch->weights[bucket_index(value)] += inside * weight;
        count -= inside;
        value = falling ? value - inside * stride : value + inside * stride;
    }
}

void km_sketch_merge(struct km_sketch *into, const struct km_sketch *from)
{
    if (from->count == 0)
        return;
    for (unsigned i = 0; i < BUCKETS; i++)
        into->weights[i] += from->weights[i];
    into->count += from->count;
    into->sum_ps += from->sum_ps;
    widen(into, from->min_ps, from->max_ps);
}

uint64_t km_sketch_count(const struct km_sketch *sketch)
{
    return sketch->count;
}

double km_sketch_mean_ps(const struct km_sketch *sketch)
{
    return sketch->count ? (double)sketch->sum_ps / (double)sketch->count : (double)NAN;
}

double km_sketch_quantile_ps(const struct km_sketch *sketch, double q)
{
    if (sketch->count == 0)
        return (double)NAN;
    /* The shave keeps a product such as 0.07 * 100 = 7.000000000000001 from asking for the 8th value. */
    double rank = ceil(q * (double)sketch->count * (1 - 1e-15));
    uint64_t want = rank < 1 ? 1 : rank >= (double)sketch->count ? sketch->count : (uint64_t)rank;
    uint64_t seen = 0;
    unsigned index = bucket_index(sketch->min_ps);
    while ((seen += sketch->weights[index]) < want)
        index++;
    double value = bucket_middle(index);
    return fmin(fmax(value, (double)sketch->min_ps), (double)sketch->max_ps);
}

uint64_t km_sketch_min_ps(const struct km_sketch *sketch)
{
    return sketch->count ? sketch->min_ps : 0;
}

uint64_t km_sketch_max_ps(const struct km_sketch *sketch)
{
    return sketch->max_ps;
}

uint64_t km_sketch_count_below(const struct km_sketch *sketch, uint64_t limit_ps)
{
    if (sketch->count == 0 || limit_ps >= sketch->max_ps)
        return sketch->count;
    uint64_t seen = 0;
    for (unsigned i = 0, end = bucket_index(limit_ps); i <= end; i++)
        if (i < end || bucket_middle(i) <= (double)limit_ps)
            seen += sketch->weights[i];
    return seen;
}
