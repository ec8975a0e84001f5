#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/core/name.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights as signed codes of `bits` bits with an fp16 scale for each `group` inputs of an output, rounded
/// to nearest: bits + 16 / group bits each. \source "RTN", the baseline of GPTQ and AWQ; symmetric.
template <unsigned bits, std::size_t group>
struct IntGrouped : RowBlocks<blockwise::Symmetric<bits, group>> {
  static constexpr auto text = Name<>().add("int").add(bits).add("_g").add(group);
  static constexpr std::string_view name = text;
};

template <std::size_t group>
using Int4Grouped = IntGrouped<4, group>;
static_assert(WeightFormatPolicy<Int4Grouped<128>>);

}  // namespace quire::weight_format
