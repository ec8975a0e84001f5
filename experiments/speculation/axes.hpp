#pragma once

#include <cstdint>
#include <string_view>

#include <quire/core/name.hpp>
#include <quire/engine/changed_slots.hpp>
#include <quire/engine/override.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/speculation/draft_model.hpp>
#include <quire/speculation/none.hpp>
#include <quire/speculation/prompt_lookup.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::experiment {

/// So many drafts a step; 0: none.
template <std::int64_t drafts>
struct Guessing : presets::Vllm {
  static constexpr std::string_view name = "vllm+speculation=prompt_lookup";
  using Speculation = speculation::BasicPromptLookup<drafts, 3, 1>;
};
template <>
struct Guessing<0> : presets::Vllm {};
static_assert(changed_slots<Guessing<10>, Guessing<0>> == Slot::speculation);

/// The same in the formats that a processor computes in.
template <class Policy>
struct CpuGuessing : presets::Vllm {
  static constexpr auto text = Name<>()
                                   .add("vllm_fp32")
                                   .add(speculation::guesses<Policy> ? "+speculation=" : "")
                                   .add(speculation::guesses<Policy> ? Policy::name : "");
  static constexpr std::string_view name = text;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Speculation = Policy;
};

}  // namespace quire::experiment
