#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/name.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/int8_channels.hpp>

namespace quire::weight_format {

/// As W8a8, but inputs of a magnitude of `tenths` / 10 or more are multiplied as floats, so that they do
/// not spoil the scale of the others. \source Dettmers et al., "LLM.int8()", NeurIPS '22: threshold 6.
/// Deviation: outliers are a token's own, not whole columns of the batch, since a token's result must not
/// depend on its neighbours; they are fp32 here, fp16 there.
template <unsigned tenths>
struct LlmInt8Above : Int8Channels {
  static constexpr auto text = [] {
    Name<> n;
    n.add("llm_int8");
    if (tenths != 60) n.add("_above_").add(tenths).add("_tenths");
    return n;
  }();
  static constexpr std::string_view name = text;
  static constexpr float threshold = static_cast<float>(tenths) / 10;

  /// Codes with 0 for outliers, their tail, how many outliers, then those: place and value.
  static constexpr std::size_t row_bytes(std::size_t inputs) {
    return padded(inputs) + 64 + padded(inputs * 8);
  }
  static void pack_row(const float* x, std::size_t inputs, std::byte* row) {
    std::memset(row, 0, padded(inputs) + 64);
    std::byte* at = row + padded(inputs);
    std::uint32_t outliers = 0;
    float most = 0;
    for (std::uint32_t k = 0; k < inputs; ++k) {
      if (std::abs(x[k]) < threshold) {
        most = std::max(most, std::abs(x[k]));
      } else {  // NaN among them
        blockwise::put(at + 64 + outliers * 8, k);
        blockwise::put(at + 64 + outliers * 8 + 4, x[k]);
        ++outliers;
      }
    }
    const float scale = most / 127.0f, inverse = blockwise::inverse_of(scale);
    for (std::size_t k = 0; k < inputs; ++k) {
      const float value = std::abs(x[k]) < threshold ? x[k] * inverse : 0.0f;
      blockwise::put(row + k, static_cast<std::int8_t>(blockwise::nearest(value, -127, 127)));
    }
    put_tail(row, inputs, scale);
    blockwise::put(at + sizeof(Tail), outliers);
  }
  static void add_products(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                           const std::byte* rows, std::size_t count, float* y,
                           std::size_t y_stride) {
    std::vector<float> sums(count * outputs);
    add_rows(panel, outputs, inputs, rows, row_bytes(inputs), count, sums.data(), outputs);
    for (std::size_t r = 0; r < count; ++r) {
      const std::byte* tail = rows + r * row_bytes(inputs) + padded(inputs);
      const auto outliers = blockwise::get<std::uint32_t>(tail + sizeof(Tail));
      for (std::uint32_t i = 0; i < outliers; ++i) {
        const std::byte* one = tail + 64 + i * 8;
        const auto k = blockwise::get<std::uint32_t>(one);
        const auto x = blockwise::get<float>(one + 4);
        for (std::size_t n = 0; n < outputs; ++n) {
          sums[r * outputs + n] +=
              x * (scale_of(panel, outputs, inputs, n) * code(panel, outputs, n, k));
        }
      }
      for (std::size_t n = 0; n < outputs; ++n) y[r * y_stride + n] += sums[r * outputs + n];
    }
  }
};
using LlmInt8 = LlmInt8Above<60>;
static_assert(WeightFormatPolicy<LlmInt8> && ProductWeightFormat<LlmInt8>);

}  // namespace quire::weight_format
