#pragma once

#include <string_view>

#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/k_quants.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights in ggml's super-blocks of 256, 5.5 bits each. \source GGUF type Q5_K; reading is bit for
/// bit, writing rounds to nearest without ggml's search for scales.
struct Q5K : RowBlocks<blockwise::Q5K> {
  static constexpr std::string_view name = "q5_k";
  static constexpr bool has_offsets = true;  // zero is no level of its own
};
static_assert(WeightFormatPolicy<Q5K>);

}  // namespace quire::weight_format
