#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values rounded to the quantiles of a normal distribution, 64 to an fp32 scale, 4.5 bits a
/// value. \source Dettmers et al., "QLoRA", NeurIPS 2023: NF4. Deviation: keys and values, not weights.
struct Nf4 : BlockRows<blockwise::Nf4<64>> {
  static constexpr std::string_view name = "nf4";
};
static_assert(KvFormatPolicy<Nf4>);

}  // namespace quire::kv_format
