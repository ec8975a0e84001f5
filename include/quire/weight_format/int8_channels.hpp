// mechanism: weights in bytes with a scale an output, and rows of inputs in bytes
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <quire/core/blockwise.hpp>

namespace quire::weight_format {

/// What formats have in common that multiply bytes with bytes: each output's weights with one fp32 scale
/// of their largest magnitude. \shape panel (outputs, inputs padded to 64) bytes, then (outputs) scales
struct Int8Channels {
  static constexpr std::size_t padded(std::size_t inputs) { return (inputs + 63) / 64 * 64; }
  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return (outputs * (padded(inputs) + sizeof(float)) + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t inputs) {
    return 1 + static_cast<double>(padded(inputs) - inputs + sizeof(float)) /
                   static_cast<double>(inputs);
  }
  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    std::memset(panel, 0, panel_bytes(outputs, inputs));
    for (std::size_t n = 0; n < outputs; ++n) {
      const float scale = quantise(weights + n * inputs, inputs, panel + n * padded(inputs));
      blockwise::put(panel + outputs * padded(inputs) + n * sizeof(float), scale);
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                     std::size_t first, std::size_t count, float* values) {
    for (std::size_t n = 0; n < outputs; ++n) {
      const float scale = scale_of(panel, outputs, inputs, n);
      for (std::size_t k = 0; k < count; ++k) {
        values[k * outputs + n] = scale * code(panel, inputs, n, first + k);
      }
    }
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    const float scale = scale_of(panel, outputs, inputs, output);
    for (std::size_t k = 0; k < inputs; ++k) values[k] = scale * code(panel, inputs, output, k);
  }

  /// Rounds values to bytes and tells their scale; NaN when one of them is not finite.
  static float quantise(const float* values, std::size_t n, std::byte* codes) {
    const float scale = blockwise::largest(values, n) / 127.0f;
    const float inverse = blockwise::inverse_of(scale);
    for (std::size_t i = 0; i < n; ++i) {
      const int q = blockwise::nearest(values[i] * inverse, -127, 127);
      blockwise::put(codes + i, static_cast<std::int8_t>(q));
    }
    return scale;
  }
  static float scale_of(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                        std::size_t n) {
    return blockwise::get<float>(panel + outputs * padded(inputs) + n * sizeof(float));
  }
  static float code(const std::byte* panel, std::size_t inputs, std::size_t n, std::size_t k) {
    return static_cast<float>(blockwise::get<std::int8_t>(panel + n * padded(inputs) + k));
  }
  /// Sum of products in 32-bit integers: exact below 133,000 inputs. \shape a, b (n)
  static std::int32_t dot(const std::byte* a, const std::byte* b, std::size_t n) {
    const auto* x = reinterpret_cast<const std::int8_t*>(a);
    const auto* w = reinterpret_cast<const std::int8_t*>(b);
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      sum += static_cast<std::int16_t>(x[i]) * static_cast<std::int16_t>(w[i]);
    }
    return sum;
  }
  /// y += rows W^T, where a row is codes and then their scale. \shape rows (count, row_bytes); y (count, outputs)
  /// plus: plus(sum, output, w, tail) gives what becomes of an output's sum with its weights' scale w and what
  /// follows the row's codes
  template <class Plus>
  static void add_rows(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                       const std::byte* rows, std::size_t row_bytes, std::size_t count, float* y,
                       std::size_t y_stride, Plus&& plus) {
    for (std::size_t n = 0; n < outputs; ++n) {
      const float w = scale_of(panel, outputs, inputs, n);
      const std::byte* weights = panel + n * padded(inputs);
      for (std::size_t r = 0; r < count; ++r) {
        const std::byte* row = rows + r * row_bytes;
        const std::byte* tail = row + padded(inputs);
        const auto sum = static_cast<float>(dot(row, weights, padded(inputs)));
        y[r * y_stride + n] += plus(sum * (w * blockwise::get<float>(tail)), n, w, tail);
      }
    }
  }
};

}  // namespace quire::weight_format
