/* Scaled dot-product attention by cuDNN's graph API, behind a plain-C header.
 *
 *   out = softmax(scale * q * transpose(k) + mask) * v,   scale = 1 / sqrt(head_dim)
 *
 * q: [batch, tokens, heads, head_dim] with `q_row_values` values from one token to the next (a packed qkv
 * matrix is fine); out: [batch, tokens, heads, head_dim], packed; bf16. A query head h attends to KV head h /
 * (heads / kv_heads) (grouped queries, arXiv 2305.13245). Two forms:
 *
 * - decode: one query a sequence over a paged cache (kernels.h), each to its own length;
 * - prefill: the last `tokens` of one sequence of `context` tokens, causal, keys and values in rows
 *   [context, kv_heads, head_dim] with `kv_row_values` values from one token to the next. (Not over pages:
 * with several queries a sequence, cuDNN 9.19 on Hopper reads outside a cache of 16-token pages.)
 *
 * A plan is built once a shape (cuDNN compiles some of them, which takes a fraction of a second). */
#ifndef KM_EXECUTOR_CUDA_SDPA_H
#define KM_EXECUTOR_CUDA_SDPA_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/error.h"
#include "executor/cuda/kernels.h"

struct CUstream_st;
struct km_cuda_dnn; /* library handle */
struct km_cuda_sdpa;

enum km_status km_cuda_dnn_create(struct km_cuda_dnn **out, struct km_error *error);
void km_cuda_dnn_destroy(struct km_cuda_dnn *dnn);
/* cuDNN's version, as in 91900. */
unsigned long km_cuda_dnn_version(void);

struct km_cuda_sdpa_shape {
    uint32_t batch, heads, kv_heads, head_dim;
    uint32_t tokens;                      /* queries of each sequence */
    uint32_t context;                     /* longest: keys of a sequence, the queries' own included */
    uint32_t q_row_values, kv_row_values; /* kv: contiguous only */
    uint32_t pages;                       /* of the whole cache; 0 = contiguous */
};

/* cuDNN reads page tables and keys by tiles of 128 tokens: a sequence's row of the page table has this many
 * entries, and those beyond its own pages name any page of the cache. */
static inline uint32_t km_cuda_sdpa_table_pages(uint32_t context)
{
    return (context + 127) / 128 * (128 / KM_CUDA_PAGE_TOKENS);
}

/* Device memory. Decode: seq_q (ones), seq_kv: [batch], page_table: [batch,
 * km_cuda_sdpa_table_pages(context)]. */
struct km_cuda_sdpa_buffers {
    const void *q, *keys, *values;
    void *out;
    const int32_t *page_table, *seq_q, *seq_kv;
    void *workspace; /* km_cuda_sdpa_workspace_bytes() */
};

/* Caller owns the plan; it borrows `dnn`. */
enum km_status km_cuda_sdpa_create(struct km_cuda_dnn *dnn, const struct km_cuda_sdpa_shape *shape,
                                   struct km_cuda_sdpa **out, struct km_error *error);
void km_cuda_sdpa_destroy(struct km_cuda_sdpa *sdpa);
uint64_t km_cuda_sdpa_workspace_bytes(const struct km_cuda_sdpa *sdpa);
/* Which form cuDNN took ("unified", "composite"): provenance. */
const char *km_cuda_sdpa_form(const struct km_cuda_sdpa *sdpa);
enum km_status km_cuda_sdpa_run(const struct km_cuda_sdpa *sdpa, struct CUstream_st *stream,
                                const struct km_cuda_sdpa_buffers *buffers, struct km_error *error);

#ifdef __cplusplus
}
#endif

#endif
