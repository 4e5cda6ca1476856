#include "queueing/bulk/dynamic_parts.h"

#include "base/memory.h"
#include "queueing/bulk/batch_arrivals.h"
#include "queueing/bulk/wiener_hopf.h"
#include "queueing/numeric/laplace.h"
#include "queueing/numeric/markov.h"

#include <math.h>
#include <stdlib.h>

#define NEGLIGIBLE       1e-20
#define NEGLIGIBLE_STATE 1e-15

/* Power series in z - 1 up to its cube. */
struct series {
    double c[4];
};

struct capped {
    const struct km_batch_law *law;
    double rate_per_s;
    uint32_t cap;
    double *pi;                     /* [cap]: P(Q = i), i < cap */
    struct km_batch_moments *batch; /* [cap], of batches 1 .. cap */
    double size;                    /* E[B] */
    uint32_t first, last;           /* states below cap that matter to a tail */
};

static uint32_t members(size_t state)
{
    return state ? (uint32_t)state : 1;
}

/* The law of the chain watched while Q < cap, up to a factor. */
static void solve_watched(struct capped *queue, const struct km_batch_arrivals *arrivals)
{
    size_t cap = queue->cap;
    struct km_wiener_hopf walk;
    km_wiener_hopf_solve(&walk, km_batch_arrivals_row(arrivals, queue->cap), arrivals->columns, queue->cap);
    double *p = km_alloc(cap * cap * sizeof *p), *mass = km_alloc((arrivals->columns + cap) * sizeof *mass);
    for (size_t i = 0; i < cap; i++) {
        const double *row = km_batch_arrivals_row(arrivals, members(i));
        for (size_t j = 0; j < arrivals->columns; j++)
            mass[j] = row[j];
        /* From the top down, every state above hands its mass to where it first gets below itself. */
        for (size_t j = arrivals->columns; j-- > cap;) {
            if (mass[j] < NEGLIGIBLE)
                continue;
            for (size_t k = 1; k <= cap; k++)
                mass[j - k] += mass[j] * walk.descent[k];
        }
        for (size_t m = 0; m < cap; m++)
            p[i * cap + m] = mass[m];
    }
    km_markov_stationary(p, cap, queue->pi);
    free(p);
    free(mass);
    free(walk.descent);
}

/* A_b(z) = E[e^{lambda (z-1) T}] */
static struct series arrivals_series(const struct capped *queue, uint32_t b)
{
    const struct km_batch_moments *m = &queue->batch[b - 1];
    double rate = queue->rate_per_s;
    return (struct series){{1, rate * m->m1, rate * rate * m->m2 / 2, rate * rate * rate * m->m3 / 6}};
}

static struct series power_series(double n)
{
    return (struct series){{1, n, n * (n - 1) / 2, n * (n - 1) * (n - 2) / 6}};
}

/* Y(z) of the header: {sum pi_i, sum pi_i (i - cap), half the second factorial moment} over i >= cap. */
static struct series excess_series(const struct capped *queue)
{
    struct series numerator = {{0}}, denominator = power_series(queue->cap), y = {{0}};
    struct series arrivals = arrivals_series(queue, queue->cap);
    for (int k = 0; k < 4; k++)
        denominator.c[k] -= arrivals.c[k];
    for (uint32_t i = 0; i < queue->cap; i++) {
        struct series a = arrivals_series(queue, members(i)), power = power_series(i);
        for (int k = 0; k < 4; k++)
            numerator.c[k] += queue->pi[i] * (a.c[k] - power.c[k]);
    }
    for (int k = 0; k < 3; k++) { /* both start at (z - 1)^1 */
        y.c[k] = numerator.c[k + 1];
        for (int j = 0; j < k; j++)
            y.c[k] -= y.c[j] * denominator.c[k + 1 - j];
        y.c[k] /= denominator.c[1];
    }
    return y;
}

static void fill(struct capped *queue, struct km_queue_answer *out)
{
    uint32_t cap = queue->cap;
    double rate = queue->rate_per_s, total = 0;
    struct series y = excess_series(queue);
    for (uint32_t i = 0; i < cap; i++)
        total += queue->pi[i];
    total += y.c[0];
    for (uint32_t i = 0; i < cap; i++)
        queue->pi[i] /= total;
    for (int k = 0; k < 3; k++)
        y.c[k] /= total;

    /* Sums over i < cap, then the excess, where b(i) = cap. */
    const struct km_batch_moments *full = &queue->batch[cap - 1];
    double cycle = queue->pi[0] / rate, size = 0, square = 0, second = 0, own = 0, behind = 0;
    for (uint32_t i = 0; i <= cap; i++) {
        double pi = i < cap ? queue->pi[i] : y.c[0], b = members(i);
        const struct km_batch_moments *m = &queue->batch[members(i) - 1];
        cycle += pi * m->m1;
        size += pi * b;
        square += pi * b * b;
        second += pi * m->m2;
        own += pi * b * m->own_s;
        behind += pi * b * (b - 1) * (b - 2) / 3; /* sum over k < b of k (k - 1) */
    }
    double bulk = cap; /* ... and of (y+k)(y+k-1) - k(k-1), y = i - cap */
    behind += 2 * y.c[2] * bulk + y.c[1] * bulk * (bulk - 1);
    queue->size = size;
    out->mean_wait_s = (y.c[1] * full->m1 + rate * second / 2) / (rate * cycle);
    out->var_wait_s = fmax(behind / (rate * rate * size) - out->mean_wait_s * out->mean_wait_s, 0);
    out->mean_response_s = out->mean_wait_s + own / size;
    out->mean_batch = size;
    out->mean_batch_seen = square / size;
    out->idle = queue->pi[0] / (rate * cycle);
}

/* Of P(W > t): (1 - E[e^{-sW}]) / s. Powers of z are taken on the side where they stay below 1: outside the
 * unit circle everything is divided by z^cap and the parts that grow cancel on paper. */
static double complex tail_transform(double complex s, void *context)
{
    const struct capped *queue = context;
    uint32_t cap = queue->cap;
    double complex *a = km_alloc(cap * sizeof *a), z = 1 - s / queue->rate_per_s, power = 1;
    double complex after = 0, shifted = 0, sum = 0;
    uint32_t from = members(queue->first);
    km_batch_transforms(queue->law, s, from, members(queue->last), a + from - 1);
    km_batch_transforms(queue->law, s, cap, cap, &a[cap - 1]);
    double complex full = a[cap - 1];
    bool outside = cabs(z) > 1;
    for (uint32_t i = 0; i < cap; i++) {
        after += queue->pi[i] * a[members(i) - 1];
        if (outside) {
            power /= z; /* z^{-(i+1)} = z^{j-cap} of j = cap - 1 - i */
            shifted += queue->pi[cap - 1 - i] * power;
            sum += queue->pi[i] * (a[members(i) - 1] - 1);
        } else {
            shifted += queue->pi[i] * power;
            sum += queue->pi[i] * (power - 1);
            power *= z;
        }
    }
    if (outside)
        sum += (1 - full) * (shifted - power * after) / (1 - full * power);
    else
        sum += (after - shifted) * (power - 1) / (power - full);
    sum = queue->pi[0] + sum / (z - 1);
    free(a);
    return (1 - sum / queue->size) / s;
}

enum km_status km_dynamic_solve_capped(const struct km_batch_law *law, double rate_per_s, uint32_t cap,
                                       const struct km_wait_tail *tail, struct km_queue_answer *out,
                                       struct km_error *error)
{
    struct km_batch_arrivals arrivals;
    enum km_status status = km_batch_arrivals_init(&arrivals, law, rate_per_s, 1, cap, error);
    if (status != KM_OK)
        return status;
    struct capped queue = {.law = law, .rate_per_s = rate_per_s, .cap = cap};
    queue.pi = km_alloc(cap * sizeof *queue.pi);
    queue.batch = km_alloc(cap * sizeof *queue.batch);
    km_batch_moments(law, 1, cap, queue.batch);
    solve_watched(&queue, &arrivals);
    km_batch_arrivals_release(&arrivals);
    fill(&queue, out);
    queue.last = cap - 1;
    while (queue.last > 0 && queue.pi[queue.last] < NEGLIGIBLE_STATE)
        queue.pi[queue.last--] = 0;
    while (queue.first < queue.last && queue.pi[queue.first] < NEGLIGIBLE_STATE)
        queue.pi[queue.first++] = 0;
    for (size_t k = 0; tail && k < tail->count; k++) {
        double p = 1 - queue.pi[0] / queue.size; /* who arrives at an idle server does not wait */
        if (tail->t_s[k] > 0)
            p = km_laplace_invert(tail_transform, &queue, tail->t_s[k]);
        tail->probability[k] = fmin(fmax(p, 0), 1);
    }
    free(queue.pi);
    free(queue.batch);
    return KM_OK;
}
