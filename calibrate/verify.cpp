#include "classes.hpp"

#include <cmath>
#include <cstring>
#include <memory>

// References in double precision on bf16 inputs; results may differ by bf16's rounding (2^-9) of each stored
// value.
namespace
{

std::vector<uint16_t> random_values(size_t count, uint32_t seed)
{
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    std::vector<uint16_t> values(count);
    for (uint16_t &value : values)
        value = to_bf16(uniform(random));
    return values;
}

double f(uint16_t value)
{
    return (double)from_bf16(value);
}

void compare(const char *kernel, const std::vector<uint16_t> &got, const std::vector<double> &wanted,
             double tolerance)
{
    double difference = 0.0, size = 0.0, worst = 0.0;
    for (size_t i = 0; i < wanted.size(); i++) {
        double off = f(got[i]) - wanted[i];
        if (!std::isfinite(off))
            die("%s: result %zu is not a number", kernel, i);
        difference += off * off;
        size += wanted[i] * wanted[i];
        worst = std::fmax(worst, std::fabs(off));
    }
    double relative = std::sqrt(difference / size);
    if (!(relative <= tolerance))
        die("%s: relative error %.2e, worst %.2e", kernel, relative, worst);
    fprintf(stderr, "verified %s: relative error %.1e\n", kernel, relative);
}

// Poisoned, so that what a kernel leaves out shows.
struct Output {
    explicit Output(size_t count) : array(std::vector<uint16_t>(count, 0xffff)), count(count)
    {
    }
    std::vector<uint16_t> get(Bench &bench) const
    {
        CUDA(cudaStreamSynchronize(bench.stream));
        return fetch(array.data, count);
    }
    DeviceArray<uint16_t> array;
    size_t count;
};

void verify_norm(Bench &bench, uint32_t hidden)
{
    const uint32_t rows = 5;
    std::vector<uint16_t> x = random_values(rows * hidden, 1), r = random_values(rows * hidden, 2),
                          w = random_values(hidden, 3);
    DeviceArray<uint16_t> dx(x), dr(r), dw(w);
    Output out(rows * hidden);
    struct km_error error;
    const struct km_cuda_norm args = {dx.data, dr.data, dw.data, out.array.data, rows, hidden, 1e-5f};
    check_km(km_cuda_norm(bench.stream, &args, &error), error);
    std::vector<double> wanted(rows * hidden), residual(rows * hidden);
    for (uint32_t row = 0; row < rows; row++) {
        double squares = 0.0;
        for (uint32_t i = row * hidden; i < (row + 1) * hidden; i++) {
            residual[i] = f(to_bf16((float)(f(x[i]) + f(r[i]))));
            squares += residual[i] * residual[i];
        }
        for (uint32_t i = 0; i < hidden; i++)
            wanted[row * hidden + i] =
                residual[row * hidden + i] / std::sqrt(squares / hidden + 1e-5) * f(w[i]);
    }
    compare("norm", out.get(bench), wanted, 3e-3);
    compare("norm's residual", fetch(dr.data, rows * hidden), residual, 1e-6);
}

void verify_streams(Bench &bench)
{
    struct km_error error;
    const uint32_t rows = 7, width = 264;
    std::vector<uint16_t> x = random_values(rows * 2 * width, 4);
    DeviceArray<uint16_t> dx(x);
    Output out(rows * width);
    check_km(km_cuda_swiglu(bench.stream, dx.data, out.array.data, rows, width, &error), error);
    std::vector<double> wanted(rows * width);
    for (uint32_t i = 0; i < rows * width; i++) {
        double gate = f(x[i / width * 2 * width + i % width]),
               up = f(x[i / width * 2 * width + width + i % width]);
        wanted[i] = gate / (1.0 + std::exp(-gate)) * up;
    }
    compare("swiglu", out.get(bench), wanted, 3e-3);

    const std::vector<int32_t> index = {3, 0, 9, 1, 13, 13, 2};
    DeviceArray<int32_t> list(index);
    Output gathered(rows * width);
    check_km(km_cuda_gather(bench.stream, dx.data, list.data, gathered.array.data, rows, width, &error),
             error);
    for (uint32_t i = 0; i < rows * width; i++)
        wanted[i] = f(x[(size_t)index[i / width] * width + i % width]);
    compare("gather", gathered.get(bench), wanted, 1e-12);

    const uint32_t tokens = 3, top_k = 2;
    const std::vector<float> weights = {0.25f, 0.75f, 0.5f, 0.5f, -1.0f, 2.0f};
    const std::vector<int32_t> places = {0, 5, 3, 3, 13, 1};
    DeviceArray<int32_t> place(places);
    DeviceArray<float> weight(weights);
    Output combined(tokens * width);
    const struct km_cuda_combine args = {dx.data, place.data, weight.data, combined.array.data,
                                         tokens,  top_k,      width};
    check_km(km_cuda_combine(bench.stream, &args, &error), error);
    wanted.assign(tokens * width, 0.0);
    for (uint32_t i = 0; i < tokens * width; i++)
        for (uint32_t j = 0; j < top_k; j++) {
            uint32_t at = i / width * top_k + j;
            wanted[i] += (double)weights[at] * f(x[(size_t)places[at] * width + i % width]);
        }
    compare("combine", combined.get(bench), wanted, 3e-3);
}

void verify_argmax(Bench &bench, uint32_t vocab)
{
    struct km_error error;
    const uint32_t rows = 3;
    std::vector<float> logits((size_t)rows * vocab);
    std::mt19937 random(6);
    std::normal_distribution<float> normal(-5.0f, 1.0f);
    for (float &logit : logits)
        logit = normal(random);
    logits[vocab - 1] = 4.0f;                          // the last word of row 0
    logits[vocab + 17] = logits[2 * vocab - 3] = 3.0f; // a tie in row 1
    DeviceArray<float> device(logits);
    DeviceArray<int32_t> tokens((size_t)rows);
    for (int again = 0; again < 2; again++) { // the scratch memory must be left as it was found
        check_km(km_cuda_argmax(bench.stream, device.data, tokens.data, bench.scratch, rows, vocab, &error),
                 error);
        CUDA(cudaStreamSynchronize(bench.stream));
        std::vector<int32_t> got = fetch(tokens.data, rows);
        int32_t third = 0;
        for (uint32_t i = 0; i < vocab; i++)
            if (logits[2 * vocab + i] > logits[2 * vocab + (uint32_t)third])
                third = (int32_t)i;
        if (got[0] != (int32_t)vocab - 1 || got[1] != 17 || got[2] != third)
            die("argmax: %d, %d, %d of %u", got[0], got[1], got[2], vocab);
    }
    fprintf(stderr, "verified argmax\n");
}

// Sequences of given lengths in a paged cache, queries and what attention should give. Unused places hold
// NaN.
struct Attention {
    uint32_t heads, kv_heads, dim, tokens, row_values, table_pages, max_context = 0;
    std::vector<int32_t> contexts, table;
    std::vector<uint16_t> qkv, keys, values;
    std::vector<double> wanted;

    Attention(uint32_t heads_, uint32_t kv_heads_, uint32_t dim_, uint32_t tokens_,
              std::vector<int32_t> contexts_)
        : heads(heads_), kv_heads(kv_heads_), dim(dim_), tokens(tokens_), contexts(std::move(contexts_))
    {
        for (int32_t context : contexts)
            max_context = std::max(max_context, (uint32_t)context);
        const uint32_t batch = (uint32_t)contexts.size(), page = KM_CUDA_PAGE_TOKENS;
        row_values = (heads + 2 * kv_heads) * dim;
        table_pages = km_cuda_sdpa_table_pages(max_context);
        const size_t pages = (size_t)batch * table_pages;
        std::mt19937 random(9);
        table.resize(pages);
        for (size_t i = 0; i < pages; i++)
            table[i] = (int32_t)i;
        std::shuffle(table.begin(), table.end(), random);
        qkv = random_values((size_t)batch * tokens * row_values, 10);
        for (uint16_t &value : qkv) // peaked enough that a wrong mask shows
            value = to_bf16(3.0f * from_bf16(value));
        keys = random_values(pages * kv_heads * page * dim, 12);
        values = random_values(pages * kv_heads * page * dim, 13);
        for (uint32_t b = 0; b < batch; b++)
            for (size_t t = (size_t)contexts[b]; t < (size_t)table_pages * page; t++)
                for (uint32_t h = 0; h < kv_heads; h++)
                    for (uint32_t d = 0; d < dim; d++)
                        keys[at(b, t, h) + d] = values[at(b, t, h) + d] = 0x7fc0;
    }
    size_t at(uint32_t b, size_t t, uint32_t h) const
    {
        const size_t page = KM_CUDA_PAGE_TOKENS;
        return (((size_t)table[b * table_pages + t / page] * kv_heads + h) * page + t % page) * dim;
    }
    // The same without pages: [context, kv_heads, dim].
    std::vector<uint16_t> rows(const std::vector<uint16_t> &cache) const
    {
        std::vector<uint16_t> result;
        for (size_t t = 0; t < (size_t)contexts[0]; t++)
            for (uint32_t h = 0; h < kv_heads; h++)
                result.insert(result.end(), &cache[at(0, t, h)], &cache[at(0, t, h)] + dim);
        return result;
    }
    void solve()
    {
        const uint32_t batch = (uint32_t)contexts.size();
        wanted.assign((size_t)batch * tokens * heads * dim, 0.0);
        std::vector<double> shares(max_context);
        for (uint32_t b = 0; b < batch; b++)
            for (uint32_t q = 0; q < tokens; q++)
                for (uint32_t h = 0; h < heads; h++) {
                    const uint16_t *query = &qkv[((size_t)b * tokens + q) * row_values + h * dim];
                    const size_t seen = (size_t)contexts[b] - tokens + q + 1;
                    double top = -1e300, sum = 0.0;
                    for (size_t t = 0; t < seen; t++) {
                        shares[t] = 0.0;
                        for (uint32_t d = 0; d < dim; d++)
                            shares[t] += f(query[d]) * f(keys[at(b, t, h / (heads / kv_heads)) + d]);
                        shares[t] /= std::sqrt((double)dim);
                        top = std::fmax(top, shares[t]);
                    }
                    for (size_t t = 0; t < seen; t++)
                        sum += shares[t] = std::exp(shares[t] - top);
                    double *out = &wanted[(((size_t)b * tokens + q) * heads + h) * dim];
                    for (size_t t = 0; t < seen; t++)
                        for (uint32_t d = 0; d < dim; d++)
                            out[d] += shares[t] / sum * f(values[at(b, t, h / (heads / kv_heads)) + d]);
                }
    }
};

void verify_own_decode(Bench &bench, Attention &a, bool fp8)
{
    // In fp8 the cache holds random e4m3 (0x7f: NaN, where nothing is stored), which bf16 holds exactly.
    const float key_scale = fp8 ? 0.5f : 1.0f, value_scale = fp8 ? 0.25f : 1.0f;
    std::vector<uint8_t> keys8, values8;
    std::mt19937 random(31);
    if (fp8)
        for (auto [wide, narrow, scale] :
             {std::tuple<std::vector<uint16_t> *, std::vector<uint8_t> *, float>{&a.keys, &keys8, key_scale},
              {&a.values, &values8, value_scale}})
            for (uint16_t &value : *wide) {
                uint8_t bits = (uint8_t)((random() & 0x80) | (random() % 0x41)); // at most 2
                narrow->push_back(value == 0x7fc0 ? 0x7f : bits);
                if (value != 0x7fc0)
                    value = to_bf16(scale * from_e4m3(bits));
            }
    a.solve();
    DeviceArray<uint16_t> q(a.qkv), keys16(a.keys), values16(a.values);
    DeviceArray<uint8_t> keys_8(keys8), values_8(values8);
    const void *keys = fp8 ? (const void *)keys_8.data : keys16.data,
               *values = fp8 ? (const void *)values_8.data : values16.data;
    DeviceArray<int32_t> table(a.table), contexts(a.contexts);
    const uint32_t batch = (uint32_t)a.contexts.size();
    for (int again = 0; again < 2; again++) {
        Output out((size_t)batch * a.heads * a.dim);
        struct km_error error;
        const struct km_cuda_attention_decode args = {
            q.data,        keys,          values,  table.data, contexts.data, out.array.data,
            bench.scratch, batch,         a.heads, a.kv_heads, a.dim,         a.row_values,
            a.table_pages, a.max_context, fp8,     key_scale,  value_scale};
        check_km(km_cuda_attention_decode(bench.stream, &args, &error), error);
        compare(fp8 ? "attention_decode fp8" : "attention_decode", out.get(bench), a.wanted, 6e-3);
    }
}

// Reports instead of exiting where cuDNN has no kernel: the harness then does without.
void verify_cudnn(Bench &bench, Attention &a, const char *name)
{
    a.solve();
    const bool paged = a.tokens == 1;
    // cuDNN multiplies masked values by zero: what lies beyond a sequence must be finite.
    for (std::vector<uint16_t> *cache : {&a.keys, &a.values})
        for (uint16_t &value : *cache)
            if (value == 0x7fc0)
                value = 0;
    DeviceArray<uint16_t> q(a.qkv), keys(paged ? a.keys : a.rows(a.keys)),
        values(paged ? a.values : a.rows(a.values));
    const uint32_t batch = (uint32_t)a.contexts.size();
    DeviceArray<int32_t> table(a.table), contexts(a.contexts),
        tokens(std::vector<int32_t>(batch, (int32_t)a.tokens));
    Output out((size_t)batch * a.tokens * a.heads * a.dim);
    struct km_error error;
    struct km_cuda_sdpa *sdpa;
    const struct km_cuda_sdpa_shape plan = {batch,
                                            a.heads,
                                            a.kv_heads,
                                            a.dim,
                                            a.tokens,
                                            a.max_context,
                                            a.row_values,
                                            a.kv_heads * a.dim,
                                            paged ? batch * a.table_pages : 0};
    if (km_cuda_sdpa_create(bench.dnn, &plan, &sdpa, &error) != KM_OK) {
        fprintf(stderr, "%s: %s\n", name, error.message);
        return;
    }
    const struct km_cuda_sdpa_buffers buffers = {q.data,     keys.data,   values.data,   out.array.data,
                                                 table.data, tokens.data, contexts.data, bench.workspace};
    check_km(km_cuda_sdpa_run(sdpa, bench.stream, &buffers, &error), error);
    fprintf(stderr, "%s: %s form, workspace %.1f MB\n", name, km_cuda_sdpa_form(sdpa),
            1e-6 * (double)km_cuda_sdpa_workspace_bytes(sdpa));
    compare(name, out.get(bench), a.wanted, 8e-3);
    km_cuda_sdpa_destroy(sdpa);
}

void verify_rope_and_cache(Bench &bench)
{
    struct km_error error;
    const uint32_t rows = 6, heads = 6, kv = 2, dim = 64, row_values = (heads + 2 * kv) * dim,
                   page = KM_CUDA_PAGE_TOKENS;
    std::vector<uint16_t> qkv = random_values(rows * row_values, 20);
    std::vector<float> angles(100 * dim);
    for (uint32_t p = 0; p < 100; p++)
        for (uint32_t d = 0; d < dim / 2; d++) {
            angles[(p * dim / 2 + d) * 2] = std::cos((float)p * 0.01f * (float)(d + 1));
            angles[(p * dim / 2 + d) * 2 + 1] = std::sin((float)p * 0.01f * (float)(d + 1));
        }
    const std::vector<int32_t> positions = {0, 5, 99, 42, 1, 77};
    DeviceArray<uint16_t> device(qkv);
    DeviceArray<float> table(angles);
    DeviceArray<int32_t> where(positions);
    const struct km_cuda_rope args = {device.data, where.data, table.data, rows, heads, kv, dim};
    check_km(km_cuda_rope(bench.stream, &args, &error), error);
    std::vector<double> wanted(qkv.size());
    for (size_t i = 0; i < qkv.size(); i++) {
        size_t row = i / row_values, head = i % row_values / dim, d = i % dim, half = dim / 2;
        const float *turn = &angles[((size_t)positions[row] * half + d % half) * 2];
        double partner = f(qkv[d < half ? i + half : i - half]);
        wanted[i] = head >= heads + kv
                        ? f(qkv[i])
                        : f(qkv[i]) * (double)turn[0] + (d < half ? -1.0 : 1.0) * partner * (double)turn[1];
    }
    CUDA(cudaStreamSynchronize(bench.stream));
    std::vector<uint16_t> turned = fetch(device.data, qkv.size());
    compare("rope", turned, wanted, 3e-3);

    const std::vector<int64_t> slots = {0, 17, 63, 31, 5, 48};
    DeviceArray<int64_t> slot_list(slots);
    Output keys(4 * kv * page * dim), values(4 * kv * page * dim);
    const struct km_cuda_kv_write write = {
        device.data, slot_list.data, keys.array.data, values.array.data, rows, heads, kv, dim};
    check_km(km_cuda_kv_write(bench.stream, &write, &error), error);
    std::vector<uint16_t> k = keys.get(bench), v = values.get(bench), k_wanted(k.size(), 0xffff),
                          v_wanted(v.size(), 0xffff);
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t h = 0; h < kv; h++)
            for (uint32_t d = 0; d < dim; d++) {
                size_t to =
                    (((size_t)slots[row] / page * kv + h) * page + (size_t)slots[row] % page) * dim + d;
                k_wanted[to] = turned[row * row_values + (heads + h) * dim + d];
                v_wanted[to] = turned[row * row_values + (heads + kv + h) * dim + d];
            }
    if (k != k_wanted || v != v_wanted)
        die("kv_write: the cache differs");
    fprintf(stderr, "verified kv_write\n");
}

} // namespace

void verify_kernels(Bench &bench)
{
    for (uint32_t hidden : {64u, 2048u, 5120u, 8192u, 16384u})
        verify_norm(bench, hidden);
    verify_streams(bench);
    verify_argmax(bench, 1001);
    verify_argmax(bench, 128256);
    verify_rope_and_cache(bench);
    const std::vector<int32_t> ragged = {1, 16, 17, 333, 1024, 700};
    const uint32_t kinds[][3] = {{32, 8, 128}, {64, 8, 64}, {4, 4, 128}, {8, 1, 128}, {40, 2, 64}};
    for (bool fp8 : {false, true}) {
        for (const auto &kind : kinds) {
            Attention a(kind[0], kind[1], kind[2], 1, ragged);
            verify_own_decode(bench, a, fp8);
        }
        Attention one(8, 2, 128, 1, {5000}), many(8, 2, 128, 1, std::vector<int32_t>(300, 40));
        verify_own_decode(bench, one, fp8);
        verify_own_decode(bench, many, fp8);
    }
    Attention decode(32, 8, 128, 1, ragged), whole(8, 2, 128, 320, {320}), chunk(8, 2, 128, 100, {777});
    verify_cudnn(bench, decode, "cudnn decode");
    verify_cudnn(bench, whole, "cudnn prefill");
    verify_cudnn(bench, chunk, "cudnn chunked prefill");
}
