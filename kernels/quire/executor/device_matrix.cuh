#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/executor/uploads.cuh>
#include <quire/kernels/dense/dense.hpp>
#include <quire/kernels/grouped_product/grouped_product.cuh>
#include <quire/kernels/grouped_product/layout.hpp>
#include <quire/kernels/mixture/expert_product.cuh>
#include <quire/kernels/mixture/grouped_experts.cuh>
#include <quire/kernels/sparse_product/layout.hpp>
#include <quire/kernels/sparse_product/sparse_product.cuh>
#include <quire/model/gemm.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/sparse_24.hpp>

namespace quire::executor {

/// Elements of the embedding and of the output matrix. A packed format has no product here but where
/// layers' matrices alone are in it, and is not expanded silently.
template <class Format>
struct DeviceElement {
  static_assert(
      PlainWeightFormat<Format>,
      "quire: weight_format: the CUDA executor has products for weights without scales, and for "
      "layers' in whole numbers in groups or 2:4 sparse; use quire::weight_format::Fp32, Fp16, "
      "Bf16, "
      "LinearOnly<Int4Grouped<128>> or LinearOnly<Sparse24>, or quire::executor::Cpu");
  using type = float;
};
template <PlainWeightFormat Format>
struct DeviceElement<Format> {
  using type = typename Format::Element;
};

/// A weight matrix in device memory. A format that rounds its inputs (w8a8, fp8_w8a8 ...), or one whose
/// codes are neither whole numbers in groups nor 2:4 sparse (nf4, mxfp4 ...), has no product here.
template <class Format>
class DeviceMatrix {
  static_assert(
      PlainWeightFormat<Format>,
      "quire: weight_format: the CUDA executor has products for weights without scales, and for "
      "layers' in whole numbers in groups or 2:4 sparse; use quire::weight_format::Fp32, Fp16, "
      "Bf16, "
      "LinearOnly<Int4Grouped<128>> or LinearOnly<Sparse24>, or quire::executor::Cpu");
};

/// The same without scales, row by row. \shape weights (outputs, inputs)
template <PlainWeightFormat Format>
class DeviceMatrix<Format> {
 public:
  using Element = typename Format::Element;

  DeviceMatrix() = default;
  DeviceMatrix(const model::MatrixSource& source, ThreadPool&)
      : outputs_(source.outputs), inputs_(source.inputs), weights_(outputs_ * inputs_) {
    if (Uploads::takes(source)) {
      if (Uploads* lent = Uploads::current()) {
        lent->rows(source, weights_.data());
      } else {
        Uploads().rows(source, weights_.data());
      }
    } else {
      upload_read(source);
    }
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
  /// Of numbers that the host makes: what was stored rounded, or turned.
  void upload_read(const model::MatrixSource& source) {
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
  }

  std::size_t outputs_ = 0, inputs_ = 0;
  simt::DeviceArray<Element> weights_;
  simt::DeviceArray<float> bias_;
};

/// What a loader's concept asks of a packed matrix, on the host, row by row; steps never come here.
/// \shape x (rows, inputs), y (rows, outputs), in the host's memory
template <class Matrix>
void multiply_by_rows(const Matrix& matrix, const simt::DeviceArray<float>& device_bias,
                      const float* x, std::size_t x_stride, std::size_t rows, float* y,
                      std::size_t y_stride) {
  std::vector<float> w(matrix.inputs()), bias(device_bias.size());
  device_bias.download(bias);
  for (std::size_t o = 0; o < matrix.outputs(); ++o) {
    matrix.read_row(o, w.data());
    for (std::size_t r = 0; r < rows; ++r) {
      float sum = bias.empty() ? 0.0f : bias[o];
      for (std::size_t i = 0; i < w.size(); ++i) sum += x[r * x_stride + i] * w[i];
      y[r * y_stride + o] = sum;
    }
  }
}

namespace detail {
/// Of weights without scales.
template <class Format>
struct ElementOf {
  using type = std::byte;
};
template <PlainWeightFormat Format>
struct ElementOf<Format> {
  using type = typename Format::Element;
};
}  // namespace detail

/// Whole numbers of 4 or 8 bits in groups with a scale each, as grouped_product reads them.
template <class Format>
concept GroupedOnDevice = requires {
  kernels::GroupedAccess<Format>::bits;
};

/// The same in codes and scales, in the order of the lanes that multiply them. Integers of a checkpoint
/// are taken as they are; other numbers are rounded to the nearest code.
/// \errors usage for a checkpoint that is quantised in another way, or in the order of activations
template <GroupedOnDevice Format>
class DeviceMatrix<Format> {
 public:
  DeviceMatrix() = default;
  DeviceMatrix(const model::MatrixSource& source, ThreadPool&)
      : outputs_(source.outputs), inputs_(source.inputs) {
    constexpr std::size_t step = 4 * kernels::GroupedWeights::tile;  // rows on their way at once
    const bool codes = model::detail::takes_codes(Format{}, source);
    if (codes && !source.codes->group_of.empty()) {
      throw usage_error("weight format " + std::string(Format::name),
                        "the checkpoint's groups are in the order of activations",
                        "fp16 or bf16 for it, or quire::executor::Cpu");
    }
    std::vector<float> rows(codes ? 0 : step * inputs_);
    std::vector<std::byte> panel, all_codes;
    std::vector<Fp16> all_scales;
    for (std::size_t first = 0; first < outputs_; first += step) {
      const std::size_t count = std::min(step, outputs_ - first);
      panel.assign(Format::panel_bytes(count, inputs_), std::byte{0});
      if (codes) {
        Format::pack_codes(panel.data(), count, *source.codes, first);
      } else {
        source.read(first, count, rows.data());
        Format::pack(panel.data(), count, inputs_, rows.data());
      }
      const auto part = kernels::order_for_device<Format>(panel, count, inputs_);
      all_codes.insert(all_codes.end(), part.codes.begin(), part.codes.end());
      all_scales.insert(all_scales.end(), part.scales.begin(), part.scales.end());
    }
    codes_ = simt::DeviceArray<std::byte>(std::span<const std::byte>(all_codes));
    scales_ = simt::DeviceArray<Fp16>(std::span<const Fp16>(all_scales));
    if (!source.bias.empty()) bias_ = simt::DeviceArray<float>(std::span<const float>(source.bias));
  }

  [[nodiscard]] std::size_t outputs() const { return outputs_; }
  [[nodiscard]] std::size_t inputs() const { return inputs_; }
  [[nodiscard]] std::size_t padded_outputs() const { return outputs_; }
  [[nodiscard]] std::size_t bytes() const { return codes_.size() + scales_.size() * sizeof(Fp16); }
  [[nodiscard]] bool empty() const { return outputs_ == 0; }
  [[nodiscard]] const std::byte* codes() const { return codes_.data(); }
  [[nodiscard]] const Fp16* scales() const { return scales_.data(); }

  /// What a product on the device needs. \shape x (rows, inputs); y (rows, outputs)
  template <class Half, class Out>
  [[nodiscard]] kernels::GroupedProductParams<Half, Out> arguments(const Half* x, Out* y,
                                                                   std::size_t rows) const {
    return {codes_.data(),
            scales_.data(),
            x,
            inputs_,
            bias_.empty() ? nullptr : bias_.data(),
            y,
            outputs_,
            static_cast<std::uint32_t>(rows),
            static_cast<std::uint32_t>(inputs_),
            static_cast<std::uint32_t>(outputs_)};
  }
  // What the loader's concept asks for: steps go through arguments().
  void read_row(std::size_t output, float* values) const {
    std::vector<std::byte> codes(codes_.size());
    std::vector<Fp16> scales(scales_.size());
    codes_.download(codes);
    scales_.download(scales);
    kernels::read_ordered<Format>(codes, scales, inputs_, output, values);
  }
  void multiply(const float* x, std::size_t x_stride, std::size_t rows, float* y,
                std::size_t y_stride, ThreadPool&) const {
    multiply_by_rows(*this, bias_, x, x_stride, rows, y, y_stride);
  }

 private:
  std::size_t outputs_ = 0, inputs_ = 0;
  simt::DeviceArray<std::byte> codes_;
  simt::DeviceArray<Fp16> scales_;
  simt::DeviceArray<float> bias_;
};

template <class Format>
concept SparseOnDevice = std::derived_from<Format, weight_format::Sparse24>;

/// Two of each four inputs as bfloat16, in the order of the lanes that multiply them: 18 bits of the dense
/// 32. What a checkpoint did not prune is pruned by magnitude, as on the CPU.
template <SparseOnDevice Format>
class DeviceMatrix<Format> {
 public:
  DeviceMatrix() = default;
  DeviceMatrix(const model::MatrixSource& source, ThreadPool&)
      : outputs_(source.outputs), inputs_(source.inputs) {
    constexpr std::size_t step =
        4 * kernels::SparseWeights<Bf16>::tile;  // rows on their way at once
    std::vector<float> rows(step * inputs_);
    std::vector<Bf16> values;
    std::vector<std::uint32_t> places;
    for (std::size_t first = 0; first < outputs_; first += step) {
      const std::size_t count = std::min(step, outputs_ - first);
      source.read(first, count, rows.data());
      const auto part = kernels::prune_for_device<Bf16>(
          std::span<const float>(rows).first(count * inputs_), count, inputs_);
      values.insert(values.end(), part.values.begin(), part.values.end());
      places.insert(places.end(), part.places.begin(), part.places.end());
    }
    values_ = simt::DeviceArray<Bf16>(std::span<const Bf16>(values));
    places_ = simt::DeviceArray<std::uint32_t>(std::span<const std::uint32_t>(places));
    if (!source.bias.empty()) bias_ = simt::DeviceArray<float>(std::span<const float>(source.bias));
  }

  [[nodiscard]] std::size_t outputs() const { return outputs_; }
  [[nodiscard]] std::size_t inputs() const { return inputs_; }
  [[nodiscard]] std::size_t padded_outputs() const { return outputs_; }
  [[nodiscard]] std::size_t bytes() const {
    return values_.size() * sizeof(Bf16) + places_.size() * sizeof(std::uint32_t);
  }
  [[nodiscard]] bool empty() const { return outputs_ == 0; }

  /// What a product on the device needs. \shape x (rows, inputs); y (rows, outputs)
  template <class Out>
  [[nodiscard]] kernels::SparseProductParams<Bf16, Out> arguments(const Bf16* x, Out* y,
                                                                  std::size_t rows) const {
    return {values_.data(),
            places_.data(),
            x,
            inputs_,
            bias_.empty() ? nullptr : bias_.data(),
            y,
            outputs_,
            static_cast<std::uint32_t>(rows),
            static_cast<std::uint32_t>(inputs_),
            static_cast<std::uint32_t>(outputs_)};
  }
  // What the loader's concept asks for: steps go through arguments().
  void read_row(std::size_t output, float* values) const {
    kernels::SparseWeights<Bf16> w{outputs_, inputs_, std::vector<Bf16>(values_.size()),
                                   std::vector<std::uint32_t>(places_.size())};
    values_.download(w.values);
    places_.download(w.places);
    kernels::read_sparse(w, output, values);
  }
  void multiply(const float* x, std::size_t x_stride, std::size_t rows, float* y,
                std::size_t y_stride, ThreadPool&) const {
    multiply_by_rows(*this, bias_, x, x_stride, rows, y, y_stride);
  }

 private:
  std::size_t outputs_ = 0, inputs_ = 0;
  simt::DeviceArray<Bf16> values_;
  simt::DeviceArray<std::uint32_t> places_;
  simt::DeviceArray<float> bias_;
};

/// Formats that kernels of mixtures take experts in.
template <class Format>
concept ExpertsOnDevice = PlainWeightFormat<Format> || GroupedOnDevice<Format>;

/// A matrix of each of a layer's experts, and where they lie on the device. \shape all alike
template <ExpertsOnDevice Format>
class ExpertMatrices {
 public:
  ExpertMatrices() = default;
  explicit ExpertMatrices(std::vector<DeviceMatrix<Format>> all) : all_(std::move(all)) {
    if constexpr (GroupedOnDevice<Format>) {
      codes_ = places<std::byte>([](const auto& m) { return m.codes(); });
      scales_ = places<Fp16>([](const auto& m) { return m.scales(); });
    } else {
      weights_ = places<Element>([](const auto& m) { return m.weights(); });
    }
  }
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  [[nodiscard]] std::uint32_t inputs() const {
    return static_cast<std::uint32_t>(all_.front().inputs());
  }
  [[nodiscard]] std::uint32_t outputs() const {
    return static_cast<std::uint32_t>(all_.front().outputs());
  }
  /// y = W x of each choice's expert. choices: of `rows` rows together, by takers and counts (ListTakers);
  /// sharing: choices that read one row of x
  template <class In>
  void multiply(const In* x, std::uint32_t sharing, float* y, const std::uint32_t* takers,
                const std::uint32_t* counts, std::uint32_t choices, std::uint32_t rows,
                simt::Stream stream) const {
    const auto fill = [&](auto p) {
      p.takers = takers;
      p.counts = counts;
      p.x = x;
      p.y = y;
      p.count = choices;
      p.sharing = sharing;
      p.inputs = inputs();
      p.outputs = outputs();
      return p;
    };
    const auto experts = static_cast<std::uint32_t>(size());
    if constexpr (GroupedOnDevice<Format>) {
      auto p = fill(kernels::GroupedExpertsParams<In>{});
      p.codes = codes_.data();
      p.scales = scales_.data();
      kernels::grouped_experts<Format>(p, experts, rows, stream);
    } else {
      auto p = fill(kernels::ExpertProductParams<In, Element>{});
      p.weights = weights_.data();
      kernels::expert_product(p, experts, rows, stream);
    }
  }

 private:
  using Element = typename detail::ElementOf<Format>::type;

  template <class T, class Place>
  [[nodiscard]] simt::DeviceArray<const T*> places(const Place& place) const {
    std::vector<const T*> all;
    all.reserve(all_.size());
    for (const auto& m : all_) all.push_back(place(m));
    return simt::DeviceArray<const T*>(std::span<const T* const>(all));
  }

  std::vector<DeviceMatrix<Format>> all_;
  simt::DeviceArray<const Element*> weights_;
  simt::DeviceArray<const std::byte*> codes_;
  simt::DeviceArray<const Fp16*> scales_;
};

/// Loads a model's matrices to the device.
struct DeviceGemm {
  static constexpr std::string_view name = "device";
  template <WeightFormatPolicy Format>
  using Matrix = DeviceMatrix<Format>;
  template <WeightFormatPolicy Format>
  using Table = DeviceMatrix<Format>;
};

}  // namespace quire::executor
