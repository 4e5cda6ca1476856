#include "classes.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

// A whole decoder layer (norm, qkv, rope, cache write, attention, output projection, norm, gate and up,
// activation, down), its operators handing their results on, several layers with weights and caches of their
// own in one graph.
namespace
{

struct Dims {
    uint32_t heads, kv_heads, dim, hidden, width;
};

class Layer
{
  public:
    // decode: m sequences of `context`; else one prompt of m tokens.
    Layer(Bench &bench, const Dims &dims, uint32_t m, uint32_t context, bool decode)
        : bench_(bench), d_(dims), m_(m), context_(context), decode_(decode),
          row_values_((dims.heads + 2 * dims.kv_heads) * dims.dim),
          table_pages_(km_cuda_sdpa_table_pages(context)), batch_(decode ? m : 1)
    {
        plan(row_values_, d_.hidden);
        plan(d_.hidden, d_.heads * d_.dim);
        plan(2 * d_.width, d_.hidden);
        plan(d_.hidden, d_.width);
        for (const Product &product : products_)
            weights_ += (size_t)product.n * product.k;
        cache_ = (size_t)batch_ * table_pages_ * KM_CUDA_PAGE_TOKENS * d_.kv_heads * d_.dim;
        layers_ = (int)std::min<size_t>({8, weight_room / weights_, cache_room / cache_});
        if (layers_ < 1)
            die("layer of hidden %u: the pool is too small", d_.hidden);
        std::vector<int32_t> table((size_t)batch_ * table_pages_), positions(m),
            lengths(batch_, (int32_t)context);
        std::vector<int64_t> slots(m);
        for (size_t i = 0; i < table.size(); i++)
            table[i] = (int32_t)i;
        std::shuffle(table.begin(), table.end(), std::mt19937(3));
        for (uint32_t t = 0; t < m; t++) {
            uint32_t place = decode ? context - 1 : context - m + t;
            positions[t] = (int32_t)place;
            slots[t] = (int64_t)table[(decode ? t * table_pages_ : 0) + place / KM_CUDA_PAGE_TOKENS] *
                           KM_CUDA_PAGE_TOKENS +
                       place % KM_CUDA_PAGE_TOKENS;
        }
        ints_ = std::make_unique<DeviceArray<int32_t>>(table);
        positions_ = std::make_unique<DeviceArray<int32_t>>(positions);
        lengths_ = std::make_unique<DeviceArray<int32_t>>(lengths);
        slots_ = std::make_unique<DeviceArray<int64_t>>(slots);
        std::vector<float> turns((size_t)context * d_.dim);
        for (size_t i = 0; i < turns.size(); i += 2) {
            turns[i] = (float)std::cos(1e-3 * (double)i);
            turns[i + 1] = (float)std::sin(1e-3 * (double)i);
        }
        turns_ = std::make_unique<DeviceArray<float>>(turns);
        if (!decode) {
            struct km_error error;
            struct km_cuda_sdpa *made;
            const struct km_cuda_sdpa_shape shape = {1,       d_.heads,    d_.kv_heads, d_.dim, m,
                                                     context, row_values_, row_values_, 0};
            check_km(km_cuda_sdpa_create(bench.dnn, &shape, &made, &error), error);
            sdpa_.reset(made, km_cuda_sdpa_destroy);
        }
        // Activations live in the results' memory, one after another.
        size_t at = 0;
        for (auto [pointer, values] : {std::pair<uint16_t **, size_t>{&x_, d_.hidden},
                                       {&residual_, d_.hidden},
                                       {&normed_, d_.hidden},
                                       {&qkv_, row_values_},
                                       {&attended_, (size_t)d_.heads * d_.dim},
                                       {&gate_up_, 2 * d_.width},
                                       {&active_, d_.width}}) {
            *pointer = bench.out + at;
            at += (values * m + 63) / 64 * 64;
        }
        if (at > Bench::out_values)
            die("layer of %u tokens: the memory for results is too small", m);
    }
    int layers() const
    {
        return layers_;
    }
    void run(int i)
    {
        struct km_error error;
        cudaStream_t stream = bench_.stream;
        const size_t first = (size_t)(i % layers_) * weights_;
        const uint16_t *w = bench_.pool + first;
        uint16_t *keys = bench_.pool + weight_room + (size_t)(i % layers_) * cache_,
                 *values = keys + cache_room;
        const struct km_cuda_norm norm = {x_, residual_, bench_.pool, normed_, m_, d_.hidden, 1e-5f};
        const struct km_cuda_rope rope = {qkv_,     positions_->data, turns_->data, m_,
                                          d_.heads, d_.kv_heads,      d_.dim};
        const struct km_cuda_kv_write write = {qkv_, slots_->data, keys,        values,
                                               m_,   d_.heads,     d_.kv_heads, d_.dim};
        check_km(km_cuda_norm(stream, &norm, &error), error);
        w = multiply(0, w, normed_, qkv_);
        check_km(km_cuda_rope(stream, &rope, &error), error);
        check_km(km_cuda_kv_write(stream, &write, &error), error);
        if (decode_) {
            const struct km_cuda_attention_decode args = {
                qkv_,  keys,     values,      ints_->data, lengths_->data, attended_,    bench_.scratch,
                m_,    d_.heads, d_.kv_heads, d_.dim,      row_values_,    table_pages_, context_,
                false, 1.0f,     1.0f};
            check_km(km_cuda_attention_decode(stream, &args, &error), error);
        } else {
            const uint16_t *k = qkv_ + d_.heads * d_.dim; // a whole prompt: its keys stand in qkv
            const struct km_cuda_sdpa_buffers buffers = {
                qkv_, k, k + d_.kv_heads * d_.dim, attended_, nullptr, nullptr, nullptr, bench_.workspace};
            check_km(km_cuda_sdpa_run(sdpa_.get(), stream, &buffers, &error), error);
        }
        w = multiply(1, w, attended_, x_);
        check_km(km_cuda_norm(stream, &norm, &error), error);
        w = multiply(2, w, normed_, gate_up_);
        check_km(km_cuda_swiglu(stream, gate_up_, active_, m_, d_.width, &error), error);
        multiply(3, w, active_, x_);
    }
    // The same operators, each measured alone.
    double sum_us(const Ceilings &ceilings)
    {
        double us = 0.0;
        for (const Product &product : products_)
            us += measure(bench_, ceilings, gemm_shape("gemm", "bf16", product.n, product.k, m_)).us;
        us += 2.0 * measure(bench_, ceilings, stream_shape("norm", 8.0 * d_.hidden, m_)).us;
        us += measure(bench_, ceilings, stream_shape("activation", 6.0 * d_.width, m_)).us;
        // At head_dim 128, kinds `rope` and `kv_write` have 8 KV heads and any; bytes are what counts.
        us += measure(bench_, ceilings,
                      stream_shape("rope", 4.0 * d_.dim * std::max(9u, d_.heads + d_.kv_heads), m_))
                  .us;
        us += measure(bench_, ceilings, stream_shape("kv_write", 8.0 * d_.dim * d_.kv_heads, m_)).us;
        Shape attention = decode_ ? decode_shape("bf16", d_.heads, d_.kv_heads, d_.dim, m_, context_)
                                  : prefill_shape(d_.heads, d_.kv_heads, d_.dim, context_ - m_, m_);
        return us + measure(bench_, ceilings, attention).us;
    }

  private:
    struct Product {
        uint32_t n, k;
        std::shared_ptr<struct km_cuda_gemm> gemm;
    };
    static constexpr size_t weight_room = Bench::pool_values / 2, cache_room = Bench::pool_values / 4;

    void plan(uint32_t n, uint32_t k)
    {
        struct km_error error;
        struct km_cuda_gemm *made;
        const struct km_cuda_gemm_shape shape = {n, k, m_, false, false};
        check_km(km_cuda_gemm_create(bench_.blas, &shape, &made, &error), error);
        products_.push_back({n, k, std::shared_ptr<struct km_cuda_gemm>(made, km_cuda_gemm_destroy)});
    }
    const uint16_t *multiply(size_t which, const uint16_t *w, const uint16_t *in, uint16_t *out)
    {
        struct km_error error;
        const Product &product = products_[which];
        check_km(km_cuda_gemm_run(product.gemm.get(), bench_.stream, w, in, out, nullptr, &error), error);
        return w + (size_t)product.n * product.k;
    }

    Bench &bench_;
    const Dims d_;
    const uint32_t m_, context_;
    const bool decode_;
    const uint32_t row_values_, table_pages_, batch_;
    std::vector<Product> products_;
    size_t weights_ = 0, cache_ = 0;
    int layers_ = 0;
    std::unique_ptr<DeviceArray<int32_t>> ints_, positions_, lengths_;
    std::unique_ptr<DeviceArray<int64_t>> slots_;
    std::unique_ptr<DeviceArray<float>> turns_;
    std::shared_ptr<struct km_cuda_sdpa> sdpa_;
    uint16_t *x_, *residual_, *normed_, *qkv_, *attended_, *gate_up_, *active_;
};

} // namespace

void layer_class(Bench &bench, Tables &tables, const Ceilings &ceilings, const Plan &plan)
{
    // Llama 3.1 8B on one rank, 70B on one of eight.
    const Dims models[] = {{32, 8, 128, 4096, 14336}, {8, 1, 128, 8192, 3584}};
    const struct {
        const char *kind;
        uint32_t m, context;
    } cases[] = {{"decode", 1, 256},        {"decode", 16, 256},      {"decode", 16, 2048},
                 {"decode", 64, 256},       {"decode", 64, 2048},     {"decode", 256, 512},
                 {"prefill", 512, 512},     {"prefill", 2048, 2048},  {"prefill", 8192, 8192},
                 {"sustained", 2048, 2048}, {"sustained", 8192, 8192}};
    printf("# layer: kind,heads,kv_heads,head_dim,hidden,width,m,context,layer_us,sum_us,ratio\n");
    for (const Dims &d : models) {
        for (const auto &one : cases) {
            const bool sustained = one.kind[0] == 's';
            if (plan.quick && one.m != 16 && one.m != 512)
                continue;
            Shape shape = {"layer",
                           {{"kind", one.kind}},
                           {{"heads", d.heads},
                            {"kv_heads", d.kv_heads},
                            {"head_dim", d.dim},
                            {"hidden", d.hidden},
                            {"width", d.width},
                            {"m", one.m},
                            {"context", one.context}}};
            if (tables.has(shape))
                continue;
            Layer layer(bench, d, one.m, one.context, one.kind[0] == 'd');
            const double sum_us = layer.sum_us(ceilings);
            fill_random(bench.out, Bench::out_values, 3, bench.stream);
            // All layers in turn, but for long ones: two already exceed the caches, and more would not be a
            // burst.
            const int instances =
                sum_us > 1000.0 && !sustained ? std::min(2, layer.layers()) : layer.layers();
            Bench::Work work = {sum_us, instances, [&](int k) { layer.run(k); }, instances};
            Sample sample = sustained ? bench.sustained(work, 1.0) : bench.burst(work);
            tables.add(shape, {sample.us / sum_us, sample.spread / sum_us});
            printf("# %s,%u,%u,%u,%u,%u,%u,%u,%.2f,%.2f,%.4f\n", one.kind, d.heads, d.kv_heads, d.dim,
                   d.hidden, d.width, one.m, one.context, sample.us, sum_us, sample.us / sum_us);
            fflush(stdout);
        }
    }
}
