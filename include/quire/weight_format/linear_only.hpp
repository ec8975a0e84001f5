#pragma once

#include <string_view>

#include <quire/core/name.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/concepts.hpp>

namespace quire::weight_format {

/// A format for the layers' matrices and another one for embedding and output matrix, as papers measure
/// and calibrated checkpoints are stored. \source the protocol of GPTQ, AWQ and SmoothQuant
template <WeightFormatPolicy Linear, WeightFormatPolicy HeadFormat = Bf16>
struct LinearOnly : Linear {
  using Head = HeadFormat;
  static constexpr auto text = Name<>().add(Linear::name).add("_head_").add(HeadFormat::name);
  static constexpr std::string_view name = text;
};
static_assert(WeightFormatPolicy<LinearOnly<Bf16>>);

}  // namespace quire::weight_format
