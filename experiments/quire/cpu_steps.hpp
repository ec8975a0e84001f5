#pragma once

#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::executor {

/// The CPU executor that every driver with a CPU_LIST has anyway, for `quire generate`: compiled once,
/// in cpu_steps.cpp. A list of variants that includes this header shares it.
extern template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32>;
extern template class Cpu::Steps<kv_format::Packed, weight_format::Fp32>;

}  // namespace quire::executor
