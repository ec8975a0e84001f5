#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/name.hpp>
#include <quire/core/simd.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/grouped.hpp>

namespace quire::weight_format {

/// Weights as integers with one fp32 scale for each output: of its largest magnitude, or with zero_points from
/// its least to its largest value, zero among them, and a byte for the code of zero. What rounding to nearest is
/// compared with. Two codes share a byte where they have 4 bits. With zero points it holds checkpoints of GPTQ
/// and AWQ that have one group a row.
/// \shape panel (inputs, outputs in bytes or in pairs), then scales (outputs), then zero points (outputs), padded
/// to 64 bytes
/// \source "row-wise" or "per-channel" rounding, the baseline of LLM.int8() and QLoRA
template <unsigned bits, bool zero_points = false>
requires(bits == 4 || bits == 8) struct IntPerChannel {
  static constexpr auto text =
      Name<>().add("int").add(bits).add(zero_points ? "_zero_point_per_channel" : "_per_channel");
  static constexpr std::string_view name = text;
  static constexpr int middle = 1 << (bits - 1);
  /// Steps from zero to the largest magnitude, or from the least value to the largest.
  static constexpr int most_code = zero_points ? (1 << bits) - 1 : middle - 1;

  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return (width(outputs) * inputs + outputs * row_bytes_beside + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t inputs) {
    return bits / 8.0 + static_cast<double>(row_bytes_beside) / static_cast<double>(inputs);
  }
  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    std::memset(panel, 0, panel_bytes(outputs, inputs));
    for (std::size_t n = 0; n < outputs; ++n) {
      const float* row = weights + n * inputs;
      const Grid grid = grid_of(row, inputs);
      const float inverse = blockwise::inverse_of(grid.scale);
      const int least = zero_points ? 0 : middle - most_code;
      for (std::size_t k = 0; k < inputs; ++k) {
        const float q = std::nearbyint(row[k] * inverse) + static_cast<float>(grid.zero);
        put_code(panel, outputs, n, k, blockwise::nearest(q, least, least + codes_above_least));
      }
      put_grid(panel, outputs, inputs, n, grid);
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                     std::size_t first, std::size_t count, float* values) {
    std::vector<float> scales(outputs), offsets(outputs);
    for (std::size_t n = 0; n < outputs; ++n) {
      const Grid grid = grid_at(panel, outputs, inputs, n);
      scales[n] = grid.scale;
      offsets[n] = grid.scale * static_cast<float>(grid.zero);
    }
    const std::size_t wide = width(outputs);
    for (std::size_t k = 0; k < count; ++k) {
      const auto* codes = reinterpret_cast<const std::uint8_t*>(panel) + (first + k) * wide;
      float* to = values + k * outputs;
      unpack_row<false>(codes, wide, scales.data(), offsets.data(), to);
      if constexpr (bits == 4) {
        unpack_row<true>(codes, outputs - wide, scales.data() + wide, offsets.data() + wide,
                         to + wide);
      }
    }
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    const Grid grid = grid_at(panel, outputs, inputs, output);
    const float offset = grid.scale * static_cast<float>(grid.zero);
    const auto* codes = reinterpret_cast<const std::uint8_t*>(panel) + output % width(outputs);
    for (std::size_t k = 0; k < inputs; ++k) {
      const std::uint8_t byte = codes[k * width(outputs)];
      const int code = bits == 8 ? byte : high(outputs, output) ? byte >> 4 : byte & 15;
      values[k] = value_of(code, grid.scale, offset);
    }
  }

  // A matrix of integers with one group a row, as it is.
  static constexpr unsigned row_code_bits = zero_points ? bits : 0;
  static constexpr bool holds_zero(std::uint8_t /*zero*/) { return zero_points; }
  /// Outputs [first, first + outputs) of a matrix, those behind its end as zeros.
  static void pack_codes(std::byte* panel, std::size_t outputs, const Grouped& m,
                         std::size_t first) requires(zero_points) {
    std::memset(panel, 0, panel_bytes(outputs, m.inputs));
    for (std::size_t n = 0; n < outputs && first + n < m.outputs; ++n) {
      for (std::size_t k = 0; k < m.inputs; ++k) {
        put_code(panel, outputs, n, k, m.codes[(first + n) * m.inputs + k]);
      }
      put_grid(panel, outputs, m.inputs, n, {to_float(m.scales[first + n]), m.zeros[first + n]});
    }
  }

 private:
  struct Grid {
    float scale;
    std::uint8_t zero;
  };
  static constexpr std::size_t row_bytes_beside = sizeof(float) + (zero_points ? 1 : 0);
  static constexpr int codes_above_least = zero_points ? most_code : 2 * most_code;

  static Grid grid_of(const float* row, std::size_t inputs) {
    if constexpr (!zero_points) {
      const float most = blockwise::largest(row, inputs);
      return {most / static_cast<float>(most_code), static_cast<std::uint8_t>(middle)};
    } else {
      if (!std::isfinite(blockwise::largest(row, inputs))) return {blockwise::not_a_number, 0};
      float low = 0, high = 0;
      for (std::size_t k = 0; k < inputs; ++k) {
        low = std::min(low, row[k]);
        high = std::max(high, row[k]);
      }
      // by parts: the range may be beyond the largest float
      const float scale =
          high / static_cast<float>(most_code) - low / static_cast<float>(most_code);
      const float zero = -low * blockwise::inverse_of(scale);
      return {scale, static_cast<std::uint8_t>(blockwise::nearest(zero, 0, most_code))};
    }
  }
  /// offset: scale times zero point, which is rounded before it is subtracted, as Grouped::at does it
  static float value_of(int code, float scale, float offset) {
    if constexpr (zero_points) return static_cast<float>(code) * scale - offset;
    return static_cast<float>(code - middle) * scale;
  }
  /// Of as many outputs one input's weights. high: the upper bits of the codes' bytes
  template <bool high>
  static void unpack_row(const std::uint8_t* codes, std::size_t outputs, const float* scales,
                         const float* offsets, float* values) {
    namespace hn = simd::hn;
    const hn::Rebind<std::uint8_t, simd::Floats> narrow;
    const simd::Words d;
    const auto code_of = [](int byte) { return bits == 8 ? byte : high ? byte >> 4 : byte & 15; };
    std::size_t n = 0;
    for (; n + simd::lanes <= outputs; n += simd::lanes) {
      if constexpr (!high) simd::fetch_ahead(codes + n + prefetch_bytes);
      auto code = hn::PromoteTo(d, hn::LoadU(narrow, codes + n));
      if constexpr (bits == 4) {
        code = high ? hn::ShiftRight<4>(code) : hn::And(code, hn::Set(d, 15));
      }
      if constexpr (!zero_points) code = hn::Sub(code, hn::Set(d, middle));
      simd::Vec x = hn::Mul(hn::ConvertTo(simd::Floats(), code), simd::load(scales + n));
      if constexpr (zero_points) x = hn::Sub(x, simd::load(offsets + n));
      simd::store(x, values + n);
    }
    for (; n < outputs; ++n) values[n] = value_of(code_of(codes[n]), scales[n], offsets[n]);
  }
  // Lines of a panel are fetched so far ahead.
  static constexpr std::size_t prefetch_bytes = 4096;

  /// Bytes of one input: in 4 bits output n shares one with output n + width.
  static constexpr std::size_t width(std::size_t outputs) {
    return bits == 8 ? outputs : (outputs + 1) / 2;
  }
  static constexpr bool high(std::size_t outputs, std::size_t n) { return n >= width(outputs); }
  static void put_code(std::byte* panel, std::size_t outputs, std::size_t n, std::size_t k,
                       int code) {
    panel[k * width(outputs) + n % width(outputs)] |=
        static_cast<std::byte>(bits == 4 && high(outputs, n) ? code << 4 : code);
  }
  static void put_grid(std::byte* panel, std::size_t outputs, std::size_t inputs, std::size_t n,
                       const Grid& grid) {
    std::byte* const scales = panel + width(outputs) * inputs;
    blockwise::put(scales + n * sizeof(float), grid.scale);
    if constexpr (zero_points) scales[outputs * sizeof(float) + n] = std::byte{grid.zero};
  }
  static Grid grid_at(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                      std::size_t n) {
    const std::byte* const scales = panel + width(outputs) * inputs;
    const auto scale = blockwise::get<float>(scales + n * sizeof(float));
    if constexpr (!zero_points) return {scale, static_cast<std::uint8_t>(middle)};
    return {scale, std::to_integer<std::uint8_t>(scales[outputs * sizeof(float) + n])};
  }
};
using Int4PerChannel = IntPerChannel<4>;
using Int8PerChannel = IntPerChannel<8>;
using Int4ZeroPointPerChannel = IntPerChannel<4, true>;
using Int8ZeroPointPerChannel = IntPerChannel<8, true>;
static_assert(WeightFormatPolicy<IntPerChannel<4>> && WeightFormatPolicy<Int8ZeroPointPerChannel>);

}  // namespace quire::weight_format
