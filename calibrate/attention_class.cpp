#include "classes.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>

static Shape attention_shape(const char *op, const char *kv_dtype, double heads, double kv_heads,
                             double head_dim)
{
    return {op, {{"kv_dtype", kv_dtype}}, {{"heads", heads}, {"kv_heads", kv_heads}, {"head_dim", head_dim}}};
}

Shape decode_shape(const char *kv_dtype, double heads, double kv_heads, double head_dim, double batch,
                   double context)
{
    Shape shape = attention_shape("attention_decode", kv_dtype, heads, kv_heads, head_dim);
    shape.sizes.push_back({"batch", batch});
    shape.sizes.push_back({"context", context});
    return shape;
}

Shape prefill_shape(double heads, double kv_heads, double head_dim, double past, double tokens)
{
    Shape shape = attention_shape("attention_prefill", "bf16", heads, kv_heads, head_dim);
    shape.sizes.push_back({"past", past});
    shape.sizes.push_back({"tokens", tokens});
    return shape;
}

namespace
{

// Keys in the first 3/8 of the pool, values in the next, queries in the last quarter.
constexpr size_t cache_values = Bench::pool_values / 8 * 3, cache8_values = Bench::pool8_values / 2,
                 query_begin = 2 * cache_values, query_values = Bench::pool_values - query_begin;

struct Sizes {
    uint32_t heads, kv_heads, head_dim, batch, tokens, context, table_pages, row_values;
    uint32_t pages; // of the cache: a power of two

    static Sizes of(const Shape &shape, uint32_t batch, uint32_t tokens, uint32_t context)
    {
        Sizes s = {(uint32_t)shape.size("heads"),
                   (uint32_t)shape.size("kv_heads"),
                   (uint32_t)shape.size("head_dim"),
                   batch,
                   tokens,
                   context,
                   km_cuda_sdpa_table_pages(context),
                   0,
                   1};
        s.row_values = (s.heads + 2 * s.kv_heads) * s.head_dim;
        const size_t room = shape.names[0].second == "fp8" ? cache8_values : cache_values;
        while ((size_t)2 * s.pages * KM_CUDA_PAGE_TOKENS * s.kv_heads * s.head_dim <= room)
            s.pages *= 2;
        if ((size_t)s.batch * s.table_pages > s.pages)
            die("%s: the cache exceeds the pool", shape.key().c_str());
        return s;
    }
    size_t cache_pages() const
    {
        return (size_t)batch * table_pages;
    }
};

// A bijection of [0, pages): neighbours in a sequence lie far apart, as in an engine's pool after a while.
int32_t scattered(size_t logical, uint32_t pages)
{
    uint64_t mask = pages - 1, x = logical & mask;
    int half = 1;
    while ((1u << (2 * half)) < pages)
        half++;
    x = x * 0x9e3779b1u & mask;
    x ^= x >> half;
    return (int32_t)(x * 0x85ebca6bu & mask);
}

// Page tables of several instances, each on pages of its own while there are any.
struct Caches {
    Caches(const Sizes &s, int instances)
        : tables(scatter(s, instances)), contexts(std::vector<int32_t>(s.batch, (int32_t)s.context)),
          tokens(std::vector<int32_t>(s.batch, (int32_t)s.tokens))
    {
    }
    static std::vector<int32_t> scatter(const Sizes &s, int instances)
    {
        std::vector<int32_t> table(s.cache_pages() * (size_t)instances);
        for (size_t i = 0; i < table.size(); i++)
            table[i] = scattered(i, s.pages);
        return table;
    }
    DeviceArray<int32_t> tables, contexts, tokens;
};

int instances_for(const Sizes &s, double estimate_us)
{
    int most = (int)std::max<size_t>(1, std::min<size_t>(128, ((size_t)1 << 24) / s.cache_pages()));
    return Bench::instances(estimate_us, most);
}

const uint16_t *queries(const Bench &bench, const Sizes &s, int i)
{
    return bench.pool + query_begin + rotate(query_values, (size_t)s.batch * s.tokens * s.row_values, i);
}

uint16_t *results(const Bench &bench, const Sizes &s, int i)
{
    return bench.out + rotate(Bench::out_values, (size_t)s.batch * s.tokens * s.heads * s.head_dim, i);
}

struct km_cuda_sdpa_shape plan_shape(const Sizes &s, bool paged)
{
    return {s.batch,
            s.heads,
            s.kv_heads,
            s.head_dim,
            s.tokens,
            s.context,
            s.row_values,
            s.kv_heads * s.head_dim,
            paged ? s.pages : 0};
}

Sizes prefill_sizes(const Shape &shape)
{
    const uint32_t tokens = (uint32_t)shape.size("tokens"), past = (uint32_t)shape.size("past");
    return Sizes::of(shape, 1, tokens, past + tokens);
}

// By cuDNN: decode over pages, prefill over rows.
bool time_cudnn(Bench &bench, const Shape &shape, const Sizes &s, bool paged, double estimate_us, Sample *out)
{
    std::shared_ptr<struct km_cuda_sdpa> sdpa;
    auto prepared = bench.plans.find(shape.key());
    if (prepared != bench.plans.end() && !paged) {
        sdpa = prepared->second;
    } else {
        struct km_error error;
        struct km_cuda_sdpa *made;
        const struct km_cuda_sdpa_shape plan = plan_shape(s, paged);
        if (km_cuda_sdpa_create(bench.dnn, &plan, &made, &error) != KM_OK) {
            fprintf(stderr, "%s\n", error.message);
            return false;
        }
        sdpa.reset(made, km_cuda_sdpa_destroy);
    }
    if (km_cuda_sdpa_workspace_bytes(sdpa.get()) > Bench::workspace_bytes)
        return false;
    const uint32_t kv_row = s.kv_heads * s.head_dim;
    const int instances = instances_for(s, estimate_us);
    Caches caches(s, paged ? instances : 1);
    auto body = [&](int i) {
        struct km_error fault;
        const size_t at = paged ? 0 : rotate(cache_values, (size_t)s.context * kv_row, i);
        const struct km_cuda_sdpa_buffers buffers = {queries(bench, s, i),
                                                     bench.pool + at,
                                                     bench.pool + cache_values + at,
                                                     results(bench, s, i),
                                                     caches.tables.data +
                                                         (paged ? (size_t)i * s.cache_pages() : 0),
                                                     caches.tokens.data,
                                                     caches.contexts.data,
                                                     bench.workspace};
        check_km(km_cuda_sdpa_run(sdpa.get(), bench.stream, &buffers, &fault), fault);
    };
    *out = bench.burst({estimate_us, instances, body});
    return true;
}

} // namespace

Sample measure_decode(Bench &bench, const Ceilings &ceilings, const Shape &shape)
{
    const Sizes s = Sizes::of(shape, (uint32_t)shape.size("batch"), 1, (uint32_t)shape.size("context"));
    const double estimate = roofline_us(ceilings, shape) + 4.0;
    const int instances = instances_for(s, estimate);
    const bool fp8 = shape.names[0].second == "fp8";
    if (km_cuda_attention_decode_scratch_bytes(s.batch, s.heads, s.head_dim) > Bench::scratch_bytes)
        die("%s: scratch memory", shape.key().c_str());
    Caches caches(s, instances);
    auto body = [&](int i) {
        struct km_error error;
        const struct km_cuda_attention_decode args = {queries(bench, s, i),
                                                      fp8 ? bench.pool8 : (const void *)bench.pool,
                                                      fp8 ? bench.pool8 + Bench::pool8_values / 2
                                                          : (const void *)(bench.pool + cache_values),
                                                      caches.tables.data + (size_t)i * s.cache_pages(),
                                                      caches.contexts.data,
                                                      results(bench, s, i),
                                                      bench.scratch,
                                                      s.batch,
                                                      s.heads,
                                                      s.kv_heads,
                                                      s.head_dim,
                                                      s.row_values,
                                                      s.table_pages,
                                                      s.context,
                                                      fp8,
                                                      1.0f,
                                                      1.0f};
        check_km(km_cuda_attention_decode(bench.stream, &args, &error), error);
    };
    return bench.burst({estimate, instances, body});
}

bool measure_decode_cudnn(Bench &bench, const Ceilings &ceilings, const Shape &shape, Sample *out)
{
    const Sizes s = Sizes::of(shape, (uint32_t)shape.size("batch"), 1, (uint32_t)shape.size("context"));
    return time_cudnn(bench, shape, s, true, roofline_us(ceilings, shape) + 6.0, out);
}

Sample measure_prefill(Bench &bench, const Ceilings &ceilings, const Shape &shape)
{
    const Sizes s = prefill_sizes(shape);
    Sample sample;
    if (!time_cudnn(bench, shape, s, false, roofline_us(ceilings, shape) * 1.4 + 5.0, &sample))
        die("%s: cuDNN has no kernel", shape.key().c_str());
    return sample;
}

void prepare_prefills(Bench &bench, const std::vector<Shape> &shapes)
{
    const size_t threads =
        std::max<size_t>(1, std::min<size_t>({std::thread::hardware_concurrency(), 16, shapes.size()}));
    std::vector<std::shared_ptr<struct km_cuda_sdpa>> made(shapes.size());
    std::atomic<size_t> next = 0;
    int device;
    CUDA(cudaGetDevice(&device));
    while (bench.planners.size() < threads) {
        struct km_error error;
        struct km_cuda_dnn *dnn;
        check_km(km_cuda_dnn_create(&dnn, &error), error);
        bench.planners.emplace_back(dnn, km_cuda_dnn_destroy);
    }
    std::vector<std::thread> workers;
    for (size_t t = 0; t < threads; t++)
        workers.emplace_back([&, t] {
            CUDA(cudaSetDevice(device));
            for (size_t i; (i = next++) < shapes.size();) {
                struct km_error error;
                struct km_cuda_sdpa *sdpa;
                const struct km_cuda_sdpa_shape plan = plan_shape(prefill_sizes(shapes[i]), false);
                if (km_cuda_sdpa_create(bench.planners[t].get(), &plan, &sdpa, &error) == KM_OK)
                    made[i].reset(sdpa, km_cuda_sdpa_destroy);
            }
        });
    for (std::thread &worker : workers)
        worker.join();
    for (size_t i = 0; i < shapes.size(); i++)
        if (made[i])
            bench.plans[shapes[i].key()] = made[i];
}

// Both decode kernels side by side, into a file beside the tables.
static void compare_decode(Bench &bench, const Ceilings &ceilings, const Plan &plan)
{
    printf("# decode attention, us: "
           "heads,kv_heads,head_dim,batch,context,own,own_spread,cudnn,cudnn_spread,own_bytes_per_s\n");
    const double shapes[][2] = {{1, 1024},  {1, 16384}, {16, 1024},  {64, 256},
                                {64, 1024}, {64, 4096}, {256, 1024}, {128, 2048}};
    for (const auto &one : shapes) {
        Shape shape = decode_shape("bf16", 32, 8, 128, one[0], one[1]);
        Sample own = measure_decode(bench, ceilings, shape), other;
        bool has = measure_decode_cudnn(bench, ceilings, shape, &other);
        printf("# decode,32,8,128,%g,%g,%.2f,%.2f,%.2f,%.2f,%.4g\n", one[0], one[1], own.us, own.spread,
               has ? other.us : NAN, has ? other.spread : NAN, 1e6 * one[0] * one[1] * 8 * 128 * 4 / own.us);
        if (plan.quick && one[0] == 64 && one[1] == 1024)
            break;
    }
    fflush(stdout);
}

void attention_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan)
{
    compare_decode(bench, ceilings, plan);
    auto roofline = [&](const Shape &shape) { return roofline_us(ceilings, shape); };
    auto to_page = [](double x) {
        return x < 256.0 ? std::round(x / 16.0) * 16.0 : std::round(x / 64.0) * 64.0;
    };
    // Heads of Llama 3.1 8B and 70B at one to eight ranks, of models with as many KV heads as heads, of one
    // KV head, and of narrow heads.
    std::vector<std::vector<double>> kinds = {{32, 8, 128},  {16, 4, 128}, {8, 2, 128},  {4, 1, 128},
                                              {64, 8, 128},  {32, 4, 128}, {16, 2, 128}, {8, 1, 128},
                                              {32, 32, 128}, {32, 8, 64},  {64, 8, 64}};
    std::vector<double> batches = {1,  2,  3,  4,   6,   8,   12,  16,  24,  32, 48,
                                   64, 80, 96, 128, 160, 192, 224, 256, 384, 512};
    std::vector<double> contexts = {16, 64, 256, 1024, 4096, 16384, 65536, 131072};
    if (plan.quick) {
        kinds = {{32, 8, 128}};
        batches = {1, 64};
        contexts = {64, 1024};
    }
    Refinement decode = {{},
                         [&](const Shape &shape) { return measure_decode(bench, ceilings, shape); },
                         roofline,
                         to_page,
                         plan.target,
                         plan.budget_s,
                         "attention_decode"};
    // Over an fp8 cache the kernel's speed jumps where its blocks begin another wave.
    std::vector<double> batches8 = batches;
    if (!plan.quick)
        batches8.insert(batches8.end(),
                        {5, 7, 10, 14, 20, 28, 33, 34, 40, 56, 66, 68, 72, 100, 112, 132, 136, 264, 272});
    for (const char *dtype : {"bf16", "fp8"})
        for (const auto &kind : kinds)
            for (double batch : dtype[0] == 'f' ? batches8 : batches) {
                const double room = 0.45 * (double)(dtype[0] == 'f' ? cache8_values : cache_values);
                Line line = {decode_shape(dtype, kind[0], kind[1], kind[2], batch, 0), {}};
                for (double context : contexts)
                    if (batch * context * kind[1] * kind[2] <= room)
                        line.values.push_back(context);
                decode.lines.push_back(line);
            }
    measure_refined(tables, decode);

    // Fewer kinds: a plan takes cuDNN long to build, and the fraction reached hardly depends on the number of
    // KV heads.
    kinds.resize(std::min<size_t>(kinds.size(), 5));
    if (!plan.quick)
        kinds.insert(kinds.end(), {{8, 1, 128}, {32, 8, 64}});
    // Lengths of prompts are seldom round, and round ones take faster kernels; chunks of long prompts are
    // round. A chunk with any past, even of one token, takes another kernel than one without.
    std::vector<double> pasts = {0, 1, 130, 514, 2050, 8194, 32770},
                        tokens = {17,   37,   63,   67,   99,   127,  131,  195,  255,  259,  383,
                                  387,  511,  515,  639,  643,  767,  771,  895,  899,  1023, 1027,
                                  1279, 1283, 1535, 1539, 2048, 2051, 3071, 3075, 4096, 8192, 16384};
    if (plan.quick) {
        pasts = {0, 1024};
        tokens = {64, 2048};
    }
    Refinement prefill = {{},
                          [&](const Shape &shape) { return measure_prefill(bench, ceilings, shape); },
                          roofline,
                          [](double x) { return 2.0 * std::round(x / 2.0) + 1.0; },
                          plan.target,
                          0.15 * plan.budget_s, // the plans of what is refined are built one by one
                          "attention_prefill"};
    for (const auto &kind : kinds) {
        for (double past : pasts) {
            Line line = {prefill_shape(kind[0], kind[1], kind[2], past, 0), {}};
            for (double t : tokens)
                if (t * (past + t / 2) * kind[0] * kind[2] * 4 < 4e12)
                    line.values.push_back(t);
            prefill.lines.push_back(line);
        }
    }
    std::vector<Shape> ahead;
    for (const Line &line : prefill.lines)
        for (double t : line.values) {
            Shape shape = line.shape;
            shape.sizes.back().second = t;
            if (!tables.has(shape))
                ahead.push_back(shape);
        }
    auto start = std::chrono::steady_clock::now();
    prepare_prefills(bench, ahead);
    fprintf(stderr, "attention_prefill: %zu plans in %.1f s\n", ahead.size(),
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    measure_refined(tables, prefill);
    bench.plans.clear();
}
