/* CUDA kernels of a transformer's element-wise and gather operators, behind a plain-C header.
 *
 * The real executor and the microbenchmarks in calibrate/ launch these same functions. Every pointer is
 * device memory, borrowed for the call; matrices are row-major; bf16 travels as uint16_t. Each call only
 * enqueues work on `stream` (a cudaStream_t) and can be captured into a graph. It returns KM_OK, or
 * KM_BAD_INPUT for a shape the kernel does not do, or KM_IO when the launch failed.
 *
 * Bytes stated below are what an operator must move; kingman's operators (model/operators.c) count the same.
 */
#ifndef KM_EXECUTOR_CUDA_KERNELS_H
#define KM_EXECUTOR_CUDA_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/error.h"

struct CUstream_st;

/* Residual add and RMSNorm (arXiv 1910.07467) in one kernel:
 *   residual += x;  out = residual / sqrt(mean(residual^2) + epsilon) * weight
 * x, residual, out: [rows, hidden]; weight: [hidden]. hidden: a multiple of 8, at most 32768. Moves 4 values
 * a hidden dimension. */
struct km_cuda_norm {
    const uint16_t *x;
    uint16_t *residual;
    const uint16_t *weight;
    uint16_t *out;
    uint32_t rows, hidden;
    float epsilon;
};
enum km_status km_cuda_norm(struct CUstream_st *stream, const struct km_cuda_norm *args,
                            struct km_error *error);

/* SwiGLU (arXiv 2002.05202): out = silu(gate) * up. gate_up: [rows, 2 * width], gate first; out: [rows,
 * width]. width: a multiple of 8. Moves 3 values a dimension of the width. */
enum km_status km_cuda_swiglu(struct CUstream_st *stream, const uint16_t *gate_up, uint16_t *out,
                              uint32_t rows, uint32_t width, struct km_error *error);

/* Rotary position embedding (arXiv 2104.09864) in place, halves paired (dimension i with i + head_dim / 2).
 * qkv: [rows, heads + 2 * kv_heads, head_dim], of which the first heads + kv_heads are rotated;
 * positions: [rows]; table: [positions, head_dim / 2, 2] of cos, sin. head_dim: a multiple of 16. */
struct km_cuda_rope {
    uint16_t *qkv;
    const int32_t *positions;
    const float *table;
    uint32_t rows, heads, kv_heads, head_dim;
};
enum km_status km_cuda_rope(struct CUstream_st *stream, const struct km_cuda_rope *args,
                            struct km_error *error);

/* A paged KV cache of one layer: keys and values are each [pages, kv_heads, KM_CUDA_PAGE_TOKENS, head_dim].
 */
#define KM_CUDA_PAGE_TOKENS 16

/* Copies the keys and values of `rows` new tokens from qkv (laid out as above) into the cache. slots: [rows],
 * page * KM_CUDA_PAGE_TOKENS + place in the page. */
struct km_cuda_kv_write {
    const uint16_t *qkv;
    const int64_t *slots;
    uint16_t *keys, *values;
    uint32_t rows, heads, kv_heads, head_dim;
};
enum km_status km_cuda_kv_write(struct CUstream_st *stream, const struct km_cuda_kv_write *args,
                                struct km_error *error);

/* Copies rows of a table: out[i] = table[index[i]]; table: [any, width], out: [rows, width]. Embedding, and
 * the gathering of tokens by expert. Moves 2 values a dimension. width: a multiple of 8. */
enum km_status km_cuda_gather(struct CUstream_st *stream, const uint16_t *table, const int32_t *index,
                              uint16_t *out, uint32_t rows, uint32_t width, struct km_error *error);

/* out[t] = sum over j < top_k of weight[t, j] * rows_in[place[t, j]]; out: [tokens, width]. */
struct km_cuda_combine {
    const uint16_t *rows_in;
    const int32_t *place;
    const float *weight;
    uint16_t *out;
    uint32_t tokens, top_k, width;
};
enum km_status km_cuda_combine(struct CUstream_st *stream, const struct km_cuda_combine *args,
                               struct km_error *error);

/* Greedy sampling: tokens[r] = index of the largest of logits[r, :], the lowest index on a tie.
 * logits: [rows, vocab], fp32. scratch: km_cuda_argmax_scratch_bytes(rows), zeroed once before the first call
 * and left zeroed by every call. Moves 4 bytes a word of the vocabulary. */
unsigned long km_cuda_argmax_scratch_bytes(uint32_t rows);
enum km_status km_cuda_argmax(struct CUstream_st *stream, const float *logits, int32_t *tokens, void *scratch,
                              uint32_t rows, uint32_t vocab, struct km_error *error);

/* Does nothing: what launching costs. */
enum km_status km_cuda_empty(struct CUstream_st *stream, struct km_error *error);

#ifdef __cplusplus
}
#endif

#endif
