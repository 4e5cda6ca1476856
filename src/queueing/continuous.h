/* Continuous batching with chunked prefill (batching policy `continuous`), approximately: one engine, Poisson
 * arrivals.
 *
 * There is no closed form. What is done instead, in three layers (D = decode steps a request, m = sequences
 * decoding):
 *
 * 1. Steps at a frozen m (continuous_steps.h). A step without prompts takes S_0(m); one that starts j prompts
 * S_j(m), spread over several steps when they exceed the token budget. How many start is Poisson in the time
 * of the step before; that chain's stationary law gives the mean step E[S](m), prompts' share included, and
 * what an arrival waits and takes until its first token.
 * 2. The number of decodes. Each advances one token a step, so they share a server of rate m / E[S](m) tokens
 * per second: generalised processor sharing, whose stationary law depends on D through its mean alone (Cohen
 * 1979, doi:10.1007/BF00264436), pi(m) / pi(m-1) = lambda E[D] E[S](m) / m. Prompts interrupt everyone, so an
 * arrival also undoes part of the service: with f = 1 - S_0 / E[S] the share of time that prompts take, it is
 * worth 1 + x sequences, x = f / (1 - f), in the mean. The second moment of that jump enters as equal extra
 *    flows up and down, c m / (E[D] E[S]) each, c = x + x^2 (1 + cv^2) / 2, cv that of the prompt lengths;
 * this keeps the drift and matches the diffusion coefficient.
 * 3. Slots. At most M sequences decode at once: the least of what max_num_seqs, the KV pool (over the mean
 * blocks held) and the token budget allow, each less what requests in prefill or about to be replaced hold.
 * Beyond M requests wait for a slot at a constant rate of service, the throughput limit, with the variance of
 * M/G/1: the tail is geometric.
 *
 * E2E = time to first token + E[m] / lambda, by Little's law. Left out: prefix-cache hits, preemption (a pool
 * that is full thrashes: the limit found here is then too high), the correlation of a step's load with who
 * arrives during it, and arrivals that are not Poisson. tests/bench/continuous-approximation.md has the
 * measured errors. */
#ifndef KM_QUEUEING_CONTINUOUS_H
#define KM_QUEUEING_CONTINUOUS_H

#include "base/error.h"
#include "queueing/length_mix.h"
#include "queueing/step_clock.h"

#include <stdbool.h>
#include <stdint.h>

struct km_continuous_question {
    const struct km_step_clock *clock;
    const struct km_length_mix *mix;
    double arrival_rate_per_s;
    uint32_t max_num_seqs;
    uint32_t max_num_batched_tokens;
    uint32_t long_prefill_token_threshold; /* 0 = none */
    uint64_t kv_blocks;                    /* 0 = without limit */
    uint32_t block_size;                   /* tokens; >= 1 */
    double ingest_s;                       /* from arrival to the engine's queue */
};

enum km_slot_limit { KM_SLOTS_BY_SEQUENCES, KM_SLOTS_BY_KV, KM_SLOTS_BY_TOKENS };

struct km_continuous_answer {
    double utilization; /* arrival rate over the throughput limit */
    bool stable;
    double stable_below_per_s; /* the throughput limit */
    double slots;              /* M */
    enum km_slot_limit slots_by;
    /* NAN when unstable: */
    double mean_wait_s; /* arrival to the forming of its first batch */
    double mean_ttft_s, mean_tpot_s, mean_e2e_s;
    double mean_running;  /* sequences in a batch, in prefill or decoding */
    double mean_waiting;  /* for a slot */
    double prefill_share; /* of the time that steps take, what prompts add */
};

/* KM_NO when the load exceeds the throughput limit: the first four members are filled. */
enum km_status km_continuous_solve(const struct km_continuous_question *question,
                                   struct km_continuous_answer *out, struct km_error *error);

#endif
