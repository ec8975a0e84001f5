#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values as unsigned codes of `bits` bits between the least and the largest value of each
/// `group` channels of a token; scale and least value in fp16: bits + 32 / group bits a value.
/// \source KIVI's quantiser (Liu et al., ICML '24) along channels.
template <unsigned bits, std::size_t group>
struct IntGrouped : BlockRows<blockwise::Asymmetric<bits, group>> {
  static constexpr auto text = Name<>().add("int").add(bits).add("_g").add(group);
  static constexpr std::string_view name = text;
};

template <std::size_t group>
using Int4Grouped = IntGrouped<4, group>;
static_assert(KvFormatPolicy<Int4Grouped<32>>);

}  // namespace quire::kv_format
