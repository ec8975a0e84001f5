#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/prefix_index/concepts.hpp>

namespace quire::prefix_index {

/// XXH3 of a block's tokens, seeded with the key of the text before it.
struct Xxh3ChainHash {
  std::uint64_t operator()(std::span<const TokenId> tokens, std::uint64_t before) const {
    return hash_span(tokens, before);
  }
};

/// Whole blocks keyed by the hash of their tokens and of everything before them.
///
/// The key of a block chains the key of its parent, and that of a first block its salt. A key only
/// finds a candidate: parent, salt and tokens are compared, so that a collision costs a probe and
/// never a wrong block. Tenants with different salts therefore share nothing under any hash.
///
/// \complexity match O(matched + 1) expected hashes and probes; insert, erase, content O(1)
///             expected. Nothing allocates after construction but the caller's `out`.
/// \errors none: a text that is there already, or whose parent is not, is refused with false.
/// \source vLLM's automatic prefix caching. Deviation: vLLM trusts a 256-bit hash, and keeps
/// several blocks of equal text; here tokens are compared, and the second block is refused.
template <class Hash = Xxh3ChainHash>
class BasicHashChain {
 public:
  static constexpr std::string_view name = "hash_chain";
  static constexpr bool enabled = true;

  BasicHashChain(BlockCount capacity, Tokens block_tokens)
      : block_tokens_(static_cast<std::size_t>(block_tokens.value)),
        nodes_(static_cast<std::size_t>(capacity.value)),
        tokens_(nodes_.size() * block_tokens_),
        table_(std::bit_ceil(2 * nodes_.size() + 2)) {}

  [[nodiscard]] std::size_t size() const { return size_; }

  void match(std::span<const TokenId> tokens, std::uint64_t salt, std::vector<BlockId>& out) const {
    // Keys follow from the tokens alone, so a few are made ahead, and what they lead to is fetched
    // while the next are made: a deep match is bound by the hash, not by one cache miss after another.
    std::array<std::uint64_t, 16> keys;
    std::size_t ahead = 4;  // most misses are early
    std::uint64_t key = root_key(salt);
    std::uint32_t parent = none;
    while (tokens.size() >= block_tokens_) {
      const std::size_t count = std::min(ahead, tokens.size() / block_tokens_);
      for (std::size_t i = 0; i < count; ++i) {
        keys[i] = key = Hash{}(tokens.subspan(i * block_tokens_, block_tokens_), key);
        quire::prefetch(&table_[home(key)]);
      }
      for (std::size_t i = 0; i < count; ++i) {
        const Entry& likely = table_[home(keys[i])];
        if (likely.block == none || likely.tag != tag(keys[i])) continue;
        quire::prefetch(&nodes_[likely.block]);
        quire::prefetch(&tokens_[likely.block * block_tokens_]);
      }
      for (std::size_t i = 0; i < count; ++i) {
        const auto own = tokens.subspan(i * block_tokens_, block_tokens_);
        parent = table_[find(keys[i], parent, own, salt)].block;
        if (parent == none) return;
        out.push_back(BlockId{parent});
      }
      tokens = tokens.subspan(count * block_tokens_);
      ahead = keys.size();
    }
  }

  bool insert(std::optional<BlockId> parent, std::span<const TokenId> tokens, std::uint64_t salt,
              BlockId block) {
    if (parent && !contains(*parent)) return false;
    const std::uint32_t before = parent ? parent->value : none;
    const std::uint64_t key = Hash{}(tokens, parent ? nodes_[before].key : root_key(salt));
    const std::size_t at = find(key, before, tokens, salt);
    if (table_[at].block != none) return false;
    table_[at] = {tag(key), block.value};
    nodes_[block.value] = {key, salt, before, 0, true};
    std::copy(tokens.begin(), tokens.end(), tokens_.begin() + offset(block.value));
    if (parent) ++nodes_[before].children;
    ++size_;
    return true;
  }

  [[nodiscard]] bool contains(BlockId block) const { return nodes_[block.value].indexed; }
  /// How many indexed blocks continue this one. \pre indexed
  [[nodiscard]] std::uint32_t children(BlockId block) const { return nodes_[block.value].children; }
  [[nodiscard]] std::uint64_t content(BlockId block) const { return nodes_[block.value].key; }

  void erase(BlockId block) {
    Node& node = nodes_[block.value];
    std::size_t hole = home(node.key);
    while (table_[hole].block != block.value) hole = next(hole);
    // Close the gap: an entry may move back to the hole when its home is not after it.
    for (std::size_t at = next(hole); table_[at].block != none; at = next(at)) {
      const std::size_t from_home = (at - home(nodes_[table_[at].block].key)) & mask();
      if (from_home >= ((at - hole) & mask())) {
        table_[hole] = table_[at];
        hole = at;
      }
    }
    table_[hole] = {};
    if (node.parent != none) --nodes_[node.parent].children;
    node = {};
    --size_;
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  struct Node {
    std::uint64_t key = 0;
    std::uint64_t salt = 0;
    std::uint32_t parent = none;
    std::uint32_t children = 0;
    bool indexed = false;
  };
  struct Entry {
    std::uint32_t tag = 0;  // high half of the key: most probes of other keys stop here
    std::uint32_t block = none;
  };

  static std::uint64_t root_key(std::uint64_t salt) { return mix64(salt); }
  static std::uint32_t tag(std::uint64_t key) { return static_cast<std::uint32_t>(key >> 32); }
  [[nodiscard]] std::size_t mask() const { return table_.size() - 1; }
  [[nodiscard]] std::size_t home(std::uint64_t key) const { return key & mask(); }
  [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & mask(); }
  [[nodiscard]] std::ptrdiff_t offset(std::uint32_t block) const {
    return static_cast<std::ptrdiff_t>(block * block_tokens_);
  }

  /// Where the block with this text is, or the empty entry where it would go.
  [[nodiscard]] std::size_t find(std::uint64_t key, std::uint32_t parent,
                                 std::span<const TokenId> tokens, std::uint64_t salt) const {
    std::size_t at = home(key);
    for (; table_[at].block != none; at = next(at)) {
      if (table_[at].tag != tag(key)) continue;
      const Node& node = nodes_[table_[at].block];
      if (node.key == key && node.parent == parent && node.salt == salt &&
          std::equal(tokens.begin(), tokens.end(), tokens_.begin() + offset(table_[at].block))) {
        break;
      }
    }
    return at;
  }

  std::size_t block_tokens_;
  std::vector<Node> nodes_;      // \shape (capacity)
  std::vector<TokenId> tokens_;  // \shape (capacity, block_tokens)
  std::vector<Entry> table_;     // open addressing, at most half full
  std::size_t size_ = 0;
};

/// The hash chain with its production hash.
using HashChain = BasicHashChain<>;
static_assert(PrefixIndexPolicy<HashChain>);

}  // namespace quire::prefix_index
