#pragma once

// A user's own policy on the processor: the same variant, in formats that a processor computes in, and
// above a disk tier.
#include <string_view>

#include <experiments/quire/cpu_steps.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/tiered.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/experiments/user_variants.hpp"

namespace lab {

struct HighestBlockOnCpu : HighestBlockFirst {
  static constexpr std::string_view name = "highest_block_first_fp32";
  using Offload = quire::offload::Tiered;
  using KvFormat = quire::kv_format::Fp32;
  using WeightFormat = quire::weight_format::Fp32;
};

struct LogBytesOnCpu : HighestBlockFirst {
  static constexpr std::string_view name = "highest_block_first_log_bytes";
  using KvFormat = LogBytes;
  using WeightFormat = quire::weight_format::Fp32;
};

using CpuVariants = quire::type_list<HighestBlockOnCpu, LogBytesOnCpu>;

}  // namespace lab
