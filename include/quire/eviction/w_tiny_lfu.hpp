#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <quire/core/huge_vector.hpp>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/frequency_sketch.hpp>
#include <quire/eviction/recency_queues.hpp>
#include <quire/eviction/segmented_queue.hpp>

namespace quire::eviction {

/// W-TinyLFU: a small LRU window that everything enters, and a main space that is entered by winning
/// against its victim in a sketch of recent frequencies.
///
/// The window holds a hundredth of the capacity, the main space is a segmented queue with four fifths
/// protected. While the cache has room, what the window pushes out enters the main space's probation.
/// When room is needed and the window is full, its oldest block meets the main space's victim: it
/// goes unless it was asked for more often, and then the main victim goes and it takes the place.
/// When the window is not full the main space gives up its victim. What has nothing evictable is
/// passed over. The outcome takes effect when the victim is removed.
/// \complexity on_* O(1) amortised; victim O(log64 capacity).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", TOS 2017
/// (arXiv 1512.00727). Deviation: room is made before the new block is known, so the duel is between
/// blocks that are cached already.
class WTinyLfu {
 public:
  static constexpr std::string_view name = "w_tiny_lfu";
  explicit WTinyLfu(BlockCount capacity)
      : window_most_(static_cast<std::size_t>(std::max<std::int64_t>(1, capacity.value / 100))),
        window_(capacity),
        main_(capacity, (static_cast<std::size_t>(capacity.value) - window_most_) * 4 / 5),
        sketch_(capacity),
        content_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext& context) {
    content_[b.value] = context.content;
    sketch_.add(context.content);
    if (window_.size() >= window_most_) enter_main(*window_.oldest());
    window_.append(b);
  }
  void prefetch(std::uint64_t content) const { sketch_.prefetch(content); }
  void on_access(BlockId b, const BlockContext&) {
    sketch_.add(content_[b.value]);
    window_.contains(b) ? window_.move_to_back(b) : main_.hit(b);
  }
  void set_evictable(BlockId b, bool evictable) {
    window_.contains(b) ? window_.set_evictable(b, evictable) : main_.set_evictable(b, evictable);
  }
  void on_remove(BlockId b) {
    const Duel duel = meet();
    if (duel.victim == b && duel.entering) enter_main(*duel.entering);
    window_.contains(b) ? window_.erase(b) : main_.erase(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const { return meet().victim; }

 private:
  struct Duel {
    std::optional<BlockId> victim;
    std::optional<BlockId> entering;  // the winner from the window
  };
  [[nodiscard]] Duel meet() const {
    const std::optional<BlockId> candidate = window_.oldest_evictable();
    const std::optional<BlockId> resident = main_.victim();
    if (!candidate || !resident) return {candidate ? candidate : resident, std::nullopt};
    if (window_.size() < window_most_) return {resident, std::nullopt};
    const bool wins =
        sketch_.estimate(content_[candidate->value]) > sketch_.estimate(content_[resident->value]);
    if (!wins) return {candidate, std::nullopt};
    return {resident, candidate};
  }
  void enter_main(BlockId b) {
    const bool evictable = window_.evictable(b);
    window_.erase(b);
    main_.append(b, evictable);
  }

  std::size_t window_most_;
  RecencyQueue window_;
  SegmentedQueue main_;
  FrequencySketch sketch_;
  huge_vector<std::uint64_t> content_;
};
static_assert(EvictionPolicy<WTinyLfu>);

}  // namespace quire::eviction
