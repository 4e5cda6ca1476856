#include "bench.hpp"
#include "nvml.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("kingman-calibrate: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void check_cuda(cudaError_t status, const char *call, const char *file, int line)
{
    if (status != cudaSuccess)
        die("%s:%d: %s: %s", file, line, call, cudaGetErrorString(status));
}

void check_km(enum km_status status, const struct km_error &error)
{
    if (status != KM_OK)
        die("%s", error.message);
}

double quantile(std::vector<double> values, double q)
{
    if (values.empty())
        return 0.0;
    std::sort(values.begin(), values.end());
    double at = q * (double)(values.size() - 1);
    size_t low = (size_t)at;
    return low + 1 < values.size() ? values[low] + (at - (double)low) * (values[low + 1] - values[low])
                                   : values[low];
}

double median(std::vector<double> values)
{
    return quantile(std::move(values), 0.5);
}

float from_bf16(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

float from_e4m3(uint8_t bits)
{
    float magnitude = std::ldexp(bits >> 3 & 15 ? 8.0f + (bits & 7) : 2.0f * (bits & 7),
                                 ((bits >> 3) & 15 ? (bits >> 3 & 15) : 0) - 10);
    return bits & 0x80 ? -magnitude : magnitude;
}

uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

Bench::Bench(int device)
{
    struct km_error error;
    int count = 0;
    const cudaError_t found = cudaGetDeviceCount(&count);
    if (found != cudaSuccess || count == 0)
        die("no CUDA device: %s", cudaGetErrorString(found == cudaSuccess ? cudaErrorNoDevice : found));
    if (device >= count)
        die("--gpu: %d is none of the %d CUDA devices, which count from 0", device, count);
    CUDA(cudaSetDevice(device));
    CUDA(cudaGetDeviceProperties(&properties, device));
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA(cudaEventCreate(&begin_));
    CUDA(cudaEventCreate(&end_));
    check_km(km_cuda_blas_create(&blas, &error), error);
    check_km(km_cuda_dnn_create(&dnn, &error), error);
    CUDA(cudaMalloc(&pool, pool_values * sizeof *pool));
    CUDA(cudaMalloc(&pool8, pool8_values));
    CUDA(cudaMalloc(&out, out_values * sizeof *out));
    CUDA(cudaMalloc(&scratch, scratch_bytes));
    CUDA(cudaMalloc(&workspace, workspace_bytes));
    const size_t scrubbed = 3 * (size_t)properties.l2CacheSize;
    CUDA(cudaMalloc(&scrub_, scrubbed + 16));
    CUDA(cudaMemsetAsync(scratch, 0, scratch_bytes, stream));
    fill_random(pool, pool_values, 1, stream);
    fill_random8(pool8, pool8_values, 2, stream);
    fill_random(out, out_values, 3, stream);
    fill_random((uint16_t *)scrub_, scrubbed / sizeof(uint16_t), 4, stream);
    CUDA(cudaStreamSynchronize(stream));
}

Bench::~Bench()
{
    for (void *memory : {(void *)pool, (void *)pool8, (void *)out, scratch, workspace, scrub_})
        cudaFree(memory);
    plans.clear();
    planners.clear();
    km_cuda_dnn_destroy(dnn);
    km_cuda_blas_destroy(blas);
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream);
}

Health Bench::health() const
{
    char bus[32];
    Health result;
    snprintf(bus, sizeof bus, "%08x:%02x:%02x.0", (unsigned)properties.pciDomainID,
             (unsigned)properties.pciBusID, (unsigned)properties.pciDeviceID);
    nvml_health(bus, &result);
    return result;
}

std::string Bench::driver() const
{
    return nvml_driver();
}

cudaGraphExec_t Bench::capture(const Work &work, int instances)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < instances; i++)
        work.body(i);
    CUDA(cudaStreamEndCapture(stream, &graph));
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CUDA(cudaGraphDestroy(graph));
    return exec;
}

// Many instances of small work, so that the start of a graph (a few microseconds) is lost in them; few of
// long work.
int Bench::instances_for(const Work &work, double graph_us)
{
    double wanted = graph_us / std::max(work.estimate_us, 0.5);
    return std::max(work.least_instances, std::min({(int)std::lround(wanted), work.most_instances, 128}));
}

float Bench::replay(cudaGraphExec_t graph)
{
    float ms;
    CUDA(cudaEventRecord(begin_, stream));
    CUDA(cudaGraphLaunch(graph, stream));
    CUDA(cudaEventRecord(end_, stream));
    CUDA(cudaEventSynchronize(end_));
    CUDA(cudaEventElapsedTime(&ms, begin_, end_));
    return 1000.0f * ms;
}

// Fills the cache with lines that need not be written back. It takes long enough for the launch behind it to
// be queued before the first event passes.
void Bench::scrub()
{
    struct km_error error;
    const uint32_t values = (uint32_t)(3 * (size_t)properties.l2CacheSize / sizeof(float));
    check_km(km_cuda_argmax(stream, (const float *)scrub_, (int32_t *)((float *)scrub_ + values), scratch, 1,
                            values, &error),
             error);
}

static Sample summary(const std::vector<double> &us)
{
    return {median(us), 0.5 * (quantile(us, 0.84) - quantile(us, 0.16))};
}

Sample Bench::burst(const Work &work)
{
    const int instances = instances_for(work, 400.0);
    cudaGraphExec_t graph = capture(work, instances);
    replay(graph); // loads the kernels
    const double graph_us = work.estimate_us * instances;
    const int replays = std::max(5, std::min(9, (int)(4000.0 / graph_us)));
    // A burst draws on the power that the device has not used for a while, and clocks follow the last tenth
    // of a second: rest half as long again as it takes, or rows measured after long products would differ
    // from others.
    double rest_s = std::min(0.1, 1.5e-6 * graph_us * (replays + 1));
    std::this_thread::sleep_for(std::chrono::duration<double>(rest_s));
    idle_s += rest_s;
    CUDA(cudaGraphLaunch(graph, stream)); // back to full clocks
    std::vector<double> us;
    for (int r = 0; r < replays; r++) {
        scrub();
        us.push_back(replay(graph) / instances);
    }
    CUDA(cudaGraphExecDestroy(graph));
    return summary(us);
}

std::vector<double> Bench::settle(const Work &work, double rest_s, double seconds)
{
    const int instances = instances_for(work, 2000.0);
    cudaGraphExec_t graph = capture(work, instances);
    replay(graph);
    if (rest_s > 0.0) {
        std::this_thread::sleep_for(std::chrono::duration<double>(rest_s));
        idle_s += rest_s;
    }
    // Keeps the queue full: events are read long after they were recorded.
    const size_t count = (size_t)std::max(8.0, seconds * 1e6 / (work.estimate_us * instances));
    std::vector<cudaEvent_t> marks(count + 1);
    for (cudaEvent_t &mark : marks)
        CUDA(cudaEventCreate(&mark));
    CUDA(cudaEventRecord(marks[0], stream));
    for (size_t r = 0; r < count; r++) {
        CUDA(cudaGraphLaunch(graph, stream));
        CUDA(cudaEventRecord(marks[r + 1], stream));
    }
    CUDA(cudaStreamSynchronize(stream));
    std::vector<double> us;
    for (size_t r = 0; r < count; r++) {
        float ms;
        CUDA(cudaEventElapsedTime(&ms, marks[r], marks[r + 1]));
        us.push_back(1000.0 * ms / instances);
    }
    for (cudaEvent_t mark : marks)
        CUDA(cudaEventDestroy(mark));
    CUDA(cudaGraphExecDestroy(graph));
    return us;
}

Sample Bench::sustained(const Work &work, double seconds)
{
    std::vector<double> us = settle(work, 0.0, seconds);
    return summary({us.begin() + (long)(us.size() / 2), us.end()});
}
