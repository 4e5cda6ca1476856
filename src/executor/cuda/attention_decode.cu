#include "executor/cuda/attention_decode.h"
#include "executor/cuda/kernels.h"
#include "executor/cuda/launch.cuh"

#include <algorithm>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <math.h>

namespace
{

constexpr int page_tokens = KM_CUDA_PAGE_TOKENS;
static_assert(page_tokens == 16, "a page is one tile of the tensor cores");
constexpr int warps = 4, tile_rows = 16;
// Pages that a warp has on the way: as many bytes in either format.
template <bool Fp8> constexpr int stages = Fp8 ? 6 : 3;
constexpr uint32_t most_splits = 64;
constexpr uint32_t most_counters =
    1u << 20; // sequences times heads; at a fixed place, so that calls of all sizes share scratch

struct Split {
    uint32_t count, pages, group, tiles; // parts of the longest sequence, pages of a part; heads of a KV head
};

__device__ inline void copy_16(uint32_t shared, const void *global, bool wanted)
{
    int bytes = wanted ? 16 : 0; // the rest is filled with zeros
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes));
}

__device__ inline void load_matrices(uint32_t (&r)[4], uint32_t shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared));
}

__device__ inline void load_transposed(uint32_t (&r)[4], uint32_t shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared));
}

__device__ inline void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline uint32_t two(float low, float high)
{
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *(uint32_t *)&pair;
}

// fp8 is widened to fp16, which holds it exactly.
__device__ inline void multiply_half(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline uint32_t two_halves(float low, float high)
{
    __half2 pair = __floats2half2_rn(low, high);
    return *(uint32_t *)&pair;
}

__device__ inline uint32_t widen(uint32_t pair) // the two e4m3 in the lower half
{
    __half2_raw wide = __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)pair, __NV_E4M3);
    return *(uint32_t *)&wide;
}

__device__ inline uint32_t word_at(uint32_t shared)
{
    uint32_t word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(shared));
    return word;
}

// The same tile of single bytes: 16-byte chunks hold 16 dimensions of a token.
template <int Dim> __device__ inline uint32_t chunk8_at(uint32_t tile, int row, int chunk)
{
    const int turned = Dim == 128 ? chunk ^ (row & 7) : chunk ^ (row / 2 & 3);
    return tile + (uint32_t)(row * Dim + turned * 16);
}

// Rows of a tile of keys or values in shared memory, their 16-byte chunks permuted so that the eight rows
// that a matrix load touches lie in different banks.
template <int Dim> __device__ inline uint32_t chunk_at(uint32_t tile, int row, int chunk)
{
    return tile + (uint32_t)(row * Dim * 2 + ((chunk ^ (row & 7)) * 16));
}

template <int Dim> struct Partial { // of one part of a sequence and one query head
    float *values;                  // [Dim], divided by the sum
    float *weight;                  // log2 of the sum of exponentials
};

template <int Dim>
__device__ Partial<Dim> partial(const struct km_cuda_attention_decode &args, uint32_t sequence, uint32_t head,
                                uint32_t part)
{
    float *base = (float *)((uint32_t *)args.scratch + most_counters);
    size_t at = ((size_t)sequence * args.heads + head) * most_splits + part;
    return {base + (size_t)args.batch * args.heads * most_splits + at * Dim, base + at};
}

// What one warp has gathered: rows g = lane / 4 and g + 8 of the tile, each lane two columns of every eight.
template <int Dim> struct Sums {
    float out[Dim / 8][4] = {};
    float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
};

// Scores of a tile's 16 tokens. In fp8 a lane reads four neighbouring dimensions of a token at once; which of
// the tile's dimensions they stand for does not matter, as long as the queries are laid out alike
// (load_queries).
template <int Dim, bool Fp8>
__device__ inline void score(float (&scores)[2][4], const uint32_t (&q)[Dim / 16][4], uint32_t keys)
{
    const int lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
#pragma unroll
    for (int step = 0; step < Dim / 16; step++) {
        if constexpr (Fp8) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                uint32_t word = word_at(chunk8_at<Dim>(keys, lane / 4 + 8 * half, step) + lane % 4 * 4);
                multiply_half(scores[half], q[step], widen(word), widen(word >> 16));
            }
        } else {
            uint32_t k[4];
            load_matrices(k, chunk_at<Dim>(keys, row + matrix / 2 * 8, 2 * step + matrix % 2));
            multiply(scores[0], q[step], k[0], k[1]);
            multiply(scores[1], q[step], k[2], k[3]);
        }
    }
}

// Adds the tile's values, each times its share. In fp8 a lane reads four neighbouring dimensions of four
// tokens and puts the tokens side by side; column n of sums.out[4 * block + j] is then dimension 32 * block +
// 4 * n + j.
template <int Dim, bool Fp8>
__device__ inline void add_values(Sums<Dim> &sums, const float (&scores)[2][4], uint32_t values)
{
    const int lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
    if constexpr (Fp8) {
        const uint32_t shares[4] = {
            two_halves(scores[0][0], scores[0][1]), two_halves(scores[0][2], scores[0][3]),
            two_halves(scores[1][0], scores[1][1]), two_halves(scores[1][2], scores[1][3])};
#pragma unroll
        for (int block = 0; block < Dim / 32; block++) {
            uint32_t pairs[2][2]; // tokens 2c, 2c + 1 (and + 8): dimensions 0 and 1, 2 and 3
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int token = lane % 4 * 2 + 8 * half, chunk = 2 * block + lane / 16, at = lane / 4 % 4 * 4;
                uint32_t first = word_at(chunk8_at<Dim>(values, token, chunk) + at),
                         second = word_at(chunk8_at<Dim>(values, token + 1, chunk) + at);
                pairs[half][0] = __byte_perm(first, second, 0x5140);
                pairs[half][1] = __byte_perm(first, second, 0x7362);
            }
#pragma unroll
            for (int j = 0; j < 4; j++)
                multiply_half(sums.out[4 * block + j], shares, widen(pairs[0][j / 2] >> 16 * (j % 2)),
                              widen(pairs[1][j / 2] >> 16 * (j % 2)));
        }
    } else {
        const uint32_t shares[4] = {two(scores[0][0], scores[0][1]), two(scores[0][2], scores[0][3]),
                                    two(scores[1][0], scores[1][1]), two(scores[1][2], scores[1][3])};
#pragma unroll
        for (int step = 0; step < Dim / 16; step++) {
            uint32_t v[4];
            load_transposed(v, chunk_at<Dim>(values, row + matrix % 2 * 8, 2 * step + matrix / 2));
            multiply(sums.out[2 * step], shares, v[0], v[1]);
            multiply(sums.out[2 * step + 1], shares, v[2], v[3]);
        }
    }
}

template <int Dim, bool Fp8>
__device__ inline void attend(Sums<Dim> &sums, const uint32_t (&q)[Dim / 16][4], uint32_t keys,
                              uint32_t values, int tokens, float scale)
{
    const int lane = threadIdx.x % 32;
    float scores[2][4] = {};
    score<Dim, Fp8>(scores, q, keys);
    float largest[2] = {sums.largest[0], sums.largest[1]};
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int token = i / 4 * 8 + lane % 4 * 2 + i % 2;
        float &score = scores[i / 4][i % 4];
        score = token < tokens ? score * scale : -INFINITY;
        largest[i % 4 / 2] = fmaxf(largest[i % 4 / 2], score);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        largest[r] = fmaxf(largest[r], __shfl_xor_sync(~0u, largest[r], 1));
        largest[r] = fmaxf(largest[r], __shfl_xor_sync(~0u, largest[r], 2));
        float shrink = exp2f(sums.largest[r] - largest[r]);
        sums.largest[r] = largest[r];
        sums.sum[r] *= shrink;
#pragma unroll
        for (int d = 0; d < Dim / 8; d++) {
            sums.out[d][2 * r] *= shrink;
            sums.out[d][2 * r + 1] *= shrink;
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float &score = scores[i / 4][i % 4];
        score = exp2f(score - largest[i % 4 / 2]);
        sums.sum[i % 4 / 2] += score;
    }
    add_values<Dim, Fp8>(sums, scores, values);
}

// Adds up the block's warps; the result of each row goes out, or to scratch when there are several parts.
template <int Dim, bool Fp8>
__device__ void finish_block(const struct km_cuda_attention_decode &args, const Split &split, Sums<Dim> &sums,
                             char *shared, uint32_t first_head, uint32_t rows, uint32_t parts)
{
    float *values = (float *)shared;                            // [warps, 16, Dim]
    float *largest = values + warps * tile_rows * Dim;          // [warps, 16]
    float *sum = largest + warps * tile_rows;                   // [warps, 16]
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32; // the page buffers are free again
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sums.sum[r] += __shfl_xor_sync(~0u, sums.sum[r], 1);
        sums.sum[r] += __shfl_xor_sync(~0u, sums.sum[r], 2);
        int row = warp * tile_rows + lane / 4 + 8 * r;
        if (lane % 4 == 0) {
            largest[row] = sums.largest[r];
            sum[row] = sums.sum[r];
        }
#pragma unroll
        for (int d = 0; d < Dim / 8; d++) {
            if constexpr (Fp8) {
                float *at = &values[row * Dim + d / 4 * 32 + lane % 4 * 8 + d % 4];
                at[0] = args.value_scale * sums.out[d][2 * r];
                at[4] = args.value_scale * sums.out[d][2 * r + 1];
            } else {
                *(float2 *)&values[row * Dim + d * 8 + lane % 4 * 2] =
                    make_float2(sums.out[d][2 * r], sums.out[d][2 * r + 1]);
            }
        }
    }
    __syncthreads();
    const uint32_t sequence = blockIdx.z, part = blockIdx.x;
    for (uint32_t i = threadIdx.x; i < rows * Dim; i += blockDim.x) {
        uint32_t row = i / Dim, d = i % Dim;
        float top = -INFINITY, total = 0.0f, value = 0.0f;
        for (int w = 0; w < warps; w++)
            top = fmaxf(top, largest[w * tile_rows + row]);
        for (int w = 0; w < warps; w++) {
            float weight = exp2f(largest[w * tile_rows + row] - top);
            total += weight * sum[w * tile_rows + row];
            value += weight * values[(w * tile_rows + row) * Dim + d];
        }
        uint32_t head = first_head + row;
        if (parts == 1) {
            ((__nv_bfloat16 *)args.out)[((size_t)sequence * args.heads + head) * Dim + d] =
                __float2bfloat16(value / total);
            continue;
        }
        Partial<Dim> mine = partial<Dim>(args, sequence, head, part);
        mine.values[d] = value / total;
        if (d == 0)
            *mine.weight = top + log2f(total);
    }
    if (parts == 1)
        return;
    // The last part to arrive adds up all of them.
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    uint32_t *arrived = (uint32_t *)args.scratch + (size_t)sequence * args.heads + first_head;
    if (threadIdx.x == 0)
        last = atomicAdd(arrived, 1u) + 1u == parts;
    __syncthreads();
    if (!last)
        return;
    __threadfence();
    if (threadIdx.x == 0)
        *arrived = 0;
    // All weights at once, then all values of a result at once: loads that wait for each other would cost
    // most of the time of a short context.
    __shared__ float weights[tile_rows][most_splits];
    for (uint32_t i = threadIdx.x; i < rows * parts; i += blockDim.x)
        weights[i / parts][i % parts] =
            __ldcg(partial<Dim>(args, sequence, first_head + i / parts, i % parts).weight);
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < rows * (Dim / 4); i += blockDim.x) {
        uint32_t row = i / (Dim / 4), d = i % (Dim / 4) * 4, head = first_head + row;
        float top = -INFINITY, total = 0.0f;
        float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        for (uint32_t p = 0; p < parts; p++)
            top = fmaxf(top, weights[row][p]);
#pragma unroll 8
        for (uint32_t p = 0; p < parts; p++) {
            float4 other = __ldcg((const float4 *)(partial<Dim>(args, sequence, head, p).values + d));
            float weight = exp2f(weights[row][p] - top);
            total += weight;
            value.x += weight * other.x;
            value.y += weight * other.y;
            value.z += weight * other.z;
            value.w += weight * other.w;
        }
        __nv_bfloat162 *out =
            (__nv_bfloat162 *)((__nv_bfloat16 *)args.out + ((size_t)sequence * args.heads + head) * Dim + d);
        out[0] = __floats2bfloat162_rn(value.x / total, value.y / total);
        out[1] = __floats2bfloat162_rn(value.z / total, value.w / total);
    }
}

template <int Dim, bool Fp8>
__global__ void __launch_bounds__(warps * 32, 2)
    decode_kernel(struct km_cuda_attention_decode args, Split split)
{
    extern __shared__ __align__(128) char shared[];
    constexpr int value_bytes = Fp8 ? 1 : 2, stages = ::stages<Fp8>;
    constexpr int row_chunks = Dim * value_bytes / 16, tile_bytes = page_tokens * Dim * value_bytes;
    constexpr int chunks = page_tokens * row_chunks;
    const uint32_t sequence = blockIdx.z, kv_head = blockIdx.y / split.tiles, tile = blockIdx.y % split.tiles;
    const uint32_t first_head = kv_head * split.group + tile * tile_rows;
    const uint32_t rows = min((uint32_t)tile_rows, split.group - tile * tile_rows);
    const int context = args.contexts[sequence], pages = (context + page_tokens - 1) / page_tokens;
    const uint32_t parts = (pages + split.pages - 1) / split.pages;
    if (blockIdx.x >= parts)
        return;
    const int begin = (int)(blockIdx.x * split.pages), end = min(pages, begin + (int)split.pages);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t buffers = (uint32_t)__cvta_generic_to_shared(shared) + warp * stages * 2 * tile_bytes;
    const int32_t *table = args.page_table + (size_t)sequence * args.table_pages;

    int32_t upcoming = 0; // lane i holds the page of this warp's (32 * n + i)-th turn
    auto fetch = [&](int turn) {
        int page = begin + warp + turn * warps;
        if (turn % 32 == 0) {
            int mine = begin + warp + (turn + lane) * warps;
            upcoming = mine < end ? table[mine] : 0;
        }
        if (page < end) {
            size_t at =
                ((size_t)__shfl_sync(~0u, upcoming, turn % 32) * args.kv_heads + kv_head) * tile_bytes;
            uint32_t to = buffers + turn % stages * 2 * tile_bytes;
#pragma unroll
            for (int c = lane; c < chunks; c += 32) {
                int row = c / row_chunks, chunk = c % row_chunks;
                bool wanted = page * page_tokens + row < context;
                uint32_t place = Fp8 ? chunk8_at<Dim>(to, row, chunk) : chunk_at<Dim>(to, row, chunk);
                copy_16(place, (const char *)args.keys + at + c * 16, wanted);
                copy_16(place + tile_bytes, (const char *)args.values + at + c * 16, wanted);
            }
        }
        asm volatile("cp.async.commit_group;");
    };
    for (int turn = 0; turn < stages - 1; turn++)
        fetch(turn);

    uint32_t q[Dim / 16][4];
#pragma unroll
    for (int step = 0; step < Dim / 16; step++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t row = lane / 4 + i % 2 * 8;
            int first = Fp8 ? lane % 4 * 4 + i / 2 * 2 : i / 2 * 8 + lane % 4 * 2;
            size_t at =
                (size_t)sequence * args.q_row_values + (size_t)(first_head + row) * Dim + step * 16 + first;
            q[step][i] = row < rows ? *(const uint32_t *)(args.q + at) : 0;
            if constexpr (Fp8) {
                float2 pair = __bfloat1622float2(*(__nv_bfloat162 *)&q[step][i]);
                q[step][i] = two_halves(pair.x, pair.y);
            }
        }

    Sums<Dim> sums;
    const float scale =
        rsqrtf((float)Dim) * 1.44269504f * (Fp8 ? args.key_scale : 1.0f); // exponentials to the base 2
    for (int turn = 0; begin + warp + turn * warps < end; turn++) {
        fetch(turn + stages - 1);
        asm volatile("cp.async.wait_group %0;" ::"n"(stages - 1));
        __syncwarp();
        int page = begin + warp + turn * warps;
        uint32_t keys = buffers + turn % stages * 2 * tile_bytes;
        attend<Dim, Fp8>(sums, q, keys, keys + tile_bytes, context - page * page_tokens, scale);
        __syncwarp();
    }
    asm volatile("cp.async.wait_group 0;");
    __syncthreads();
    finish_block<Dim, Fp8>(args, split, sums, shared, first_head, rows, parts);
}

// Into how many parts to divide the longest sequence. A block's slot on a multiprocessor takes a page in
// page_us when all slots are busy and no less than alone_us when few are (fp8 moves half the bytes with as
// many instructions); a block takes start_us to begin and end and merge_us to leave its part to others. The
// figures are an H200's and set only the trade, not the result.
Split choose_split(const struct km_cuda_attention_decode &args, uint32_t slots)
{
    Split best = {};
    best.group = args.heads / args.kv_heads;
    best.tiles = (best.group + tile_rows - 1) / tile_rows;
    const uint32_t pages = (args.max_context + page_tokens - 1) / page_tokens;
    const double base = (double)args.batch * args.kv_heads * best.tiles, page_us = args.fp8 ? 0.25 : 0.5,
                 alone_us = args.fp8 ? 0.15 : 0.125, start_us = 3.0, merge_us = 3.0;
    double least = INFINITY;
    for (uint32_t parts = 1; parts <= most_splits && parts <= (pages + warps - 1) / warps; parts++) {
        uint32_t each = (pages + parts - 1) / parts;
        if ((pages + each - 1) / each != parts)
            continue;
        double filled = base * parts / slots, full = floor(filled), rest = filled - full;
        double block_us = start_us + (parts > 1 ? merge_us : 0.0);
        double cost = full * (block_us + each * page_us);
        if (rest > 0.0) // the last wave has the device's bandwidth to itself
            cost += block_us + each * fmax(alone_us, page_us * rest);
        if (cost < least) {
            least = cost;
            best.count = parts;
            best.pages = each;
        }
    }
    return best;
}

template <int Dim, bool Fp8>
enum km_status launch(struct CUstream_st *stream, const struct km_cuda_attention_decode &args,
                      struct km_error *error)
{
    constexpr int page_bytes = warps * stages<Fp8> * 2 * page_tokens * Dim * (Fp8 ? 1 : 2);
    constexpr int sum_bytes = warps * tile_rows * (Dim + 2) * 4;
    constexpr int bytes = page_bytes > sum_bytes ? page_bytes : sum_bytes;
    int device, multiprocessors;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
    if (status == cudaSuccess)
        status =
            cudaFuncSetAttribute(decode_kernel<Dim, Fp8>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (status != cudaSuccess)
        return km_fail(error, KM_IO, nullptr, 0, 0, "attention_decode: %s", cudaGetErrorString(status));
    Split split = choose_split(args, 2 * (uint32_t)multiprocessors);
    dim3 grid(split.count, args.kv_heads * split.tiles, args.batch);
    decode_kernel<Dim, Fp8><<<grid, warps * 32, bytes, stream>>>(args, split);
    return km_launched("attention_decode", error);
}

} // namespace

uint64_t km_cuda_attention_decode_scratch_bytes(uint32_t batch, uint32_t heads, uint32_t head_dim)
{
    // The counters, and most_splits partial results and weights a sequence and head.
    return most_counters * sizeof(uint32_t) +
           (uint64_t)batch * heads * most_splits * (head_dim + 1) * sizeof(float);
}

enum km_status km_cuda_attention_decode(struct CUstream_st *stream,
                                        const struct km_cuda_attention_decode *args, struct km_error *error)
{
    if (args->kv_heads == 0 || args->heads % args->kv_heads != 0 || args->batch == 0 || args->batch > 65535 ||
        (uint64_t)args->batch * args->heads > most_counters)
        return km_fail(error, KM_BAD_INPUT, nullptr, 0, 0,
                       "attention_decode: heads %u, kv_heads %u, batch %u", args->heads, args->kv_heads,
                       args->batch);
    if (args->head_dim == 128)
        return args->fp8 ? launch<128, true>(stream, *args, error) : launch<128, false>(stream, *args, error);
    if (args->head_dim == 64)
        return args->fp8 ? launch<64, true>(stream, *args, error) : launch<64, false>(stream, *args, error);
    return km_fail(error, KM_BAD_INPUT, nullptr, 0, 0, "attention_decode does head_dim 64 and 128, not %u",
                   args->head_dim);
}
