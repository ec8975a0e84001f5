#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/float8.hpp>
#include <quire/core/simd.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/int8_channels.hpp>

namespace quire::weight_format {

/// Weights and activations in FP8 E4M3, a scale for each output's weights and for each token's inputs, their
/// largest magnitude at 448; products and sums in fp32, as a device with such products has them.
/// \shape panel (outputs, inputs padded to 64) bytes, then (outputs) scales
/// \source vLLM and llm-compressor, FP8 dynamic: per-channel weights, per-token activations
struct Fp8W8a8 {
  static constexpr std::string_view name = "fp8_w8a8";
  static constexpr float most = 448;

  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return Int8Channels::panel_bytes(outputs, inputs);
  }
  static constexpr double weight_bytes(std::size_t inputs) {
    return Int8Channels::weight_bytes(inputs);
  }
  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    const std::size_t wide = Int8Channels::padded(inputs);
    std::memset(panel, 0, panel_bytes(outputs, inputs));
    for (std::size_t n = 0; n < outputs; ++n) {
      const float scale = quantise(weights + n * inputs, inputs, panel + n * wide);
      blockwise::put(panel + outputs * wide + n * sizeof(float), scale);
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                     std::size_t first, std::size_t count, float* values) {
    std::vector<float> row(count);
    for (std::size_t n = 0; n < outputs; ++n) {
      blockwise::widen_e4m3(panel + n * Int8Channels::padded(inputs) + first, count,
                            Int8Channels::scale_of(panel, outputs, inputs, n), row.data());
      for (std::size_t k = 0; k < count; ++k) values[k * outputs + n] = row[k];
    }
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    blockwise::widen_e4m3(panel + output * Int8Channels::padded(inputs), inputs,
                          Int8Channels::scale_of(panel, outputs, inputs, output), values);
  }

  /// Codes, then their scale.
  static constexpr std::size_t row_bytes(std::size_t inputs) {
    return Int8Channels::padded(inputs) + 64;
  }
  static void pack_row(const float* x, std::size_t inputs, std::byte* row) {
    std::memset(row, 0, row_bytes(inputs));
    blockwise::put(row + Int8Channels::padded(inputs), quantise(x, inputs, row));
  }
  static void add_products(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                           const std::byte* rows, std::size_t count, float* y,
                           std::size_t y_stride) {
    const std::size_t wide = Int8Channels::padded(inputs);
    std::vector<float> x(count * wide), w(wide);
    for (std::size_t r = 0; r < count; ++r) {
      blockwise::widen_e4m3(rows + r * row_bytes(inputs), wide, 1.0f, &x[r * wide]);
    }
    for (std::size_t n = 0; n < outputs; ++n) {
      blockwise::widen_e4m3(panel + n * wide, wide, 1.0f, w.data());
      const float scale = Int8Channels::scale_of(panel, outputs, inputs, n);
      for (std::size_t r = 0; r < count; ++r) {
        const auto of_row = blockwise::get<float>(rows + r * row_bytes(inputs) + wide);
        y[r * y_stride + n] += dot(&x[r * wide], w.data(), wide) * (scale * of_row);
      }
    }
  }

 private:
  static float quantise(const float* values, std::size_t n, std::byte* codes) {
    const float scale = blockwise::largest(values, n) / most;
    const float inverse = blockwise::inverse_of(scale);
    for (std::size_t i = 0; i < n; ++i) {
      blockwise::put(codes + i, to_e4m3(values[i] * inverse));
    }
    return scale;
  }
  /// Four sums, since each addition waits for the one before. \pre n is a multiple of 64
  static float dot(const float* x, const float* w, std::size_t n) {
    using simd::lanes, simd::load, simd::hn::MulAdd;
    simd::Vec a = simd::set(0), b = a, c = a, d = a;
    for (std::size_t i = 0; i < n; i += 4 * lanes) {
      a = MulAdd(load(x + i), load(w + i), a);
      b = MulAdd(load(x + i + lanes), load(w + i + lanes), b);
      c = MulAdd(load(x + i + 2 * lanes), load(w + i + 2 * lanes), c);
      d = MulAdd(load(x + i + 3 * lanes), load(w + i + 3 * lanes), d);
    }
    return simd::sum(simd::hn::Add(simd::hn::Add(a, b), simd::hn::Add(c, d)));
  }
};
static_assert(WeightFormatPolicy<Fp8W8a8> && ProductWeightFormat<Fp8W8a8>);

}  // namespace quire::weight_format
