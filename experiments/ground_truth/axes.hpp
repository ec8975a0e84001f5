#pragma once

#include <string_view>

#include <quire/core/type_list.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/presets/sarathi.hpp>

namespace quire::experiment {

/// vLLM's V1 engine: prompts in chunks beside decodes, full blocks found by their text, recompute.
struct VllmV1 : presets::Sarathi {
  static constexpr std::string_view name = "vllm_v1";
  using PrefixIndex = prefix_index::HashChain;
};

/// The engine as it is set up, and without its prefix cache.
using Systems = type_list<VllmV1, presets::Sarathi>;

}  // namespace quire::experiment
