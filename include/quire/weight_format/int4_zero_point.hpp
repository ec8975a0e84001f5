#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/core/name.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights as unsigned codes of `bits` bits about a zero point, with an fp16 scale and a byte for the zero
/// point of each `group` inputs of an output: bits + 24 / group bits each.
/// \source the asymmetric grid of GPTQ (Frantar et al., ICLR '23) and AWQ (Lin et al., MLSys '24), whose
/// checkpoints it holds bit for bit.
template <unsigned bits, std::size_t group>
struct IntZeroPoint : RowBlocks<blockwise::ZeroPoint<bits, group>> {
  static constexpr auto text = Name<>().add("int").add(bits).add("_zero_point_g").add(group);
  static constexpr std::string_view name = text;
};

template <std::size_t group>
using Int4ZeroPoint = IntZeroPoint<4, group>;
static_assert(WeightFormatPolicy<Int4ZeroPoint<128>>);

}  // namespace quire::weight_format
