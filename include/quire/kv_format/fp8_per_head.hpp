#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/fitted.hpp>

namespace quire::kv_format {

/// How a scale is found from what a head's keys or values were on some texts.
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

/// Keys and values as FP8 E4M3 with one scale a head, found beforehand on texts; beyond it they saturate.
/// 8 bits a value.
/// \source vLLM, fp8 KV cache with k_scale and v_scale an attention head, from a data set; the ways of
/// finding it are those of NVIDIA's calibrators. Deviation: the scale is fp32.
template <ScaleFrom from>
struct Fp8PerHead : FittedRows<Fp8PerHead<from>> {
  static constexpr auto text = Name<>().add("fp8_per_head_").add(name_of(from));
  static constexpr std::string_view name = text;
  using FittedRows<Fp8PerHead>::encode;
  using FittedRows<Fp8PerHead>::decode;

  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim; }
  static constexpr std::size_t fit_floats(std::size_t /*head_dim*/) { return 1; }
  static void start(std::size_t /*head_dim*/, float* fitted) { fitted[0] = 1; }

  static void fit(const float* rows, std::size_t count, std::size_t head_dim, float* fitted) {
    if (from == ScaleFrom::none) return start(head_dim, fitted);
    std::vector<float> sizes(count * head_dim);
    for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = std::abs(rows[i]);
    const auto place = static_cast<std::ptrdiff_t>(
        from == ScaleFrom::percentile ? (sizes.size() - 1) * 999 / 1000 : sizes.size() - 1);
    std::nth_element(sizes.begin(), sizes.begin() + place, sizes.end());
    const float most = sizes[static_cast<std::size_t>(place)];
    // A head that says nothing on these texts keeps its values as they are.
    fitted[0] = most >= 0x1p-100f ? most / 448.0f : 1.0f;
    if (from != ScaleFrom::mse) return;
    double least = 0;
    const float largest = fitted[0];
    for (int step = 0; step < 32; ++step) {
      const float scale = largest * std::exp2(-3.0f * static_cast<float>(step) / 31.0f);
      const float inverse = 1.0f / scale;
      double error = 0;
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        const float gap = to_float(to_e4m3(rows[i] * inverse)) * scale - rows[i];
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
    for (std::size_t i = 0; i < head_dim; ++i) {
      blockwise::put(row + i, to_e4m3(values[i] * inverse));
    }
  }
  static void decode(const float* fitted, const std::byte* row, std::size_t head_dim,
                     float* values) {
    blockwise::widen_e4m3(row, head_dim, fitted[0], values);
  }
};
static_assert(KvFormatPolicy<Fp8PerHead<ScaleFrom::mse>> &&
              FittedKvSlab<Fp8PerHead<ScaleFrom::mse>>);

}  // namespace quire::kv_format
