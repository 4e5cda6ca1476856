/* All-reduce over peer-to-peer memory for a few GPUs of one host: our own kernel, behind a plain-C header.
 *
 * For small messages engines do without NCCL: every rank reads its peers' memory directly. One-shot: each
 * rank adds up the whole message from all ranks. Two-shot: each rank adds up its share, then collects the
 * others' (a reduce-scatter and an all-gather in one kernel), which moves less once messages are large. The
 * ranks meet before, between and after at flags in each other's memory; all ranks must launch the same calls
 * in the same order, and a call waits for its peers on the device. bf16, sums in fp32. Can be captured into
 * graphs. */
#ifndef KM_EXECUTOR_CUDA_ALL_REDUCE_H
#define KM_EXECUTOR_CUDA_ALL_REDUCE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/error.h"

struct CUstream_st;

#define KM_CUDA_MOST_PEERS 8

/* What every rank knows of all; peer access must be enabled. */
struct km_cuda_peers {
    uint32_t ranks, rank;
    uint16_t *data[KM_CUDA_MOST_PEERS];   /* each rank's message */
    uint16_t *shares[KM_CUDA_MOST_PEERS]; /* two-shot: each rank's sums, as large as the message */
    uint32_t *flags[KM_CUDA_MOST_PEERS];  /* km_cuda_all_reduce_flag_bytes(), zeroed once */
};
unsigned long km_cuda_all_reduce_flag_bytes(void);

/* out: [values] on this rank, a multiple of 8 * ranks values. */
enum km_status km_cuda_all_reduce(struct CUstream_st *stream, const struct km_cuda_peers *peers,
                                  uint16_t *out, uint64_t values, bool two_shot, struct km_error *error);

#ifdef __cplusplus
}
#endif

#endif
