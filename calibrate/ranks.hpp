// Ranks of a collective: one process, a thread for each GPU.
#ifndef KM_CALIBRATE_RANKS_HPP
#define KM_CALIBRATE_RANKS_HPP

#ifdef KM_CALIBRATE_NCCL

#include "bench.hpp"

#include <nccl.h>

extern "C" {
#include "executor/cuda/all_reduce.h"
}

void check_nccl(ncclResult_t status, const char *call, const char *file, int line);

struct Rank {
    int device = 0;
    cudaStream_t stream = nullptr;
    cudaEvent_t begin = nullptr, end = nullptr;
    ncclComm_t comm = nullptr;
    uint16_t *in = nullptr;     // random values in [-1, 1)
    uint16_t *out = nullptr;    // as many for each rank
    void *delay = nullptr;      // written while the launches of a graph are queued
    struct km_cuda_peers peers; // of this rank; its messages are `in`
};

class Ranks
{
  public:
    // GPUs 0 to count - 1, with messages of up to `values`. NVLink multicast stays off.
    Ranks(int count, size_t values);
    ~Ranks();
    Ranks(const Ranks &) = delete;
    Ranks &operator=(const Ranks &) = delete;

    struct Timing {
        int instances, replays;
        bool graph;
        size_t poisoned; // results of every rank that become NaN before what is timed
    };
    // Microseconds of an instance, replay by replay, of the rank that took longest. All ranks start
    // together, behind a small collective. body(rank, i) enqueues instance i.
    std::vector<double> time(const Timing &timing, const std::function<void(const Rank &, int)> &body);

    std::vector<Rank> all;
    bool peer_to_peer = true; // every GPU reads every other's memory
};

#endif

#endif
