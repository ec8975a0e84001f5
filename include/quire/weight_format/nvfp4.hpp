#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights as FP4, 16 to a scale in FP8, 4.5 bits each.
/// \source NVIDIA, NVFP4. Deviation: the scale of the whole tensor is 1.
struct Nvfp4 : RowBlocks<blockwise::Nvfp4<>> {
  static constexpr std::string_view name = "nvfp4";
};
static_assert(WeightFormatPolicy<Nvfp4>);

}  // namespace quire::weight_format
