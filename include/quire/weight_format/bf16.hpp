#pragma once

#include <string_view>

#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/plain.hpp>

namespace quire::weight_format {

/// Weights as bfloat16, rounded to nearest even, 2 bytes each; products accumulate in fp32.
struct Bf16 : Plain<quire::Bf16> {
  static constexpr std::string_view name = "bf16";
};
static_assert(PlainWeightFormat<Bf16>);

}  // namespace quire::weight_format
