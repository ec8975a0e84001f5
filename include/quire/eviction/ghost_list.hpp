// mechanism: bounded queues of the names of evicted blocks, for policies that remember them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>

#include <quire/core/huge_vector.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>

namespace quire::eviction {

/// Names of content (BlockContext::content) in one or two lists, in the order they were added to them, at
/// most `capacity` in all, each with a value that the policy remembers. A name is in one list at most; 0,
/// the name of unknown content, is in none. One table finds the names of both lists.
/// \complexity all O(1) expected. No allocation after construction; bytes() is all of its memory.
template <class Value, std::size_t Lists = 1>
class GhostMap {
  static_assert(Lists == 1 || Lists == 2, "quire: eviction: a ghost's list is one bit");

 public:
  /// \pre capacity < 2^31
  explicit GhostMap(BlockCount capacity)
      : nodes_(static_cast<std::size_t>(capacity.value)),
        table_(std::bit_ceil(2 * nodes_.size() + 2)),
        marks_(table_.size()) {
    for (std::size_t i = nodes_.size(); i-- > 0;) release(static_cast<std::uint32_t>(i));
  }

  [[nodiscard]] std::size_t size(std::size_t list = 0) const { return ends_[list].size; }
  [[nodiscard]] std::size_t capacity() const { return nodes_.size(); }
  [[nodiscard]] bool contains(std::uint64_t content) const { return list_of(content).has_value(); }
  [[nodiscard]] std::optional<std::size_t> list_of(std::uint64_t content) const {
    if (content == 0) return std::nullopt;
    const std::size_t at = find(content);
    return marks_[at] == 0 ? std::nullopt : std::optional(table_[at].list());
  }
  /// The name that has been in the list longest.
  [[nodiscard]] std::optional<std::uint64_t> oldest(std::size_t list = 0) const {
    const std::uint32_t node = ends_[list].oldest;
    return node == none ? std::nullopt : std::optional(nodes_[node].content);
  }

  /// The value kept with a name, or nullptr. Valid until the next change.
  [[nodiscard]] const Value* value(std::uint64_t content) const {
    if (content == 0) return nullptr;
    const std::size_t at = find(content);
    return marks_[at] == 0 ? nullptr : &nodes_[table_[at].node()].value;
  }

  /// Fetches what the next question about a name, or its addition, will look at.
  void prefetch(std::uint64_t content) const {
    const std::size_t home = mix64(content) & mask();
    quire::prefetch(&marks_[home]);
    quire::prefetch(&table_[home]);
  }

  /// Adds a name as the newest of a list; when it is there, in either, it moves; when both are full the
  /// oldest of the list is forgotten, or of the other where it has none.
  void push(std::uint64_t content, const Value& value = {}, std::size_t list = 0) {
    if (content == 0 || nodes_.empty()) return;
    std::size_t at = find(content);
    const bool known = marks_[at] != 0;
    if (known || all() == nodes_.size()) {
      known ? erase_at(at) : pop_oldest(ends_[list].size != 0 ? list : Lists - 1 - list);
      at = find(content);  // entries may have moved
    }
    const std::uint32_t node = free_;
    free_ = nodes_[node].newer;
    Ends& ends = ends_[list];
    nodes_[node] = {content, ends.newest, none, value};
    (ends.newest == none ? ends.oldest : nodes_[ends.newest].newer) = node;
    ends.newest = node;
    const std::uint64_t hash = mix64(content);
    marks_[at] = mark(hash);
    table_[at] = {static_cast<std::uint32_t>(hash), node, list};
    ++ends.size;
  }
  /// Forgets a name; says whether it was there.
  bool erase(std::uint64_t content) {
    if (content == 0) return false;
    const std::size_t at = find(content);
    if (marks_[at] == 0) return false;
    erase_at(at);
    return true;
  }
  void pop_oldest(std::size_t list = 0) {
    if (ends_[list].size != 0) erase_at(find(nodes_[ends_[list].oldest].content));
  }

  [[nodiscard]] Bytes bytes() const {
    return static_cast<std::int64_t>(nodes_.size() * sizeof(Node) +
                                     table_.size() * (sizeof(Entry) + 1));
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  struct Node {
    std::uint64_t content = 0;
    std::uint32_t older = none;
    std::uint32_t newer = none;  // in a free node: the next free one
    [[no_unique_address]] Value value{};
  };

  class Entry {
   public:
    Entry() = default;
    Entry(std::uint32_t tag, std::uint32_t node, std::size_t list)
        : tag_(tag), node_(node | static_cast<std::uint32_t>(list) << 31) {}
    /// 32 hash bits: the home, and reason enough not to look at most nodes
    [[nodiscard]] std::uint32_t tag() const { return tag_; }
    [[nodiscard]] std::uint32_t node() const { return node_ & none >> 1; }
    [[nodiscard]] std::size_t list() const { return node_ >> 31; }

   private:
    std::uint32_t tag_ = 0;
    std::uint32_t node_ = 0;  // the upper bit: of the second list
  };
  struct Ends {
    std::uint32_t oldest = none, newest = none;
    std::size_t size = 0;
  };

  [[nodiscard]] std::size_t all() const {
    std::size_t sum = 0;
    for (const Ends& ends : ends_) sum += ends.size;
    return sum;
  }
  [[nodiscard]] std::size_t mask() const { return table_.size() - 1; }
  [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & mask(); }
  /// Eight hash bits that have nothing to do with the home; never 0.
  static std::uint8_t mark(std::uint64_t hash) {
    return static_cast<std::uint8_t>(std::max<std::uint64_t>(hash >> 56, 1));
  }
  /// The entry of a name, or the empty one where it would go. A name that is not there, which is most of
  /// those that are asked for, seldom costs more than a line of marks.
  [[nodiscard]] std::size_t find(std::uint64_t content) const {
    const std::uint64_t hash = mix64(content);
    const std::uint8_t wanted = mark(hash);
    const auto is_it = [&](std::size_t at) {
      return table_[at].tag() == static_cast<std::uint32_t>(hash) &&
             nodes_[table_[at].node()].content == content;
    };
    std::size_t at = hash & mask();
    for (;;) {
      if constexpr (std::endian::native == std::endian::little) {
        // Eight marks at once, so that how far a name is from its home decides no branch.
        for (; at + 8 <= marks_.size(); at = (at + 8) & mask()) {
          std::uint64_t marks = 0;
          std::memcpy(&marks, &marks_[at], 8);
          const std::uint64_t empty = zero_bytes(marks);
          const std::uint64_t before_empty = (empty & (~empty + 1)) - 1;  // all where none is
          for (std::uint64_t like = zero_bytes(marks ^ wanted * bytes_of_1) & before_empty;
               like != 0; like &= like - 1) {
            const std::size_t one = at + static_cast<std::size_t>(std::countr_zero(like)) / 8;
            if (marks_[one] == wanted && is_it(one)) return one;
          }
          if (empty != 0) return at + static_cast<std::size_t>(std::countr_zero(empty)) / 8;
        }
      }
      if (marks_[at] == 0 || (marks_[at] == wanted && is_it(at))) return at;
      at = next(at);
    }
  }
  static constexpr std::uint64_t bytes_of_1 = 0x0101010101010101;
  /// The upper bit of each byte that is 0, and maybe of some above the lowest of those.
  static std::uint64_t zero_bytes(std::uint64_t bytes) {
    return (bytes - bytes_of_1) & ~bytes & bytes_of_1 << 7;
  }
  /// Forgets the name of an entry. \pre it is not empty
  void erase_at(std::size_t hole) {
    const std::uint32_t node = table_[hole].node();
    Ends& ends = ends_[table_[hole].list()];
    for (std::size_t at = next(hole); marks_[at] != 0; at = next(at)) {
      const std::size_t from_home = (at - (table_[at].tag() & mask())) & mask();
      if (from_home >= ((at - hole) & mask())) {
        table_[hole] = table_[at];
        marks_[hole] = marks_[at];
        hole = at;
      }
    }
    marks_[hole] = 0;
    const Node old = nodes_[node];
    (old.older == none ? ends.oldest : nodes_[old.older].newer) = old.newer;
    (old.newer == none ? ends.newest : nodes_[old.newer].older) = old.older;
    release(node);
    --ends.size;
    // Names mostly leave from the old end: what its next ones need is fetched while others work.
    if (old.older != none || ends.oldest == none) return;
    const Node& oldest = nodes_[ends.oldest];
    prefetch(oldest.content);
    if (oldest.newer != none) quire::prefetch(&nodes_[oldest.newer]);
  }
  void release(std::uint32_t node) {
    nodes_[node].newer = free_;
    free_ = node;
  }

  huge_vector<Node> nodes_;
  huge_vector<Entry> table_;         // open addressing, at most half full
  huge_vector<std::uint8_t> marks_;  // \shape (table): a few hash bits of each entry, 0: empty
  std::array<Ends, Lists> ends_;
  std::uint32_t free_ = none;
};

struct NothingRemembered {};
/// Names alone.
using GhostList = GhostMap<NothingRemembered>;
using TwoGhostLists = GhostMap<NothingRemembered, 2>;

}  // namespace quire::eviction
