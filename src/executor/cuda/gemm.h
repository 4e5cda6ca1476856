/* Matrix products by cuBLASLt, behind a plain-C header: y = x * transpose(w), the layout of a linear layer.
 *
 * w: [n, k], x: [m, k], y: [m, n], row-major on the device. bf16 operands with bf16 or fp32 results, or fp8
 * (e4m3) operands with one scale a tensor and bf16 results. The algorithm is the first that cuBLASLt's
 * heuristic offers for the shape: what PyTorch, and so most engines, run. A plan is made once a shape and may
 * be run on any buffers aligned to 16 bytes. */
#ifndef KM_EXECUTOR_CUDA_GEMM_H
#define KM_EXECUTOR_CUDA_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/error.h"

struct CUstream_st;
struct km_cuda_blas; /* library handles and workspace; one a stream */
struct km_cuda_gemm; /* plan of one shape */

enum km_status km_cuda_blas_create(struct km_cuda_blas **out, struct km_error *error);
void km_cuda_blas_destroy(struct km_cuda_blas *blas);
/* cuBLAS's version, as in 130100. */
unsigned long km_cuda_blas_version(const struct km_cuda_blas *blas);

struct km_cuda_gemm_shape {
    uint32_t n, k, m;
    bool fp8;      /* operands e4m3; n, k multiples of 16 */
    bool fp32_out; /* LM head: logits in fp32; not with fp8 */
};
/* Caller owns the plan; it borrows `blas`. */
enum km_status km_cuda_gemm_create(struct km_cuda_blas *blas, const struct km_cuda_gemm_shape *shape,
                                   struct km_cuda_gemm **out, struct km_error *error);
void km_cuda_gemm_destroy(struct km_cuda_gemm *gemm);
/* scales: device memory [8], of w at [0] and of x at [4] (cuBLASLt wants each aligned to 16 bytes); read for
 * fp8 only. */
enum km_status km_cuda_gemm_run(const struct km_cuda_gemm *gemm, struct CUstream_st *stream, const void *w,
                                const void *x, void *y, const float *scales, struct km_error *error);

/* Grouped product of a mixture of experts in bf16 (cublasGemmGroupedBatchedEx): for each group g,
 * y_g = x_g * transpose(w_g) with rows[g] rows, all of one n and k.
 * w, x, y: device arrays [groups] of device pointers; rows: host, each >= 1. */
struct km_cuda_grouped_gemm {
    uint32_t groups, n, k;
    const int32_t *rows;
    const void *const *w, *const *x;
    void *const *y;
};
enum km_status km_cuda_grouped_gemm(struct km_cuda_blas *blas, struct CUstream_st *stream,
                                    const struct km_cuda_grouped_gemm *args, struct km_error *error);

#ifdef __cplusplus
}
#endif

#endif
