#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/name.hpp>
#include <quire/weight_format/concepts.hpp>

namespace quire::weight_format {

/// Weights as signed integers with one fp32 scale for each output, of its largest magnitude: what rounding
/// to nearest is compared with. Two codes share a byte where they have 4 bits.
/// \shape panel (inputs, outputs in bytes or in pairs), then scales (outputs), padded to 64 bytes
/// \source "row-wise" or "per-channel" rounding, the baseline of LLM.int8() and QLoRA
template <unsigned bits>
requires(bits == 4 || bits == 8) struct IntPerChannel {
  static constexpr auto text = Name<>().add("int").add(bits).add("_per_channel");
  static constexpr std::string_view name = text;
  static constexpr int most_code = (1 << (bits - 1)) - 1;

  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return (width(outputs) * inputs + outputs * sizeof(float) + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t inputs) {
    return bits / 8.0 + sizeof(float) / static_cast<double>(inputs);
  }
  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    std::memset(panel, 0, panel_bytes(outputs, inputs));
    for (std::size_t n = 0; n < outputs; ++n) {
      const float* row = weights + n * inputs;
      const float scale = blockwise::largest(row, inputs) / static_cast<float>(most_code);
      const float inverse = blockwise::inverse_of(scale);
      for (std::size_t k = 0; k < inputs; ++k) {
        const int q = blockwise::nearest(row[k] * inverse, -most_code, most_code);
        std::byte& at = panel[k * width(outputs) + n % width(outputs)];
        at |= static_cast<std::byte>(bits == 8 ? q & 255 : (q + 8) << (high(outputs, n) ? 4 : 0));
      }
      blockwise::put(panel + width(outputs) * inputs + n * sizeof(float), scale);
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                     std::size_t first, std::size_t count, float* values) {
    std::vector<float> scales(outputs);
    for (std::size_t n = 0; n < outputs; ++n) scales[n] = scale_of(panel, outputs, inputs, n);
    const std::size_t wide = width(outputs);
    for (std::size_t k = 0; k < count; ++k) {
      const auto* codes = reinterpret_cast<const std::uint8_t*>(panel) + (first + k) * wide;
      float* to = values + k * outputs;
      if constexpr (bits == 8) {
        for (std::size_t n = 0; n < outputs; ++n) {
          to[n] = static_cast<float>(static_cast<std::int8_t>(codes[n])) * scales[n];
        }
      } else {
        for (std::size_t n = 0; n < wide; ++n) {
          to[n] = static_cast<float>(static_cast<int>(codes[n] & 15) - 8) * scales[n];
        }
        for (std::size_t n = wide; n < outputs; ++n) {
          to[n] = static_cast<float>(static_cast<int>(codes[n - wide] >> 4) - 8) * scales[n];
        }
      }
    }
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    const float scale = scale_of(panel, outputs, inputs, output);
    const auto* codes = reinterpret_cast<const std::uint8_t*>(panel) + output % width(outputs);
    for (std::size_t k = 0; k < inputs; ++k) {
      const std::uint8_t byte = codes[k * width(outputs)];
      const int code = bits == 8
                           ? static_cast<std::int8_t>(byte)
                           : static_cast<int>(high(outputs, output) ? byte >> 4 : byte & 15) - 8;
      values[k] = static_cast<float>(code) * scale;
    }
  }

 private:
  /// Bytes of one input: in 4 bits output n shares one with output n + width.
  static constexpr std::size_t width(std::size_t outputs) {
    return bits == 8 ? outputs : (outputs + 1) / 2;
  }
  static constexpr bool high(std::size_t outputs, std::size_t n) { return n >= width(outputs); }
  static float scale_of(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                        std::size_t n) {
    return blockwise::get<float>(panel + width(outputs) * inputs + n * sizeof(float));
  }
};
using Int4PerChannel = IntPerChannel<4>;
using Int8PerChannel = IntPerChannel<8>;
static_assert(WeightFormatPolicy<IntPerChannel<4>> && WeightFormatPolicy<Int8PerChannel>);

}  // namespace quire::weight_format
