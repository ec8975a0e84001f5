#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// Weights rounded to the quantiles of a normal distribution, 64 to an fp32 scale, 4.5 bits each.
/// \source Dettmers et al., "QLoRA", NeurIPS 2023; codes and scales are those of bitsandbytes 0.50 for rows
/// of a multiple of 64 inputs. Deviation: the two codes of a byte are not neighbours.
struct Nf4 : RowBlocks<blockwise::Nf4<64>> {
  static constexpr std::string_view name = "nf4";
};
static_assert(WeightFormatPolicy<Nf4>);

}  // namespace quire::weight_format
