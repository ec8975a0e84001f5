#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights in blocks of 32 codes of 4 bits with an fp16 scale, 4.5 bits each.
/// \source GGUF type Q4_0; blocks as ggml lays them out, bit for bit.
struct Q40 : RowBlocks<blockwise::Q4_0> {
  static constexpr std::string_view name = "q4_0";
};
static_assert(WeightFormatPolicy<Q40>);

}  // namespace quire::weight_format
