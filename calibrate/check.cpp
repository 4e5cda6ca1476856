#include "classes.hpp"

#include <algorithm>
#include <cmath>

namespace
{

// A random shape of one class, log-uniform over the range that the profile covers.
Shape random_shape(const std::string &op, std::mt19937 &random)
{
    auto log_uniform = [&](double low, double high, double unit) {
        std::uniform_real_distribution<double> uniform(std::log(low), std::log(high));
        return std::fmax(unit, std::round(std::exp(uniform(random)) / unit) * unit);
    };
    auto one_of = [&](std::initializer_list<double> values) {
        return values.begin()[random() % values.size()];
    };
    for (;;) {
        if (op == "gemm_llama") {
            // Llama 3.1 8B and 70B: qkv, output, gate and up, down on 1, 2 and 8 ranks.
            const double products[][2] = {
                {6144, 4096},  {3072, 4096},  {768, 4096},  {4096, 4096},  {4096, 2048},  {4096, 512},
                {28672, 4096}, {14336, 4096}, {3584, 4096}, {4096, 14336}, {4096, 7168},  {4096, 1792},
                {10240, 8192}, {5120, 8192},  {1280, 8192}, {8192, 8192},  {8192, 4096},  {8192, 1024},
                {57344, 8192}, {28672, 8192}, {7168, 8192}, {8192, 28672}, {8192, 14336}, {8192, 3584}};
            const double *product = products[random() % 24];
            double m = log_uniform(1, 8192, 1);
            return gemm_shape("gemm", "bf16", product[0], product[1], m > 32 ? std::round(m / 8) * 8 : m);
        }
        if (op == "gemm" || op == "gemm_fp8") {
            // Widths of models are multiples of 128.
            double n = log_uniform(512, 57344, 128), k = log_uniform(512, 28672, 128),
                   m = log_uniform(1, 8192, 1);
            if (m > 32)
                m = std::round(m / 8) * 8;
            if (n * k * m < 1.5e12)
                return gemm_shape("gemm", op == "gemm" ? "bf16" : "fp8", n, k, m);
        } else if (op == "attention_decode" || op == "attention_decode_fp8") {
            const double kinds[][3] = {{32, 8, 128}, {16, 4, 128}, {8, 2, 128},
                                       {64, 8, 128}, {8, 1, 128},  {32, 8, 64}};
            const double *kind = kinds[random() % 6];
            double batch = log_uniform(1, 512, 1), context = log_uniform(16, 65536, 1);
            if (batch * context * kind[1] * kind[2] < (op == "attention_decode" ? 7e8 : 4.5e8))
                return decode_shape(op == "attention_decode" ? "bf16" : "fp8", kind[0], kind[1], kind[2],
                                    batch, context);
        } else if (op == "attention_prefill") {
            const double kinds[][3] = {{32, 8, 128}, {16, 4, 128}, {8, 2, 128}, {64, 8, 128}, {32, 8, 64}};
            const double *kind = kinds[random() % 5];
            double tokens = log_uniform(16, 8192, 1), past = random() % 2 ? 0.0 : log_uniform(64, 32768, 1);
            if (tokens * (past + tokens / 2) * kind[0] * kind[2] < 1e12)
                return prefill_shape(kind[0], kind[1], kind[2], past, tokens);
        } else if (op == "stream") {
            double rows = log_uniform(1, 8192, 1);
            switch (random() % 5) {
            case 0:
                return stream_shape("norm", 8 * log_uniform(2048, 16384, 128), rows);
            case 1:
                return stream_shape("activation", 6 * log_uniform(1024, 28672, 128), rows);
            case 2:
                return stream_shape("rope", 512 * one_of({24, 40, 48, 72, 104}), rows);
            case 3:
                return stream_shape("kv_write", 1024 * one_of({1, 2, 4, 8, 16}), rows);
            default:
                return stream_shape("embed", 4 * log_uniform(2048, 16384, 128), rows);
            }
        } else {
            die("no random shapes of class %s", op.c_str());
        }
    }
}

void report(const char *what, const std::vector<double> &errors)
{
    std::vector<double> sizes(errors.size());
    std::transform(errors.begin(), errors.end(), sizes.begin(), [](double x) { return std::fabs(x); });
    if (!errors.empty())
        printf("%-18s %6zu %+7.1f%% %7.1f%% %7.1f%% %7.1f%% %7.1f%%\n", what, errors.size(),
               100.0 * median(errors), 100.0 * median(sizes), 100.0 * quantile(sizes, 0.9),
               100.0 * quantile(sizes, 0.95), 100.0 * quantile(sizes, 1.0));
}

} // namespace

void check(Bench &bench, const Tables &tables, const Ceilings &ceilings, const Check &plan)
{
    Tables rows(plan.csv);
    std::mt19937 random(plan.seed);
    auto roofline = [&](const Shape &one) { return roofline_us(ceilings, one); };
    printf("check: %d random shapes a class, not in the profile, seed %u; again: shapes of the profile\n",
           plan.count, plan.seed);
    printf("%-18s %6s %8s %8s %8s %8s %8s\n", "class", "shapes", "bias", "median", "p90", "p95", "worst");
    for (const char *op : {"stream", "attention_decode", "attention_decode_fp8", "attention_prefill", "gemm",
                           "gemm_llama", "gemm_fp8"}) {
        std::vector<Shape> shapes;
        for (int tries = 0; (int)shapes.size() < plan.count && tries < 100 * plan.count; tries++) {
            Shape shape = random_shape(op, random);
            if (tables.fraction(shape, roofline) <= 0.0)
                break; // the profile has no such table
            auto same = [&](const Shape &other) { return other.key() == shape.key(); };
            if (!tables.has(shape) && !rows.has(shape) && std::none_of(shapes.begin(), shapes.end(), same))
                shapes.push_back(shape);
        }
        if (shapes.empty())
            continue;
        // Every eighth is followed by a row of the table: both in the same state of the device.
        std::vector<Shape> known = tables.some(shapes[0].table(), (size_t)plan.count / 8, random), all;
        for (size_t i = 0; i < shapes.size(); i++) {
            all.push_back(shapes[i]);
            if (i % 8 == 7 && i / 8 < known.size())
                all.push_back(known[i / 8]);
        }
        if (shapes[0].op == "attention_prefill")
            prepare_prefills(bench, all);
        std::vector<double> errors, again;
        for (const Shape &shape : all) {
            Sample sample = measure(bench, ceilings, shape);
            rows.add(shape, sample);
            (tables.has(shape) ? again : errors)
                .push_back(roofline(shape) / tables.fraction(shape, roofline) / sample.us - 1.0);
        }
        report(op, errors);
        report("  again", again);
        const Health h = bench.health();
        fprintf(stderr, "check %s: SM %u MHz, %u C, %.0f W\n", op, h.sm_mhz, h.celsius, h.watts);
    }
    bench.plans.clear();
    fflush(stdout);
}
