#include "ranks.hpp"

#ifdef KM_CALIBRATE_NCCL

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>

namespace
{

constexpr size_t delay_bytes = (size_t)512 << 20; // about 150 microseconds of writing
constexpr size_t start_values = 512;

// Ranks that wait for each other spin: a sleeping thread would start its launches late.
class Meeting
{
  public:
    explicit Meeting(int count) : count_(count)
    {
    }
    void wait()
    {
        const int round = round_.load();
        if (arrived_.fetch_add(1) + 1 == count_) {
            arrived_.store(0);
            round_.fetch_add(1);
            return;
        }
        while (round_.load() == round)
            std::this_thread::yield();
    }

  private:
    const int count_;
    std::atomic<int> arrived_{0}, round_{0};
};

void parallel(std::vector<Rank> &ranks, const std::function<void(Rank &)> &body)
{
    std::vector<std::thread> threads;
    for (Rank &rank : ranks)
        threads.emplace_back([&body, &rank] {
            CUDA(cudaSetDevice(rank.device));
            body(rank);
        });
    for (std::thread &thread : threads)
        thread.join();
}

} // namespace

void check_nccl(ncclResult_t status, const char *call, const char *file, int line)
{
    if (status != ncclSuccess)
        die("%s:%d: %s: %s", file, line, call, ncclGetErrorString(status));
}
#define NCCL(call) check_nccl((call), #call, __FILE__, __LINE__)

Ranks::Ranks(int count, size_t values) : all((size_t)count)
{
    // Multicast groups of a program that dies may take the GPUs of the host with them: never made here.
    if (setenv("NCCL_NVLS_ENABLE", "0", 1) != 0)
        die("cannot set NCCL_NVLS_ENABLE");
    std::vector<int> devices;
    std::vector<ncclComm_t> comms((size_t)count);
    for (int r = 0; r < count; r++)
        devices.push_back(r);
    for (int r = 0; r < count; r++) {
        Rank &rank = all[(size_t)r];
        rank.device = r;
        rank.peers = {};
        CUDA(cudaSetDevice(r));
        for (int peer = 0; peer < count; peer++) {
            int reachable = peer == r;
            if (peer != r)
                CUDA(cudaDeviceCanAccessPeer(&reachable, r, peer));
            peer_to_peer = peer_to_peer && reachable;
        }
        CUDA(cudaStreamCreateWithFlags(&rank.stream, cudaStreamNonBlocking));
        CUDA(cudaEventCreate(&rank.begin));
        CUDA(cudaEventCreate(&rank.end));
        CUDA(cudaMalloc(&rank.in, values * sizeof *rank.in));
        CUDA(cudaMalloc(&rank.out, (size_t)count * values * sizeof *rank.out));
        CUDA(cudaMalloc(&rank.delay, delay_bytes));
        fill_random(rank.in, values, 20u + (unsigned)r, rank.stream);
        rank.peers.ranks = (uint32_t)count;
        rank.peers.rank = (uint32_t)r;
        CUDA(cudaMalloc(&rank.peers.shares[r], values * sizeof *rank.in));
        CUDA(cudaMalloc(&rank.peers.flags[r], km_cuda_all_reduce_flag_bytes()));
        CUDA(cudaMemsetAsync(rank.peers.flags[r], 0, km_cuda_all_reduce_flag_bytes(), rank.stream));
        CUDA(cudaStreamSynchronize(rank.stream));
    }
    for (int r = 0; r < count; r++) {
        CUDA(cudaSetDevice(r));
        for (int peer = 0; peer < count; peer++) {
            struct km_cuda_peers &mine = all[(size_t)r].peers;
            const Rank &other = all[(size_t)peer];
            mine.data[peer] = other.in;
            mine.shares[peer] = other.peers.shares[peer];
            mine.flags[peer] = other.peers.flags[peer];
            if (!peer_to_peer || peer == r)
                continue;
            cudaError_t status = cudaDeviceEnablePeerAccess(peer, 0);
            if (status == cudaErrorPeerAccessAlreadyEnabled)
                cudaGetLastError(); // an earlier group did
            else
                CUDA(status);
        }
    }
    NCCL(ncclCommInitAll(comms.data(), count, devices.data()));
    for (int r = 0; r < count; r++)
        all[(size_t)r].comm = comms[(size_t)r];
}

Ranks::~Ranks()
{
    parallel(all, [](Rank &rank) { NCCL(ncclCommDestroy(rank.comm)); });
    for (Rank &rank : all) {
        CUDA(cudaSetDevice(rank.device));
        const uint32_t r = rank.peers.rank;
        for (void *memory : {(void *)rank.in, (void *)rank.out, rank.delay, (void *)rank.peers.shares[r],
                             (void *)rank.peers.flags[r]})
            cudaFree(memory);
        cudaEventDestroy(rank.begin);
        cudaEventDestroy(rank.end);
        cudaStreamDestroy(rank.stream);
    }
}

std::vector<double> Ranks::time(const Timing &timing, const std::function<void(const Rank &, int)> &body)
{
    const int instances = timing.instances, replays = timing.replays;
    const bool graph = timing.graph;
    Meeting meeting((int)all.size());
    std::vector<std::vector<double>> us(all.size(), std::vector<double>((size_t)replays));
    parallel(all, [&](Rank &rank) {
        cudaGraphExec_t exec = nullptr;
        // Connections and kernels are made by the first calls, which must not be captured.
        for (int i = 0; i < 2; i++)
            body(rank, i);
        CUDA(cudaMemsetAsync(rank.out, 0xff, timing.poisoned * sizeof *rank.out, rank.stream));
        CUDA(cudaStreamSynchronize(rank.stream));
        meeting.wait();
        if (graph) {
            cudaGraph_t captured;
            CUDA(cudaStreamBeginCapture(rank.stream, cudaStreamCaptureModeThreadLocal));
            for (int i = 0; i < instances; i++)
                body(rank, i);
            CUDA(cudaStreamEndCapture(rank.stream, &captured));
            CUDA(cudaGraphInstantiate(&exec, captured, 0));
            CUDA(cudaGraphDestroy(captured));
        }
        for (int r = -1; r < replays; r++) {
            meeting.wait();
            if (graph) // the launch is queued behind it
                CUDA(cudaMemsetAsync(rank.delay, 0, delay_bytes, rank.stream));
            NCCL(ncclAllReduce(rank.delay, rank.delay, start_values, ncclBfloat16, ncclSum, rank.comm,
                               rank.stream));
            CUDA(cudaEventRecord(rank.begin, rank.stream));
            if (graph)
                CUDA(cudaGraphLaunch(exec, rank.stream));
            else
                for (int i = 0; i < instances; i++)
                    body(rank, i);
            CUDA(cudaEventRecord(rank.end, rank.stream));
            CUDA(cudaEventSynchronize(rank.end));
            float ms;
            CUDA(cudaEventElapsedTime(&ms, rank.begin, rank.end));
            if (r >= 0) // the first replay warms up
                us[rank.peers.rank][(size_t)r] = 1000.0 * (double)ms / instances;
        }
        meeting.wait();
        if (exec)
            CUDA(cudaGraphExecDestroy(exec));
    });
    std::vector<double> longest = us[0];
    for (const std::vector<double> &one : us)
        for (size_t r = 0; r < longest.size(); r++)
            longest[r] = std::max(longest[r], one[r]);
    return longest;
}

#endif
