#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include <quire/engine/config.hpp>

namespace quire {

/// The slots in which two configurations differ, decided by the compiler from the types themselves.
template <FillsAllSlots A, FillsAllSlots B>
inline constexpr Slot changed_slots = [] {
  Slot changed = Slot::none;
  auto compare = [&changed](bool same, Slot slot) {
    if (!same) changed = changed | slot;
  };
  compare(A::BlockSize::tokens == B::BlockSize::tokens, Slot::block_size);
  compare(std::is_same_v<typename A::Reservation, typename B::Reservation>, Slot::reservation);
  compare(std::is_same_v<typename A::PrefixIndex, typename B::PrefixIndex>, Slot::prefix_index);
  compare(std::is_same_v<typename A::Eviction, typename B::Eviction>, Slot::eviction);
  compare(std::is_same_v<typename A::Admission, typename B::Admission>, Slot::admission);
  compare(std::is_same_v<typename A::Offload, typename B::Offload>, Slot::offload);
  compare(std::is_same_v<typename A::KvFormat, typename B::KvFormat>, Slot::kv_format);
  compare(std::is_same_v<typename A::WeightFormat, typename B::WeightFormat>, Slot::weight_format);
  compare(std::is_same_v<typename A::Retention, typename B::Retention>, Slot::retention);
  compare(std::is_same_v<typename A::Scheduler, typename B::Scheduler>, Slot::scheduler);
  compare(std::is_same_v<speculation_of<A>, speculation_of<B>>, Slot::speculation);
  return changed;
}();

/// The names of a set of slots, comma-separated; "none" for the empty set.
[[nodiscard]] inline std::string to_string(Slot slots) {
  std::string names;
  for (std::size_t i = 0; i < slot_count; ++i) {
    if ((static_cast<std::uint32_t>(slots) & (1u << i)) == 0) continue;
    if (!names.empty()) names += ",";
    names += slot_names[i];
  }
  return names.empty() ? "none" : names;
}

}  // namespace quire
