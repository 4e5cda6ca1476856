/* Continuous batching with chunked prefill (batching policy `continuous`), approximately: one engine, Poisson
 * arrivals.
 *
 * There is no closed form. What is done instead, in three layers (D = decode steps a request, m = sequences
 * decoding, lambda = arrival rate):
 *
 * 1. Steps at a frozen m (continuous_steps.h). A step without prompts takes S_0(m); prompts that arrive
 * during a step start together in a next one. The chain of such groups gives the mean step E[S](m), the
 * prompts' share in it, what an arrival waits and takes until its first token, and the burden B(m): what its
 * tokens are delayed by prompts that came during its own long first step, beyond what a decode step meets on
 * average.
 *
 * 2. The number of decodes. Each advances one token a step, so they share a server of rate m / E[S](m) tokens
 * per second: generalised processor sharing, whose stationary law depends on D through its mean alone (Cohen
 * 1979, doi:10.1007/BF00264436),
 *
 *   pi(m) / pi(m-1) = lambda (E[D] E[S](m) + B(m)) / m
 *
 * Prompts interrupt everyone, so an arrival also undoes part of the service: with f = 1 - S_0 / E[S] the share
 * of time that prompts take, it is worth 1 + x sequences, x = f / (1 - f), in the mean. The second moment of
 * that jump enters as extra flows up and down, c times the rate of ends each,
 *
 *   c = x + x^2 (1 + cv^2) / 2,   cv that of the prompt lengths:
 *
 * the drift stays, the diffusion coefficient is matched.
 *
 * 3. Slots. At most M sequences decode at once: the least of what max_num_seqs, the KV pool over the mean
 * blocks held, and the token budget allow, each less what requests in prefill or about to be replaced hold. M
 * of the KV pool is normal, its variance that of the blocks held; of n in the system E[min(n, M)] decode. The
 * saturated engine replaces every request at once; that is the throughput limit. With the KV pool it also
 * computes prompts again: when a completion has made room, whole prompts are admitted until the next does not
 * fit, growth by exponential amounts of mean D until the next completion takes what is left, U uniform on a
 * prompt, and every time it runs out the youngest is preempted and gives back a prompt of its (length-biased)
 * size: (1 - e^{-P/D}) D / P / (1 - e^{-P (1 + cv^2) / D}) preemptions a request. Requests beyond M wait at
 * the throughput limit with the variance of M/G/1, a geometric tail.
 *
 * E2E = time to first token + E[m] / lambda, by Little's law. Left out: prefix-cache hits, arrivals that are
 * not Poisson, lengths that drift together in time, and the joint motion of m and of prompts waiting, which
 * matters when a request's decoding is no longer than a few prompts' steps.
 * tests/bench/continuous-approximation.md has the measured errors: within 5 % in mean E2E up to 80 % load
 * nearly everywhere, and where not. A point takes about a millisecond. */
#ifndef KM_QUEUEING_CONTINUOUS_CONTINUOUS_H
#define KM_QUEUEING_CONTINUOUS_CONTINUOUS_H

#include "base/error.h"
#include "queueing/continuous/length_mix.h"
#include "queueing/continuous/step_clock.h"

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
    /* From arrival to the engine's queue, with nobody before it; and a server on the way, M/G/1 (0: none). */
    double ingest_s;
    double ingest_busy_mean_s, ingest_busy_square_s2; /* its service: E[S], E[S^2] */
    double delivery_s;                                /* of a token to the client */
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
