#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <quire/engine/compatible.hpp>
#include <quire/engine/config.hpp>

namespace quire {

/// The policy names that fill a configuration's slots, in the order of slot_names.
template <FillsAllSlots C>
[[nodiscard]] std::array<std::string, slot_count> slot_values() {
  return {std::to_string(C::BlockSize::tokens.value),
          std::string(C::Reservation::name),
          std::string(C::PrefixIndex::name),
          std::string(C::Eviction::name),
          std::string(C::Admission::name),
          std::string(C::Offload::name),
          std::string(C::KvFormat::name),
          std::string(C::WeightFormat::name),
          std::string(C::Retention::name),
          std::string(C::Scheduler::name),
          std::string(speculation_of<C>::name)};
}

/// A configuration as a table: its name, then one slot a line. A policy that is never asked, because
/// of what stands in another slot, is marked.
template <FillsAllSlots C>
[[nodiscard]] std::string describe() {
  std::string text(C::name);
  const auto values = slot_values<C>();
  for (std::size_t i = 0; i < slot_count; ++i) {
    text.append("\n  ").append(slot_names[i]);
    text.append(15 - slot_names[i].size(), ' ').append(values[i]);
    if ((static_cast<std::uint32_t>(unused_slots<C>) & (1u << i)) != 0) text += " (never asked)";
  }
  return text;
}

}  // namespace quire
