// The bench: device, random data, and the timing of work in CUDA graph replay.
#ifndef KM_CALIBRATE_BENCH_HPP
#define KM_CALIBRATE_BENCH_HPP

#include <cstdint>
#include <cuda_runtime.h>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "executor/cuda/attention_decode.h"
#include "executor/cuda/gemm.h"
#include "executor/cuda/kernels.h"
#include "executor/cuda/sdpa.h"
}

// A benchmark has nobody to recover for: report and exit with code 2.
[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_cuda(cudaError_t status, const char *call, const char *file, int line);
#define CUDA(call) check_cuda((call), #call, __FILE__, __LINE__)
void check_km(enum km_status status, const struct km_error &error);

struct Sample {
    double us = 0.0, spread = 0.0; // median; half the distance between the 16th and 84th percentile
};

// What NVML says; zeros where it is not present.
struct Health {
    unsigned sm_mhz = 0, memory_mhz = 0, celsius = 0;
    double watts = 0.0, joules = 0.0; // joules: since the driver was loaded
};

class Bench
{
  public:
    explicit Bench(int device);
    ~Bench();
    Bench(const Bench &) = delete;
    Bench &operator=(const Bench &) = delete;

    // How a time is taken. `body(i)` enqueues instance i, each on its own inputs; `estimate_us` sizes the
    // graph.
    struct Work {
        double estimate_us;
        int most_instances; // distinct inputs there are
        std::function<void(int)> body;
        int least_instances = 1;
    };
    // How many instances a burst will run: inputs to prepare.
    static int instances(double estimate_us, int most)
    {
        return instances_for({estimate_us, most, nullptr, 1}, 400.0);
    }
    static int instances_per(const Work &work, double graph_us)
    {
        return instances_for(work, graph_us);
    }
    // Short bursts: caches are scrubbed before each replay, and the device idles before long bursts.
    Sample burst(const Work &work);
    // Under continuous load: replayed for `seconds`, the second half counts.
    Sample sustained(const Work &work, double seconds);
    // Median time of each replay's instance in order, over `seconds` after `idle_s` of rest: how a load
    // settles.
    std::vector<double> settle(const Work &work, double idle_s, double seconds);

    // Random bf16 in [-1, 1): `pool_values` of them.
    uint16_t *pool = nullptr;
    static constexpr size_t pool_values = (size_t)4 << 30;
    uint8_t *pool8 = nullptr; // random finite e4m3, |x| <= 1
    static constexpr size_t pool8_values = (size_t)2 << 30;
    uint16_t *out = nullptr; // results
    static constexpr size_t out_values = (size_t)2 << 30;
    void *scratch = nullptr; // decode attention and argmax, zeroed
    static constexpr size_t scratch_bytes = (size_t)4 << 30;
    void *workspace = nullptr; // cuDNN's
    static constexpr size_t workspace_bytes = (size_t)2 << 30;

    cudaStream_t stream = nullptr;
    struct km_cuda_blas *blas = nullptr;
    struct km_cuda_dnn *dnn = nullptr;
    cudaDeviceProp properties = {};
    Health health() const;
    std::string driver() const;
    double idle_s = 0.0; // slept so far
    // cuDNN's plans built ahead, by shape, with the handles they were built with (attention_class.cpp).
    std::vector<std::shared_ptr<struct km_cuda_dnn>> planners;
    std::map<std::string, std::shared_ptr<struct km_cuda_sdpa>> plans;

  private:
    cudaGraphExec_t capture(const Work &work, int instances);
    static int instances_for(const Work &work, double graph_us);
    float replay(cudaGraphExec_t graph);
    void scrub();
    void *scrub_ = nullptr;
    cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

// Where instance i of inputs of `values` each begins in a pool, so that instances do not overlap while there
// is room.
inline size_t rotate(size_t pool, size_t values, int i)
{
    size_t aligned = (values + 63) / 64 * 64, copies = pool / aligned;
    return copies ? (size_t)i % copies * aligned : 0;
}

double median(std::vector<double> values);
double quantile(std::vector<double> values, double q);
void fill_random(uint16_t *values, size_t count, uint32_t seed, cudaStream_t stream);
void fill_random8(uint8_t *values, size_t count, uint32_t seed, cudaStream_t stream);
float from_bf16(uint16_t value);
float from_e4m3(uint8_t bits);
uint16_t to_bf16(float value);

#endif
