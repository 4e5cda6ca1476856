// The operator classes of a profile (configs/profiles/README.md): which shapes, and how each is timed.
#ifndef KM_CALIBRATE_CLASSES_HPP
#define KM_CALIBRATE_CLASSES_HPP

#include "bench.hpp"
#include "table.hpp"

#include <random>

// What the device was seen to do at best: the roofline against which refinement interpolates.
struct Ceilings {
    double flops_per_us, flops8_per_us, bytes_per_us, kernel_us;
};
Ceilings measure_ceilings(Bench &bench, Tables &tables);

struct Plan {
    bool quick;      // the smallest grid: does everything run?
    double budget_s; // of each class
    double target;   // interpolation error at which refinement stops
};

double roofline_us(const Ceilings &ceilings, const Shape &shape);
// Times one shape of any class below except `scalar` and `layer`.
Sample measure(Bench &bench, const Ceilings &ceilings, const Shape &shape);

void gemm_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan);
void gemm_sustained_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan);
void grouped_gemm_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan);
void attention_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan);
void stream_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan);
void scalar_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan);
void layer_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan);
// On all GPUs present, by twos, fours and eights; says so where there is one GPU or no NCCL.
void collective_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan);
std::string nccl_version(); // "none" when built without

// The shapes of a file of rows (classes that `measure` times), in random order.
void measure_again(Bench &bench, Tables &tables, const Ceilings &ceilings, const std::string &csv_path);

// How far the profile is off: `count` random shapes of each class that are not in it, measured, and an eighth
// as many that are, measured again (what the device does not repeat, no table can say). Prints the errors;
// rows go to `csv` ("" = nowhere), which `kingman calibrate --check` reads.
struct Check {
    int count;
    unsigned seed;
    std::string csv;
};
void check(Bench &bench, const Tables &tables, const Ceilings &ceilings, const Check &plan);
Sample measure_gemm(Bench &bench, const Ceilings &ceilings, const Shape &shape);
Sample measure_grouped(Bench &bench, const Ceilings &ceilings, const Shape &shape);
Sample measure_stream(Bench &bench, const Ceilings &ceilings, const Shape &shape);
Sample measure_decode(Bench &bench, const Ceilings &ceilings, const Shape &shape);
Sample measure_prefill(Bench &bench, const Ceilings &ceilings, const Shape &shape);
// Builds cuDNN's plans of these prefills on all cores: it takes the better part of a second each.
void prepare_prefills(Bench &bench, const std::vector<Shape> &shapes);
// The same decode by cuDNN; false where cuDNN has none.
bool measure_decode_cudnn(Bench &bench, const Ceilings &ceilings, const Shape &shape, Sample *out);

Shape gemm_shape(const char *op, const char *dtype, double n, double k, double m);
Shape stream_shape(const char *kind, double bytes_per_row, double rows);
Shape decode_shape(const char *kv_dtype, double heads, double kv_heads, double head_dim, double batch,
                   double context);
Shape prefill_shape(double heads, double kv_heads, double head_dim, double past, double tokens);
Shape scalar_shape(const char *name);

// Checks every kernel against a plain reference on the CPU; exits when one is wrong.
void verify_kernels(Bench &bench);

// Device memory freed at the end of a scope.
template <typename T> class DeviceArray
{
  public:
    explicit DeviceArray(const std::vector<T> &values) : DeviceArray(values.size())
    {
        CUDA(cudaMemcpy(data, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    }
    explicit DeviceArray(size_t count)
    {
        CUDA(cudaMalloc(&data, (count ? count : 1) * sizeof(T)));
    }
    ~DeviceArray()
    {
        cudaFree(data);
    }
    DeviceArray(const DeviceArray &) = delete;
    DeviceArray &operator=(const DeviceArray &) = delete;
    T *data = nullptr;
};
template <typename T> std::vector<T> fetch(const T *device, size_t count)
{
    std::vector<T> values(count);
    CUDA(cudaMemcpy(values.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
}

#endif
