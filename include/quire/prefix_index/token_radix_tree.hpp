#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/prefix_index/concepts.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/sibling_order.hpp>

namespace quire::prefix_index {

/// A tree of texts that is cut at any token: beside whole blocks it finds the block whose beginning
/// continues a text furthest, and it keeps blocks that a text filled in part.
///
/// Whole blocks are found as in a hash chain. The blocks that continue one another's text are also
/// kept in the order of their tokens, where the longest common beginning is a neighbour's. Who uses
/// a part of a block copies it: the text goes on differently behind.
/// \complexity match as HashChain; match_part, insert, erase O(log siblings) comparisons more.
/// \errors none: a text that is there already, or whose parent is not, is refused with false.
/// \source Zheng et al., "SGLang: Efficient Execution of Structured Language Model Programs",
/// NeurIPS '24 (RadixAttention, cut at any token). Deviation: memory stays in blocks, so the tokens
/// of a part are copied and not shared in place.
template <class Hash = Xxh3ChainHash>
class BasicTokenRadixTree {
 public:
  static constexpr std::string_view name = "token_radix_tree";
  static constexpr bool enabled = true;

  BasicTokenRadixTree(BlockCount capacity, Tokens block_tokens)
      : block_tokens_(static_cast<std::size_t>(block_tokens.value)),
        whole_(capacity, block_tokens),
        siblings_(capacity, block_tokens),
        part_keys_(static_cast<std::size_t>(capacity.value), 0) {}

  void match(std::span<const TokenId> tokens, std::uint64_t salt, std::vector<BlockId>& out) const {
    whole_.match(tokens, salt, out);
  }
  [[nodiscard]] std::optional<PartOfBlock> match_part(std::optional<BlockId> parent,
                                                      std::span<const TokenId> tokens,
                                                      std::uint64_t salt) const {
    const auto found =
        siblings_.longest(parent, tokens.first(std::min(tokens.size(), block_tokens_)), salt);
    if (!found) return std::nullopt;
    return PartOfBlock{found->block, static_cast<std::int64_t>(found->tokens)};
  }

  bool insert(std::optional<BlockId> parent, std::span<const TokenId> tokens, std::uint64_t salt,
              BlockId block) {
    if (parent && !whole_.contains(*parent)) return false;
    if (tokens.size() == block_tokens_) {
      if (!whole_.insert(parent, tokens, salt, block)) return false;
    } else {
      const auto known = siblings_.longest(parent, tokens, salt);
      if (known && known->tokens == tokens.size()) return false;
      const std::uint64_t before = parent ? whole_.content(*parent) : mix64(salt);
      // never 0, and never that of the whole block with these tokens and more
      part_keys_[block.value] = hash_combine(Hash{}(tokens, before), tokens.size()) | 1;
    }
    siblings_.insert(parent, tokens, salt, block);
    return true;
  }
  [[nodiscard]] std::uint64_t content(BlockId block) const {
    return whole_.contains(block) ? whole_.content(block) : part_keys_[block.value];
  }
  void erase(BlockId block) {
    siblings_.erase(block);
    if (whole_.contains(block)) whole_.erase(block);
    part_keys_[block.value] = 0;
  }

 private:
  std::size_t block_tokens_;
  BasicHashChain<Hash> whole_;
  SiblingOrder siblings_;
  std::vector<std::uint64_t> part_keys_;  // names of blocks that are filled in part
};

/// The tree with its production hash.
using TokenRadixTree = BasicTokenRadixTree<>;
static_assert(PrefixIndexPolicy<TokenRadixTree>);
static_assert(MatchesParts<TokenRadixTree>);

}  // namespace quire::prefix_index
