#include "executor/cuda/dnn_graph.hpp"

#include <algorithm>

// Some attributes are marked deprecated in favour of ones that older releases of cuDNN 9 lack.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

DnnGraph::~DnnGraph()
{
    for (auto it = owned_.rbegin(); it != owned_.rend(); ++it)
        cudnnBackendDestroyDescriptor(*it);
}

void DnnGraph::check(cudnnStatus_t status, const char *what)
{
    if (status == CUDNN_STATUS_SUCCESS || status_ != CUDNN_STATUS_SUCCESS)
        return;
    status_ = status;
    char text[512] = "";
    cudnnGetLastErrorString(text, sizeof text);
    failure_ = std::string(what) + ": " + cudnnGetErrorString(status) + (text[0] ? ": " : "") + text;
}

DnnGraph::Descriptor DnnGraph::make(cudnnBackendDescriptorType_t type)
{
    Descriptor descriptor = nullptr;
    if (status_ != CUDNN_STATUS_SUCCESS)
        return nullptr;
    check(cudnnBackendCreateDescriptor(type, &descriptor), "creating a descriptor");
    if (descriptor)
        owned_.push_back(descriptor);
    return descriptor;
}

void DnnGraph::set(Descriptor descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                   int64_t count, const void *values)
{
    if (status_ == CUDNN_STATUS_SUCCESS)
        check(cudnnBackendSetAttribute(descriptor, name, type, count, values),
              ("attribute " + std::to_string((int)name)).c_str());
}

void DnnGraph::set_tensor(Descriptor descriptor, cudnnBackendAttributeName_t name, const Tensor *tensor)
{
    if (tensor)
        set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &tensor->descriptor);
}

void DnnGraph::seal(Descriptor descriptor)
{
    if (status_ == CUDNN_STATUS_SUCCESS)
        check(cudnnBackendFinalize(descriptor), "finalizing a descriptor");
}

DnnGraph::Tensor DnnGraph::tensor(int64_t id, const Shape4 &shape, cudnnDataType_t type, bool by_value)
{
    Tensor result = {make(CUDNN_BACKEND_TENSOR_DESCRIPTOR), shape};
    const int64_t alignment = 16;
    const bool intermediate = id >= 1000;
    set(result.descriptor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(result.descriptor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(result.descriptor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, shape.dims);
    set(result.descriptor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, shape.strides);
    set(result.descriptor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(result.descriptor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &intermediate);
    set(result.descriptor, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    seal(result.descriptor);
    return result;
}

DnnGraph::Tensor DnnGraph::intermediate(const Shape4 &shape, cudnnDataType_t type)
{
    return tensor(next_id_++, shape, type);
}

void DnnGraph::matmul(const Tensor &a, const Tensor &b, const Tensor &c, const Tensor *m_length,
                      const Tensor *n_length, const Tensor *k_length)
{
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    const double padding = 0.0;
    Descriptor product = make(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set(product, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    set(product, CUDNN_ATTR_MATMUL_PADDING_VALUE, CUDNN_TYPE_DOUBLE, 1, &padding);
    seal(product);
    Descriptor operation = make(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_ADESC, &a);
    set_tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_BDESC, &b);
    set_tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_CDESC, &c);
    set(operation, CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &product);
    set_tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, m_length);
    set_tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, n_length);
    set_tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, k_length);
    seal(operation);
    operations_.push_back(operation);
}

DnnGraph::Tensor DnnGraph::pointwise(cudnnPointwiseMode_t mode, const Tensor &x, const Tensor *b,
                                     cudnnDataType_t compute, cudnnDataType_t type, const Tensor *select,
                                     int64_t axis)
{
    Descriptor function = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(function, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(function, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    if (axis >= 0)
        set(function, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis);
    seal(function);
    // A [b, h, s, 1] operand takes its partner's columns.
    Tensor y = intermediate(x.shape, type);
    Descriptor operation = make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set(operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &function);
    set_tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, &x);
    set_tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, select);
    set_tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, &y);
    seal(operation);
    operations_.push_back(operation);
    return y;
}

DnnGraph::Tensor DnnGraph::reduce_columns(cudnnReduceTensorOp_t op, const Tensor &x)
{
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    Descriptor reduction = make(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(reduction, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &op);
    set(reduction, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    seal(reduction);
    const int64_t *d = x.shape.dims;
    Tensor y = intermediate({{d[0], d[1], d[2], 1}, {d[1] * d[2], d[2], 1, 1}}, CUDNN_DATA_FLOAT);
    Descriptor operation = make(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set(operation, CUDNN_ATTR_OPERATION_REDUCTION_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &reduction);
    set_tensor(operation, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, &x);
    set_tensor(operation, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, &y);
    seal(operation);
    operations_.push_back(operation);
    return y;
}

void DnnGraph::load_pages(const Tensor &container, const Tensor &lengths, const Tensor &page_table,
                          const Tensor &out)
{
    Descriptor operation = make(CUDNN_BACKEND_OPERATION_PAGED_CACHE_LOAD_DESCRIPTOR);
    set_tensor(operation, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_CONTAINER_DESC, &container);
    set_tensor(operation, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_PAGE_TABLE_DESC, &page_table);
    set_tensor(operation, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_SEQUENCE_DESC, &lengths);
    set_tensor(operation, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_YDESC, &out);
    seal(operation);
    operations_.push_back(operation);
}

void DnnGraph::unified_sdpa(const Unified &t)
{
    Descriptor operation = make(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, t.q);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, t.k);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, t.v);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, t.out);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, t.scale);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_PAGE_TABLE_KDESC, t.page_table_k);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_PAGE_TABLE_VDESC, t.page_table_v);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC, t.seq_q);
    set_tensor(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, t.seq_kv);
    seal(operation);
    operations_.push_back(operation);
}

cudnnStatus_t DnnGraph::finish(Descriptor *plan, int64_t *workspace_bytes)
{
    *plan = nullptr;
    Descriptor graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, (int64_t)operations_.size(),
        operations_.data());
    set(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle_);
    seal(graph);
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    Descriptor heuristic = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph);
    set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    seal(heuristic);
    constexpr int64_t most = 8;
    Descriptor proposals[most] = {};
    for (Descriptor &proposal : proposals)
        proposal = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    int64_t found = 0;
    if (status_ == CUDNN_STATUS_SUCCESS)
        check(cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &found, proposals),
              "asking for engines");
    if (status_ != CUDNN_STATUS_SUCCESS)
        return status_;
    cudnnStatus_t status = CUDNN_STATUS_NOT_SUPPORTED;
    for (int64_t i = 0; i < std::min(found, most); i++) {
        Descriptor candidate = nullptr;
        status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &candidate);
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendSetAttribute(candidate, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &proposals[i]);
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendSetAttribute(candidate, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE,
                                              1, &handle_);
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendFinalize(candidate);
        int64_t got = 0;
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendGetAttribute(candidate, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                              CUDNN_TYPE_INT64, 1, &got, workspace_bytes);
        if (status == CUDNN_STATUS_SUCCESS) {
            *plan = candidate;
            return status;
        }
        if (candidate)
            cudnnBackendDestroyDescriptor(candidate);
    }
    check(status, "building a plan");
    return status;
}
