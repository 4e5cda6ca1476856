#include "queueing/bulk/dynamic_parts.h"

#include "base/memory.h"
#include "queueing/bulk/batch_arrivals.h"
#include "queueing/numeric/laplace.h"
#include "queueing/numeric/markov.h"

#include <math.h>
#include <stdlib.h>

#define LAST_STATE 1e-12
#define LAST_STATE_CUT                                                                                       \
    1e-9 /* for a law without a limit, whose heavy tail would call for ever more states                      \
          */
#define NEGLIGIBLE_STATE 1e-15

struct chain {
    const struct km_batch_law *law;
    uint32_t last;                  /* states 0 .. last */
    double *pi;                     /* [last + 1] */
    struct km_batch_moments *batch; /* [last], of batches 1 .. last */
    double cycle_s;
};

static uint32_t members(size_t state)
{
    return state ? (uint32_t)state : 1;
}

static double smallest_last(const struct km_batch_law *law)
{
    return law->tokens->bounded ? LAST_STATE : LAST_STATE_CUT;
}

/* Arrivals during a batch of b so long that longer ones are as rare as the last state may be. */
static double rare_arrivals(const struct km_batch_law *law, double rate_per_s, uint32_t b)
{
    double longest = km_token_law_quantile_above(law->tokens, smallest_last(law) / b);
    double members = b * (law->elastic ? law->tokens->mean : longest);
    double mean = rate_per_s * (law->k1_s * b + law->k2_s + law->k3_s * members + law->k4_s * longest);
    return mean + 3 * sqrt(mean);
}

/* Where the chain hardly ever gets: nine standard deviations above the batch that brings itself back, b =
 * lambda E[T_b], or where a rare batch takes it. Above `limit` when that is where it is. */
static uint32_t guess_last(const struct km_batch_law *law, double rate_per_s, uint32_t limit)
{
    uint32_t low = 1, high = limit;
    if (rate_per_s * km_batch_mean_s(law, high) > high)
        return limit + 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rate_per_s * km_batch_mean_s(law, middle) <= middle)
            high = middle;
        else
            low = middle + 1;
    }
    struct km_batch_moments m[2];
    km_batch_moments(law, low, low + 1, m);
    double slope = fmin(rate_per_s * (m[1].m1 - m[0].m1), 0.999);
    double variance = rate_per_s * m[0].m1 + rate_per_s * rate_per_s * fmax(m[0].m2 - m[0].m1 * m[0].m1, 0);
    double last = low + 9 * sqrt(variance / (1 - slope * slope)) + 16;
    last = fmax(last, rare_arrivals(law, rate_per_s, low));
    return last < limit ? (uint32_t)last : limit + 1;
}

/* Solve with states 0 .. last; what goes beyond is put on the last. */
static enum km_status chain_solve(struct chain *chain, double rate_per_s, struct km_error *error)
{
    size_t last = chain->last, states = last + 1;
    struct km_batch_arrivals arrivals;
    enum km_status status = km_batch_arrivals_init(&arrivals, chain->law, rate_per_s, 1, chain->last, error);
    if (status != KM_OK)
        return status;
    double *p = km_alloc(states * states * sizeof *p);
    for (size_t i = 0; i < states; i++) {
        const double *row = km_batch_arrivals_row(&arrivals, members(i));
        for (size_t j = 0; j < arrivals.columns; j++)
            p[i * states + (j < last ? j : last)] += row[j];
    }
    chain->pi = km_alloc(states * sizeof *chain->pi);
    km_markov_stationary(p, states, chain->pi);
    free(p);
    km_batch_arrivals_release(&arrivals);
    return KM_OK;
}

static void chain_release(struct chain *chain)
{
    free(chain->pi);
    free(chain->batch);
}

static void fill(struct chain *chain, double rate_per_s, struct km_queue_answer *out)
{
    double cycle = chain->pi[0] / rate_per_s, size = 0, square = 0, second = 0, third = 0, own = 0;
    chain->batch = km_alloc(chain->last * sizeof *chain->batch);
    km_batch_moments(chain->law, 1, chain->last, chain->batch);
    for (size_t i = 0; i <= chain->last; i++) {
        double b = members(i), pi = chain->pi[i];
        const struct km_batch_moments *m = &chain->batch[members(i) - 1];
        cycle += pi * m->m1;
        size += pi * b;
        square += pi * b * b;
        second += pi * m->m2;
        third += pi * m->m3;
        own += pi * b * m->own_s;
    }
    chain->cycle_s = cycle;
    out->mean_wait_s = second / (2 * cycle);
    out->var_wait_s = fmax(third / (3 * cycle) - out->mean_wait_s * out->mean_wait_s, 0);
    out->mean_response_s = out->mean_wait_s + own / size;
    out->mean_batch = size;
    out->mean_batch_seen = square / size;
    out->idle = chain->pi[0] / (rate_per_s * cycle);
}

/* Of P(W > t) = sum pi E[(T - t)^+] / E[C]. */
static double complex excess_transform(double complex s, void *context)
{
    const struct chain *chain = context;
    double complex *t = km_alloc(chain->last * sizeof *t), sum = 0;
    size_t first = 0, last = chain->last;
    while (chain->pi[first] < NEGLIGIBLE_STATE)
        first++;
    while (chain->pi[last] < NEGLIGIBLE_STATE)
        last--;
    km_batch_transforms(chain->law, s, members(first), members(last), t + members(first) - 1);
    for (size_t i = first; i <= last; i++) {
        uint32_t b = members(i);
        sum += chain->pi[i] * (chain->batch[b - 1].m1 / s - (1 - t[b - 1]) / (s * s));
    }
    free(t);
    return sum / chain->cycle_s;
}

static void fill_tail(struct chain *chain, double idle, const struct km_wait_tail *tail)
{
    for (size_t k = 0; k < tail->count; k++) {
        double t = tail->t_s[k], sum = 0;
        if (t <= 0)
            sum = 1 - idle;
        else if (chain->law->elastic)
            sum = km_laplace_invert(excess_transform, chain, t);
        else
            for (size_t i = 0; i <= chain->last; i++)
                if (chain->pi[i] > NEGLIGIBLE_STATE)
                    sum += chain->pi[i] * km_batch_excess_s(chain->law, members(i), t) / chain->cycle_s;
        tail->probability[k] = fmin(fmax(sum, 0), 1);
    }
}

enum km_status km_dynamic_solve_unlimited(const struct km_batch_law *law, double rate_per_s, uint32_t limit,
                                          const struct km_wait_tail *tail, struct km_queue_answer *out,
                                          bool *fits, struct km_error *error)
{
    struct chain chain = {.law = law, .last = guess_last(law, rate_per_s, limit)};
    *fits = false;
    while (chain.last <= limit) {
        enum km_status status = chain_solve(&chain, rate_per_s, error);
        if (status != KM_OK)
            return status;
        if (chain.pi[chain.last] < smallest_last(law)) {
            *fits = true;
            break;
        }
        free(chain.pi);
        chain.pi = NULL;
        chain.last += chain.last / 2;
    }
    if (*fits) {
        fill(&chain, rate_per_s, out);
        if (tail)
            fill_tail(&chain, out->idle, tail);
    }
    chain_release(&chain);
    return KM_OK;
}
