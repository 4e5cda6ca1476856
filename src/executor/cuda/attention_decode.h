/* Decode attention over a paged KV cache: our own kernel, behind a plain-C header.
 *
 * One query a sequence, each over its own context. Blocks share a sequence's pages between them (split-KV, as
 * in FlashDecoding) and the query heads of one KV head are multiplied together as the rows of one tensor-core
 * tile, so that every key and value is read once. Each warp streams pages through shared memory with
 * asynchronous copies; the last block of a sequence and head adds up the parts. Queries and results in bf16,
 * keys and values in bf16 or fp8 (e4m3, one scale for all keys and one for all values, widened to fp16 for
 * the tensor cores; queries then fit fp16); head_dim 64 or 128. */
#ifndef KM_EXECUTOR_CUDA_ATTENTION_DECODE_H
#define KM_EXECUTOR_CUDA_ATTENTION_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/error.h"

struct CUstream_st;

/* q: [batch, q_row_values], of which the first heads * head_dim are read; keys, values: the cache
 * (kernels.h); page_table: [batch, table_pages]; contexts: [batch], each >= 1 and <= max_context; out:
 * [batch, heads * head_dim]. scratch: km_cuda_attention_decode_scratch_bytes(), zeroed once before the first
 * call. */
struct km_cuda_attention_decode {
    const uint16_t *q;
    const void *keys, *values;
    const int32_t *page_table, *contexts;
    uint16_t *out;
    void *scratch;
    uint32_t batch, heads, kv_heads, head_dim, q_row_values, table_pages, max_context;
    bool fp8;
    float key_scale, value_scale; /* fp8: a value is its e4m3 times this */
};
enum km_status km_cuda_attention_decode(struct CUstream_st *stream,
                                        const struct km_cuda_attention_decode *args, struct km_error *error);
/* Of any call with at most these sizes. */
uint64_t km_cuda_attention_decode_scratch_bytes(uint32_t batch, uint32_t heads, uint32_t head_dim);

#ifdef __cplusplus
}
#endif

#endif
