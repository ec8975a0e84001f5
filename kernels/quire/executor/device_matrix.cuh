#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kernels/dense/dense.hpp>
#include <quire/model/gemm.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/weight_format/concepts.hpp>

namespace quire::executor {

/// Elements of weights that kernels multiply by. A format with scales, or one that rounds its inputs
/// (int4_g128, nf4, w8a8, fp8_w8a8 ...), has no product here, and is not expanded silently.
template <class Format>
struct DeviceElement {
  static_assert(
      PlainWeightFormat<Format>,
      "quire: weight_format: the CUDA executor has products for weights without scales alone; "
      "use quire::weight_format::Fp32, Fp16 or Bf16, or quire::executor::Cpu");
  using type = float;
};
template <PlainWeightFormat Format>
struct DeviceElement<Format> {
  using type = typename Format::Element;
};

/// A weight matrix in device memory, row by row, in a weight format without scales.
/// \shape weights (outputs, inputs)
template <PlainWeightFormat Format>
class DeviceMatrix {
 public:
  using Element = typename Format::Element;

  DeviceMatrix() = default;
  DeviceMatrix(const model::MatrixSource& source, ThreadPool&)
      : outputs_(source.outputs), inputs_(source.inputs), weights_(outputs_ * inputs_) {
    constexpr std::size_t step = 64;  // rows on their way at once
    std::vector<float> rows(step * inputs_);
    std::vector<Element> packed(outputs_ * inputs_);
    for (std::size_t first = 0; first < outputs_; first += step) {
      const std::size_t count = std::min(step, outputs_ - first);
      source.read(first, count, rows.data());
      std::transform(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(count * inputs_),
                     packed.begin() + static_cast<std::ptrdiff_t>(first * inputs_),
                     [](float x) { return from_float<Element>(x); });
    }
    weights_.upload(packed);
    if (!source.bias.empty()) bias_ = simt::DeviceArray<float>(std::span<const float>(source.bias));
  }

  [[nodiscard]] std::size_t outputs() const { return outputs_; }
  [[nodiscard]] std::size_t inputs() const { return inputs_; }
  [[nodiscard]] std::size_t padded_outputs() const { return outputs_; }
  [[nodiscard]] std::size_t bytes() const { return weights_.size() * sizeof(Element); }
  [[nodiscard]] bool empty() const { return outputs_ == 0; }
  [[nodiscard]] const Element* weights() const { return weights_.data(); }

  /// Reads one row back to the host. \shape values (inputs)
  void read_row(std::size_t output, float* values) const {
    std::vector<Element> all(weights_.size());
    weights_.download(all);
    for (std::size_t i = 0; i < inputs_; ++i) values[i] = to_float(all[output * inputs_ + i]);
  }
  /// The product on the host, on a copy of the weights: what the concept asks for; steps go through
  /// arguments(). \shape x (rows, inputs); y (rows, outputs), in the host's memory
  void multiply(const float* x, std::size_t x_stride, std::size_t rows, float* y,
                std::size_t y_stride, ThreadPool&) const {
    std::vector<Element> w(weights_.size());
    weights_.download(w);
    std::vector<float> bias(bias_.size());
    bias_.download(bias);
    for (std::size_t r = 0; r < rows; ++r) {
      kernels::PlainProduct().multiply<float, Element, float>(
          {x + r * x_stride, w.data(), bias.empty() ? nullptr : bias.data(), y + r * y_stride, 1,
           inputs_, outputs_});
    }
  }
  /// What a dense product on the device needs. \shape x (rows, inputs); y (rows, outputs)
  template <class In, class Out>
  [[nodiscard]] kernels::DenseArguments<In, Element, Out> arguments(const In* x, Out* y,
                                                                    std::size_t rows) const {
    return {x, weights_.data(), bias_.empty() ? nullptr : bias_.data(), y, rows, inputs_, outputs_};
  }

 private:
  std::size_t outputs_ = 0, inputs_ = 0;
  simt::DeviceArray<Element> weights_;
  simt::DeviceArray<float> bias_;
};

/// Loads a model's matrices to the device.
struct DeviceGemm {
  static constexpr std::string_view name = "device";
  template <WeightFormatPolicy Format>
  using Matrix = DeviceMatrix<Format>;
};

}  // namespace quire::executor
