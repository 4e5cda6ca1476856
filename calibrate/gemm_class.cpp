#include "classes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

Shape gemm_shape(const char *op, const char *dtype, double n, double k, double m)
{
    return {op, {{"weights", dtype}, {"activations", dtype}}, {{"n", n}, {"k", k}, {"m", m}}};
}

namespace
{

struct Operands {
    bool fp8;
    uint32_t n, k, m;
    const void *x;
    void *y;
};

// Weights rotate through the first three quarters of the pool; activations are what the operator before has
// just written, and so may be found in the cache, as in a model.
constexpr size_t weight_values = Bench::pool_values / 4 * 3, weight8_values = Bench::pool8_values / 4 * 3;

const void *weights_at(const Bench &bench, const Operands &o, int i)
{
    size_t values = (size_t)o.n * o.k;
    return o.fp8 ? (const void *)(bench.pool8 + rotate(weight8_values, values, i))
                 : (const void *)(bench.pool + rotate(weight_values, values, i));
}

std::vector<double> row_of(const Operands &o, const void *matrix, uint32_t row)
{
    std::vector<double> values(o.k);
    if (o.fp8) {
        std::vector<uint8_t> bits = fetch((const uint8_t *)matrix + (size_t)row * o.k, o.k);
        std::transform(bits.begin(), bits.end(), values.begin(), from_e4m3);
    } else {
        std::vector<uint16_t> bits = fetch((const uint16_t *)matrix + (size_t)row * o.k, o.k);
        std::transform(bits.begin(), bits.end(), values.begin(), from_bf16);
    }
    return values;
}

// Some results of the first instance against sums in double precision. bf16 rounds to 2^-9; fp8 with fast
// accumulation keeps 14 bits of each partial sum.
void verify(const Operands &o, const void *w, const Shape &shape)
{
    std::mt19937 random(7);
    for (int sample = 0; sample < 4; sample++) {
        uint32_t row = (uint32_t)(random() % o.m), column = (uint32_t)(random() % o.n);
        std::vector<double> x = row_of(o, o.x, row), y = row_of(o, w, column);
        double sum = 0.0, squares = 0.0;
        for (uint32_t i = 0; i < o.k; i++) {
            sum += x[i] * y[i];
            squares += x[i] * x[i] * y[i] * y[i];
        }
        double got = from_bf16(fetch((const uint16_t *)o.y + (size_t)row * o.n + column, 1)[0]);
        double tolerance = (o.fp8 ? 0.03 : 0.006) * (std::sqrt(squares) + std::fabs(sum));
        if (!(std::fabs(got - sum) <= tolerance))
            die("%s: result [%u, %u] is %g, should be %g", shape.key().c_str(), row, column, got, sum);
    }
}

// The work of one product; the plan lives as long as the result.
Bench::Work gemm_work(Bench &bench, const Ceilings &ceilings, const Shape &shape)
{
    Operands o = {shape.names[0].second == "fp8",
                  (uint32_t)shape.size("n"),
                  (uint32_t)shape.size("k"),
                  (uint32_t)shape.size("m"),
                  nullptr,
                  bench.out};
    o.x = o.fp8 ? (const void *)(bench.pool8 + weight8_values) : (const void *)(bench.pool + weight_values);
    struct km_error error;
    struct km_cuda_gemm *made;
    const struct km_cuda_gemm_shape plan = {o.n, o.k, o.m, o.fp8, false};
    check_km(km_cuda_gemm_create(bench.blas, &plan, &made, &error), error);
    std::shared_ptr<struct km_cuda_gemm> gemm(made, km_cuda_gemm_destroy);
    auto scales = std::make_shared<DeviceArray<float>>(std::vector<float>(8, 1.0f));
    auto body = [&bench, o, gemm, scales](int i) {
        struct km_error fault;
        uint16_t *y = (uint16_t *)o.y + rotate(Bench::out_values, (size_t)o.m * o.n, i);
        check_km(
            km_cuda_gemm_run(gemm.get(), bench.stream, weights_at(bench, o, i), o.x, y, scales->data, &fault),
            fault);
    };
    CUDA(cudaMemsetAsync(o.y, 0xff, (size_t)o.m * o.n * 2, bench.stream)); // NaN wherever nothing is written
    body(0);
    CUDA(cudaStreamSynchronize(bench.stream));
    verify(o, weights_at(bench, o, 0), shape);
    return {roofline_us(ceilings, shape) + 2.0, 128, body};
}

} // namespace

Sample measure_gemm(Bench &bench, const Ceilings &ceilings, const Shape &shape)
{
    Bench::Work work = gemm_work(bench, ceilings, shape);
    return shape.op == "gemm_sustained" ? bench.sustained(work, 0.16) : bench.burst(work);
}

static double round_rows(double m)
{
    double unit = m < 32.0 ? 1.0 : m < 512.0 ? 8.0 : m < 2048.0 ? 32.0 : 128.0;
    return std::round(m / unit) * unit;
}

static void gemm_lines(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan,
                       const char *dtype, const std::vector<double> &ns, const std::vector<double> &ks,
                       double share, const char *title)
{
    std::vector<double> ms = {1, 8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192};
    if (plan.quick)
        ms = {1, 64, 2048};
    Refinement refinement = {{},
                             [&](const Shape &shape) { return measure_gemm(bench, ceilings, shape); },
                             [&](const Shape &shape) { return roofline_us(ceilings, shape); },
                             round_rows,
                             plan.target,
                             share * plan.budget_s,
                             title};
    for (double n : ns)
        for (double k : ks) {
            if (n * k > (double)(dtype[0] == 'f' ? weight8_values : weight_values))
                continue;
            Line line = {gemm_shape("gemm", dtype, n, k, 0), {}};
            for (double m :
                 ms) // beyond, a product takes tens of milliseconds and its fraction no longer moves
                if (m * n * k <= 1.5e12 && m * n <= 1.2e9)
                    line.values.push_back(m);
            refinement.lines.push_back(line);
        }
    measure_refined(tables, refinement);
}

void gemm_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan)
{
    if (plan.quick) {
        gemm_lines(bench, tables, ceilings, plan, "bf16", {4096, 28672}, {4096}, 1.0, "gemm bf16");
        gemm_lines(bench, tables, ceilings, plan, "fp8", {4096}, {4096}, 1.0, "gemm fp8");
        return;
    }
    // The widths of Llama 3.1 8B and 70B at one to eight ranks and their kind, and what lies between; round
    // ones and others, since an odd number of tiles is slower.
    gemm_lines(
        bench, tables, ceilings, plan, "bf16",
        {512,   640,   768,   1024,  1280,  1536,  1792,  2048,  2304,  2560,  3072,
         3584,  4096,  4608,  5120,  6144,  7168,  8192,  9216,  10240, 12288, 14336,
         16384, 18944, 21760, 24576, 28672, 36864, 45056, 57344, 128256},
        {512, 640, 1024, 1280, 1792, 2048, 2560, 3584, 4096, 5120, 7168, 8192, 11008, 14336, 18944, 28672},
        1.0, "gemm bf16");
    gemm_lines(bench, tables, ceilings, plan, "fp8",
               {512,  640,  768,  1024, 1280,  1536,  1792,  2048,  2560,  3072,  3584,
                4096, 5120, 6144, 8192, 10240, 14336, 18944, 20480, 28672, 40960, 57344},
               {512, 896, 1280, 1792, 2048, 2560, 3072, 4096, 5120, 6144, 8192, 11008, 14336, 20480, 28672},
               0.5, "gemm fp8");
}

void gemm_sustained_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan)
{
    Refinement refinement = {{},
                             [&](const Shape &shape) { return measure_gemm(bench, ceilings, shape); },
                             [&](const Shape &shape) { return roofline_us(ceilings, shape); },
                             round_rows,
                             1.0, // no refinement: the power limit is smooth
                             plan.budget_s,
                             "gemm_sustained"};
    // Heat the device first: from here on there is no rest.
    Bench::Work heat = gemm_work(bench, ceilings, gemm_shape("gemm", "bf16", 8192, 8192, 4096));
    bench.settle(heat, 0.0, plan.quick ? 0.2 : 2.0);
    std::vector<double> widths = {2048, 4096, 8192, 28672}, ms = {256, 512, 1024, 2048, 4096, 8192};
    if (plan.quick) {
        widths = {4096};
        ms = {2048};
    }
    for (double n : widths)
        for (double k : widths) {
            Line line = {gemm_shape("gemm_sustained", "bf16", n, k, 0), {}};
            for (double m : ms)
                if (m * n * k <= 3e12)
                    line.values.push_back(m);
            refinement.lines.push_back(line);
        }
    measure_refined(tables, refinement);

    // How fast the rate falls after a rest: time from the start at which the loss has grown to 1 - 1/e of its
    // end.
    Shape shape = gemm_shape("gemm", "bf16", 8192, 8192, 8192);
    Bench::Work work = gemm_work(bench, ceilings, shape);
    const double seconds = plan.quick ? 0.3 : 5.0, rest_s = plan.quick ? 0.1 : 3.0;
    std::vector<double> us = bench.settle(work, rest_s, seconds);
    const size_t head = std::max<size_t>(1, us.size() / 100), tail = us.size() / 5;
    double first = median({us.begin() + 1, us.begin() + 1 + (long)head}),
           last = median({us.end() - (long)tail, us.end()});
    double elapsed_us = 0.0, crossing_us = 0.0;
    for (double one : us) {
        elapsed_us += one;
        if (crossing_us == 0.0 && one > first + (last - first) * 0.632)
            crossing_us = elapsed_us;
    }
    double flops = 2.0 * shape.size("n") * shape.size("k") * shape.size("m");
    // settle() reports per product, but a replay holds several.
    double per_replay = (double)Bench::instances_per(work, 2000.0);
    tables.add(scalar_shape("gemm_rested_flops_per_s"), {1e6 * flops / first, 0.0});
    tables.add(scalar_shape("gemm_sustained_flops_per_s"), {1e6 * flops / last, 0.0});
    if (crossing_us > 0.0)
        tables.add(scalar_shape("gemm_power_time_constant_s"), {1e-6 * crossing_us * per_replay, 0.0});
}

// --- mixture of experts
// ---------------------------------------------------------------------------------------------

static Shape grouped_shape(double experts, double top_k, double n, double k, double m)
{
    return {"grouped_gemm",
            {{"weights", "bf16"}, {"activations", "bf16"}},
            {{"experts", experts}, {"top_k", top_k}, {"n", n}, {"k", k}, {"m", m}}};
}

Sample measure_grouped(Bench &bench, const Ceilings &ceilings, const Shape &shape)
{
    const uint32_t experts = (uint32_t)shape.size("experts"), top_k = (uint32_t)shape.size("top_k");
    const size_t n = (size_t)shape.size("n"), k = (size_t)shape.size("k"), m = (size_t)shape.size("m");
    std::mt19937 random(5);
    std::vector<int32_t> counts(experts, 0), rows;
    for (size_t token = 0; token < m; token++) {
        std::set<uint32_t> chosen;
        while (chosen.size() < top_k)
            chosen.insert((uint32_t)(random() % experts));
        for (uint32_t expert : chosen)
            counts[expert]++;
    }
    std::vector<uint32_t> hit;
    for (uint32_t e = 0; e < experts; e++)
        if (counts[e] > 0) {
            hit.push_back(e);
            rows.push_back(counts[e]);
        }
    const size_t groups = hit.size(), all_weights = experts * n * k;
    if (all_weights > weight_values)
        die("%s: weights exceed the pool", shape.key().c_str());
    const double estimate = roofline_us(ceilings, shape) + 10.0;
    const int instances = Bench::instances(estimate, 64);
    const uint16_t *x = bench.pool + weight_values;
    std::vector<const void *> w_list, x_list;
    std::vector<void *> y_list;
    for (int i = 0; i < instances; i++) {
        size_t first = rotate(weight_values, all_weights, i), done = 0;
        for (size_t g = 0; g < groups; g++) {
            w_list.push_back(bench.pool + first + hit[g] * n * k);
            x_list.push_back(x + done * k);
            y_list.push_back(bench.out + rotate(Bench::out_values, m * top_k * n, i) + done * n);
            done += (size_t)rows[g];
        }
    }
    DeviceArray<const void *> w_device(w_list), x_device(x_list);
    DeviceArray<void *> y_device(y_list);
    auto body = [&](int i) {
        struct km_error error;
        const struct km_cuda_grouped_gemm args = {(uint32_t)groups,
                                                  (uint32_t)n,
                                                  (uint32_t)k,
                                                  rows.data(),
                                                  w_device.data + (size_t)i * groups,
                                                  x_device.data + (size_t)i * groups,
                                                  y_device.data + (size_t)i * groups};
        check_km(km_cuda_grouped_gemm(bench.blas, bench.stream, &args, &error), error);
    };
    body(0);
    CUDA(cudaStreamSynchronize(bench.stream));
    for (size_t g : {(size_t)0, groups - 1}) {
        Operands o = {false, (uint32_t)n, (uint32_t)k, (uint32_t)rows[g], x_list[g], y_list[g]};
        verify(o, w_list[g], shape);
    }
    return bench.burst({estimate, instances, body});
}

void grouped_gemm_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan)
{
    Refinement refinement = {{},
                             [&](const Shape &shape) { return measure_grouped(bench, ceilings, shape); },
                             [&](const Shape &shape) { return roofline_us(ceilings, shape); },
                             round_rows,
                             plan.target,
                             0.5 * plan.budget_s,
                             "grouped_gemm"};
    // Up and down projections of Mixtral 8x7B (tensor ranks: 1 and 4), Qwen3-30B-A3B (128 experts of 768) and
    // gpt-oss-like 32 experts of 2880.
    const double shapes[][4] = {{8, 2, 28672, 4096}, {8, 2, 4096, 14336},  {8, 2, 7168, 4096},
                                {8, 2, 4096, 3584},  {128, 8, 1536, 2048}, {128, 8, 2048, 768},
                                {32, 4, 5760, 2880}, {32, 4, 2880, 2880}};
    for (const auto &s : shapes) {
        Line line = {grouped_shape(s[0], s[1], s[2], s[3], 0), {1, 4, 16, 64, 256, 1024, 4096}};
        if (plan.quick)
            line.values = {1, 64};
        refinement.lines.push_back(line);
        if (plan.quick)
            break;
    }
    measure_refined(tables, refinement);
}
