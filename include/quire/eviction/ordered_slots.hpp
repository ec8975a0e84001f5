// mechanism: a queue of blocks that finds the oldest block that may go, however many may not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/slot_ring.hpp>

namespace quire::eviction {

/// Blocks in order of arrival at the back, each with two flags: evictable, and (with Marks) marked.
/// \complexity as SlotRing. No allocation after construction.
template <bool Marks>
class OrderedSlots {
 public:
  explicit OrderedSlots(BlockCount capacity)
      : ring_(capacity), place_(static_cast<std::size_t>(capacity.value), absent) {}

  [[nodiscard]] std::size_t size() const { return ring_.size(); }
  [[nodiscard]] bool contains(BlockId b) const { return place_[b.value] != absent; }
  [[nodiscard]] bool evictable(BlockId b) const { return ring_.evictable(place_[b.value]); }
  [[nodiscard]] bool marked(BlockId b) const requires Marks {
    return ring_.marked(place_[b.value]);
  }

  /// Puts a block at the back, not evictable and not marked. \pre absent
  void append(BlockId b) { ring_.append(b, false, moved()); }
  /// \pre present
  void erase(BlockId b) {
    ring_.erase(place_[b.value]);
    place_[b.value] = absent;
  }
  /// Moves a block to the back with its flags. \pre present
  void move_to_back(BlockId b) {
    ring_.move_to_back(
        b, ring_, [this](BlockId x) { return place_[x.value]; }, moved());
  }
  /// \pre present
  void set_evictable(BlockId b, bool value) { ring_.set_evictable(place_[b.value], value); }
  /// \pre present
  void set_marked(BlockId b, bool value) requires Marks {
    ring_.set_marked(place_[b.value], value);
  }

  [[nodiscard]] bool any_evictable() const { return ring_.any_evictable(); }
  /// The oldest block, evictable or not.
  [[nodiscard]] std::optional<BlockId> oldest() const { return ring_.oldest(); }
  [[nodiscard]] std::optional<BlockId> oldest_evictable() const { return ring_.oldest_evictable(); }
  /// The oldest block that is evictable and not marked.
  [[nodiscard]] std::optional<BlockId> oldest_candidate() const requires Marks {
    return ring_.oldest_candidate();
  }
  [[nodiscard]] std::optional<BlockId> newest_evictable() const { return ring_.newest_evictable(); }
  /// The next newer block than `b`, evictable or not. \pre b present
  [[nodiscard]] std::optional<BlockId> newer(BlockId b) const {
    return ring_.newer(place_[b.value]);
  }
  /// The oldest evictable block that is `b` or newer. \pre b present
  [[nodiscard]] std::optional<BlockId> evictable_from(BlockId b) const {
    return ring_.evictable_from(place_[b.value]);
  }
  /// The oldest unmarked evictable block that is `b` or newer. \pre b present
  [[nodiscard]] std::optional<BlockId> candidate_from(BlockId b) const requires Marks {
    return ring_.candidate_from(place_[b.value]);
  }
  /// As SlotRing's, from block `first` up to, not including, `last`.
  void unmark_evictable(std::optional<BlockId> first, std::optional<BlockId> last) requires Marks {
    const auto slot = [this](std::optional<BlockId> b) {
      return b ? std::optional(place_[b->value]) : std::nullopt;
    };
    ring_.unmark_evictable(slot(first), slot(last));
  }

 private:
  static constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();
  [[nodiscard]] auto moved() {
    return [this](BlockId b, std::uint32_t slot) { place_[b.value] = slot; };
  }

  SlotRing<Marks> ring_;
  huge_vector<std::uint32_t> place_;  // \shape (capacity): slot of each block
};

}  // namespace quire::eviction
