// mechanism: FP8 with scales that were found beforehand on texts
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/float8.hpp>
#include <quire/kv_format/fitted.hpp>

namespace quire::kv_format {

/// How a scale is found from what keys or values were on some texts.
enum class ScaleFrom {
  none,        // texts are not asked: 1
  min_max,     // the largest magnitude
  percentile,  // the one that 1 of 1,000 values exceeds
  mse,  // the one with the least squared error, of 32 between the largest and an eighth of it
};
[[nodiscard]] constexpr std::string_view name_of(ScaleFrom from) {
  return from == ScaleFrom::none      ? "none"
         : from == ScaleFrom::min_max ? "min_max"
         : from == ScaleFrom::mse     ? "mse"
                                      : "percentile";
}

/// What formats have in common that store FP8 times one scale: 8 bits a value, saturating beyond the scale's
/// reach. Element: E4m3 (448 is the largest) or E5m2 (57344).
/// \source the ways of finding a scale are those of NVIDIA's calibrators. Deviation: the scale is fp32.
template <class Self, ScaleFrom from, class Element>
struct Fp8Scaled : FittedRows<Self> {
  using FittedRows<Self>::encode;
  using FittedRows<Self>::decode;
  static constexpr bool e5m2 = std::is_same_v<Element, E5m2>;
  static constexpr float most = e5m2 ? 57344.0f : 448.0f;

  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim; }
  static constexpr simd::ByteFloatLayout byte_floats(std::size_t head_dim) {
    return {&simd::byte_table<Element>, row_bytes(head_dim), simd::ByteFloatLayout::Scale::fitted};
  }
  static constexpr std::size_t fit_floats(std::size_t /*head_dim*/) { return 1; }
  static void start(std::size_t /*head_dim*/, float* fitted) { fitted[0] = 1; }

  static void fit(const float* rows, std::size_t count, std::size_t head_dim, float* fitted) {
    if (from == ScaleFrom::none) return start(head_dim, fitted);
    std::vector<float> sizes(count * head_dim);
    for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = std::abs(rows[i]);
    const auto place = static_cast<std::ptrdiff_t>(
        from == ScaleFrom::percentile ? (sizes.size() - 1) * 999 / 1000 : sizes.size() - 1);
    std::nth_element(sizes.begin(), sizes.begin() + place, sizes.end());
    const float reached = sizes[static_cast<std::size_t>(place)];
    // What says nothing on these texts keeps its values as they are.
    fitted[0] = reached >= 0x1p-100f ? reached / most : 1.0f;
    if (from != ScaleFrom::mse) return;
    double least = 0;
    const float largest = fitted[0];
    for (int step = 0; step < 32; ++step) {
      const float scale = largest * std::exp2(-3.0f * static_cast<float>(step) / 31.0f);
      const float inverse = 1.0f / scale;
      double error = 0;
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        const float gap = to_float(narrow(rows[i] * inverse)) * scale - rows[i];
        error += static_cast<double>(gap) * static_cast<double>(gap);
      }
      if (step > 0 && error >= least) continue;
      least = error;
      fitted[0] = scale;
    }
  }
  static void encode(const float* fitted, const float* values, std::size_t head_dim,
                     std::byte* row) {
    const float inverse = 1.0f / fitted[0];
    for (std::size_t i = 0; i < head_dim; ++i) blockwise::put(row + i, narrow(values[i] * inverse));
  }
  static void decode(const float* fitted, const std::byte* row, std::size_t head_dim,
                     float* values) {
    if constexpr (e5m2) {
      blockwise::widen_e5m2(row, head_dim, values);
      for (std::size_t i = 0; i < head_dim; ++i) values[i] *= fitted[0];
    } else {
      blockwise::widen_e4m3(row, head_dim, fitted[0], values);
    }
  }

 private:
  static Element narrow(float x) {
    if constexpr (e5m2) {
      return to_e5m2(x);
    } else {
      return to_e4m3(x);
    }
  }
};

}  // namespace quire::kv_format
