// cuDNN's backend descriptors with less ceremony: a graph is tensors and operations added one after another.
// Errors are kept: after the first failure every call does nothing, and finish() returns that failure.
#ifndef KM_EXECUTOR_CUDA_DNN_GRAPH_HPP
#define KM_EXECUTOR_CUDA_DNN_GRAPH_HPP

#include <cudnn.h>
#include <stdint.h>
#include <string>
#include <vector>

struct Shape4 {
    int64_t dims[4], strides[4];
};

// Row-major.
inline Shape4 packed(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return {{a, b, c, d}, {b * c * d, c * d, d, 1}};
}

class DnnGraph
{
  public:
    using Descriptor = cudnnBackendDescriptor_t;
    struct Tensor {
        Descriptor descriptor = nullptr;
        Shape4 shape = {};
    };

    explicit DnnGraph(cudnnHandle_t handle) : handle_(handle)
    {
    }
    ~DnnGraph();
    DnnGraph(const DnnGraph &) = delete;
    DnnGraph &operator=(const DnnGraph &) = delete;

    Tensor tensor(int64_t id, const Shape4 &shape, cudnnDataType_t type, bool by_value = false);
    Tensor intermediate(const Shape4 &shape, cudnnDataType_t type);
    // Lengths are null or tensors [batch, 1, 1, 1] that cut rows, columns or the inner dimension.
    void matmul(const Tensor &a, const Tensor &b, const Tensor &c, const Tensor *m_length,
                const Tensor *n_length, const Tensor *k_length);
    Tensor pointwise(cudnnPointwiseMode_t mode, const Tensor &x, const Tensor *b, cudnnDataType_t compute,
                     cudnnDataType_t type, const Tensor *select = nullptr, int64_t axis = -1);
    Tensor reduce_columns(cudnnReduceTensorOp_t op, const Tensor &x);
    void load_pages(const Tensor &container, const Tensor &lengths, const Tensor &page_table,
                    const Tensor &out);
    struct Unified {
        const Tensor *q, *k, *v, *out, *scale, *page_table_k, *page_table_v, *seq_q, *seq_kv;
    };
    void unified_sdpa(const Unified &tensors);
    // Builds the first of cuDNN's proposals that works. `plan` is the caller's.
    cudnnStatus_t finish(Descriptor *plan, int64_t *workspace_bytes);
    const std::string &failure() const
    {
        return failure_;
    }

  private:
    Descriptor make(cudnnBackendDescriptorType_t type);
    void set(Descriptor descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
             int64_t count, const void *values);
    void set_tensor(Descriptor descriptor, cudnnBackendAttributeName_t name, const Tensor *tensor);
    void seal(Descriptor descriptor);
    void check(cudnnStatus_t status, const char *what);

    cudnnHandle_t handle_;
    cudnnStatus_t status_ = CUDNN_STATUS_SUCCESS;
    std::string failure_;
    std::vector<Descriptor> owned_, operations_;
    int64_t next_id_ = 1000; // of tensors between operations
};

#endif
