#pragma once

#include <string_view>

#include <quire/core/type_list.hpp>
#include <quire/engine/config.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/retention/retention.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::experiment {

/// Which tokens a sequence keeps; all else is the vllm preset in full precision.
template <class Policy, std::int64_t block = 16>
struct Keeps : presets::Vllm {
  static constexpr std::string_view name = Policy::name;
  using BlockSize = quire::BlockSize<block>;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Retention = Policy;
};

/// The preset as it is, for simulated time.
template <class Policy>
struct Served : presets::Vllm {
  static constexpr std::string_view name = Policy::name;
  using Retention = Policy;
};

using Variants =
    type_list<Keeps<retention::KeepAll>, Keeps<retention::SlidingWindow>,
              Keeps<retention::StreamingLlm>, Keeps<retention::H2O>, Keeps<retention::Tova>,
              Keeps<retention::Scissorhands>, Keeps<retention::SnapKv>, Keeps<retention::PyramidKv>,
              Keeps<retention::Quest>>;

}  // namespace quire::experiment
