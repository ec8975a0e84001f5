#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights as FP4, 32 to a power of two, 4.25 bits each.
/// \source OCP Microscaling Formats (MX) Specification, MXFP4.
struct Mxfp4 : RowBlocks<blockwise::Mxfp4> {
  static constexpr std::string_view name = "mxfp4";
};
static_assert(WeightFormatPolicy<Mxfp4>);

}  // namespace quire::weight_format
