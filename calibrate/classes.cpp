#include "classes.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

Shape scalar_shape(const char *name)
{
    return {"scalar", {{"name", name}}, {}};
}

// max(flops / peak, bytes / bandwidth) + the time of a small kernel, as the cost model `profile` has it.
double roofline_us(const Ceilings &ceilings, const Shape &shape)
{
    double flops = 0.0, bytes = 0.0, rate = ceilings.flops_per_us;
    if (shape.op == "gemm" || shape.op == "gemm_sustained") {
        const bool fp8 = shape.names[0].second == "fp8";
        double n = shape.size("n"), k = shape.size("k"), m = shape.size("m"), width = fp8 ? 1.0 : 2.0;
        flops = 2.0 * m * n * k;
        bytes = width * (n * k + m * (n + k));
        rate = fp8 ? ceilings.flops8_per_us : rate;
    } else if (shape.op == "grouped_gemm") {
        double experts = shape.size("experts"), top_k = shape.size("top_k"), n = shape.size("n"),
               k = shape.size("k");
        double m = shape.size("m"), hit = experts * (1.0 - std::pow(1.0 - top_k / experts, m));
        flops = 2.0 * m * top_k * n * k;
        bytes = 2.0 * (hit * n * k + m * top_k * (n + k));
    } else if (shape.op == "attention_decode") {
        double heads = shape.size("heads"), dim = shape.size("head_dim"), batch = shape.size("batch");
        flops = 4.0 * batch * shape.size("context") * heads * dim;
        double width = shape.names[0].second == "fp8" ? 1.0 : 2.0; // of the cache
        bytes = 2.0 * batch * (width * shape.size("context") * shape.size("kv_heads") + 2.0 * heads) * dim;
    } else if (shape.op == "attention_prefill") {
        double heads = shape.size("heads"), dim = shape.size("head_dim"), past = shape.size("past"),
               tokens = shape.size("tokens");
        flops = 4.0 * tokens * (past + (tokens + 1.0) / 2.0) * heads * dim;
        bytes = 4.0 * ((past + tokens) * shape.size("kv_heads") + tokens * heads) * dim;
    } else if (shape.op == "stream") {
        bytes = shape.size("rows") * shape.size("bytes_per_row");
    } else {
        die("%s has no roofline", shape.op.c_str());
    }
    return std::fmax(flops / rate, bytes / ceilings.bytes_per_us) + ceilings.kernel_us;
}

Sample measure(Bench &bench, const Ceilings &ceilings, const Shape &shape)
{
    if (shape.op == "gemm" || shape.op == "gemm_sustained")
        return measure_gemm(bench, ceilings, shape);
    if (shape.op == "grouped_gemm")
        return measure_grouped(bench, ceilings, shape);
    if (shape.op == "attention_decode")
        return measure_decode(bench, ceilings, shape);
    if (shape.op == "attention_prefill")
        return measure_prefill(bench, ceilings, shape);
    return measure_stream(bench, ceilings, shape);
}

// First guesses, of any recent data-centre device, size the graphs in which the ceilings are measured.
Ceilings measure_ceilings(Bench &bench, Tables &tables)
{
    Ceilings guess = {5e8, 1e9, 3e6, 1.0};
    Bench::Work empty = {1.0, 128, [&](int) {
                             struct km_error error;
                             check_km(km_cuda_empty(bench.stream, &error), error);
                         }};
    Sample kernel = bench.burst(empty);
    // Reads alone: the largest of 2^28 logits a row, four rows.
    const uint32_t rows = 4, vocab = 1u << 28;
    DeviceArray<int32_t> tokens((size_t)rows);
    Sample read = bench.burst(
        {1400.0, 2, [&](int i) {
             struct km_error error;
             const float *logits = (const float *)bench.pool + (size_t)i * rows * vocab / 2;
             check_km(km_cuda_argmax(bench.stream, logits, tokens.data, bench.scratch, rows, vocab, &error),
                      error);
         }});
    const size_t copied = (size_t)1 << 31;
    Sample copy = bench.burst(
        {1000.0, 2, [&](int) {
             CUDA(cudaMemcpyAsync(bench.out, bench.pool, copied, cudaMemcpyDeviceToDevice, bench.stream));
         }});
    const double read_bytes_per_us = (double)rows * vocab * 4.0 / read.us;
    const Shape square = gemm_shape("gemm", "bf16", 8192, 8192, 4096),
                square8 = gemm_shape("gemm", "fp8", 8192, 8192, 4096);
    const double flops = 2.0 * 8192.0 * 8192.0 * 4096.0;
    const double rate = flops / measure_gemm(bench, guess, square).us;
    double rate8 = rate; // devices without fp8 refuse to plan it
    if (bench.properties.major > 8 || (bench.properties.major == 8 && bench.properties.minor == 9))
        rate8 = flops / measure_gemm(bench, guess, square8).us;
    // A small kernel that reads and writes something.
    Sample small = bench.burst({1.5, 128, [&](int i) {
                                    struct km_error error;
                                    check_km(km_cuda_swiglu(bench.stream, bench.pool + (size_t)i * 8192,
                                                            bench.out + (size_t)i * 4096, 1, 4096, &error),
                                             error);
                                }});
    tables.add(scalar_shape("empty_kernel_graph_us"), kernel);
    tables.add(scalar_shape("kernel_graph_us"), small);
    tables.add(scalar_shape("read_bytes_per_s"), {1e6 * read_bytes_per_us, 0.0});
    tables.add(scalar_shape("copy_bytes_per_s"), {1e6 * 2.0 * (double)copied / copy.us, 0.0});
    fprintf(stderr,
            "ceilings: reads %.3f TB/s, copies %.3f TB/s, bf16 %.0f TFLOP/s, fp8 %.0f TFLOP/s, kernel in a "
            "graph %.2f us\n",
            1e-6 * read_bytes_per_us, 2e-6 * (double)copied / copy.us, 1e-6 * rate, 1e-6 * rate8, kernel.us);
    return {rate, rate8, read_bytes_per_us, small.us};
}

void measure_again(Bench &bench, Tables &tables, const Ceilings &ceilings, const std::string &csv_path)
{
    Tables wanted(csv_path);
    std::mt19937 random(13);
    std::vector<Shape> shapes;
    for (const std::string &name : wanted.names())
        for (const Shape &shape : wanted.some(name, wanted.count(), random))
            if (!tables.has(shape))
                shapes.push_back(shape);
    std::shuffle(shapes.begin(), shapes.end(), random);
    auto start = std::chrono::steady_clock::now();
    for (const Shape &shape : shapes)
        tables.add(shape, measure(bench, ceilings, shape));
    fprintf(stderr, "again: %zu shapes in %.1f s\n", shapes.size(),
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

static double host_us(const std::function<void()> &body, int times)
{
    body();
    auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < times; i++)
        body();
    return 1e6 * std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / times;
}

void scalar_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan)
{
    auto launch = [&] {
        struct km_error error;
        check_km(km_cuda_empty(bench.stream, &error), error);
    };
    // A stream of eager launches: the host's time of one, or the device's, whichever is longer.
    std::vector<double> eager;
    for (int i = 0; i < 9; i++)
        eager.push_back(host_us(launch, 500));
    CUDA(cudaStreamSynchronize(bench.stream));
    tables.add(scalar_shape("kernel_eager_us"), {median(eager), 0.0});
    // From the launch to the host's seeing it done: a lone kernel.
    std::vector<double> alone;
    for (int i = 0; i < 200; i++)
        alone.push_back(host_us(
            [&] {
                launch();
                CUDA(cudaStreamSynchronize(bench.stream));
            },
            1));
    tables.add(scalar_shape("kernel_round_trip_us"), {median(alone), 0.0});
    // Graphs of 1 and of 321 kernels (about a step of 32 layers): host time of a launch, device time of start
    // and end.
    for (int nodes : {1, 321}) {
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        CUDA(cudaStreamBeginCapture(bench.stream, cudaStreamCaptureModeThreadLocal));
        for (int i = 0; i < nodes; i++)
            launch();
        CUDA(cudaStreamEndCapture(bench.stream, &graph));
        CUDA(cudaGraphInstantiate(&exec, graph, 0));
        std::vector<double> host, device;
        cudaEvent_t begin, end;
        CUDA(cudaEventCreate(&begin));
        CUDA(cudaEventCreate(&end));
        for (int i = 0; i < 60; i++) {
            CUDA(cudaStreamSynchronize(bench.stream));
            CUDA(cudaMemsetAsync(bench.out, 0, (size_t)512 << 20,
                                 bench.stream)); // the launch is queued behind it
            CUDA(cudaEventRecord(begin, bench.stream));
            auto start = std::chrono::steady_clock::now();
            CUDA(cudaGraphLaunch(exec, bench.stream));
            host.push_back(1e6 *
                           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
            CUDA(cudaEventRecord(end, bench.stream));
            CUDA(cudaEventSynchronize(end));
            float ms;
            CUDA(cudaEventElapsedTime(&ms, begin, end));
            device.push_back(1000.0 * ms);
        }
        tables.add(scalar_shape(nodes == 1 ? "graph_launch_us" : "graph_launch_321_us"), {median(host), 0.0});
        tables.add(scalar_shape(nodes == 1 ? "graph_of_1_us" : "graph_of_321_us"), {median(device), 0.0});
        CUDA(cudaEventDestroy(begin));
        CUDA(cudaEventDestroy(end));
        CUDA(cudaGraphExecDestroy(exec));
        CUDA(cudaGraphDestroy(graph));
    }
    fill_random(bench.out, Bench::out_values, 3, bench.stream); // what the memory held before

    const size_t bytes = (size_t)256 << 20;
    void *host = nullptr;
    CUDA(cudaMallocHost(&host, bytes));
    for (size_t i = 0; i < bytes; i += 4096)
        ((char *)host)[i] = (char)i;
    for (bool up : {true, false}) {
        for (size_t size : {(size_t)4, bytes}) {
            std::vector<double> us;
            for (int i = 0; i < 12; i++)
                us.push_back(host_us(
                    [&] {
                        void *to = up ? (void *)bench.out : host;
                        const void *from = up ? host : (const void *)bench.out;
                        CUDA(cudaMemcpyAsync(to, from, size,
                                             up ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
                                             bench.stream));
                        CUDA(cudaStreamSynchronize(bench.stream));
                    },
                    1));
            if (size == bytes)
                tables.add(scalar_shape(up ? "h2d_bytes_per_s" : "d2h_bytes_per_s"),
                           {1e6 * (double)bytes / median(us), 0.0});
            else
                tables.add(scalar_shape(up ? "h2d_latency_us" : "d2h_latency_us"), {median(us), 0.0});
        }
    }
    CUDA(cudaFreeHost(host));

    // Power of an operator class run without pause: energy counter over half a second.
    if (bench.health().joules <= 0.0)
        return;
    auto power = [&](const char *name, const std::function<void()> &load) {
        load();
        CUDA(cudaStreamSynchronize(bench.stream));
        Health before = bench.health();
        auto start = std::chrono::steady_clock::now();
        double elapsed_s = 0.0;
        while (elapsed_s < (plan.quick ? 0.1 : 0.6)) {
            load();
            CUDA(cudaStreamSynchronize(bench.stream));
            elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        tables.add(scalar_shape(name), {(bench.health().joules - before.joules) / elapsed_s, 0.0});
    };
    power("power_gemm_w",
          [&] { measure_gemm(bench, ceilings, gemm_shape("gemm_sustained", "bf16", 8192, 8192, 8192)); });
    power("power_stream_w", [&] {
        for (int i = 0; i < 20; i++)
            CUDA(cudaMemcpyAsync(bench.out, bench.pool, (size_t)1 << 31, cudaMemcpyDeviceToDevice,
                                 bench.stream));
    });
}
