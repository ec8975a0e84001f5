#pragma once

#include <cstddef>
#include <string_view>

#include <quire/weight_format/int4_grouped.hpp>

namespace quire::weight_format {

/// As IntGrouped, in 8 bits.
template <std::size_t group>
struct Int8Grouped : IntGrouped<8, group> {
  static constexpr std::string_view name = IntGrouped<8, group>::name;
};
static_assert(WeightFormatPolicy<Int8Grouped<128>>);

}  // namespace quire::weight_format
