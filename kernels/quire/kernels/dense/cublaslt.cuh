#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>

#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/kernels/dense/dense.hpp>
#include <quire/simt/device_array.cuh>

namespace quire::kernels {

/// Dense products from cuBLASLt: 16-bit inputs and weights of one type, or fp32; fp32 accumulation.
/// The library's choice of algorithm for a shape is kept from call to call.
/// \errors state, naming the call and the shape, when the library refuses it
class CublasLtProduct {
 public:
  static constexpr std::string_view name = "cublaslt";
  static constexpr std::size_t workspace_bytes = std::size_t{64} << 20;

  CublasLtProduct() : workspace_(workspace_bytes) {
    check(cublasLtCreate(&handle_), "cublasLtCreate", "");
  }
  CublasLtProduct(const CublasLtProduct&) = delete;
  CublasLtProduct& operator=(const CublasLtProduct&) = delete;
  ~CublasLtProduct() {
    for (auto& [shape, made] : made_) made.destroy();
    cublasLtDestroy(handle_);
  }

  template <class In, class Weight, class Out>
  void multiply(const DenseArguments<In, Weight, Out>& a, simt::Stream stream = {}) {
    static_assert(std::is_same_v<In, Weight>,
                  "quire: kernels: cuBLASLt multiplies operands of one type; smallest model: Bf16 "
                  "activations and Bf16 weights");
    if (a.rows == 0) return;
    const std::string shape = std::to_string(a.rows) + " x " + std::to_string(a.inputs) + " x " +
                              std::to_string(a.outputs);
    Made& made = find<In, Out>(a.rows, a.inputs, a.outputs, a.bias != nullptr, shape);
    if (a.bias != nullptr) {
      check(cublasLtMatmulDescSetAttribute(made.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                           &a.bias, sizeof a.bias),
            "bias", shape);
    }
    const float one = 1, zero = 0;
    // column by column, y is W times x transposed
    check(cublasLtMatmul(handle_, made.operation, &one, a.w, made.w, a.x, made.x, &zero, a.y,
                         made.y, a.y, made.y, &made.algorithm, workspace_.data(), workspace_bytes,
                         stream.handle),
          "cublasLtMatmul", shape);
  }

 private:
  struct Made {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
    void destroy() const {
      cublasLtMatmulDescDestroy(operation);
      for (cublasLtMatrixLayout_t layout : {w, x, y}) cublasLtMatrixLayoutDestroy(layout);
    }
  };
  using Shape = std::tuple<std::size_t, std::size_t, std::size_t, bool, int, int>;

  template <class T>
  static constexpr cudaDataType_t type_of() {
    return std::is_same_v<T, Bf16>   ? CUDA_R_16BF
           : std::is_same_v<T, Fp16> ? CUDA_R_16F
                                     : CUDA_R_32F;
  }
  static void check(cublasStatus_t status, std::string_view call, const std::string& shape) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw state_error("dense product " + shape,
                      std::string(call) + ": " + cublasLtGetStatusString(status));
  }

  template <class In, class Out>
  Made& find(std::size_t rows, std::size_t inputs, std::size_t outputs, bool biased,
             const std::string& shape) {
    const Shape key{rows, inputs, outputs, biased, type_of<In>(), type_of<Out>()};
    const auto found = made_.find(key);
    if (found != made_.end()) return found->second;
    Made made;
    check(cublasLtMatmulDescCreate(&made.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "operation",
          shape);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check(cublasLtMatmulDescSetAttribute(made.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                         sizeof transposed),
          "transpose", shape);
    if (biased) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      const cudaDataType_t bias = CUDA_R_32F;
      check(cublasLtMatmulDescSetAttribute(made.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                           sizeof epilogue),
            "epilogue", shape);
      check(cublasLtMatmulDescSetAttribute(made.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                                           &bias, sizeof bias),
            "bias type", shape);
    }
    const auto layout = [&](cublasLtMatrixLayout_t& l, cudaDataType_t type, std::size_t height,
                            std::size_t width) {
      check(cublasLtMatrixLayoutCreate(&l, type, height, width, static_cast<std::int64_t>(height)),
            "layout", shape);
    };
    layout(made.w, type_of<In>(), inputs, outputs);
    layout(made.x, type_of<In>(), inputs, rows);
    layout(made.y, type_of<Out>(), outputs, rows);
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "preference", shape);
    const std::size_t bytes = workspace_bytes;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &bytes, sizeof bytes);
    cublasLtMatmulHeuristicResult_t best{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, made.operation, made.w, made.x, made.y, made.y, preference, 1, &best, &count);
    cublasLtMatmulPreferenceDestroy(preference);
    check(count == 0 && status == CUBLAS_STATUS_SUCCESS ? CUBLAS_STATUS_NOT_SUPPORTED : status,
          "cublasLtMatmulAlgoGetHeuristic", shape);
    made.algorithm = best.algo;
    return made_.emplace(key, made).first->second;
  }

  cublasLtHandle_t handle_ = nullptr;
  simt::DeviceArray<std::byte> workspace_;
  std::map<Shape, Made> made_;
};
static_assert(DenseProductFor<CublasLtProduct, Bf16, Bf16, float>);

}  // namespace quire::kernels
