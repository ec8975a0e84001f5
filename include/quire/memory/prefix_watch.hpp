#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// Tells which of the texts that wait may match more or less of a prefix index than when they were
/// matched last, so that nobody has to match them all again.
///
/// A text is watched where its match ended: by the block that was found last, which may go, and by the
/// text that would continue it, which may enter. What lies before that block cannot go before it does.
/// \complexity all O(1) expected, plus O(texts told of) where a block enters or goes; a text is told of
/// once until it is matched again.  \errors none.
class PrefixWatch {
 public:
  using Slot = std::uint32_t;

  explicit PrefixWatch(BlockCount capacity)
      : at_block_(static_cast<std::size_t>(capacity.value), none),
        key_of_(static_cast<std::size_t>(capacity.value)) {}

  /// Names the text that continues `parent` (that begins a text, for none).
  [[nodiscard]] static std::uint64_t key(std::optional<BlockId> parent,
                                         std::span<const TokenId> tokens, std::uint64_t salt) {
    const std::uint64_t before = parent ? parent->value + std::uint64_t{1} : 0;
    return hash_span(tokens, hash_combine(mix64(salt), before));
  }

  /// A text begins to wait: it has to be matched. \pre slot is not open
  void open(Slot slot) {
    if (slot >= texts_.size()) {
      texts_.resize(slot + std::size_t{1});
      links_.resize(2 * texts_.size());
    }
    assert(!texts_[slot].open);
    texts_[slot].open = true;
    tell(slot);
  }
  /// \pre slot is open
  void close(Slot slot) {
    unlink(slot);
    texts_[slot].open = false;
  }
  /// A text was matched: `last` is the block found last, if any; `next` the key of the text that would
  /// continue it, empty when nothing may. \pre slot is open
  void matched(Slot slot, std::optional<BlockId> last, std::optional<std::uint64_t> next) {
    unlink(slot);
    Text& text = texts_[slot];
    text.block = last ? last->value : none;
    text.has_key = next.has_value();
    text.key = next.value_or(0);
    text.linked = true;
    if (last) push(2 * slot, at_block_[text.block]);
    if (next) push(2 * slot + 1, at_key_.try_emplace(*next, none).first->second);
  }
  /// Appends the slots that have to be matched, and takes them as told of.
  void take(std::vector<Slot>& out) {
    for (const Slot slot : told_) {
      Text& text = texts_[slot];
      text.told = false;
      if (text.open) out.push_back(slot);
    }
    told_.clear();
  }

  /// A block entered the index under the key of its text.
  void on_insert(BlockId block, std::uint64_t key) {
    key_of_[block.value] = key;
    tell_all_at(key);
  }
  /// A block left the index. \pre on_insert was called for it
  void on_erase(BlockId block) {
    while (at_block_[block.value] != none) tell_and_unlink(at_block_[block.value] / 2);
    tell_all_at(key_of_[block.value]);  // an index that finds parts may have found one of it
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  struct Text {
    std::uint64_t key = 0;
    std::uint32_t block = none;
    bool open = false, told = false, linked = false, has_key = false;
  };
  struct Link {
    std::uint32_t before = none, after = none;
  };

  void tell(Slot slot) {
    if (texts_[slot].told) return;
    texts_[slot].told = true;
    told_.push_back(slot);
  }
  void tell_and_unlink(Slot slot) {
    tell(slot);
    unlink(slot);
  }
  void tell_all_at(std::uint64_t key) {
    // the entry goes with its last text
    for (auto at = at_key_.find(key); at != at_key_.end(); at = at_key_.find(key)) {
      tell_and_unlink(at->second / 2);
    }
  }
  void push(std::uint32_t link, std::uint32_t& head) {
    links_[link] = {.after = head};
    if (head != none) links_[head].before = link;
    head = link;
  }
  /// Takes a link out of its list; the list's new head is in `head`.
  void drop(std::uint32_t link, std::uint32_t& head) {
    const Link l = links_[link];
    if (l.after != none) links_[l.after].before = l.before;
    (l.before != none ? links_[l.before].after : head) = l.after;
  }
  void unlink(Slot slot) {
    Text& text = texts_[slot];
    if (!text.linked) return;
    text.linked = false;
    if (text.block != none) drop(2 * slot, at_block_[text.block]);
    if (!text.has_key) return;
    const auto at = at_key_.find(text.key);
    drop(2 * slot + 1, at->second);
    if (at->second == none) at_key_.erase(at);
  }

  std::vector<Text> texts_;                                  // by slot
  std::vector<Link> links_;                                  // two a slot: by block, by key
  std::vector<std::uint32_t> at_block_;                      // first link of those that end there
  std::unordered_map<std::uint64_t, std::uint32_t> at_key_;  // first link of those that wait for it
  std::vector<std::uint64_t> key_of_;                        // by indexed block
  std::vector<Slot> told_;
};

}  // namespace quire
