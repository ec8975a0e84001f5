#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <quire/core/float16.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/int8_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>

namespace quire::kernels {

/// Which weight formats have a product on the device: signed codes with an fp16 scale a group.
template <class Format>
struct GroupedAccess;
template <unsigned code_bits, std::size_t group_size>
struct GroupedAccess<weight_format::IntGrouped<code_bits, group_size>> {
  static_assert(
      (code_bits == 4 || code_bits == 8) && group_size % 32 == 0 && group_size <= 128,
      "quire: weight_format: device products take 4 or 8 bits and groups of 32, 64, 96 or "
      "128; smallest model: Int4Grouped<128>");
  static constexpr unsigned bits = code_bits;
  static constexpr unsigned group = group_size;
};
template <std::size_t group_size>
struct GroupedAccess<weight_format::Int8Grouped<group_size>>
    : GroupedAccess<weight_format::IntGrouped<8, group_size>> {};
template <class Linear, class Head>
requires requires { GroupedAccess<Linear>::bits; }
struct GroupedAccess<weight_format::LinearOnly<Linear, Head>> : GroupedAccess<Linear> {};

/// A matrix's codes and scales as grouped_product reads them: sixteen outputs and a group of inputs
/// at a time lie together, in the order of the lanes that multiply them, so that a warp's load is one
/// run of memory. What lies beyond the outputs is zeros.
/// \shape codes (tiles, groups, 32 lanes, 2 outputs, group * bits / 32 bytes): lane l has outputs
/// l / 4 and l / 4 + 8 of the tile and the l % 4-th quarter of the group's bytes
/// \shape scales (tiles, groups, 16 outputs)
struct GroupedWeights {
  static constexpr std::size_t tile = 16;  // outputs
  std::size_t outputs = 0, inputs = 0;
  std::vector<std::byte> codes;
  std::vector<Fp16> scales;
};

/// Orders a packed matrix for the device, code by code: no value changes.
/// \shape panel: one panel of Format with all `outputs` rows
template <class Format>
[[nodiscard]] GroupedWeights order_for_device(std::span<const std::byte> panel, std::size_t outputs,
                                              std::size_t inputs) {
  using Access = GroupedAccess<Format>;
  constexpr std::size_t code_bytes = Access::group * Access::bits / 8, quarter = code_bytes / 4;
  const std::size_t groups = Format::blocks(inputs), tiles = (outputs + 15) / 16;
  GroupedWeights w{outputs, inputs, std::vector<std::byte>(tiles * groups * 16 * code_bytes),
                   std::vector<Fp16>(tiles * groups * 16)};
  for (std::size_t o = 0; o < outputs; ++o) {
    for (std::size_t g = 0; g < groups; ++g) {
      std::byte block[code_bytes + sizeof(Fp16)];
      Format::get_block(panel.data(), outputs, inputs, o, g, block);
      const std::size_t at = o / 16 * groups + g, row = o % 16;
      std::memcpy(&w.scales[at * 16 + row], block + code_bytes, sizeof(Fp16));
      for (std::size_t q = 0; q < 4; ++q) {
        std::memcpy(&w.codes[((at * 32 + row % 8 * 4 + q) * 2 + row / 8) * quarter],
                    block + q * quarter, quarter);
      }
    }
  }
  return w;
}

/// Reads one output's row back from what order_for_device made. \shape values (inputs)
template <class Format>
void read_ordered(std::span<const std::byte> codes, std::span<const Fp16> scales,
                  std::size_t inputs, std::size_t output, float* values) {
  using Access = GroupedAccess<Format>;
  constexpr std::size_t code_bytes = Access::group * Access::bits / 8, quarter = code_bytes / 4;
  const std::size_t groups = Format::blocks(inputs), row = output % 16;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t at = output / 16 * groups + g;
    std::byte block[code_bytes + sizeof(Fp16)];
    for (std::size_t q = 0; q < 4; ++q) {
      std::memcpy(block + q * quarter,
                  &codes[((at * 32 + row % 8 * 4 + q) * 2 + row / 8) * quarter], quarter);
    }
    std::memcpy(block + code_bytes, &scales[at * 16 + row], sizeof(Fp16));
    float of_group[Access::group];
    Format::Block::decode(block, of_group);
    std::copy_n(of_group, std::min<std::size_t>(Access::group, inputs - g * Access::group),
                values + g * Access::group);
  }
}

}  // namespace quire::kernels
