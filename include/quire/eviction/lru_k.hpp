#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <quire/core/huge_vector.hpp>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ghost_list.hpp>
#include <quire/eviction/score_order.hpp>

namespace quire::eviction {

/// LRU-K: gives up the block whose K-th last use is longest ago; blocks used less than K times go
/// first, of those the one whose last use is longest ago. The uses of evicted blocks are remembered
/// for as many names as there are blocks.
/// \complexity O(log8 capacity) on evictable blocks, O(1) on blocks in use; victim O(1).
/// \errors none: victim() is empty when nothing is evictable.
/// \source O'Neil, O'Neil, Weikum, "The LRU-K Page Replacement Algorithm for Database Disk
/// Buffering", SIGMOD '93. Deviations: the correlated reference period is 0 (a request uses a block
/// once); history is kept for a number of names, not for a time.
template <std::size_t K>
class BasicLruK {
  static_assert(K >= 2, "quire: eviction: LRU-K needs K >= 2; LRU-1 is quire::eviction::Lru");
  static_assert(K <= 9, "quire: eviction: LRU-K remembers K uses a block; K is at most 9");
  static constexpr std::array<char, 5> numbered{'l', 'r', 'u', '_', static_cast<char>('0' + K)};

 public:
  static constexpr std::string_view name =
      K == 2 ? std::string_view("lru_k") : std::string_view(numbered.data(), numbered.size());
  explicit BasicLruK(BlockCount capacity)
      : order_(capacity), history_(capacity), content_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext& context) {
    const Uses* uses = history_.value(context.content);
    order_.set_key(b, used_again(uses == nullptr ? Uses{} : *uses));
    history_.erase(context.content);
    content_[b.value] = context.content;
  }
  void prefetch(std::uint64_t content) const { history_.prefetch(content); }
  void on_access(BlockId b, const BlockContext&) { order_.set_key(b, used_again(order_.key(b))); }
  void set_evictable(BlockId b, bool evictable) { order_.set_evictable(b, evictable); }
  void on_remove(BlockId b) {
    if (victim() == b) history_.push(content_[b.value], order_.key(b));
    order_.remove(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const { return order_.victim(); }

 private:
  /// Times of the last K uses, K-th last first; 0: not so often. Ordered by the K-th last use, and
  /// where there is none by the last.
  struct Uses {
    std::array<std::uint64_t, K> times{};
    friend auto operator<=>(const Uses& a, const Uses& b) {
      if (a.times[0] != b.times[0]) return a.times[0] <=> b.times[0];
      return a.times[K - 1] <=> b.times[K - 1];
    }
    friend bool operator==(const Uses&, const Uses&) = default;
  };
  Uses used_again(Uses uses) {
    for (std::size_t i = 0; i + 1 < K; ++i) uses.times[i] = uses.times[i + 1];
    uses.times[K - 1] = ++now_;
    return uses;
  }

  ScoreOrder<Uses> order_;
  GhostMap<Uses> history_;
  huge_vector<std::uint64_t> content_;
  std::uint64_t now_ = 0;
};

/// LRU-2, the variant that the paper recommends.
using LruK = BasicLruK<2>;
static_assert(EvictionPolicy<LruK>);

}  // namespace quire::eviction
