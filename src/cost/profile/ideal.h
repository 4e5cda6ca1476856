/* The roofline that a profile's rows are measured against: the least time an operator could take,
 *     max(flops / peak, bytes / bandwidth) + kernel_graph_s
 * with the device's datasheet rates and the time of its smallest kernel, which nothing beats. A measured time
 * turned into the share of it reached varies slowly from shape to shape, and carries over to shapes and
 * models that were not measured. */
#ifndef KM_COST_PROFILE_IDEAL_H
#define KM_COST_PROFILE_IDEAL_H

#include "cost/profile/profile.h"
#include "hardware/device.h"

/* Seconds; 0 when the device has no rate for these formats. */
double km_ideal_s(const struct km_device *device, double flops, enum km_dtype weights,
                  enum km_dtype activations, double bytes);

/* The least time of a row's operator; 0 when the class or format has none. */
double km_profile_ideal_s(const struct km_device *device, enum km_profile_class class, const double *dims);

/* FLOPs and bytes of attention per rank. `pairs`: query-key pairs; `read_tokens`: tokens of context read. */
struct km_attention_work {
    double flops, bytes;
};
struct km_attention_work km_attention_work(const double *dims, double pairs, double queries,
                                           double read_tokens);
/* Query rows that a piece of attention computes at once: FlashAttention 3's kBlockM for heads of 128
 * (hopper/tile_size.h). */
#define KM_ATTENTION_TILE_ROWS 128.0
/* The least time of one such piece over `keys` keys, alone on its multiprocessor: a launch that shares no
 * sequence out takes as long. `at`: dims of an attention class. The kernel's smallest time alone where the
 * device's multiprocessors are unknown. */
double km_piece_ideal_s(const struct km_device *device, const double *at, double keys);

/* Query-key pairs of a causal chunk, and tokens of context it reads, inside a window (0 = none). */
double km_chunk_pairs(double tokens, double past, double window);
double km_chunk_reads(double tokens, double past, double window);

/* Tokens of `experts` hit by `rows` rows routed uniformly to top_k of them: E * (1 - (1 - k/E)^rows). */
double km_experts_hit(double experts, double top_k, double rows);

#endif
