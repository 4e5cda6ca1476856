#include "classes.hpp"
#include "ranks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#ifdef KM_CALIBRATE_NCCL

namespace
{

constexpr double least_bytes = 1024.0, most_bytes = 1073741824.0;
constexpr double most_own_bytes = 67108864.0; // own kernels: for small messages
// Up to here every value is compared with the CPU's.
constexpr size_t most_checked_bytes = (size_t)16 << 20;
constexpr double graph_us = 400.0;
// Each of up to eight ranks adds a rounding to bf16 (2^-9 at most, a third of it in the mean).
constexpr double sum_tolerance = 5e-3;

#define NCCL(call) check_nccl((call), #call, __FILE__, __LINE__)

enum class Kind { all_reduce, all_gather, reduce_scatter, all_to_all, send_recv, one_shot, two_shot };

struct Collective {
    Kind kind;
    const char *name, *implementation;
};
const Collective collectives[] = {{Kind::all_reduce, "all_reduce", "nccl"},
                                  {Kind::one_shot, "all_reduce", "one_shot"},
                                  {Kind::two_shot, "all_reduce", "two_shot"},
                                  {Kind::all_gather, "all_gather", "nccl"},
                                  {Kind::reduce_scatter, "reduce_scatter", "nccl"},
                                  {Kind::all_to_all, "all_to_all", "nccl"},
                                  {Kind::send_recv, "send_recv", "nccl"}};

bool own(Kind kind)
{
    return kind == Kind::one_shot || kind == Kind::two_shot;
}

Shape collective_shape(const Collective &one, const char *mode, double ranks, double bytes)
{
    return {"collective",
            {{"kind", one.name}, {"implementation", one.implementation}, {"mode", mode}},
            {{"ranks", ranks}, {"bytes", bytes}}};
}

// Enqueues instance i on one rank. Messages between two ranks go back and forth: in one direction the sender
// would run ahead and the time would be that of a pipeline.
void enqueue(const Rank &rank, Kind kind, size_t values, int i)
{
    const size_t ranks = rank.peers.ranks, part = values / ranks;
    struct km_error error;
    switch (kind) {
    case Kind::all_reduce:
        NCCL(ncclAllReduce(rank.in, rank.out, values, ncclBfloat16, ncclSum, rank.comm, rank.stream));
        break;
    case Kind::all_gather:
        NCCL(ncclAllGather(rank.in, rank.out, values, ncclBfloat16, rank.comm, rank.stream));
        break;
    case Kind::reduce_scatter:
        NCCL(ncclReduceScatter(rank.in, rank.out, part, ncclBfloat16, ncclSum, rank.comm, rank.stream));
        break;
    case Kind::all_to_all:
        NCCL(ncclGroupStart());
        for (size_t r = 0; r < ranks; r++) {
            NCCL(ncclSend(rank.in + r * part, part, ncclBfloat16, (int)r, rank.comm, rank.stream));
            NCCL(ncclRecv(rank.out + r * part, part, ncclBfloat16, (int)r, rank.comm, rank.stream));
        }
        NCCL(ncclGroupEnd());
        break;
    case Kind::send_recv:
        if (rank.peers.rank == (uint32_t)i % 2)
            NCCL(ncclSend(rank.in, values, ncclBfloat16, (i + 1) % 2, rank.comm, rank.stream));
        else
            NCCL(ncclRecv(rank.out, values, ncclBfloat16, i % 2, rank.comm, rank.stream));
        break;
    case Kind::one_shot:
    case Kind::two_shot:
        check_km(
            km_cuda_all_reduce(rank.stream, &rank.peers, rank.out, values, kind == Kind::two_shot, &error),
            error);
        break;
    }
}

// What rank `me` must hold: one value per place of `out`.
std::vector<double> expected(const std::vector<std::vector<uint16_t>> &in, Kind kind, size_t me)
{
    const size_t ranks = in.size(), values = in[0].size(), part = values / ranks;
    std::vector<double> wanted;
    auto copy = [&](size_t r, size_t first, size_t count) {
        for (size_t i = first; i < first + count; i++)
            wanted.push_back((double)from_bf16(in[r][i]));
    };
    auto sum = [&](size_t first, size_t count) {
        for (size_t i = first; i < first + count; i++) {
            double total = 0.0;
            for (size_t r = 0; r < ranks; r++)
                total += (double)from_bf16(in[r][i]);
            wanted.push_back(total);
        }
    };
    switch (kind) {
    case Kind::all_gather:
        for (size_t r = 0; r < ranks; r++)
            copy(r, 0, values);
        break;
    case Kind::reduce_scatter:
        sum(me * part, part);
        break;
    case Kind::all_to_all:
        for (size_t r = 0; r < ranks; r++)
            copy(r, me * part, part);
        break;
    case Kind::send_recv:
        copy(1 - me, 0, values);
        break;
    case Kind::all_reduce:
    case Kind::one_shot:
    case Kind::two_shot:
        sum(0, values);
        break;
    }
    return wanted;
}

void verify(const Ranks &group, const Shape &shape, Kind kind, size_t values)
{
    std::vector<std::vector<uint16_t>> in;
    for (const Rank &rank : group.all)
        in.push_back(fetch(rank.in, values));
    const bool sums = kind != Kind::all_gather && kind != Kind::all_to_all && kind != Kind::send_recv;
    for (size_t me = 0; me < in.size(); me++) {
        const std::vector<double> wanted = expected(in, kind, me);
        const std::vector<uint16_t> got = fetch(group.all[me].out, wanted.size());
        double difference = 0.0, size = 0.0;
        for (size_t i = 0; i < wanted.size(); i++) {
            double off = (double)from_bf16(got[i]) - wanted[i];
            if (!std::isfinite(off))
                die("%s: rank %zu: result %zu is not a number", shape.key().c_str(), me, i);
            difference += off * off;
            size += wanted[i] * wanted[i];
        }
        double relative = std::sqrt(difference / size);
        if (!(relative <= (sums ? sum_tolerance : 0.0)))
            die("%s: rank %zu: relative error %.2e", shape.key().c_str(), me, relative);
    }
}

// Results are first computed in the way that is timed, and compared.
Sample measure_collective(Ranks &group, const Shape &shape, Kind kind, bool graph)
{
    const size_t values = (size_t)shape.size("bytes") / sizeof(uint16_t);
    const size_t results = kind == Kind::all_gather ? group.all.size() * values : values;
    auto body = [&](const Rank &rank, int i) { enqueue(rank, kind, values, i); };
    // Two: both directions of a message between two ranks.
    std::vector<double> first = group.time({2, 3, graph, results}, body);
    if (values * sizeof(uint16_t) <= most_checked_bytes)
        verify(group, shape, kind, values);
    const double estimate_us = std::max(0.5, median(first));
    const int instances = Bench::instances_per({estimate_us, 128, nullptr, 2}, graph_us) / 2 * 2;
    const int replays = std::max(5, std::min(15, (int)(6000.0 / (estimate_us * instances))));
    std::vector<double> us = group.time({instances, replays, graph, 0}, body);
    return {median(us), 0.5 * (quantile(us, 0.84) - quantile(us, 0.16))};
}

} // namespace

void collective_class(Bench &bench, Tables &tables, const Ceilings &, const Plan &plan)
{
    int devices, present;
    CUDA(cudaGetDevice(&present));
    CUDA(cudaGetDeviceCount(&devices));
    if (devices < 2)
        fprintf(stderr, "collective: one GPU alone has none\n");
    for (int ranks = 2; ranks <= std::min(devices, KM_CUDA_MOST_PEERS); ranks *= 2) {
        Ranks group(ranks, (size_t)most_bytes / sizeof(uint16_t));
        for (const Collective &one : collectives) {
            if ((one.kind == Kind::send_recv && ranks > 2) || (own(one.kind) && !group.peer_to_peer))
                continue;
            for (const char *mode : {"graph", "eager"})
                for (double bytes = least_bytes; bytes <= (own(one.kind) ? most_own_bytes : most_bytes);
                     bytes *= plan.quick ? 64.0 : 2.0) {
                    const Shape shape = collective_shape(one, mode, ranks, bytes);
                    if (!tables.has(shape))
                        tables.add(shape, measure_collective(group, shape, one.kind, mode[0] == 'g'));
                }
            fprintf(stderr, "collective: %s (%s), %d ranks\n", one.name, one.implementation, ranks);
        }
    }
    CUDA(cudaSetDevice(present));
    CUDA(cudaStreamSynchronize(bench.stream));
}

std::string nccl_version()
{
    int version;
    NCCL(ncclGetVersion(&version));
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
}

#else

void collective_class(Bench &, Tables &, const Ceilings &, const Plan &)
{
    fprintf(stderr, "collective: built without NCCL\n");
}

std::string nccl_version()
{
    return "none";
}

#endif
