#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/core/units.hpp>
#include <quire/speculation/none.hpp>

namespace quire {

/// Tokens per KV block, as a type, so that it is a slot like the others. N: a power of two, 1 to
/// 256.
template <std::int64_t N>
struct BlockSize {
  static_assert(N >= 1 && N <= 256 && (N & (N - 1)) == 0,
                "quire: block_size: the block size must be a power of two from 1 to 256; "
                "smallest model: quire::BlockSize<16>");
  static constexpr Tokens tokens = N;
};

/// The places of an engine that a configuration fills, as bits, so that sets of them compare.
enum class Slot : std::uint32_t {
  none = 0,
  block_size = 1u << 0,
  reservation = 1u << 1,
  prefix_index = 1u << 2,
  eviction = 1u << 3,
  admission = 1u << 4,
  offload = 1u << 5,
  kv_format = 1u << 6,
  weight_format = 1u << 7,
  retention = 1u << 8,
  scheduler = 1u << 9,
  speculation = 1u << 10,
};

[[nodiscard]] constexpr Slot operator|(Slot a, Slot b) {
  return static_cast<Slot>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
[[nodiscard]] constexpr Slot operator&(Slot a, Slot b) {
  return static_cast<Slot>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}

/// Slot names in the order in which tables list them; the same words name folders and CLI axes.
inline constexpr std::string_view slot_names[] = {
    "block_size", "reservation",   "prefix_index", "eviction",  "admission",  "offload",
    "kv_format",  "weight_format", "retention",    "scheduler", "speculation"};
inline constexpr std::size_t slot_count = sizeof(slot_names) / sizeof(slot_names[0]);

namespace detail {

template <class C>
struct SpeculationOf {
  using type = speculation::None;
};
template <class C>
requires requires { typename C::Speculation; }
struct SpeculationOf<C> {
  using type = typename C::Speculation;
};

}  // namespace detail

/// The speculation policy of a configuration. The one slot that may be left out, which means none.
template <class C>
using speculation_of = typename detail::SpeculationOf<C>::type;

/// Whether C fills every slot; says nothing yet about whether the policies fit.
template <class C>
concept FillsAllSlots = requires {
  { C::name } -> std::convertible_to<std::string_view>;
  C::BlockSize::tokens;
  typename C::Reservation;
  typename C::PrefixIndex;
  typename C::Eviction;
  typename C::Admission;
  typename C::Offload;
  typename C::KvFormat;
  typename C::WeightFormat;
  typename C::Retention;
  typename C::Scheduler;
};

}  // namespace quire
