/* What the kernels' host sides share: launch errors and packs of eight bf16 values (one 16-byte access). */
#ifndef KM_EXECUTOR_CUDA_LAUNCH_CUH
#define KM_EXECUTOR_CUDA_LAUNCH_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

extern "C" {
#include "base/error.h"
}

static inline enum km_status km_launched(const char *kernel, struct km_error *error)
{
    cudaError_t status = cudaGetLastError();
    if (status == cudaSuccess)
        return KM_OK;
    return km_fail(error, KM_IO, nullptr, 0, 0, "launching kernel %s: %s", kernel,
                   cudaGetErrorString(status));
}

struct alignas(16) Pack8 {
    __nv_bfloat162 pairs[4];
};

__device__ inline void unpack(const Pack8 &pack, float *out)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 two = __bfloat1622float2(pack.pairs[i]);
        out[2 * i] = two.x;
        out[2 * i + 1] = two.y;
    }
}

__device__ inline Pack8 pack(const float *values)
{
    Pack8 result;
#pragma unroll
    for (int i = 0; i < 4; i++)
        result.pairs[i] = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
    return result;
}

/* Blocks for a grid-stride loop over `items`: enough to fill any device several times, never more. */
static inline unsigned int blocks_for(uint64_t items, unsigned int threads)
{
    uint64_t blocks = (items + threads - 1) / threads;
    const uint64_t most = 132 * 16;
    return (unsigned int)(blocks < most ? blocks : most);
}

#endif
