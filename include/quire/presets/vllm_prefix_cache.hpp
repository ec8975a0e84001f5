#pragma once

#include <string_view>

#include <quire/prefix_index/hash_chain.hpp>
#include <quire/presets/vllm.hpp>

namespace quire::presets {

/// vLLM with automatic prefix caching: full blocks are found by their text and kept, in order of
/// last use, until their space is needed. \source vLLM, "Automatic Prefix Caching", design
/// documentation.
struct VllmPrefixCache : Vllm {
  static constexpr std::string_view name = "vllm_prefix_cache";
  using PrefixIndex = prefix_index::HashChain;
};

}  // namespace quire::presets
