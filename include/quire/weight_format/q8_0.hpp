#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights in blocks of 32 signed bytes with an fp16 scale, 8.5 bits each.
/// \source GGUF type Q8_0; blocks as ggml lays them out, bit for bit.
struct Q80 : RowBlocks<blockwise::Q8_0> {
  static constexpr std::string_view name = "q8_0";
};
static_assert(WeightFormatPolicy<Q80>);

}  // namespace quire::weight_format
