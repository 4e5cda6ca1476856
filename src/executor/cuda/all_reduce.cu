#include "executor/cuda/all_reduce.h"
#include "executor/cuda/launch.cuh"

namespace
{

constexpr uint32_t most_blocks = 64, threads = 512, meetings = 3;

__device__ void store_release(uint32_t *at, uint32_t value)
{
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}

__device__ uint32_t load_acquire(const uint32_t *at)
{
    uint32_t value;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
    return value;
}

// flags: [meetings, most_blocks, KM_CUDA_MOST_PEERS] written by the peers, then [most_blocks] rounds of the
// owner. Block b meets block b of every rank; rounds count up, so that flags need no clearing between calls
// or graph replays.
__device__ void meet(const struct km_cuda_peers &peers, uint32_t meeting, uint32_t round)
{
    __syncthreads();
    if (threadIdx.x < peers.ranks) {
        const uint32_t row = (meeting * most_blocks + blockIdx.x) * KM_CUDA_MOST_PEERS;
        store_release(peers.flags[threadIdx.x] + row + peers.rank, round);
        const uint32_t *mine = peers.flags[peers.rank] + row + threadIdx.x;
        while ((int32_t)(load_acquire(mine) - round) < 0)
            ;
    }
    __syncthreads();
}

__device__ Pack8 sum_at(const struct km_cuda_peers &peers, uint64_t pack_index)
{
    float sum[8] = {0.0f};
    // All ranks add in the same order, so that all get the same bits.
    for (uint32_t r = 0; r < peers.ranks; r++) {
        float values[8];
        unpack(((const Pack8 *)peers.data[r])[pack_index], values);
        for (int i = 0; i < 8; i++)
            sum[i] += values[i];
    }
    return pack(sum);
}

__global__ void __launch_bounds__(threads)
    all_reduce_kernel(struct km_cuda_peers peers, Pack8 *out, uint64_t packs, bool two_shot)
{
    uint32_t *rounds = peers.flags[peers.rank] + meetings * most_blocks * KM_CUDA_MOST_PEERS;
    const uint32_t round = rounds[blockIdx.x] + 1;
    const uint64_t first = blockIdx.x * (uint64_t)threads + threadIdx.x, step = (uint64_t)gridDim.x * threads;
    meet(peers, 0, round);
    if (!two_shot) {
        for (uint64_t i = first; i < packs; i += step)
            out[i] = sum_at(peers, i);
    } else {
        // The block that sums a pack is the block of the other ranks that fetches it: meeting it is enough.
        const uint64_t share = packs / peers.ranks;
        Pack8 *mine = (Pack8 *)peers.shares[peers.rank];
        for (uint64_t i = first; i < share; i += step)
            mine[i] = sum_at(peers, peers.rank * share + i);
        __threadfence_system();
        meet(peers, 1, round);
        for (uint32_t turn = 0; turn < peers.ranks; turn++) {
            uint32_t r = (peers.rank + turn) % peers.ranks; // not all from the same rank at once
            for (uint64_t i = first; i < share; i += step)
                out[r * share + i] = ((const Pack8 *)peers.shares[r])[i];
        }
    }
    meet(peers, 2, round); // nobody's message or share may change while another reads it
    if (threadIdx.x == 0)
        rounds[blockIdx.x] = round;
}

} // namespace

unsigned long km_cuda_all_reduce_flag_bytes(void)
{
    return (meetings * most_blocks * KM_CUDA_MOST_PEERS + most_blocks) * sizeof(uint32_t);
}

enum km_status km_cuda_all_reduce(struct CUstream_st *stream, const struct km_cuda_peers *peers,
                                  uint16_t *out, uint64_t values, bool two_shot, struct km_error *error)
{
    if (peers->ranks < 2 || peers->ranks > KM_CUDA_MOST_PEERS || values % (8 * peers->ranks) != 0 ||
        values == 0)
        return km_fail(error, KM_BAD_INPUT, nullptr, 0, 0, "all_reduce: %u ranks, %llu values", peers->ranks,
                       (unsigned long long)values);
    // Every block waits for its peers, so all must be resident at once: at most 64, fewer for small messages.
    uint64_t packs = values / 8, parts = two_shot ? packs / peers->ranks : packs;
    uint64_t blocks = (parts + threads - 1) / threads;
    blocks = blocks < most_blocks ? blocks : most_blocks;
    all_reduce_kernel<<<(unsigned)blocks, threads, 0, stream>>>(*peers, (Pack8 *)out, packs, two_shot);
    return km_launched("all_reduce", error);
}
