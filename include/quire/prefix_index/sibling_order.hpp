// mechanism: the blocks that continue each text, in the order of their tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>

namespace quire::prefix_index {

/// For each block, those that continue it, and for no block those that begin a text, ordered by salt
/// and tokens: a treap each, whose priorities are hashes of block ids. A neighbour in that order
/// shares the longest beginning with a text that is not there.
/// \complexity insert, erase, longest O(log siblings) expected comparisons of a block's tokens.
///             No allocation after construction.
class SiblingOrder {
 public:
  SiblingOrder(BlockCount capacity, Tokens block_tokens)
      : block_tokens_(static_cast<std::size_t>(block_tokens.value)),
        nodes_(static_cast<std::size_t>(capacity.value)),
        tokens_(nodes_.size() * block_tokens_) {}

  struct Longest {
    BlockId block;
    std::size_t tokens;  // at its beginning that the text begins with as well, >= 1
  };

  [[nodiscard]] std::span<const TokenId> tokens(BlockId b) const {
    return {&tokens_[b.value * block_tokens_], nodes_[b.value].count};
  }

  /// \pre absent; no sibling has just these tokens; 1 to block_tokens of them
  void insert(std::optional<BlockId> parent, std::span<const TokenId> tokens, std::uint64_t salt,
              BlockId b) {
    Node& node = nodes_[b.value];
    node.parent = parent ? parent->value : none;
    node.salt = parent ? 0 : salt;
    node.count = static_cast<std::uint32_t>(tokens.size());
    node.lower = node.upper = none;
    std::copy(tokens.begin(), tokens.end(), &tokens_[b.value * block_tokens_]);
    std::uint32_t* at = &root(node.parent);
    while (*at != none && priority(*at) >= priority(b.value)) {
      at = before(*at, node.salt, tokens) ? &nodes_[*at].upper : &nodes_[*at].lower;
    }
    // What is under the place goes under the new block, on the side of it where it belongs.
    std::uint32_t rest = *at;
    *at = b.value;
    std::uint32_t* below = &node.lower;
    std::uint32_t* above = &node.upper;
    while (rest != none) {
      if (before(rest, node.salt, tokens)) {
        *below = rest;
        below = &nodes_[rest].upper;
        rest = *below;
      } else {
        *above = rest;
        above = &nodes_[rest].lower;
        rest = *above;
      }
    }
    *below = *above = none;
  }

  /// \pre present, and no block continues it
  void erase(BlockId b) {
    const Node& node = nodes_[b.value];
    std::uint32_t* at = &root(node.parent);
    while (*at != b.value) {
      at = before(*at, node.salt, tokens(b)) ? &nodes_[*at].upper : &nodes_[*at].lower;
    }
    std::uint32_t lower = node.lower, upper = node.upper;
    while (lower != none && upper != none) {
      if (priority(lower) > priority(upper)) {
        *at = lower;
        at = &nodes_[lower].upper;
        lower = *at;
      } else {
        *at = upper;
        at = &nodes_[upper].lower;
        upper = *at;
      }
    }
    *at = lower != none ? lower : upper;
    nodes_[b.value] = {};
  }

  /// The block that continues `parent` and shares the longest beginning with `text`, at least one
  /// token; of equals the one whose tokens come first, or the next above the text.
  [[nodiscard]] std::optional<Longest> longest(std::optional<BlockId> parent,
                                               std::span<const TokenId> text,
                                               std::uint64_t salt) const {
    salt = parent ? 0 : salt;
    std::uint32_t lower = none, upper = none;  // the nearest on either side of the text
    for (std::uint32_t at = parent ? nodes_[parent->value].first : first_; at != none;) {
      if (before(at, salt, text)) {
        lower = at;
        at = nodes_[at].upper;
      } else {
        upper = at;
        at = nodes_[at].lower;
      }
    }
    const std::size_t below = common(lower, salt, text), above = common(upper, salt, text);
    if (below == 0 && above == 0) return std::nullopt;
    return above > below ? Longest{BlockId{upper}, above} : Longest{BlockId{lower}, below};
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  struct Node {
    std::uint64_t salt = 0;  // of blocks that begin a text
    std::uint32_t parent = none;
    std::uint32_t first = none;  // the root of the treap of those that continue this block
    std::uint32_t lower = none;  // lower and upper subtree
    std::uint32_t upper = none;
    std::uint32_t count = 0;  // tokens
  };

  static std::uint64_t priority(std::uint32_t b) { return mix64(b); }
  std::uint32_t& root(std::uint32_t parent) {
    return parent == none ? first_ : nodes_[parent].first;
  }
  /// Whether block `b` comes before a text in the order of salt and tokens.
  [[nodiscard]] bool before(std::uint32_t b, std::uint64_t salt,
                            std::span<const TokenId> text) const {
    if (nodes_[b].salt != salt) return nodes_[b].salt < salt;
    const auto own = tokens(BlockId{b});
    return std::lexicographical_compare(own.begin(), own.end(), text.begin(), text.end());
  }
  [[nodiscard]] std::size_t common(std::uint32_t b, std::uint64_t salt,
                                   std::span<const TokenId> text) const {
    if (b == none || nodes_[b].salt != salt) return 0;
    const auto own = tokens(BlockId{b});
    const auto [end, _] = std::mismatch(own.begin(), own.end(), text.begin(), text.end());
    return static_cast<std::size_t>(end - own.begin());
  }

  std::size_t block_tokens_;
  std::vector<Node> nodes_;
  std::vector<TokenId> tokens_;  // \shape (capacity, block_tokens)
  std::uint32_t first_ = none;   // the root of the treap of those that begin a text
};

}  // namespace quire::prefix_index
