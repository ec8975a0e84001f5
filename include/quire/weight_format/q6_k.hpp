#pragma once

#include <string_view>

#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/k_quants.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights in ggml's super-blocks of 256, 6.5625 bits each. \source GGUF type Q6_K; reading is bit for
/// bit, writing rounds to nearest without ggml's search for scales.
struct Q6K : RowBlocks<blockwise::Q6K> {
  static constexpr std::string_view name = "q6_k";
};
static_assert(WeightFormatPolicy<Q6K>);

}  // namespace quire::weight_format
