#pragma once

#include <string_view>

#include <quire/core/type_list.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::experiment {

/// Chunked prefill in fp32: what one core computes without converting numbers.
struct SarathiFp32 : presets::Sarathi {
  static constexpr std::string_view name = "sarathi";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};

/// One engine; what differs is who runs its steps, and the rate of requests.
using Systems = type_list<SarathiFp32>;

}  // namespace quire::experiment
