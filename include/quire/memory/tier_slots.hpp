#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>

namespace quire {

/// The slots of one tier below the device: reference counts of those that hold swapped sequences or
/// are in use by a plan, and an eviction policy, the device's own, over those that hold cached text.
///
/// As in the device pool, the rules are here and the policy only orders: a referenced slot is never
/// the victim, and a text goes only after all of this tier that continue it (leaf first).
/// \complexity all operations O(1) plus the policy's own.
template <EvictionPolicy Eviction>
class TierSlots {
 public:
  explicit TierSlots(BlockCount capacity)
      : slots_(static_cast<std::size_t>(capacity.value)),
        eviction_(std::max(capacity, BlockCount{1})) {
    free_.reserve(slots_.size());
    for (std::size_t i = slots_.size(); i-- > 0;) {
      free_.push_back(BlockId{static_cast<std::uint32_t>(i)});
    }
  }

  [[nodiscard]] BlockCount capacity() const { return static_cast<std::int64_t>(slots_.size()); }
  [[nodiscard]] BlockCount free() const { return static_cast<std::int64_t>(free_.size()); }
  /// Slots of cached text that nothing refers to: they are given up when room is needed.
  [[nodiscard]] BlockCount idle() const { return idle_; }
  [[nodiscard]] BlockCount cached() const { return cached_; }
  [[nodiscard]] std::uint32_t references(BlockId slot) const { return at(slot).references; }
  [[nodiscard]] bool cached(BlockId slot) const { return at(slot).cached; }

  /// A free slot with one reference. \pre free() > 0
  [[nodiscard]] BlockId allocate() {
    const BlockId slot = free_.back();
    free_.pop_back();
    at(slot).references = 1;
    return slot;
  }
  /// Takes those slots out of a tier of which nothing is used yet, with one reference each.
  /// \pre free() == capacity(); slots are distinct
  void claim(std::span<const BlockId> slots) {
    for (const BlockId slot : slots) at(slot).references = 1;
    std::erase_if(free_, [this](BlockId slot) { return at(slot).references > 0; });
  }
  /// \pre referenced or cached
  void acquire(BlockId slot) {
    Slot& s = at(slot);
    assert(s.references > 0 || s.cached);
    if (s.references++ == 0) {
      idle_ -= 1;
      if (s.children == 0) eviction_.set_evictable(slot, false);
    }
  }
  void release(BlockId slot) {
    Slot& s = at(slot);
    assert(s.references > 0);
    if (--s.references > 0) return;
    if (s.cached) {
      idle_ += 1;
      if (s.children == 0) eviction_.set_evictable(slot, true);
    } else {
      free_.push_back(slot);
    }
  }

  /// Makes a slot one of cached text, with so many texts of this tier that continue it.
  /// \pre referenced, not cached
  void keep(BlockId slot, std::uint32_t children, const BlockContext& context) {
    Slot& s = at(slot);
    assert(s.references > 0 && !s.cached);
    s.cached = true;
    s.children = children;
    cached_ += 1;
    eviction_.on_insert(slot, context);
  }
  /// \pre cached
  void touch(BlockId slot, const BlockContext& context) { eviction_.on_access(slot, context); }
  /// \pre cached
  void add_child(BlockId slot) {
    Slot& s = at(slot);
    if (s.children++ == 0 && s.references == 0) eviction_.set_evictable(slot, false);
  }
  void remove_child(BlockId slot) {
    Slot& s = at(slot);
    assert(s.children > 0);
    if (--s.children == 0 && s.references == 0) eviction_.set_evictable(slot, true);
  }
  /// Gives up a cached text: the slot is free once nothing refers to it. \pre cached
  void forget(BlockId slot) {
    Slot& s = at(slot);
    assert(s.cached);
    s.cached = false;
    s.children = 0;
    cached_ -= 1;
    eviction_.on_remove(slot);
    if (s.references > 0) return;
    idle_ -= 1;
    free_.push_back(slot);
  }

  /// The cached text to give up next; stays until forget().
  /// \errors state, when the policy names a slot that may not go
  [[nodiscard]] std::optional<BlockId> victim() {
    const std::optional<BlockId> slot = eviction_.victim();
    if (!slot) return std::nullopt;
    const bool known = slot->value < slots_.size();
    if (!known || !at(*slot).cached || at(*slot).references > 0 || at(*slot).children > 0) {
      throw state_error("eviction policy " + std::string(Eviction::name),
                        "victim() names slot " + std::to_string(slot->value) +
                            ", which set_evictable did not offer",
                        "one of the blocks last passed to set_evictable(block, true)");
    }
    return slot;
  }

 private:
  struct Slot {
    std::uint32_t references = 0;
    std::uint32_t children = 0;
    bool cached = false;
  };
  Slot& at(BlockId slot) { return slots_[slot.value]; }
  const Slot& at(BlockId slot) const { return slots_[slot.value]; }

  std::vector<Slot> slots_;
  std::vector<BlockId> free_;  // last in, first out
  Eviction eviction_;
  BlockCount idle_ = 0, cached_ = 0;
};

}  // namespace quire
