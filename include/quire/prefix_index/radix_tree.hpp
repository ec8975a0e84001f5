#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/prefix_index/concepts.hpp>
#include <quire/prefix_index/hash_chain.hpp>

namespace quire::prefix_index {

/// A tree of texts whose edges are runs of blocks, up to twelve in a cache line.
///
/// A match walks down the runs and compares tokens; it hashes only where a text branches and the
/// branch taken is not the one taken first, and at the root. A run is cut where a text leaves it in
/// the middle; runs are not joined again when a branch goes.
///
/// \complexity match O(matched + 1) comparisons, hashes only at branches; insert, erase, content
///             O(1) expected. Nothing allocates after construction but the caller's `out`.
/// \errors none: a text that is there already, or whose parent is not, is refused with false.
/// \source Zheng et al., "SGLang: Efficient Execution of Structured Language Model Programs",
/// NeurIPS '24 (RadixAttention). Deviation: edges are cut at block boundaries, not at any token.
template <class Hash = Xxh3ChainHash>
class BasicRadixTree {
 public:
  static constexpr std::string_view name = "radix_tree";
  static constexpr bool enabled = true;

  BasicRadixTree(BlockCount capacity, Tokens block_tokens)
      : block_tokens_(static_cast<std::size_t>(block_tokens.value)),
        blocks_(static_cast<std::size_t>(capacity.value)),
        tokens_(blocks_.size() * block_tokens_),
        runs_(blocks_.size()),
        table_(std::bit_ceil(2 * runs_.size() + 2), none) {
    for (std::size_t i = runs_.size(); i-- > 0;) release(static_cast<std::uint32_t>(i));
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  /// How many runs the indexed blocks are kept in.
  [[nodiscard]] std::size_t runs() const { return run_count_; }
  [[nodiscard]] bool contains(BlockId block) const { return blocks_[block.value].run != none; }
  [[nodiscard]] std::uint64_t content(BlockId block) const { return blocks_[block.value].key; }

  void match(std::span<const TokenId> tokens, std::uint64_t salt, std::vector<BlockId>& out) const {
    if (tokens.size() < block_tokens_) return;
    std::uint32_t at = table_[find(Hash{}(tokens.first(block_tokens_), root_key(salt)), none,
                                   tokens.first(block_tokens_), salt)];
    while (at != none) {
      const Run& run = runs_[at];
      if (run.next != none) quire::prefetch(&runs_[run.next]);
      for (std::size_t i = 0; i < run.count; ++i) {
        quire::prefetch(&tokens_[run.blocks[i] * block_tokens_]);
      }
      for (std::size_t i = 0; i < run.count; ++i) {
        if (!holds(run.blocks[i], tokens)) return;
        out.push_back(BlockId{run.blocks[i]});
        tokens = tokens.subspan(block_tokens_);
      }
      if (run.children == 0 || tokens.size() < block_tokens_) return;
      at = run.next;
      if (at != none && holds(runs_[at].blocks[0], tokens)) continue;
      const std::uint32_t last = run.blocks[run.count - 1];
      const auto own = tokens.first(block_tokens_);
      at = table_[find(Hash{}(own, blocks_[last].key), last, own, salt)];
    }
  }

  bool insert(std::optional<BlockId> parent, std::span<const TokenId> tokens, std::uint64_t salt,
              BlockId block) {
    if (parent && !contains(*parent)) return false;
    const std::uint32_t before = parent ? parent->value : none;
    const std::uint64_t key = Hash{}(tokens, parent ? blocks_[before].key : root_key(salt));
    if (parent && !is_last(before)) {
      const Run& run = runs_[blocks_[before].run];
      if (holds(run.blocks[blocks_[before].index + 1u], tokens)) return false;
      cut_after(before);
    }
    if (table_[find(key, before, tokens, salt)] != none) return false;

    std::copy(tokens.begin(), tokens.end(), tokens_.begin() + offset(block.value));
    ++size_;
    if (parent) {
      Run& run = runs_[blocks_[before].run];
      if (run.children == 0 && run.count < run.blocks.size()) {  // the run goes on
        blocks_[block.value] = {key, salt, blocks_[before].run, run.count};
        run.blocks[run.count++] = block.value;
        return true;
      }
    }
    const std::uint32_t fresh = take_run();
    blocks_[block.value] = {key, salt, fresh, 0};
    runs_[fresh].blocks[0] = block.value;
    runs_[fresh].count = 1;
    attach(fresh, before);
    return true;
  }

  void erase(BlockId block) {
    Block& gone = blocks_[block.value];
    const std::uint32_t at = gone.run;
    Run& run = runs_[at];
    assert(gone.index + 1u == run.count && run.children == 0);
    if (run.count == 1) {
      detach(at);
      release(at);
      --run_count_;
    } else {
      --run.count;
    }
    gone = {};
    --size_;
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  struct Block {
    std::uint64_t key = 0;  // of its tokens and all before them
    std::uint64_t salt = 0;
    std::uint32_t run = none;
    std::uint32_t index = 0;  // in its run
  };
  struct alignas(64) Run {
    std::array<std::uint32_t, 12> blocks{};
    std::uint32_t parent = none;  // the block that the first one continues
    std::uint32_t next = none;    // one of the runs that continue the last block, if any is known
    std::uint32_t children = 0;   // how many do
    std::uint32_t count = 0;
  };
  static_assert(sizeof(Run) == 64);

  static std::uint64_t root_key(std::uint64_t salt) { return mix64(salt); }
  [[nodiscard]] std::size_t mask() const { return table_.size() - 1; }
  [[nodiscard]] std::size_t home(std::uint64_t key) const { return key & mask(); }
  [[nodiscard]] std::ptrdiff_t offset(std::uint32_t block) const {
    return static_cast<std::ptrdiff_t>(block * block_tokens_);
  }
  [[nodiscard]] bool is_last(std::uint32_t block) const {
    return blocks_[block].index + 1u == runs_[blocks_[block].run].count;
  }
  [[nodiscard]] std::uint64_t head_key(std::uint32_t run) const {
    return blocks_[runs_[run].blocks[0]].key;
  }
  /// Whether `text` begins with the tokens of `block`.
  [[nodiscard]] bool holds(std::uint32_t block, std::span<const TokenId> text) const {
    const auto own = std::span(tokens_).subspan(block * block_tokens_, block_tokens_);
    return text.size() >= block_tokens_ && std::equal(own.begin(), own.end(), text.begin());
  }

  /// The entry of the run that begins with this text, or the empty one where it would go.
  [[nodiscard]] std::size_t find(std::uint64_t key, std::uint32_t parent,
                                 std::span<const TokenId> tokens, std::uint64_t salt) const {
    std::size_t at = home(key);
    for (; table_[at] != none; at = (at + 1) & mask()) {
      const Run& run = runs_[table_[at]];
      const Block& head = blocks_[run.blocks[0]];
      if (head.key == key && run.parent == parent && head.salt == salt &&
          holds(run.blocks[0], tokens)) {
        break;
      }
    }
    return at;
  }

  std::uint32_t take_run() {
    const std::uint32_t at = free_;
    free_ = runs_[at].next;
    runs_[at] = {};
    ++run_count_;
    return at;
  }
  void release(std::uint32_t at) {
    runs_[at].next = free_;
    free_ = at;
  }

  /// Makes a run findable as a continuation of `parent`. \pre its first block is set
  void attach(std::uint32_t at, std::uint32_t parent) {
    runs_[at].parent = parent;
    if (parent != none) {
      Run& above = runs_[blocks_[parent].run];
      if (above.children++ == 0) above.next = at;
    }
    std::size_t entry = home(head_key(at));
    while (table_[entry] != none) entry = (entry + 1) & mask();
    table_[entry] = at;
  }
  void detach(std::uint32_t at) {
    const std::uint32_t parent = runs_[at].parent;
    if (parent != none) {
      Run& above = runs_[blocks_[parent].run];
      --above.children;
      if (above.next == at) above.next = none;
    }
    std::size_t hole = home(head_key(at));
    while (table_[hole] != at) hole = (hole + 1) & mask();
    for (std::size_t i = (hole + 1) & mask(); table_[i] != none; i = (i + 1) & mask()) {
      if (((i - home(head_key(table_[i]))) & mask()) >= ((i - hole) & mask())) {
        table_[hole] = table_[i];
        hole = i;
      }
    }
    table_[hole] = none;
  }

  /// Cuts a run behind `block`; the rest becomes a run of its own. \pre block is not its last
  void cut_after(std::uint32_t block) {
    const std::uint32_t upper_at = blocks_[block].run;
    const std::uint32_t lower_at = take_run();
    Run& upper = runs_[upper_at];
    Run& lower = runs_[lower_at];
    const std::uint32_t keep = blocks_[block].index + 1;
    lower.count = upper.count - keep;
    for (std::uint32_t i = 0; i < lower.count; ++i) {
      lower.blocks[i] = upper.blocks[keep + i];
      blocks_[lower.blocks[i]].run = lower_at;
      blocks_[lower.blocks[i]].index = i;
    }
    lower.children = upper.children;
    lower.next = upper.next;
    upper.count = keep;
    upper.children = 0;
    upper.next = none;
    attach(lower_at, block);
  }

  std::size_t block_tokens_;
  std::vector<Block> blocks_;         // \shape (capacity)
  std::vector<TokenId> tokens_;       // \shape (capacity, block_tokens)
  std::vector<Run> runs_;             // \shape (capacity): a run holds a block at least
  std::vector<std::uint32_t> table_;  // runs by the key of their first block, at most half full
  std::uint32_t free_ = none;
  std::size_t size_ = 0;
  std::size_t run_count_ = 0;
};

/// The radix tree with its production hash.
using RadixTree = BasicRadixTree<>;
static_assert(PrefixIndexPolicy<RadixTree>);

}  // namespace quire::prefix_index
