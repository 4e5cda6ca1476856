#include "scenario/servers_simulation.h"

#include "base/heap.h"
#include "base/random.h"
#include "base/simtime.h"
#include "metrics/batch_means.h"
#include "workload/arrival.h"

#include <math.h>

/* Time is counted in ticks, whole ones, so that a queue in which nothing varies is as regular as it should be;
 * so many to the mean time in service. */
#define TICKS 1e9

struct run {
    const struct km_servers_system *system;
    double tick_s;
    struct km_heap free_at; /* of each server */
    uint64_t now, last;     /* the arrival; when the last of all requests so far is done */
    uint64_t served;
    double busy, nobody, wait, square; /* sums, in ticks: of all servers; of the queue; of waits */
    struct km_batch_means *waits, *responses, *tails[KM_QUEUE_MAX_TAILS];
};

/* A law of mean 1. */
static struct km_arrival law_of(double cv)
{
    struct km_arrival law;
    enum km_arrival_process process = cv > 0 ? KM_ARRIVAL_GAMMA : KM_ARRIVAL_CONSTANT;
    km_arrival_init(&law, process, 1, cv);
    return law;
}

static void serve(struct run *run, uint64_t service)
{
    uint64_t free_at = km_heap_key(&run->free_at), started = run->now > free_at ? run->now : free_at;
    uint64_t wait = started - run->now, done = km_ps_after(started, service);
    uint32_t server = km_heap_pop(&run->free_at);
    km_heap_push(&run->free_at, done, server, server);
    if (run->now > run->last)
        run->nobody += (double)(run->now - run->last);
    run->last = done > run->last ? done : run->last;
    run->busy += (double)service;
    run->wait += (double)wait;
    run->square += (double)wait * (double)wait;
    run->served++;
    km_batch_means_add(run->waits, wait, 1);
    km_batch_means_add(run->responses, done - run->now, 1);
    for (size_t i = 0; i < run->system->wait_tail_count; i++)
        km_batch_means_add(run->tails[i], (double)wait * run->tick_s > run->system->wait_tail_s[i], 1);
}

static struct km_queue_estimate estimate(struct km_batch_means *means, double unit)
{
    struct km_interval interval;
    km_batch_means_interval(means, &interval);
    km_batch_means_destroy(means);
    return (struct km_queue_estimate){interval.mean * unit, interval.half_width * unit};
}

static void summarize(struct run *run, struct km_queue_simulated *out)
{
    double tick_s = run->tick_s, n = (double)run->served, mean = run->wait / n;
    /* No time has passed where arrivals or services vary so much that all drawn were 0: shares of it are unknown. */
    double span = run->last > 0 ? (double)run->last : (double)NAN;
    *out = (struct km_queue_simulated){
        .requests = run->served,
        .mean_wait_s = estimate(run->waits, tick_s),
        .mean_square_wait_s = {(double)NAN, (double)NAN},
        .mean_response_s = estimate(run->responses, tick_s),
        .var_wait_s = fmax(run->square / n - mean * mean, 0) * tick_s * tick_s,
        .utilization = run->busy / (span * run->system->queue.servers),
        .mean_batch = 1,
        .idle = run->nobody / span,
        .loss = {0, (double)NAN},
    };
    for (size_t i = 0; i < run->system->wait_tail_count; i++)
        out->wait_tail[i] = estimate(run->tails[i], 1);
}

void km_servers_simulate(const struct km_servers_system *system, struct km_queue_simulated *out)
{
    const struct km_servers *queue = &system->queue;
    const double gap = TICKS / (queue->rate_per_s * queue->service_s);
    const struct km_arrival gaps = law_of(queue->arrival_cv), services = law_of(queue->service_cv);
    struct run run = {.system = system,
                      .tick_s = queue->service_s / TICKS,
                      .waits = km_batch_means_create(),
                      .responses = km_batch_means_create()};
    for (size_t i = 0; i < system->wait_tail_count; i++)
        run.tails[i] = km_batch_means_create();
    for (uint32_t server = 0; server < queue->servers; server++)
        km_heap_push(&run.free_at, 0, server, server);
    gsl_rng *arrivals = km_random_stream(system->seed, KM_RANDOM_ARRIVALS);
    gsl_rng *tokens = km_random_stream(system->seed, KM_RANDOM_OUTPUT_TOKENS);
    while (run.served < system->requests && run.now < KM_PS_LIMIT) {
        serve(&run, km_ps_round(km_arrival_gap_s(&services, tokens) * TICKS));
        run.now = km_ps_after(run.now, km_ps_round(km_arrival_gap_s(&gaps, arrivals) * gap));
    }
    gsl_rng_free(arrivals);
    gsl_rng_free(tokens);
    summarize(&run, out);
    km_heap_release(&run.free_at);
}
