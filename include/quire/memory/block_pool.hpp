#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <quire/admission/always.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/memory/prefix_watch.hpp>
#include <quire/prefix_index/concepts.hpp>

namespace quire {

/// Physical blocks of one tier: reference counts, free list, and cached blocks that keep their
/// content after the last reference is gone until an eviction policy gives them up.
///
/// A block is *free* (no content), *referenced* (count > 0), or *cached* (count 0, still found by
/// the prefix index). Rules that hold for every policy live here: a referenced or pinned block is
/// never evicted, and a block goes only after all indexed blocks that continue it (leaf first).
/// \complexity all operations O(1) plus the policy's own.
template <EvictionPolicy Eviction, PrefixIndexPolicy PrefixIndex,
          AdmissionPolicy Admission = admission::Always>
class BlockPool {
 public:
  /// free_order: the order in which free blocks are first handed out; empty: 0, 1, 2, ...
  BlockPool(BlockCount capacity, Tokens block_tokens, std::span<const BlockId> free_order = {})
      : blocks_(static_cast<std::size_t>(capacity.value)),
        block_tokens_(static_cast<std::size_t>(block_tokens.value)),
        eviction_(capacity),
        index_(capacity, block_tokens),
        admission_(capacity),
        names_(Admission::admits_all ? 0 : blocks_.size()) {
    free_.reserve(blocks_.size());
    if (free_order.empty()) {
      for (std::size_t i = blocks_.size(); i-- > 0;)
        free_.push_back(BlockId{static_cast<std::uint32_t>(i)});
    } else {
      for (std::size_t i = free_order.size(); i-- > 0;) free_.push_back(free_order[i]);
    }
  }

  [[nodiscard]] BlockCount capacity() const { return static_cast<std::int64_t>(blocks_.size()); }
  /// Blocks that allocate() can hand out: free ones, and cached ones that are not pinned.
  [[nodiscard]] BlockCount available() const { return capacity() - referenced_ - idle_pinned_; }
  [[nodiscard]] BlockCount referenced() const { return referenced_; }
  [[nodiscard]] BlockCount cached() const { return cached_; }
  [[nodiscard]] std::uint32_t references(BlockId block) const { return at(block).references; }

  /// A block with no content and one reference; evicts a cached block when none is free.
  /// Empty when every block is referenced.
  /// \errors state, when the eviction policy breaks its promise: it names a block that may not go, or
  /// none although some may.
  [[nodiscard]] std::optional<BlockId> allocate() {
    if (free_.empty()) {
      if (cached_ == idle_pinned_) return std::nullopt;
      evict();
    }
    const BlockId block = free_.back();
    free_.pop_back();
    at(block).references = 1;
    referenced_ += 1;
    return block;
  }

  /// Adds a reference to a referenced or cached block.
  void acquire(BlockId block) {
    Block& b = at(block);
    assert(b.references > 0 || b.indexed);
    if (b.references++ == 0) {
      referenced_ += 1;
      cached_ -= 1;
      if (b.pins > 0) {
        idle_pinned_ -= 1;
      } else if (b.children == 0) {
        eviction_.set_evictable(block, false);
      }
    }
  }

  /// Drops a reference. The last one frees the block, or leaves it cached when it is indexed.
  void release(BlockId block) {
    Block& b = at(block);
    assert(b.references > 0);
    if (--b.references > 0) return;
    referenced_ -= 1;
    if (b.indexed) {
      cached_ += 1;
      if (b.pins > 0) {
        idle_pinned_ += 1;
      } else if (b.children == 0) {
        eviction_.set_evictable(block, true);
      }
    } else {
      forget_name(block);
      put_free(block);
    }
  }

  /// Whether a full, computed block of a sequence may be published, which counts as a request for its
  /// text. Each block is judged once, in the order of the text: refused once, refused for good.
  /// \pre block and parent are referenced; block is not indexed.
  bool admit(BlockId block, std::optional<BlockId> parent, std::span<const TokenId> tokens,
             std::uint64_t salt, BlockContext context) {
    if constexpr (Admission::admits_all) {
      return true;
    } else {
      if (names_[block.value] != 0) return false;
      const std::uint64_t name = hash_span(tokens, parent ? names_[parent->value] : mix64(salt));
      context.content = names_[block.value] = std::max<std::uint64_t>(name, 1);
      admission_.on_request(context);
      std::optional<std::uint64_t> rival;
      if (free_.empty()) {
        if (const std::optional<BlockId> victim = eviction_.victim()) {
          rival = names_[checked(*victim).value];
        }
      }
      return admission_.admit(context, rival);
    }
  }

  /// Keeps an indexed block from eviction until it is unpinned as often.
  /// \pre block is indexed, and so pinned is all that it continues: pins are of whole prefixes.
  void pin(BlockId block) {
    Block& b = at(block);
    assert(b.indexed && (!b.parent || at(*b.parent).pins > 0));
    if (b.pins++ > 0) return;
    pinned_ += 1;
    if (b.references > 0) return;
    idle_pinned_ += 1;
    if (b.children == 0) eviction_.set_evictable(block, false);
  }
  /// \pre block is pinned, and pinned blocks that continue it are pinned less often.
  void unpin(BlockId block) {
    Block& b = at(block);
    assert(b.pins > 0);
    if (--b.pins > 0) return;
    pinned_ -= 1;
    if (b.references > 0) return;
    idle_pinned_ -= 1;
    if (b.children == 0) eviction_.set_evictable(block, true);
  }
  [[nodiscard]] std::uint32_t pins(BlockId block) const { return at(block).pins; }
  /// Blocks that are pinned, in use or not.
  [[nodiscard]] BlockCount pinned() const { return pinned_; }

  /// Makes a computed block findable as the continuation of `parent`; a full one, unless the index
  /// MatchesParts.
  /// False when the same text is indexed under another block already; this one then stays private.
  /// \pre block and parent are referenced; parent, when given, is indexed.
  bool publish(BlockId block, std::optional<BlockId> parent, std::span<const TokenId> tokens,
               std::uint64_t salt, BlockContext context) {
    if (!index_.insert(parent, tokens, salt, block)) return false;
    if (watch_) watch_->on_insert(block, watch_key(parent, tokens, salt));
    context.content = index_.content(block);
    Block& b = at(block);
    b.indexed = true;
    b.parent = parent;
    eviction_.on_insert(block, context);
    if (parent) at(*parent).children += 1;
    return true;
  }

  [[nodiscard]] bool indexed(BlockId block) const { return at(block).indexed; }

  /// Blocks of the longest cached prefix of `tokens`; takes no reference. Appends to `out`.
  void match(std::span<const TokenId> tokens, std::uint64_t salt, std::vector<BlockId>& out) const {
    const std::size_t before = out.size();
    index_.match(tokens, salt, out);
    for (std::size_t i = before; i < out.size(); ++i) check_indexed(out[i]);
  }
  /// The cached block whose beginning continues `parent` with the most of `tokens`, if any.
  [[nodiscard]] std::optional<PartOfBlock> match_part(
      std::optional<BlockId> parent, std::span<const TokenId> tokens,
      std::uint64_t salt) const requires MatchesParts<PrefixIndex> {
    const std::optional<PartOfBlock> found = index_.match_part(parent, tokens, salt);
    if (found) check_indexed(found->block);
    return found;
  }
  /// Has the texts that are watched from now on told of. \pre nothing is indexed
  PrefixWatch& watch() { return watch_ ? *watch_ : watch_.emplace(capacity()); }
  /// Names what the index would find of `tokens` behind `parent`; empty when that can be nothing.
  [[nodiscard]] std::optional<std::uint64_t> watch_key_after(std::optional<BlockId> parent,
                                                             std::span<const TokenId> tokens,
                                                             std::uint64_t salt) const {
    if (tokens.size() < (MatchesParts<PrefixIndex> ? std::size_t{1} : block_tokens_)) {
      return std::nullopt;
    }
    return watch_key(parent, tokens, salt);
  }
  /// Tells the policy that a cached or referenced indexed block was used again.
  void touch(BlockId block, BlockContext context) {
    if constexpr (!Admission::admits_all) {
      context.content = names_[block.value];
      admission_.on_request(context);
    }
    context.content = index_.content(block);
    eviction_.on_access(block, context);
  }

  /// From now on blocks that become free are noted, for take_freed().
  void note_freed() { notes_freed_ = true; }
  /// Blocks that became free since the last call, in order.
  void take_freed(std::vector<BlockId>& out) {
    out.insert(out.end(), freed_.begin(), freed_.end());
    freed_.clear();
  }
  /// Blocks evicted since the last call, in order.
  void take_evicted(std::vector<BlockId>& out) {
    out.insert(out.end(), evicted_.begin(), evicted_.end());
    evicted_.clear();
  }

  [[nodiscard]] const PrefixIndex& prefix_index() const { return index_; }
  [[nodiscard]] const Eviction& eviction() const { return eviction_; }
  [[nodiscard]] const Admission& admission() const { return admission_; }

 private:
  struct Block {
    std::uint32_t references = 0;
    std::uint32_t children = 0;  // indexed blocks that continue this one
    std::uint32_t pins = 0;
    std::optional<BlockId> parent;
    bool indexed = false;
  };

  /// Parts share their first token at least; whole blocks share all.
  [[nodiscard]] std::uint64_t watch_key(std::optional<BlockId> parent,
                                        std::span<const TokenId> tokens, std::uint64_t salt) const {
    const std::size_t shared = MatchesParts<PrefixIndex> ? 1 : block_tokens_;
    return PrefixWatch::key(parent, tokens.first(shared), salt);
  }

  void check_indexed(BlockId block) const {
    if (static_cast<std::int64_t>(block.value) < capacity().value && at(block).indexed) return;
    throw state_error(
        "prefix index " + std::string(PrefixIndex::name),
        "match() names block " + std::to_string(block.value) + ", which is not indexed",
        "blocks that insert() took and erase() did not");
  }

  void evict() {
    const std::optional<BlockId> victim = eviction_.victim();
    if (!victim) {
      throw broken_policy("victim() is empty although " + std::to_string(cached_.value) +
                          " unreferenced blocks are cached and " +
                          std::to_string(idle_pinned_.value) + " of them pinned");
    }
    Block& b = at(checked(*victim));
    index_.erase(*victim);
    if (watch_) watch_->on_erase(*victim);
    eviction_.on_remove(*victim);
    if (b.parent) {
      Block& parent = at(*b.parent);
      if (--parent.children == 0 && parent.references == 0 && parent.pins == 0) {
        eviction_.set_evictable(*b.parent, true);
      }
    }
    b.indexed = false;
    b.parent.reset();
    forget_name(*victim);
    cached_ -= 1;
    put_free(*victim);
    evicted_.push_back(*victim);
  }
  void put_free(BlockId block) {
    free_.push_back(block);
    if (notes_freed_) freed_.push_back(block);
  }

  // A policy may be a stranger's: what it answers is checked, since a wrong block would be silent.
  [[nodiscard]] BlockId checked(BlockId victim) const {
    if (static_cast<std::int64_t>(victim.value) >= capacity().value) {
      throw broken_policy("victim() names block " + std::to_string(victim.value) + " of " +
                          std::to_string(capacity().value));
    }
    const Block& b = blocks_[victim.value];
    if (b.references != 0 || b.pins != 0 || !b.indexed || b.children != 0) {
      throw broken_policy("victim() names block " + std::to_string(victim.value) +
                          ", which set_evictable did not offer");
    }
    return victim;
  }
  [[nodiscard]] static Error broken_policy(const std::string& what) {
    return state_error("eviction policy " + std::string(Eviction::name), what,
                       "one of the blocks last passed to set_evictable(block, true)");
  }

  void forget_name(BlockId block) {
    if constexpr (!Admission::admits_all) names_[block.value] = 0;
  }

  Block& at(BlockId block) { return blocks_[block.value]; }
  const Block& at(BlockId block) const { return blocks_[block.value]; }

  std::vector<Block> blocks_;
  std::vector<BlockId> free_;  // last in, first out
  std::vector<BlockId> evicted_;
  std::vector<BlockId> freed_;
  bool notes_freed_ = false;
  std::size_t block_tokens_;
  std::optional<PrefixWatch> watch_;
  Eviction eviction_;
  PrefixIndex index_;
  Admission admission_;
  std::vector<std::uint64_t>
      names_;  // \shape (capacity) of texts, 0: not judged; empty if nobody asks
  BlockCount referenced_ = 0;
  BlockCount cached_ = 0;
  BlockCount pinned_ = 0;
  BlockCount idle_pinned_ = 0;  // cached blocks that are pinned
};

}  // namespace quire
