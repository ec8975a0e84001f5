#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <quire/kernels/cudnn_attention/descriptor.hpp>
#include <quire/kernels/cudnn_attention/shape.hpp>

namespace quire::kernels::cudnn {

/// Tensors that the caller gives memory for, by the names that plans know them by.
enum Name : std::int64_t {
  q_tensor = 1,
  k_tensor,
  v_tensor,
  out_tensor,
  k_table_tensor,  // \shape (sequences, table), int32
  v_table_tensor,  // the same memory: engines may ask for either by name
  queries_tensor,  // \shape (sequences), int32: how many each has
  tokens_tensor,   // \shape (sequences), int32
  scale_tensor,    // a float of the host
  nothing_tensor,  // a float of the host: what masked logits are, -infinity
  first_free_name,
};

/// Paged attention as a graph of cuDNN's operations: load K by the block table, Q K^T, scale, mask,
/// softmax, load V, product. The library recognises it as a whole and runs one kernel, or two.
/// \pre incompatible_because(shape) is empty
/// \errors state, naming the operation, for what the library refuses
/// \source which operations its engines recognise: NVIDIA/cudnn-frontend 1.23, node/scaled_dot_product_
/// flash_attention.h and diagonal_band_mask.h; operation for operation, this is what it builds. Deviation:
/// keys and values lie in one pool, so the strides of both containers skip each other's slabs and other
/// layers, and both have one block table; without a causal mask, that front end asks for the one
/// operation that cuDNN 9.15 has for it, whose first proposal is the same kernel.
class AttentionGraph {
 public:
  /// \param handle null where a plan is made without a device
  AttentionGraph(const AttentionShape& s, cudnnHandle_t handle) : shape_(s), asked_(s.name()) {
    const Dims logits{s.sequences, s.heads, s.queries, s.tokens},
        rows{s.sequences, s.heads, s.queries, 1};
    const Dims one{1, 1, 1, 1}, each{s.sequences, 1, 1, 1}, ones{1, 1, 1, 1};
    const auto& q = tensor(q_tensor, {s.sequences, s.heads, s.queries, s.head_dim},
                           {s.queries * s.q_stride, s.head_dim, s.q_stride, 1}, s.type);
    const auto& out = tensor(out_tensor, {s.sequences, s.heads, s.queries, s.head_dim},
                             {s.queries * s.out_stride, s.head_dim, s.out_stride, 1}, s.type);
    const Dims pool{s.blocks, s.kv_heads, s.block_tokens, s.head_dim};
    const Dims pool_strides{s.block_stride, s.slab_stride, s.head_dim, 1};
    const auto& k = tensor(k_tensor, pool, pool_strides, s.type);
    const auto& v = tensor(v_tensor, pool, pool_strides, s.type);
    const Dims table{s.sequences, 1, s.table(), 1},
        table_strides{s.table_stride, s.table_stride, 1, 1};
    const auto& k_table = tensor(k_table_tensor, table, table_strides, CUDNN_DATA_INT32);
    const auto& v_table = tensor(v_table_tensor, table, table_strides, CUDNN_DATA_INT32);
    const auto& queries = tensor(queries_tensor, each, ones, CUDNN_DATA_INT32);
    const auto& tokens = tensor(tokens_tensor, each, ones, CUDNN_DATA_INT32);
    const auto& scale = tensor(scale_tensor, one, ones, CUDNN_DATA_FLOAT, of_host);
    const auto& nothing = tensor(nothing_tensor, one, ones, CUDNN_DATA_FLOAT, of_host);

    // K is given as what the product takes: its transpose
    const std::int64_t head = s.tokens * s.head_dim;
    const auto& keys = inner({s.sequences, s.kv_heads, s.head_dim, s.tokens},
                             {s.kv_heads * head, head, 1, s.head_dim}, s.type);
    const auto& values = inner({s.sequences, s.kv_heads, s.tokens, s.head_dim},
                               {s.kv_heads * head, head, s.head_dim, 1}, s.type);
    load("keys", k, tokens, k_table, keys);
    const auto& product = inner(logits, CUDNN_DATA_FLOAT);
    multiply("q k", q, keys, product, queries, &tokens, nullptr);
    const auto& scaled = inner(logits, CUDNN_DATA_FLOAT);
    point("scale", CUDNN_POINTWISE_MUL, CUDNN_DATA_FLOAT, {&product, &scale}, scaled);
    const Descriptor* seen = &pad(scaled, queries, tokens, nothing, logits);
    if (s.mask != Mask::whole) seen = &mask(*seen, queries, tokens, nothing, logits);

    const auto& largest = inner(rows, CUDNN_DATA_FLOAT);
    reduce("largest logit", CUDNN_REDUCE_TENSOR_MAX, *seen, largest);
    const auto& below = inner(logits, CUDNN_DATA_FLOAT);
    point("logit - largest", CUDNN_POINTWISE_SUB, CUDNN_DATA_FLOAT, {seen, &largest}, below);
    const auto& weight = inner(logits, CUDNN_DATA_FLOAT);
    point("exp", CUDNN_POINTWISE_EXP, CUDNN_DATA_FLOAT, {&below}, weight);
    const auto& total = inner(rows, CUDNN_DATA_FLOAT);
    reduce("sum of weights", CUDNN_REDUCE_TENSOR_ADD, weight, total);
    // nobody reads the log-sum-exp, but without it some engines do not know the graph for attention
    const auto& log = inner(rows, CUDNN_DATA_FLOAT);
    point("log of the sum", CUDNN_POINTWISE_LOG, CUDNN_DATA_FLOAT, {&total}, log);
    point("log-sum-exp", CUDNN_POINTWISE_ADD, CUDNN_DATA_FLOAT, {&largest, &log},
          inner(rows, CUDNN_DATA_FLOAT));
    const auto& part = inner(logits, s.type);
    point("weight / sum", CUDNN_POINTWISE_DIV, CUDNN_DATA_FLOAT, {&weight, &total}, part);

    load("values", v, tokens, v_table, values);
    multiply("weights v", part, values, out, queries, nullptr, &tokens);

    std::vector<cudnnBackendDescriptor_t> raw;
    raw.reserve(operations_.size());
    for (const Descriptor& o : operations_) raw.push_back(o.raw());
    graph_.set_all(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                   std::span<const cudnnBackendDescriptor_t>(raw));
    if (handle != nullptr) {
      graph_.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
    }
    graph_.finish();
  }
  AttentionGraph(const AttentionGraph&) = delete;
  AttentionGraph& operator=(const AttentionGraph&) = delete;

  [[nodiscard]] const Descriptor& graph() const { return graph_; }
  [[nodiscard]] const AttentionShape& shape() const { return shape_; }
  [[nodiscard]] const std::string& asked() const { return asked_; }

 private:
  using Dims = std::array<std::int64_t, 4>;
  enum Where { of_device, of_host, nowhere };

  [[nodiscard]] std::string part(std::string_view what) const {
    return asked_ + ": " + std::string(what);
  }
  const Descriptor& tensor(std::int64_t name, const Dims& dims, const Dims& strides,
                           cudnnDataType_t type, Where where = of_device) {
    Descriptor& t = tensors_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR,
                                          part("tensor " + std::to_string(name)));
    const std::int64_t alignment = type == CUDNN_DATA_BFLOAT16 || type == CUDNN_DATA_HALF ? 16 : 4;
    t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
        .set_all(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64,
                 std::span<const std::int64_t>(dims))
        .set_all(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64,
                 std::span<const std::int64_t>(strides))
        .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, name)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment);
    if (where == of_host) t.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, true);
    if (where == nowhere) t.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true);
    return t.finish();
  }
  /// What one operation makes for another: never in memory.
  const Descriptor& inner(const Dims& dims, const Dims& strides, cudnnDataType_t type) {
    return tensor(next_++, dims, strides, type, nowhere);
  }
  const Descriptor& inner(const Dims& d, cudnnDataType_t type) {
    return inner(d, {d[1] * d[2] * d[3], d[2] * d[3], d[3], 1}, type);
  }
  Descriptor& operation(cudnnBackendDescriptorType_t type, std::string_view what) {
    return operations_.emplace_back(type, part(what));
  }
  Descriptor& helper(cudnnBackendDescriptorType_t type, std::string_view what) {
    return helpers_.emplace_back(type, part(what));
  }

  void load(std::string_view what, const Descriptor& pool, const Descriptor& tokens,
            const Descriptor& table, const Descriptor& to) {
    operation(CUDNN_BACKEND_OPERATION_PAGED_CACHE_LOAD_DESCRIPTOR, what)
        .set(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_CONTAINER_DESC, pool)
        .set(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_PAGE_TABLE_DESC, table)
        .set(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_SEQUENCE_DESC, tokens)
        .set(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_YDESC, to)
        .finish();
  }
  void multiply(std::string_view what, const Descriptor& a, const Descriptor& b,
                const Descriptor& c, const Descriptor& m, const Descriptor* n,
                const Descriptor* k) {
    const Descriptor& how =
        helper(CUDNN_BACKEND_MATMUL_DESCRIPTOR, what)
            .set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
            .finish();
    Descriptor& o = operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, what);
    o.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how)
        .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a)
        .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b)
        .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c)
        .set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, m);
    if (n != nullptr) o.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, *n);
    if (k != nullptr) o.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, *k);
    o.finish();
  }
  /// y = mode(in...), or for indices: each element's place along `axis`.
  void point(std::string_view what, cudnnPointwiseMode_t mode, cudnnDataType_t compute,
             const std::vector<const Descriptor*>& in, const Descriptor& y,
             std::int64_t axis = -1) {
    Descriptor& how = helper(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, what);
    how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, compute);
    if (axis >= 0) how.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis);
    how.finish();
    Descriptor& o = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, what);
    o.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *in[0])
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    if (in.size() > 1) o.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *in[1]);
    if (in.size() > 2) o.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, *in[2]);
    o.finish();
  }
  void reduce(std::string_view what, cudnnReduceTensorOp_t by, const Descriptor& x,
              const Descriptor& y) {
    const Descriptor& how =
        helper(CUDNN_BACKEND_REDUCTION_DESCRIPTOR, what)
            .set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, by)
            .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
            .finish();
    operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, what)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y)
        .finish();
  }
  const Descriptor& index(const Descriptor& of, const Dims& dims, std::int64_t axis) {
    const auto& y = inner(dims, CUDNN_DATA_INT32);
    point(axis == 2 ? "query" : "token", CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, {&of}, y,
          axis);
    return y;
  }
  /// Nothing is left of queries and tokens that a sequence does not have.
  const Descriptor& pad(const Descriptor& x, const Descriptor& queries, const Descriptor& tokens,
                        const Descriptor& nothing, const Dims& dims) {
    const auto& row = index(x, dims, 2);
    const auto& column = index(x, dims, 3);
    const auto& is_query = inner(dims, CUDNN_DATA_BOOLEAN);
    point("is a query", CUDNN_POINTWISE_CMP_LT, CUDNN_DATA_BOOLEAN, {&row, &queries}, is_query);
    const auto& is_token = inner(dims, CUDNN_DATA_BOOLEAN);
    point("is a token", CUDNN_POINTWISE_CMP_LT, CUDNN_DATA_BOOLEAN, {&column, &tokens}, is_token);
    const auto& both = inner(dims, CUDNN_DATA_BOOLEAN);
    point("is both", CUDNN_POINTWISE_LOGICAL_AND, CUDNN_DATA_BOOLEAN, {&is_query, &is_token}, both);
    const auto& y = inner(dims, CUDNN_DATA_FLOAT);
    point("padding", CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, {&x, &nothing, &both}, y);
    return y;
  }
  /// Nothing is left of tokens that lie after their query.
  const Descriptor& mask(const Descriptor& x, const Descriptor& queries, const Descriptor& tokens,
                         const Descriptor& nothing, const Dims& dims) {
    const Descriptor* row = &index(x, dims, 2);
    const auto& column = index(x, dims, 3);
    if (shape_.mask == Mask::from_end) {
      const auto& later = inner(dims, CUDNN_DATA_INT32);
      point("query + tokens", CUDNN_POINTWISE_ADD, CUDNN_DATA_INT32, {row, &tokens}, later);
      const auto& place = inner(dims, CUDNN_DATA_INT32);
      point("query + tokens - queries", CUDNN_POINTWISE_SUB, CUDNN_DATA_INT32, {&later, &queries},
            place);
      row = &place;
    }
    const auto& sees = inner(dims, CUDNN_DATA_BOOLEAN);
    point("sees", CUDNN_POINTWISE_CMP_GE, CUDNN_DATA_BOOLEAN, {row, &column}, sees);
    const auto& y = inner(dims, CUDNN_DATA_FLOAT);
    point("causal", CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, {&x, &nothing, &sees}, y);
    return y;
  }

  AttentionShape shape_;
  std::string asked_;
  std::int64_t next_ = first_free_name;
  std::deque<Descriptor> tensors_, helpers_, operations_;  // references to them stay good
  Descriptor graph_{CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "cudnn attention: graph"};
};

}  // namespace quire::kernels::cudnn
