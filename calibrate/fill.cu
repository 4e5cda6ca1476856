#include "bench.hpp"

#include <cuda_bf16.h>

namespace
{

__device__ uint32_t scramble(uint64_t i, uint32_t seed)
{
    uint32_t x = ((uint32_t)i ^ (uint32_t)(i >> 32) * 0x9e3779b9u) * 2654435761u + seed;
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    return x ^ x >> 16;
}

__global__ void fill_kernel(__nv_bfloat16 *values, size_t count, uint32_t seed)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < count;
         i += (size_t)gridDim.x * blockDim.x)
        values[i] = __float2bfloat16((float)(scramble(i, seed) >> 8) / 8388608.0f - 1.0f);
}

// e4m3 of magnitude below 1: exponents 0 to 6 of the bias-7 format, any mantissa and sign.
__global__ void fill8_kernel(uint8_t *values, size_t count, uint32_t seed)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < count;
         i += (size_t)gridDim.x * blockDim.x) {
        uint32_t x = scramble(i, seed);
        values[i] = (uint8_t)((x & 0x87) | ((x >> 8) % 7) << 3);
    }
}

} // namespace

void fill_random(uint16_t *values, size_t count, uint32_t seed, cudaStream_t stream)
{
    fill_kernel<<<2048, 256, 0, stream>>>((__nv_bfloat16 *)values, count, seed);
    CUDA(cudaGetLastError());
}

void fill_random8(uint8_t *values, size_t count, uint32_t seed, cudaStream_t stream)
{
    fill8_kernel<<<2048, 256, 0, stream>>>(values, count, seed);
    CUDA(cudaGetLastError());
}
