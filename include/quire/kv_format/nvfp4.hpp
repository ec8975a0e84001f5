#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values as FP4, 16 to a scale in FP8, 4.5 bits a value.
/// \source NVIDIA, NVFP4; vLLM KV cache type nvfp4. Deviation: the scale of the whole tensor is 1, as
/// it is there without calibration.
struct Nvfp4 : BlockRows<blockwise::Nvfp4<>> {
  static constexpr std::string_view name = "nvfp4";
};
static_assert(KvFormatPolicy<Nvfp4>);

}  // namespace quire::kv_format
