#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// NVFP4 whose scale of 16 values puts the largest at 6 or at 4, whichever errs less.
/// \source vLLM KV cache type nvfp4_4over6. Deviation: the scale of the whole tensor is 1.
struct Nvfp44over6 : BlockRows<blockwise::Nvfp4<true>> {
  static constexpr std::string_view name = "nvfp4_4over6";
};
static_assert(KvFormatPolicy<Nvfp44over6>);

}  // namespace quire::kv_format
