#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/core/ids.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::executor {

/// The CPU executor that every driver with a CPU_LIST has anyway, for `quire generate` and for formats
/// that are chosen at run time (executor::AnyCpu), and the laboratory of formats: compiled once, in
/// cpu_steps.cpp. A list of variants that includes this header shares it.
extern template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32>;
extern template class Cpu::Steps<kv_format::Packed, weight_format::Fp32>;
extern template class Cpu::Steps<kv_format::Packed, weight_format::Packed>;

}  // namespace quire::executor

namespace quire::experiment {

/// model::calibrate_kv with weights in a format.
[[nodiscard]] std::shared_ptr<const kv_format::Calibration> calibrate_kv(
    const checkpoint::Checkpoint& model, std::span<const std::vector<TokenId>> texts,
    const kv_format::KvCodec& codec, const weight_format::WeightCodec& weights,
    std::size_t threads);

}  // namespace quire::experiment
