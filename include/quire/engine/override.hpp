#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <quire/engine/config.hpp>

namespace quire {

/// One change to a configuration: with<Base, set_eviction<Sieve>> differs from Base in that slot.
template <class P>
struct set_block_size {
  using policy = P;
  static constexpr Slot slot = Slot::block_size;
};
template <class P>
struct set_reservation {
  using policy = P;
  static constexpr Slot slot = Slot::reservation;
};
template <class P>
struct set_prefix_index {
  using policy = P;
  static constexpr Slot slot = Slot::prefix_index;
};
template <class P>
struct set_eviction {
  using policy = P;
  static constexpr Slot slot = Slot::eviction;
};
template <class P>
struct set_admission {
  using policy = P;
  static constexpr Slot slot = Slot::admission;
};
template <class P>
struct set_offload {
  using policy = P;
  static constexpr Slot slot = Slot::offload;
};
template <class P>
struct set_kv_format {
  using policy = P;
  static constexpr Slot slot = Slot::kv_format;
};
template <class P>
struct set_weight_format {
  using policy = P;
  static constexpr Slot slot = Slot::weight_format;
};
template <class P>
struct set_retention {
  using policy = P;
  static constexpr Slot slot = Slot::retention;
};
template <class P>
struct set_scheduler {
  using policy = P;
  static constexpr Slot slot = Slot::scheduler;
};
template <class P>
struct set_speculation {
  using policy = P;
  static constexpr Slot slot = Slot::speculation;
};

namespace detail {

template <std::int64_t N>
constexpr auto digits() {
  static_assert(N >= 0 && N < 1000);
  std::array<char, 3> text{};
  std::size_t size = 0;
  if (N >= 100) text[size++] = static_cast<char>('0' + N / 100);
  if (N >= 10) text[size++] = static_cast<char>('0' + N / 10 % 10);
  text[size++] = static_cast<char>('0' + N % 10);
  return std::pair{text, size};
}

template <class P>
struct PolicyName {
  static constexpr std::string_view value = P::name;
};
template <std::int64_t N>
struct PolicyName<BlockSize<N>> {
  static constexpr auto text = digits<N>();
  static constexpr std::string_view value{text.first.data(), text.second};
};

/// Joins two words with '+' at compile time.
template <const std::string_view& a, const std::string_view& b>
struct JoinedWords {
  static constexpr auto text = [] {
    std::array<char, a.size() + b.size() + 1> joined{};
    std::size_t at = 0;
    for (char c : a) joined[at++] = c;
    joined[at++] = '+';
    for (char c : b) joined[at++] = c;
    return joined;
  }();
  static constexpr std::string_view value{text.data(), text.size()};
};

/// The slot's name as tables have it. A policy's word alone is not enough: `priority` is a
/// scheduler and an eviction policy, `fp16` a format of two slots.
constexpr std::string_view name_of(Slot slot) {
  std::size_t i = 0;
  while (static_cast<std::uint32_t>(slot) >> i != 1) ++i;
  return slot_names[i];
}

/// Joins "base+slot=policy" at compile time, so that a derived variant names itself.
template <class Base, class P, Slot slot>
struct JoinedName {
  static constexpr auto text = [] {
    constexpr std::string_view parts[] = {Base::name, "+", name_of(slot), "=",
                                          PolicyName<P>::value};
    std::array<char, parts[0].size() + parts[2].size() + parts[4].size() + 2> joined{};
    std::size_t at = 0;
    for (const std::string_view part : parts) {
      for (const char c : part) joined[at++] = c;
    }
    return joined;
  }();
  static constexpr std::string_view value{text.data(), text.size()};
};

template <class Base, class P, Slot slot>
struct Override;
template <class Base, class P>
struct Override<Base, P, Slot::block_size> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::block_size>::value;
  using BlockSize = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::reservation> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::reservation>::value;
  using Reservation = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::prefix_index> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::prefix_index>::value;
  using PrefixIndex = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::eviction> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::eviction>::value;
  using Eviction = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::admission> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::admission>::value;
  using Admission = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::offload> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::offload>::value;
  using Offload = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::kv_format> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::kv_format>::value;
  using KvFormat = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::weight_format> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::weight_format>::value;
  using WeightFormat = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::retention> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::retention>::value;
  using Retention = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::scheduler> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::scheduler>::value;
  using Scheduler = P;
};
template <class Base, class P>
struct Override<Base, P, Slot::speculation> : Base {
  static constexpr std::string_view name = JoinedName<Base, P, Slot::speculation>::value;
  using Speculation = P;
};

template <class Base, class... Changes>
struct Fold {
  using type = Base;
};
template <class Base, class Change, class... Rest>
struct Fold<Base, Change, Rest...> {
  using type = typename Fold<Override<Base, typename Change::policy, Change::slot>, Rest...>::type;
};

}  // namespace detail

/// A configuration that differs from Base in the given slots and is named after its changes:
/// "base+eviction=sieve+block_size=8".
template <FillsAllSlots Base, class... Changes>
using with = typename detail::Fold<Base, Changes...>::type;

}  // namespace quire
