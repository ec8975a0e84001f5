#pragma once

#include <string_view>

#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/plain.hpp>

namespace quire::weight_format {

/// Weights in full precision, 4 bytes each: the reference of every other format.
struct Fp32 : Plain<float> {
  static constexpr std::string_view name = "fp32";
};
static_assert(PlainWeightFormat<Fp32>);

}  // namespace quire::weight_format
