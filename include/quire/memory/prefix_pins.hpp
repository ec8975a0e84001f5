#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// Names a pin of one memory.
enum class PinId : std::uint64_t {};

/// Prefixes that are kept from eviction: for good, or until a time.
///
/// Pinned blocks take at most a fifth of the pool, so that pins alone never stop requests of a usual
/// size; what a request needs beyond that, it gets from the pins that have a time (PagedMemory::admit).
/// \complexity add O(blocks); remove, expire O(pins + blocks given up); expire O(1) before the first
///             pin runs out. Memory grows with the pins, and only then.
/// \source The share: vLLM's pull request 27046, pinned prefixes. Times: TensorRT-LLM's retention with
/// a duration; Continuum (arXiv 2511.02230), which keeps the text of a turn while its tool runs.
class PrefixPins {
 public:
  explicit PrefixPins(BlockCount capacity) : most_(capacity.value / 5) {}

  [[nodiscard]] std::size_t size() const { return pins_.size(); }

  /// Pins the blocks of a prefix, first to last. Empty when there are none or too many.
  template <class Pool>
  std::optional<PinId> add(Pool& pool, const std::vector<BlockId>& blocks,
                           std::optional<Seconds> until) {
    if (blocks.empty()) return std::nullopt;
    const auto more =
        std::count_if(blocks.begin(), blocks.end(), [&](BlockId b) { return pool.pins(b) == 0; });
    if (pool.pinned().value + more > most_) return std::nullopt;
    for (const BlockId b : blocks) pool.pin(b);
    const PinId id{next_++};
    pins_.push_back({id, until, blocks});
    if (until) first_end_ = first_end_ ? std::min(*first_end_, *until) : *until;
    return id;
  }

  template <class Pool>
  bool remove(Pool& pool, PinId id) {
    return remove_if(pool, [id](const Pin& pin) { return pin.id == id; });
  }
  /// Gives up the pins that end at `now` or before.
  template <class Pool>
  void expire(Pool& pool, Seconds now) {
    if (!first_end_ || now < *first_end_) return;
    remove_if(pool, [now](const Pin& pin) { return pin.until && *pin.until <= now; });
    first_end_.reset();
    for (const Pin& pin : pins_) {
      if (pin.until) first_end_ = first_end_ ? std::min(*first_end_, *pin.until) : *pin.until;
    }
  }
  /// Gives up every pin that would end some day.
  template <class Pool>
  void unpin_limited(Pool& pool) {
    remove_if(pool, [](const Pin& pin) { return pin.until.has_value(); });
    first_end_.reset();
  }

 private:
  struct Pin {
    PinId id;
    std::optional<Seconds> until;  // empty: for good
    std::vector<BlockId> blocks;
  };

  template <class Pool, class Wanted>
  bool remove_if(Pool& pool, Wanted wanted) {
    const auto gone = std::stable_partition(pins_.begin(), pins_.end(),
                                            [&](const Pin& pin) { return !wanted(pin); });
    for (auto pin = gone; pin != pins_.end(); ++pin) {
      for (std::size_t i = pin->blocks.size(); i-- > 0;) pool.unpin(pin->blocks[i]);
    }
    const bool any = gone != pins_.end();
    pins_.erase(gone, pins_.end());
    return any;
  }

  std::int64_t most_;  // blocks
  std::uint64_t next_ = 1;
  std::vector<Pin> pins_;  // in the order in which they were made
  std::optional<Seconds> first_end_;
};

}  // namespace quire
