#include "executor/cuda/sdpa.h"
#include "executor/cuda/dnn_graph.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <new>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

struct km_cuda_dnn {
    cudnnHandle_t handle = nullptr;
};

struct km_cuda_sdpa {
    const struct km_cuda_dnn *dnn;
    struct km_cuda_sdpa_shape shape;
    std::unique_ptr<DnnGraph> graph; // what the plan was made from
    cudnnBackendDescriptor_t plan = nullptr;
    int64_t workspace_bytes = 0;
    bool unified = false;
    float scale, minus_infinity = -std::numeric_limits<float>::infinity();
    int32_t past; // tokens before the queries
};

namespace
{

enum Id : int64_t { Q = 1, Keys, Values, Out, TableK, TableV, SeqQ, SeqKv, Scale, MinusInfinity, Past };

struct Inputs {
    DnnGraph::Tensor q, keys, values, out, table_k, table_v, seq_q, seq_kv, scale;
};

Inputs inputs(DnnGraph &graph, const struct km_cuda_sdpa_shape &s)
{
    Inputs in;
    const int64_t d = s.head_dim, page = KM_CUDA_PAGE_TOKENS, table = km_cuda_sdpa_table_pages(s.context);
    const int64_t q_row = s.q_row_values;
    in.q = graph.tensor(Q, {{s.batch, s.heads, s.tokens, d}, {s.tokens * q_row, d, q_row, 1}},
                        CUDNN_DATA_BFLOAT16);
    in.out = graph.tensor(Out, {{s.batch, s.heads, s.tokens, d}, {s.tokens * s.heads * d, d, s.heads * d, 1}},
                          CUDNN_DATA_BFLOAT16);
    in.scale = graph.tensor(Scale, packed(1, 1, 1, 1), CUDNN_DATA_FLOAT, true);
    if (s.pages) {
        const Shape4 cache = packed(s.pages, s.kv_heads, page, d);
        in.keys = graph.tensor(Keys, cache, CUDNN_DATA_BFLOAT16);
        in.values = graph.tensor(Values, cache, CUDNN_DATA_BFLOAT16);
        in.table_k = graph.tensor(TableK, packed(s.batch, 1, table, 1), CUDNN_DATA_INT32);
        in.table_v = graph.tensor(TableV, packed(s.batch, 1, table, 1), CUDNN_DATA_INT32);
        in.seq_q = graph.tensor(SeqQ, packed(s.batch, 1, 1, 1), CUDNN_DATA_INT32);
        in.seq_kv = graph.tensor(SeqKv, packed(s.batch, 1, 1, 1), CUDNN_DATA_INT32);
    } else {
        const int64_t row = s.kv_row_values;
        // The first product wants the keys as [head_dim, context].
        in.keys = graph.tensor(Keys, {{1, s.kv_heads, d, s.context}, {s.context * row, d, 1, row}},
                               CUDNN_DATA_BFLOAT16);
        in.values = graph.tensor(Values, {{1, s.kv_heads, s.context, d}, {s.context * row, d, row, 1}},
                                 CUDNN_DATA_BFLOAT16);
    }
    return in;
}

// One operation; cuDNN 9.15 and later. It masks by length alone: enough for one query a sequence.
void unified(DnnGraph &graph, const struct km_cuda_sdpa_shape &s)
{
    Inputs in = inputs(graph, s);
    graph.unified_sdpa(
        {&in.q, &in.keys, &in.values, &in.out, &in.scale, &in.table_k, &in.table_v, &in.seq_q, &in.seq_kv});
}

// The same as a pattern of small operations, which cuDNN recognises and fuses.
void composite(DnnGraph &graph, const struct km_cuda_sdpa_shape &s, bool statistics)
{
    Inputs in = inputs(graph, s);
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT, i32 = CUDNN_DATA_INT32, boolean = CUDNN_DATA_BOOLEAN;
    const int64_t d = s.head_dim, b = s.batch, h = s.heads, hk = s.kv_heads;
    const bool paged = s.pages != 0;
    const int64_t context = paged ? km_cuda_sdpa_table_pages(s.context) * KM_CUDA_PAGE_TOKENS : s.context;
    const DnnGraph::Tensor *seq_q = paged ? &in.seq_q : nullptr, *seq_kv = paged ? &in.seq_kv : nullptr;
    DnnGraph::Tensor keys = in.keys, values = in.values;
    if (paged) {
        keys = graph.intermediate({{b, hk, d, context}, {d * context * hk, d * context, 1, d}},
                                  CUDNN_DATA_BFLOAT16);
        graph.load_pages(in.keys, in.seq_kv, in.table_k, keys);
    }
    DnnGraph::Tensor scores = graph.intermediate(packed(b, h, s.tokens, context), f32);
    graph.matmul(in.q, keys, scores, seq_q, seq_kv, nullptr);
    scores = graph.pointwise(CUDNN_POINTWISE_MUL, scores, &in.scale, f32, f32);
    DnnGraph::Tensor none = graph.tensor(MinusInfinity, packed(1, 1, 1, 1), f32, true);
    if (paged) {
        auto row = graph.pointwise(CUDNN_POINTWISE_GEN_INDEX, scores, nullptr, i32, i32, nullptr, 2);
        auto column = graph.pointwise(CUDNN_POINTWISE_GEN_INDEX, scores, nullptr, i32, i32, nullptr, 3);
        auto row_in = graph.pointwise(CUDNN_POINTWISE_CMP_LT, row, seq_q, boolean, boolean);
        auto column_in = graph.pointwise(CUDNN_POINTWISE_CMP_LT, column, seq_kv, boolean, boolean);
        auto in_both = graph.pointwise(CUDNN_POINTWISE_LOGICAL_AND, row_in, &column_in, boolean, boolean);
        scores = graph.pointwise(CUDNN_POINTWISE_BINARY_SELECT, scores, &none, f32, f32, &in_both);
    }
    if (!paged) { // causal: row + past >= column, in one addition: cuDNN 9.19 faults on + context - tokens
        auto row = graph.pointwise(CUDNN_POINTWISE_GEN_INDEX, scores, nullptr, f32, i32, nullptr, 2);
        auto column = graph.pointwise(CUDNN_POINTWISE_GEN_INDEX, scores, nullptr, f32, i32, nullptr, 3);
        if (s.tokens != s.context) {
            auto past = graph.tensor(Past, packed(1, 1, 1, 1), i32, true);
            row = graph.pointwise(CUDNN_POINTWISE_ADD, row, &past, i32, i32);
        }
        auto seen = graph.pointwise(CUDNN_POINTWISE_CMP_GE, row, &column, boolean, boolean);
        scores = graph.pointwise(CUDNN_POINTWISE_BINARY_SELECT, scores, &none, f32, f32, &seen);
    }
    auto largest = graph.reduce_columns(CUDNN_REDUCE_TENSOR_MAX, scores);
    auto shifted = graph.pointwise(CUDNN_POINTWISE_SUB, scores, &largest, f32, f32);
    auto powers = graph.pointwise(CUDNN_POINTWISE_EXP, shifted, nullptr, f32, f32);
    auto sum = graph.reduce_columns(CUDNN_REDUCE_TENSOR_ADD, powers);
    if (statistics) { // unused, but some releases only know the pattern with them
        auto logarithm = graph.pointwise(CUDNN_POINTWISE_LOG, sum, nullptr, f32, f32);
        graph.pointwise(CUDNN_POINTWISE_ADD, largest, &logarithm, f32, f32);
    }
    auto shares = graph.pointwise(CUDNN_POINTWISE_DIV, powers, &sum, f32, CUDNN_DATA_BFLOAT16);
    if (paged) {
        values = graph.intermediate({{b, hk, context, d}, {d * context * hk, d * context, d, 1}},
                                    CUDNN_DATA_BFLOAT16);
        graph.load_pages(in.values, in.seq_kv, in.table_v, values);
    }
    graph.matmul(shares, values, in.out, seq_q, nullptr, seq_kv);
}

} // namespace

enum km_status km_cuda_dnn_create(struct km_cuda_dnn **out, struct km_error *error)
{
    *out = nullptr;
    cudnnHandle_t handle;
    cudnnStatus_t status = cudnnCreate(&handle);
    if (status != CUDNN_STATUS_SUCCESS)
        return km_fail(error, KM_IO, nullptr, 0, 0, "cudnnCreate: %s", cudnnGetErrorString(status));
    *out = new (std::nothrow) km_cuda_dnn{handle};
    return *out ? KM_OK : km_fail(error, KM_IO, nullptr, 0, 0, "out of memory");
}

void km_cuda_dnn_destroy(struct km_cuda_dnn *dnn)
{
    if (!dnn)
        return;
    cudnnDestroy(dnn->handle);
    delete dnn;
}

unsigned long km_cuda_dnn_version(void)
{
    return cudnnGetVersion();
}

enum km_status km_cuda_sdpa_create(struct km_cuda_dnn *dnn, const struct km_cuda_sdpa_shape *shape,
                                   struct km_cuda_sdpa **out, struct km_error *error)
{
    *out = nullptr;
    if (shape->pages ? shape->tokens != 1 : shape->batch != 1 || shape->tokens > shape->context)
        return km_fail(error, KM_BAD_INPUT, nullptr, 0, 0,
                       "attention: %u sequences, %u queries each, %u tokens%s", shape->batch, shape->tokens,
                       shape->context, shape->pages ? ", paged" : "");
    struct km_cuda_sdpa *sdpa = new (std::nothrow) km_cuda_sdpa;
    if (!sdpa)
        return km_fail(error, KM_IO, nullptr, 0, 0, "out of memory");
    sdpa->dnn = dnn;
    sdpa->shape = *shape;
    sdpa->scale = 1.0f / std::sqrt((float)shape->head_dim);
    sdpa->past = (int32_t)(shape->context - shape->tokens);
    std::string failures;
    // In order of preference; the first that cuDNN can run is taken.
    for (int form = 0; form < 3; form++) {
        if (form == 2 && !shape->pages)
            continue;
        auto graph = std::make_unique<DnnGraph>(dnn->handle);
        if (form == 2)
            unified(*graph, *shape);
        else
            composite(*graph, *shape, form == 1);
        if (graph->finish(&sdpa->plan, &sdpa->workspace_bytes) == CUDNN_STATUS_SUCCESS) {
            sdpa->unified = form == 2;
            sdpa->graph = std::move(graph);
            *out = sdpa;
            return KM_OK;
        }
        failures += (failures.empty() ? "" : "; ") + graph->failure();
    }
    delete sdpa;
    return km_fail(error, KM_BAD_INPUT, nullptr, 0, 0,
                   "cuDNN has no attention for heads %u, kv_heads %u, head_dim %u, batch %u, tokens %u, "
                   "context %u%s: %s",
                   shape->heads, shape->kv_heads, shape->head_dim, shape->batch, shape->tokens,
                   shape->context, shape->pages ? ", paged" : "", failures.c_str());
}

void km_cuda_sdpa_destroy(struct km_cuda_sdpa *sdpa)
{
    if (!sdpa)
        return;
    cudnnBackendDestroyDescriptor(sdpa->plan);
    delete sdpa;
}

uint64_t km_cuda_sdpa_workspace_bytes(const struct km_cuda_sdpa *sdpa)
{
    return (uint64_t)sdpa->workspace_bytes;
}

const char *km_cuda_sdpa_form(const struct km_cuda_sdpa *sdpa)
{
    return sdpa->unified ? "unified" : "composite";
}

enum km_status km_cuda_sdpa_run(const struct km_cuda_sdpa *sdpa, struct CUstream_st *stream,
                                const struct km_cuda_sdpa_buffers *buffers, struct km_error *error)
{
    std::vector<int64_t> ids = {Q, Keys, Values, Out, Scale};
    std::vector<const void *> pointers = {buffers->q, buffers->keys, buffers->values, buffers->out,
                                          &sdpa->scale};
    if (sdpa->shape.pages) {
        ids.insert(ids.end(), {TableK, TableV, SeqQ, SeqKv});
        pointers.insert(pointers.end(),
                        {buffers->page_table, buffers->page_table, buffers->seq_q, buffers->seq_kv});
    }
    if (!sdpa->unified) {
        ids.push_back(MinusInfinity);
        pointers.push_back(&sdpa->minus_infinity);
        if (!sdpa->shape.pages && sdpa->shape.tokens != sdpa->shape.context) {
            ids.push_back(Past);
            pointers.push_back(&sdpa->past);
        }
    }
    cudnnBackendDescriptor_t pack = nullptr;
    cudnnStatus_t status = cudnnSetStream(sdpa->dnn->handle, stream);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
                                          (int64_t)ids.size(), ids.data());
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                                          (int64_t)pointers.size(), pointers.data());
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                          &buffers->workspace);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendFinalize(pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendExecute(sdpa->dnn->handle, sdpa->plan, pack);
    if (pack)
        cudnnBackendDestroyDescriptor(pack);
    if (status == CUDNN_STATUS_SUCCESS)
        return KM_OK;
    return km_fail(error, KM_IO, nullptr, 0, 0, "cuDNN attention: %s", cudnnGetErrorString(status));
}
