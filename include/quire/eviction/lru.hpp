#pragma once

#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/recency_queues.hpp>

namespace quire::eviction {

/// Least recently used: gives up the block whose last use is longest ago.
/// A block's place is its last insertion or access, not the moment it became evictable.
/// \complexity on_* O(1) amortised, no neighbour touched; victim O(log64 capacity).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Denning, "The Working Set Model for Program Behavior", CACM 1968. Deviation: engines
/// such as vLLM order by the time a block was freed; here an access counts when it happens.
class Lru {
 public:
  static constexpr std::string_view name = "lru";
  explicit Lru(BlockCount capacity) : queue_(capacity) {}

  void on_insert(BlockId b, const BlockContext&) { queue_.append(b); }
  void on_access(BlockId b, const BlockContext&) { queue_.move_to_back(b); }
  void set_evictable(BlockId b, bool evictable) { queue_.set_evictable(b, evictable); }
  void on_remove(BlockId b) { queue_.erase(b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return queue_.oldest_evictable(); }

 private:
  RecencyQueue queue_;
};
static_assert(EvictionPolicy<Lru>);

}  // namespace quire::eviction
