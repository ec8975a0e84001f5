// mechanism: a bounded queue of the names of evicted blocks, for policies that remember them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <quire/core/huge_vector.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>

namespace quire::eviction {

/// Names of content (BlockContext::content) in the order they were added, at most `capacity`, each
/// with a value that the policy remembers. 0, the name of unknown content, is never a member.
/// \complexity all O(1) expected. No allocation after construction; bytes() is all of its memory.
template <class Value>
class GhostMap {
 public:
  explicit GhostMap(BlockCount capacity)
      : nodes_(static_cast<std::size_t>(capacity.value)),
        table_(std::bit_ceil(2 * nodes_.size() + 2)) {
    for (std::size_t i = nodes_.size(); i-- > 0;) release(static_cast<std::uint32_t>(i));
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return nodes_.size(); }
  [[nodiscard]] bool contains(std::uint64_t content) const {
    return content != 0 && size_ != 0 && table_[find(content)].node != none;
  }
  /// The name that has been here longest.
  [[nodiscard]] std::optional<std::uint64_t> oldest() const {
    return oldest_ == none ? std::nullopt : std::optional(nodes_[oldest_].content);
  }

  /// The value kept with a name, or nullptr. Valid until the next change.
  [[nodiscard]] const Value* value(std::uint64_t content) const {
    if (content == 0 || size_ == 0) return nullptr;
    const std::uint32_t node = table_[find(content)].node;
    return node == none ? nullptr : &nodes_[node].value;
  }

  /// Fetches what the next question about a name, or its addition, will look at.
  void prefetch(std::uint64_t content) const { quire::prefetch(&table_[tag(content) & mask()]); }

  /// Adds a name as the newest; when it is there it moves; when full the oldest is forgotten.
  void push(std::uint64_t content, const Value& value = {}) {
    if (content == 0 || nodes_.empty()) return;
    std::size_t at = find(content);
    if (table_[at].node != none || size_ == nodes_.size()) {
      erase(table_[at].node != none ? content : nodes_[oldest_].content);
      at = find(content);  // entries may have moved
    }
    const std::uint32_t node = free_;
    free_ = nodes_[node].newer;
    nodes_[node] = {content, newest_, none, value};
    (newest_ == none ? oldest_ : nodes_[newest_].newer) = node;
    newest_ = node;
    table_[at] = {tag(content), node};
    ++size_;
  }
  /// Forgets a name; says whether it was there.
  bool erase(std::uint64_t content) {
    if (content == 0 || size_ == 0) return false;
    std::size_t hole = find(content);
    const std::uint32_t node = table_[hole].node;
    if (node == none) return false;
    for (std::size_t at = next(hole); table_[at].node != none; at = next(at)) {
      const std::size_t from_home = (at - (table_[at].tag & mask())) & mask();
      if (from_home >= ((at - hole) & mask())) {
        table_[hole] = table_[at];
        hole = at;
      }
    }
    table_[hole] = {};
    const Node old = nodes_[node];
    (old.older == none ? oldest_ : nodes_[old.older].newer) = old.newer;
    (old.newer == none ? newest_ : nodes_[old.newer].older) = old.older;
    release(node);
    --size_;
    // Names mostly leave from the old end: what its next one needs is fetched while others work.
    if (old.older == none && oldest_ != none) prefetch(nodes_[oldest_].content);
    return true;
  }
  void pop_oldest() {
    if (oldest_ != none) erase(nodes_[oldest_].content);
  }

  [[nodiscard]] Bytes bytes() const {
    return static_cast<std::int64_t>(nodes_.size() * sizeof(Node) + table_.size() * sizeof(Entry));
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  struct Node {
    std::uint64_t content = 0;
    std::uint32_t older = none;
    std::uint32_t newer = none;  // in a free node: the next free one
    [[no_unique_address]] Value value{};
  };

  struct Entry {
    std::uint32_t tag = 0;  // 32 hash bits: the home, and reason enough not to look at most nodes
    std::uint32_t node = none;
  };

  [[nodiscard]] std::size_t mask() const { return table_.size() - 1; }
  [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & mask(); }
  static std::uint32_t tag(std::uint64_t content) {
    return static_cast<std::uint32_t>(mix64(content));
  }
  /// The entry of a name, or the empty one where it would go.
  [[nodiscard]] std::size_t find(std::uint64_t content) const {
    const std::uint32_t wanted = tag(content);
    std::size_t at = wanted & mask();
    while (table_[at].node != none &&
           (table_[at].tag != wanted || nodes_[table_[at].node].content != content)) {
      at = next(at);
    }
    return at;
  }
  void release(std::uint32_t node) {
    nodes_[node].newer = free_;
    free_ = node;
  }

  huge_vector<Node> nodes_;
  huge_vector<Entry> table_;  // open addressing, at most half full
  std::uint32_t oldest_ = none;
  std::uint32_t newest_ = none;
  std::uint32_t free_ = none;
  std::size_t size_ = 0;
};

struct NothingRemembered {};
/// Names alone.
using GhostList = GhostMap<NothingRemembered>;

}  // namespace quire::eviction
