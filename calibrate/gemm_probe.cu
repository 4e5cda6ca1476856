// How long matrix products take in CUDA graph replay, over shapes from skinny to square: the figures behind
// the roofline's efficiency factors in configs/devices/. Weights rotate through more memory than the L2 cache
// holds, inputs are random, and every product of a graph writes its own output. Prints CSV:
// n,k,m,us_min,us_median,us_max.
//
//   nvcc -O2 -gencode=arch=compute_90,code=sm_90 calibrate/gemm_probe.cu -lcublas -o gemm_probe &&
//   ./gemm_probe > gemm.csv
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <vector>

#define CHECK(call)                                                                                          \
    do {                                                                                                     \
        auto status_ = (call);                                                                               \
        if (status_ != 0) {                                                                                  \
            fprintf(stderr, "%s:%d: %s failed with %d\n", __FILE__, __LINE__, #call, (int)status_);          \
            exit(2);                                                                                         \
        }                                                                                                    \
    } while (0)

__global__ void fill(__nv_bfloat16 *values, size_t count, unsigned seed)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < count;
         i += (size_t)gridDim.x * blockDim.x) {
        unsigned x = (unsigned)i * 2654435761u + seed;
        x ^= x >> 16;
        x *= 0x85ebca6bu;
        x ^= x >> 13;
        values[i] = __float2bfloat16((float)(x & 0xffff) / 32768.0f - 1.0f);
    }
}

// An element-wise kernel of one read and one write a value: the least a small kernel costs in a graph.
__global__ void scale(const __nv_bfloat16 *in, __nv_bfloat16 *out, size_t count)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < count;
         i += (size_t)gridDim.x * blockDim.x)
        out[i] = __float2bfloat16(0.5f * __bfloat162float(in[i]));
}

static __nv_bfloat16 *random_values(size_t count, unsigned seed)
{
    __nv_bfloat16 *values;
    CHECK(cudaMalloc(&values, count * sizeof *values));
    fill<<<1024, 256>>>(values, count, seed);
    CHECK(cudaGetLastError());
    return values;
}

template <typename Body>
static void time_graph(cudaStream_t stream, int per_graph, int replays, Body body, float *us)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < per_graph; i++)
        body(i);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t begin, end;
    CHECK(cudaEventCreate(&begin));
    CHECK(cudaEventCreate(&end));
    std::vector<float> times;
    for (int r = 0; r < replays + 3; r++) {
        CHECK(cudaEventRecord(begin, stream));
        CHECK(cudaGraphLaunch(exec, stream));
        CHECK(cudaEventRecord(end, stream));
        CHECK(cudaEventSynchronize(end));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, begin, end));
        if (r >= 3)
            times.push_back(1000.0f * ms / (float)per_graph);
    }
    std::sort(times.begin(), times.end());
    us[0] = times.front();
    us[1] = times[times.size() / 2];
    us[2] = times.back();
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaEventDestroy(begin));
    CHECK(cudaEventDestroy(end));
}

int main(int argc, char **argv)
{
    bool small = argc > 1;
    const int shapes[][2] = {{6144, 4096},   {4096, 4096}, {28672, 4096}, {4096, 14336}, {128256, 4096},
                             {10240, 8192},  {8192, 8192}, {57344, 8192}, {8192, 28672}, {1536, 4096},
                             {4096, 1024},   {1024, 1024}, {4096, 2048},  {2048, 8192},  {16384, 16384},
                             {151936, 4096}, {3072, 1024}, {768, 2048}};
    const int rows[] = {1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192};
    cudaDeviceProp device;
    CHECK(cudaGetDeviceProperties(&device, 0));
    int runtime, driver;
    CHECK(cudaRuntimeGetVersion(&runtime));
    CHECK(cudaDriverGetVersion(&driver));
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    cublasHandle_t blas;
    CHECK(cublasCreate(&blas));
    CHECK(cublasSetStream(blas, stream));
    void *workspace;
    CHECK(cudaMalloc(&workspace, (size_t)64 << 20));
    CHECK(cublasSetWorkspace(blas, workspace, (size_t)64 << 20));
    int version;
    CHECK(cublasGetVersion(blas, &version));
    printf("# device=%s cuda_runtime=%d cuda_driver=%d cublas=%d\n", device.name, runtime, driver, version);

    const size_t pool_values = (size_t)1 << 30; // 2 GiB of weights to rotate through
    __nv_bfloat16 *pool = random_values(pool_values, 1), *in = random_values((size_t)8192 * 57344, 2);
    __nv_bfloat16 *out;
    CHECK(cudaMalloc(&out, (size_t)4 << 30));
    printf("n,k,m,us_min,us_median,us_max\n");
    float us[3];
    for (size_t values : {(size_t)4096, (size_t)1 << 18, (size_t)1 << 22, (size_t)1 << 29}) {
        time_graph(
            stream, 64, 10,
            [&](int) {
                scale<<<(unsigned)std::min<size_t>(values / 256, 4096), 256, 0, stream>>>(in, out, values);
            },
            us);
        printf("scale,%zu,1,%.3f,%.3f,%.3f\n", values, us[0], us[1], us[2]);
        if (values == ((size_t)1 << 22) && small)
            break;
    }
    const float one = 1.0f, zero = 0.0f;
    for (auto &shape : shapes) {
        size_t n = shape[0], k = shape[1], copies = std::max<size_t>(1, pool_values / (n * k));
        for (int m : rows) {
            if ((small && m > 8) || (double)m * n > 1e9)
                continue;
            double flops = 2.0 * m * n * k;
            int per_graph = flops > 2e11 ? 4 : 32;
            int replays = flops > 2e11 ? 5 : 10;
            size_t outputs = std::max<size_t>(1, std::min<size_t>(8, ((size_t)2 << 30) / ((size_t)m * n)));
            time_graph(
                stream, per_graph, replays,
                [&](int i) {
                    CHECK(cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, (int)n, m, (int)k, &one,
                                       pool + ((size_t)i % copies) * n * k, CUDA_R_16BF, (int)k, in,
                                       CUDA_R_16BF, (int)k, &zero, out + ((size_t)i % outputs) * m * n,
                                       CUDA_R_16BF, (int)n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
                },
                us);
            printf("%zu,%zu,%d,%.3f,%.3f,%.3f\n", n, k, m, us[0], us[1], us[2]);
        }
        if (small)
            break;
    }
    return 0;
}
