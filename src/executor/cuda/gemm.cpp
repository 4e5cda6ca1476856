#include "executor/cuda/gemm.h"

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <new>
#include <vector>

struct km_cuda_blas {
    cublasLtHandle_t lt = nullptr;
    cublasHandle_t blas = nullptr;
    void *workspace = nullptr;
};

struct km_cuda_gemm {
    const struct km_cuda_blas *blas;
    struct km_cuda_gemm_shape shape;
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm;
};

namespace
{

// What cuBLAS advises for Hopper.
constexpr size_t workspace_bytes = (size_t)32 << 20;

enum km_status blas_error(const char *call, cublasStatus_t status, struct km_error *error)
{
    return km_fail(error, KM_IO, nullptr, 0, 0, "%s: %s", call, cublasGetStatusString(status));
}

} // namespace

#define TRY(call)                                                                                            \
    do {                                                                                                     \
        cublasStatus_t status_ = (call);                                                                     \
        if (status_ != CUBLAS_STATUS_SUCCESS)                                                                \
            return blas_error(#call, status_, error);                                                        \
    } while (0)

static enum km_status open_libraries(struct km_cuda_blas *blas, struct km_error *error)
{
    TRY(cublasLtCreate(&blas->lt));
    TRY(cublasCreate(&blas->blas));
    cudaError_t status = cudaMalloc(&blas->workspace, workspace_bytes);
    if (status != cudaSuccess)
        return km_fail(error, KM_IO, nullptr, 0, 0, "no memory for cuBLAS's workspace: %s",
                       cudaGetErrorString(status));
    TRY(cublasSetWorkspace(blas->blas, blas->workspace, workspace_bytes));
    return KM_OK;
}

enum km_status km_cuda_blas_create(struct km_cuda_blas **out, struct km_error *error)
{
    *out = nullptr;
    struct km_cuda_blas *blas = new (std::nothrow) km_cuda_blas;
    if (!blas)
        return km_fail(error, KM_IO, nullptr, 0, 0, "out of memory");
    enum km_status status = open_libraries(blas, error);
    if (status != KM_OK) {
        km_cuda_blas_destroy(blas);
        return status;
    }
    *out = blas;
    return KM_OK;
}

void km_cuda_blas_destroy(struct km_cuda_blas *blas)
{
    if (!blas)
        return;
    if (blas->blas)
        cublasDestroy(blas->blas);
    if (blas->lt)
        cublasLtDestroy(blas->lt);
    cudaFree(blas->workspace);
    delete blas;
}

unsigned long km_cuda_blas_version(const struct km_cuda_blas *)
{
    return cublasLtGetVersion();
}

static enum km_status plan(struct km_cuda_gemm *gemm, struct km_error *error)
{
    const struct km_cuda_gemm_shape *s = &gemm->shape;
    const cudaDataType_t in = s->fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
    const cudaDataType_t out = s->fp32_out ? CUDA_R_32F : CUDA_R_16BF;
    // cuBLAS counts columns: a row-major [rows, columns] is its [columns, rows].
    TRY(cublasLtMatrixLayoutCreate(&gemm->w, in, s->k, s->n, s->k));
    TRY(cublasLtMatrixLayoutCreate(&gemm->x, in, s->k, s->m, s->k));
    TRY(cublasLtMatrixLayoutCreate(&gemm->y, out, s->n, s->m, s->n));
    TRY(cublasLtMatmulDescCreate(&gemm->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transpose = CUBLAS_OP_T;
    TRY(cublasLtMatmulDescSetAttribute(gemm->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                       sizeof transpose));
    if (s->fp8) { // accumulate in the tensor cores' own precision, as engines do at inference
        const int8_t fast = 1;
        TRY(cublasLtMatmulDescSetAttribute(gemm->operation, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast,
                                           sizeof fast));
        const void *placeholder = gemm->blas->workspace; // the heuristic wants to see that there are scales
        TRY(cublasLtMatmulDescSetAttribute(gemm->operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
                                           &placeholder, sizeof placeholder));
        TRY(cublasLtMatmulDescSetAttribute(gemm->operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
                                           &placeholder, sizeof placeholder));
    }
    cublasLtMatmulPreference_t preference;
    TRY(cublasLtMatmulPreferenceCreate(&preference));
    size_t bytes = workspace_bytes;
    cublasStatus_t status = cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    cublasLtMatmulHeuristicResult_t result = {};
    int found = 0;
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulAlgoGetHeuristic(gemm->blas->lt, gemm->operation, gemm->w, gemm->x, gemm->y,
                                                gemm->y, preference, 1, &result, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    if (status != CUBLAS_STATUS_SUCCESS || found == 0)
        return km_fail(error, KM_BAD_INPUT, nullptr, 0, 0,
                       "cuBLASLt has no %s product for n = %u, k = %u, m = %u: %s", s->fp8 ? "fp8" : "bf16",
                       s->n, s->k, s->m, cublasGetStatusString(status));
    gemm->algorithm = result.algo;
    return KM_OK;
}

enum km_status km_cuda_gemm_create(struct km_cuda_blas *blas, const struct km_cuda_gemm_shape *shape,
                                   struct km_cuda_gemm **out, struct km_error *error)
{
    *out = nullptr;
    struct km_cuda_gemm *gemm = new (std::nothrow) km_cuda_gemm;
    if (!gemm)
        return km_fail(error, KM_IO, nullptr, 0, 0, "out of memory");
    gemm->blas = blas;
    gemm->shape = *shape;
    enum km_status status = plan(gemm, error);
    if (status != KM_OK) {
        km_cuda_gemm_destroy(gemm);
        return status;
    }
    *out = gemm;
    return KM_OK;
}

void km_cuda_gemm_destroy(struct km_cuda_gemm *gemm)
{
    if (!gemm)
        return;
    for (cublasLtMatrixLayout_t layout : {gemm->w, gemm->x, gemm->y})
        if (layout)
            cublasLtMatrixLayoutDestroy(layout);
    if (gemm->operation)
        cublasLtMatmulDescDestroy(gemm->operation);
    delete gemm;
}

enum km_status km_cuda_gemm_run(const struct km_cuda_gemm *gemm, struct CUstream_st *stream, const void *w,
                                const void *x, void *y, const float *scales, struct km_error *error)
{
    const float one = 1.0f, zero = 0.0f;
    if (gemm->shape.fp8) {
        const float *w_scale = scales, *x_scale = scales + 4;
        TRY(cublasLtMatmulDescSetAttribute(gemm->operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &w_scale,
                                           sizeof w_scale));
        TRY(cublasLtMatmulDescSetAttribute(gemm->operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &x_scale,
                                           sizeof x_scale));
    }
    cublasStatus_t status =
        cublasLtMatmul(gemm->blas->lt, gemm->operation, &one, w, gemm->w, x, gemm->x, &zero, y, gemm->y, y,
                       gemm->y, &gemm->algorithm, gemm->blas->workspace, workspace_bytes, stream);
    if (status == CUBLAS_STATUS_SUCCESS)
        return KM_OK;
    return km_fail(error, KM_IO, nullptr, 0, 0, "%s product of n = %u, k = %u, m = %u: %s",
                   gemm->shape.fp8 ? "fp8" : "bf16", gemm->shape.n, gemm->shape.k, gemm->shape.m,
                   cublasGetStatusString(status));
}

enum km_status km_cuda_grouped_gemm(struct km_cuda_blas *blas, struct CUstream_st *stream,
                                    const struct km_cuda_grouped_gemm *args, struct km_error *error)
{
    const size_t groups = args->groups;
    std::vector<cublasOperation_t> transposed(groups, CUBLAS_OP_T), plain(groups, CUBLAS_OP_N);
    std::vector<int> n(groups, (int)args->n), k(groups, (int)args->k), one_each(groups, 1);
    std::vector<float> ones(groups, 1.0f), zeros(groups, 0.0f);
    TRY(cublasSetStream(blas->blas, stream));
    TRY(cublasSetWorkspace(blas->blas, blas->workspace, workspace_bytes)); // setting a stream resets it
    TRY(cublasGemmGroupedBatchedEx(blas->blas, transposed.data(), plain.data(), n.data(), args->rows,
                                   k.data(), ones.data(), args->w, CUDA_R_16BF, k.data(), args->x,
                                   CUDA_R_16BF, k.data(), zeros.data(), args->y, CUDA_R_16BF, n.data(),
                                   (int)groups, one_each.data(), CUBLAS_COMPUTE_32F));
    return KM_OK;
}
