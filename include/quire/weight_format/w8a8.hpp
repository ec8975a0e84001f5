#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/int8_channels.hpp>

namespace quire::weight_format {

/// Weights and activations in bytes, multiplied as integers: a scale for each output's weights and for each
/// token's inputs. \source SmoothQuant (Xiao et al., ICML '23), per-token activations and per-channel weights;
/// its smoothing is model::smooth().
struct W8a8 : Int8Channels {
  static constexpr std::string_view name = "w8a8";

  /// Codes, then their tail.
  static constexpr std::size_t row_bytes(std::size_t inputs) { return padded(inputs) + 64; }
  static void pack_row(const float* x, std::size_t inputs, std::byte* row) {
    std::memset(row, 0, row_bytes(inputs));
    const float scale = quantise(x, inputs, row);
    put_tail(row, inputs, scale);
  }
  static void add_products(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                           const std::byte* rows, std::size_t count, float* y,
                           std::size_t y_stride) {
    add_rows(panel, outputs, inputs, rows, row_bytes(inputs), count, y, y_stride);
  }
};
static_assert(WeightFormatPolicy<W8a8> && ProductWeightFormat<W8a8>);

}  // namespace quire::weight_format
