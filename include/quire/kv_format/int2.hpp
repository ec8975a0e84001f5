#pragma once

#include <string_view>

#include <quire/kv_format/int4_grouped.hpp>

namespace quire::kv_format {

/// Keys and values as four levels between the least and the largest of each 32 channels of a token:
/// 3 bits a value. \source KIVI's quantiser (Liu et al., ICML '24) along channels, the K-T V-T row of
/// its Table 1.
struct Int2 : IntGrouped<2, 32> {
  static constexpr std::string_view name = "int2";
};
static_assert(KvFormatPolicy<Int2>);

}  // namespace quire::kv_format
