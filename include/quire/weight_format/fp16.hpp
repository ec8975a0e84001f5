#pragma once

#include <string_view>

#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/plain.hpp>

namespace quire::weight_format {

/// Weights as IEEE half precision, rounded to nearest even, 2 bytes each; products accumulate in
/// fp32.
struct Fp16 : Plain<quire::Fp16> {
  static constexpr std::string_view name = "fp16";
};
static_assert(PlainWeightFormat<Fp16>);

}  // namespace quire::weight_format
