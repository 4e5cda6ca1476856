#include "executor/cuda/kernels.h"
#include "executor/cuda/launch.cuh"

namespace
{

__device__ float block_sum(float value)
{
    __shared__ float parts[32];
    for (int shift = 16; shift > 0; shift /= 2)
        value += __shfl_xor_sync(~0u, value, shift);
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : 0.0f;
    for (int shift = 16; shift > 0; shift /= 2)
        value += __shfl_xor_sync(~0u, value, shift);
    return value;
}

// One block a row; the row stays in registers between the sum of squares and the scaling.
template <int Packs> __global__ void norm_kernel(struct km_cuda_norm args)
{
    const uint32_t packs = args.hidden / 8;
    const size_t row = (size_t)blockIdx.x * packs;
    const Pack8 *x = (const Pack8 *)args.x + row;
    Pack8 *residual = (Pack8 *)args.residual + row, *out = (Pack8 *)args.out + row;
    const Pack8 *weight = (const Pack8 *)args.weight;
    Pack8 kept[Packs];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < Packs; i++) {
        uint32_t p = threadIdx.x + i * blockDim.x;
        if (p >= packs)
            continue;
        float a[8], b[8];
        unpack(x[p], a);
        unpack(residual[p], b);
        for (int j = 0; j < 8; j++)
            a[j] += b[j];
        kept[i] = pack(a);
        unpack(kept[i], a);
        for (int j = 0; j < 8; j++)
            sum += a[j] * a[j];
        residual[p] = kept[i];
    }
    const float scale = rsqrtf(block_sum(sum) / (float)args.hidden + args.epsilon);
#pragma unroll
    for (int i = 0; i < Packs; i++) {
        uint32_t p = threadIdx.x + i * blockDim.x;
        if (p >= packs)
            continue;
        float a[8], w[8];
        unpack(kept[i], a);
        unpack(weight[p], w);
        for (int j = 0; j < 8; j++)
            a[j] *= scale * w[j];
        out[p] = pack(a);
    }
}

__global__ void swiglu_kernel(const Pack8 *gate_up, Pack8 *out, uint64_t items, uint32_t packs)
{
    for (uint64_t i = blockIdx.x * (uint64_t)blockDim.x + threadIdx.x; i < items;
         i += (uint64_t)gridDim.x * blockDim.x) {
        uint64_t row = i / packs, column = i - row * packs;
        float gate[8], up[8];
        unpack(gate_up[row * 2 * packs + column], gate);
        unpack(gate_up[row * 2 * packs + packs + column], up);
        for (int j = 0; j < 8; j++)
            up[j] *= gate[j] / (1.0f + __expf(-gate[j]));
        out[i] = pack(up);
    }
}

// A thread turns eight pairs: dimensions d .. d+7 with d+half .. d+half+7.
__global__ void rope_kernel(struct km_cuda_rope args, uint64_t items)
{
    const uint32_t half = args.head_dim / 2, packs = half / 8, rotated = args.heads + args.kv_heads;
    for (uint64_t i = blockIdx.x * (uint64_t)blockDim.x + threadIdx.x; i < items;
         i += (uint64_t)gridDim.x * blockDim.x) {
        uint32_t d = (uint32_t)(i % packs) * 8;
        uint64_t row_head = i / packs, row = row_head / rotated, head = row_head - row * rotated;
        uint16_t *first = args.qkv + (row * (rotated + args.kv_heads) + head) * args.head_dim + d;
        const float4 *angles = (const float4 *)(args.table + ((size_t)args.positions[row] * half + d) * 2);
        float a[8], b[8];
        unpack(*(const Pack8 *)first, a);
        unpack(*(const Pack8 *)(first + half), b);
        for (int j = 0; j < 4; j++) { // x, z: cosines; y, w: sines
            float4 turn = angles[j];
            float a0 = a[2 * j], a1 = a[2 * j + 1], b0 = b[2 * j], b1 = b[2 * j + 1];
            a[2 * j] = a0 * turn.x - b0 * turn.y;
            b[2 * j] = b0 * turn.x + a0 * turn.y;
            a[2 * j + 1] = a1 * turn.z - b1 * turn.w;
            b[2 * j + 1] = b1 * turn.z + a1 * turn.w;
        }
        *(Pack8 *)first = pack(a);
        *(Pack8 *)(first + half) = pack(b);
    }
}

__global__ void kv_write_kernel(struct km_cuda_kv_write args, uint64_t items)
{
    const uint32_t packs = args.head_dim / 8, row_heads = args.heads + 2 * args.kv_heads;
    for (uint64_t i = blockIdx.x * (uint64_t)blockDim.x + threadIdx.x; i < items;
         i += (uint64_t)gridDim.x * blockDim.x) {
        uint64_t p = i % packs, row_head = i / packs, row = row_head / (2 * args.kv_heads);
        uint64_t head = row_head - row * 2 * args.kv_heads;
        uint64_t kv_head = head < args.kv_heads ? head : head - args.kv_heads;
        uint64_t slot = (uint64_t)args.slots[row];
        uint64_t page = slot / KM_CUDA_PAGE_TOKENS, place = slot % KM_CUDA_PAGE_TOKENS;
        const Pack8 *in = (const Pack8 *)args.qkv + (row * row_heads + args.heads + head) * packs + p;
        Pack8 *cache = (Pack8 *)(head < args.kv_heads ? args.keys : args.values);
        cache[((page * args.kv_heads + kv_head) * KM_CUDA_PAGE_TOKENS + place) * packs + p] = *in;
    }
}

__global__ void gather_kernel(const Pack8 *table, const int32_t *index, Pack8 *out, uint64_t items,
                              uint32_t packs)
{
    for (uint64_t i = blockIdx.x * (uint64_t)blockDim.x + threadIdx.x; i < items;
         i += (uint64_t)gridDim.x * blockDim.x) {
        uint64_t row = i / packs;
        out[i] = table[(uint64_t)index[row] * packs + (i - row * packs)];
    }
}

__global__ void combine_kernel(struct km_cuda_combine args, uint64_t items)
{
    const uint32_t packs = args.width / 8;
    for (uint64_t i = blockIdx.x * (uint64_t)blockDim.x + threadIdx.x; i < items;
         i += (uint64_t)gridDim.x * blockDim.x) {
        uint64_t token = i / packs, p = i - token * packs;
        float sum[8] = {0.0f};
        for (uint32_t j = 0; j < args.top_k; j++) {
            float values[8];
            unpack(((const Pack8 *)args.rows_in)[(uint64_t)args.place[token * args.top_k + j] * packs + p],
                   values);
            for (int d = 0; d < 8; d++)
                sum[d] += args.weight[token * args.top_k + j] * values[d];
        }
        ((Pack8 *)args.out)[i] = pack(sum);
    }
}

// Order of floats as unsigned integers, and the index reversed below it: the largest key is the largest
// value, and of equal ones the first.
__device__ unsigned long long argmax_key(float value, uint32_t index)
{
    uint32_t bits = __float_as_uint(value);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (unsigned long long)bits << 32 | (0xffffffffu - index);
}

// Several blocks share a row; the last of them to finish writes the answer and clears the scratch memory.
__global__ void argmax_kernel(const float *logits, int32_t *tokens, unsigned long long *best,
                              unsigned int *done, uint32_t vocab)
{
    const uint32_t row = blockIdx.y;
    const float *in = logits + (size_t)row * vocab;
    unsigned long long key = 0;
    if (vocab % 4 == 0) {
        for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < vocab / 4; i += gridDim.x * blockDim.x) {
            float4 four = ((const float4 *)in)[i];
            key = max(max(key, argmax_key(four.x, 4 * i)), argmax_key(four.y, 4 * i + 1));
            key = max(max(key, argmax_key(four.z, 4 * i + 2)), argmax_key(four.w, 4 * i + 3));
        }
    } else {
        for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < vocab; i += gridDim.x * blockDim.x)
            key = max(key, argmax_key(in[i], i));
    }
    for (int shift = 16; shift > 0; shift /= 2)
        key = max(key, __shfl_xor_sync(~0u, key, shift));
    __shared__ unsigned long long parts[32];
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = key;
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (uint32_t w = 1; w < blockDim.x / 32; w++)
        key = max(key, parts[w]);
    atomicMax(&best[row], key);
    __threadfence();
    if (atomicAdd(&done[row], 1u) + 1u != gridDim.x)
        return;
    __threadfence();
    key = atomicExch(&best[row], 0ull);
    tokens[row] = (int32_t)(0xffffffffu - (uint32_t)key);
    done[row] = 0;
}

__global__ void empty_kernel()
{
}

enum km_status bad_shape(const char *kernel, const char *what, uint32_t value, struct km_error *error)
{
    return km_fail(error, KM_BAD_INPUT, nullptr, 0, 0, "kernel %s does not do %s = %u", kernel, what, value);
}

} // namespace

enum km_status km_cuda_norm(struct CUstream_st *stream, const struct km_cuda_norm *args,
                            struct km_error *error)
{
    if (args->hidden % 8 != 0 || args->hidden == 0 || args->hidden > 32768)
        return bad_shape("norm", "hidden", args->hidden, error);
    // Wide rows at two packs a thread: fewer threads wait at the barrier, and loads overlap.
    uint32_t packs = args->hidden / 8, each = packs <= 512 ? 1 : packs <= 2048 ? 2 : 4;
    uint32_t threads = ((packs + each - 1) / each + 31) / 32 * 32;
    if (each == 1)
        norm_kernel<1><<<args->rows, threads, 0, stream>>>(*args);
    else if (each == 2)
        norm_kernel<2><<<args->rows, threads, 0, stream>>>(*args);
    else
        norm_kernel<4><<<args->rows, threads, 0, stream>>>(*args);
    return km_launched("norm", error);
}

enum km_status km_cuda_swiglu(struct CUstream_st *stream, const uint16_t *gate_up, uint16_t *out,
                              uint32_t rows, uint32_t width, struct km_error *error)
{
    if (width % 8 != 0 || width == 0)
        return bad_shape("swiglu", "width", width, error);
    uint64_t items = (uint64_t)rows * (width / 8);
    swiglu_kernel<<<blocks_for(items, 256), 256, 0, stream>>>((const Pack8 *)gate_up, (Pack8 *)out, items,
                                                              width / 8);
    return km_launched("swiglu", error);
}

enum km_status km_cuda_rope(struct CUstream_st *stream, const struct km_cuda_rope *args,
                            struct km_error *error)
{
    if (args->head_dim % 16 != 0 || args->head_dim == 0)
        return bad_shape("rope", "head_dim", args->head_dim, error);
    uint64_t items = (uint64_t)args->rows * (args->heads + args->kv_heads) * (args->head_dim / 16);
    rope_kernel<<<blocks_for(items, 256), 256, 0, stream>>>(*args, items);
    return km_launched("rope", error);
}

enum km_status km_cuda_kv_write(struct CUstream_st *stream, const struct km_cuda_kv_write *args,
                                struct km_error *error)
{
    if (args->head_dim % 8 != 0 || args->head_dim == 0)
        return bad_shape("kv_write", "head_dim", args->head_dim, error);
    uint64_t items = (uint64_t)args->rows * 2 * args->kv_heads * (args->head_dim / 8);
    kv_write_kernel<<<blocks_for(items, 256), 256, 0, stream>>>(*args, items);
    return km_launched("kv_write", error);
}

enum km_status km_cuda_gather(struct CUstream_st *stream, const uint16_t *table, const int32_t *index,
                              uint16_t *out, uint32_t rows, uint32_t width, struct km_error *error)
{
    if (width % 8 != 0 || width == 0)
        return bad_shape("gather", "width", width, error);
    uint64_t items = (uint64_t)rows * (width / 8);
    gather_kernel<<<blocks_for(items, 256), 256, 0, stream>>>((const Pack8 *)table, index, (Pack8 *)out,
                                                              items, width / 8);
    return km_launched("gather", error);
}

enum km_status km_cuda_combine(struct CUstream_st *stream, const struct km_cuda_combine *args,
                               struct km_error *error)
{
    if (args->width % 8 != 0 || args->width == 0)
        return bad_shape("combine", "width", args->width, error);
    uint64_t items = (uint64_t)args->tokens * (args->width / 8);
    combine_kernel<<<blocks_for(items, 256), 256, 0, stream>>>(*args, items);
    return km_launched("combine", error);
}

unsigned long km_cuda_argmax_scratch_bytes(uint32_t rows)
{
    return (unsigned long)rows * (sizeof(unsigned long long) + sizeof(unsigned int));
}

enum km_status km_cuda_argmax(struct CUstream_st *stream, const float *logits, int32_t *tokens, void *scratch,
                              uint32_t rows, uint32_t vocab, struct km_error *error)
{
    if (rows == 0 || rows > 65535)
        return bad_shape("argmax", "rows", rows, error);
    // A block takes at least eight values a thread; few rows are spread over more blocks.
    uint32_t most = (vocab + 8 * 256 - 1) / (8 * 256), wanted = (132 * 8 + rows - 1) / rows;
    uint32_t parts = most < wanted ? most : wanted;
    unsigned long long *best = (unsigned long long *)scratch;
    argmax_kernel<<<dim3(parts, rows), 256, 0, stream>>>(logits, tokens, best, (unsigned int *)(best + rows),
                                                         vocab);
    return km_launched("argmax", error);
}

enum km_status km_cuda_empty(struct CUstream_st *stream, struct km_error *error)
{
    empty_kernel<<<1, 32, 0, stream>>>();
    return km_launched("empty", error);
}
