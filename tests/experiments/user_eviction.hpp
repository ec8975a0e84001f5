#pragma once

// What a user's own eviction policy looks like: one struct in a namespace of their own.
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/eviction/concepts.hpp>

namespace lab {

/// Gives up the block with the most text before it: the one that a shared prefix needs least.
class DeepestFirst {
 public:
  static constexpr std::string_view name = "deepest_first";
  explicit DeepestFirst(quire::BlockCount capacity)
      : depth_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(quire::BlockId b, const quire::BlockContext& c) { depth_[b.value] = c.position; }
  void on_access(quire::BlockId, const quire::BlockContext&) {}
  void set_evictable(quire::BlockId b, bool yes) {
    if (yes) {
      order_.emplace(depth_[b.value], b);
    } else {
      order_.erase({depth_[b.value], b});
    }
  }
  void on_remove(quire::BlockId b) { order_.erase({depth_[b.value], b}); }
  [[nodiscard]] std::optional<quire::BlockId> victim() const {
    if (order_.empty()) return std::nullopt;
    return order_.rbegin()->second;
  }

 private:
  std::vector<quire::Tokens> depth_;
  std::set<std::pair<quire::Tokens, quire::BlockId>> order_;
};

}  // namespace lab
