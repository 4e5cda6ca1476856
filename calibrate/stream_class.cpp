#include "classes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

Shape stream_shape(const char *kind, double bytes_per_row, double rows)
{
    return {"stream", {{"kind", kind}}, {{"bytes_per_row", bytes_per_row}, {"rows", rows}}};
}

namespace
{

constexpr uint32_t head_dim = 128, kv_heads = 8, top_k = 8, rope_positions = 8192;

// A quarter of the pool each for what a kernel reads and what it updates in place.
constexpr size_t quarter = Bench::pool_values / 4;

std::vector<int32_t> random_indices(size_t count, size_t below)
{
    std::mt19937 random(11);
    std::vector<int32_t> values(count);
    for (int32_t &value : values)
        value = (int32_t)(random() % below);
    return values;
}

} // namespace

Sample measure_stream(Bench &bench, const Ceilings &ceilings, const Shape &shape)
{
    const std::string &kind = shape.names[0].second;
    const uint32_t rows = (uint32_t)shape.size("rows");
    const size_t row_bytes = (size_t)shape.size("bytes_per_row");
    const double estimate = roofline_us(ceilings, shape) + 1.0;
    // Values are random but small in number where kernels index: positions, slots, words, rows of experts.
    uint16_t *const a = bench.pool, *const b = a + quarter, *const c = b + quarter;
    std::function<void(int)> body;
    auto run = [&](auto call) {
        body = [call](int i) {
            struct km_error error;
            check_km(call(i, &error), error);
        };
        return bench.burst({estimate, 128, body});
    };
    cudaStream_t stream = bench.stream;
    uint16_t *out = bench.out;
    if (kind == "norm") {
        const uint32_t hidden = (uint32_t)(row_bytes / 8);
        const size_t values = (size_t)rows * hidden;
        return run([=](int i, struct km_error *error) {
            const struct km_cuda_norm args = {a + rotate(quarter, values, i),
                                              b + rotate(quarter, values, i),
                                              c,
                                              out + rotate(Bench::out_values, values, i),
                                              rows,
                                              hidden,
                                              1e-5f};
            return km_cuda_norm(stream, &args, error);
        });
    }
    if (kind == "activation") {
        const uint32_t width = (uint32_t)(row_bytes / 6);
        const size_t values = (size_t)rows * width;
        return run([=](int i, struct km_error *error) {
            return km_cuda_swiglu(stream, a + rotate(2 * quarter, 2 * values, i),
                                  out + rotate(Bench::out_values, values, i), rows, width, error);
        });
    }
    if (kind == "embed" || kind == "route") {
        // Embedding: a table of 128 Ki words. Routing: each token's row goes to top_k experts' inputs.
        const bool embed = kind == "embed";
        const uint32_t width = (uint32_t)(embed ? row_bytes / 4 : row_bytes / (2 * (top_k + 1)));
        const uint32_t copies = embed ? rows : rows * top_k;
        const size_t words = std::min<size_t>(131072, 2 * quarter / width);
        std::vector<int32_t> index = random_indices((size_t)copies * 16, embed ? words : rows);
        DeviceArray<int32_t> device(index);
        const int32_t *list = device.data;
        return run([=](int i, struct km_error *error) {
            const uint16_t *table = embed ? a : a + rotate(2 * quarter, (size_t)rows * width, i);
            return km_cuda_gather(stream, table, list + (size_t)(i % 16) * copies,
                                  out + rotate(Bench::out_values, (size_t)copies * width, i), copies, width,
                                  error);
        });
    }
    if (kind == "combine") {
        const uint32_t width = (uint32_t)(row_bytes / (2 * (top_k + 1)));
        DeviceArray<int32_t> place(random_indices((size_t)rows * top_k, (size_t)rows * top_k));
        DeviceArray<float> weight(std::vector<float>((size_t)rows * top_k, 0.125f));
        const int32_t *places = place.data;
        const float *weights = weight.data;
        return run([=](int i, struct km_error *error) {
            const struct km_cuda_combine args = {a + rotate(3 * quarter, (size_t)rows * top_k * width, i),
                                                 places,
                                                 weights,
                                                 out + rotate(Bench::out_values, (size_t)rows * width, i),
                                                 rows,
                                                 top_k,
                                                 width};
            return km_cuda_combine(stream, &args, error);
        });
    }
    if (kind == "sample") {
        const uint32_t vocab = (uint32_t)(row_bytes / 4);
        DeviceArray<int32_t> tokens((size_t)rows);
        int32_t *list = tokens.data;
        void *scratch = bench.scratch;
        // Any 32 random bits serve as a logit but those of a NaN: bf16 pairs in [-1, 1) never are one.
        const float *logits = (const float *)a;
        return run([=](int i, struct km_error *error) {
            return km_cuda_argmax(stream, logits + rotate(quarter, (size_t)rows * vocab, i), list, scratch,
                                  rows, vocab, error);
        });
    }
    // What is left works on packed qkv rows.
    const bool rope = kind == "rope";
    if (!rope && kind != "kv_write")
        die("%s: no kernel", shape.key().c_str());
    const uint32_t all_heads = (uint32_t)(row_bytes / (head_dim * (rope ? 4 : 8)));
    if (all_heads <= (rope ? kv_heads : 0))
        die("%s: too narrow", shape.key().c_str());
    const uint32_t heads = rope ? all_heads - kv_heads : 4 * all_heads, kv = rope ? kv_heads : all_heads;
    const size_t values = (size_t)rows * (heads + 2 * kv) * head_dim;
    if (rope) {
        std::vector<float> angles((size_t)rope_positions * head_dim);
        for (size_t p = 0; p < rope_positions; p++)
            for (size_t d = 0; d < head_dim / 2; d++) {
                double angle = (double)p * std::pow(500000.0, -2.0 * (double)d / head_dim);
                angles[(p * (head_dim / 2) + d) * 2] = (float)std::cos(angle);
                angles[(p * (head_dim / 2) + d) * 2 + 1] = (float)std::sin(angle);
            }
        DeviceArray<float> table(angles);
        DeviceArray<int32_t> positions(random_indices(rows, rope_positions));
        const float *turns = table.data;
        const int32_t *where = positions.data;
        return run([=](int i, struct km_error *error) {
            const struct km_cuda_rope args = {
                out + rotate(Bench::out_values, values, i), where, turns, rows, heads, kv, head_dim};
            return km_cuda_rope(stream, &args, error);
        });
    }
    const size_t pages = quarter / ((size_t)kv * head_dim * KM_CUDA_PAGE_TOKENS);
    std::vector<int32_t> random_slots = random_indices((size_t)rows * 16, pages * KM_CUDA_PAGE_TOKENS);
    DeviceArray<int64_t> slots(std::vector<int64_t>(random_slots.begin(), random_slots.end()));
    const int64_t *list = slots.data;
    // The cache is written into the results' memory.
    uint16_t *keys = out, *cached_values = out + quarter;
    return run([=](int i, struct km_error *error) {
        const struct km_cuda_kv_write args = {a + rotate(3 * quarter, values, i),
                                              list + (size_t)(i % 16) * rows,
                                              keys,
                                              cached_values,
                                              rows,
                                              heads,
                                              kv,
                                              head_dim};
        return km_cuda_kv_write(stream, &args, error);
    });
}

void stream_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan)
{
    Refinement refinement = {{},
                             [&](const Shape &shape) { return measure_stream(bench, ceilings, shape); },
                             [&](const Shape &shape) { return roofline_us(ceilings, shape); },
                             [](double rows) { return std::round(rows); },
                             plan.target,
                             plan.budget_s,
                             "stream"};
    const double hiddens[] = {2048, 4096, 8192, 16384}, widths[] = {1024, 3584, 14336, 28672};
    std::vector<Shape> kinds;
    for (double h : hiddens) {
        for (const char *kind : {"route", "combine"})
            if (h <= 8192)
                kinds.push_back(stream_shape(kind, 2 * (top_k + 1) * h, 0));
        kinds.push_back(stream_shape("norm", 8 * h, 0));
        kinds.push_back(stream_shape("embed", 4 * h, 0));
    }
    for (double w : widths)
        kinds.push_back(stream_shape("activation", 6 * w, 0));
    for (double heads : {16, 40, 72, 136})
        kinds.push_back(stream_shape("rope", 4 * head_dim * heads, 0));
    for (double heads : {1, 2, 8, 32})
        kinds.push_back(stream_shape("kv_write", 8 * head_dim * heads, 0));
    for (double vocab : {32000, 128256, 256000})
        kinds.push_back(stream_shape("sample", 4 * vocab, 0));
    for (const Shape &kind : kinds) {
        Line line = {kind, {}};
        for (double rows : {1, 16, 64, 256, 1024, 4096, 16384})
            if ((rows * kind.size("bytes_per_row") <= 1.0e9) && (!plan.quick || rows == 1 || rows == 256) &&
                (rows <= 1024 || kind.names[0].second != "sample"))
                line.values.push_back(rows);
        refinement.lines.push_back(line);
    }
    measure_refined(tables, refinement);
}
