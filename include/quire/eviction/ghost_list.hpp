// mechanism: bounded queues of the names of evicted blocks, for policies that remember them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <quire/core/huge_vector.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/slot_bits.hpp>
#include <quire/eviction/slot_log.hpp>

namespace quire::eviction {

/// Names of content (BlockContext::content) in one or two lists, in the order they were added to them, at
/// most `capacity` in all, each with a value that the policy remembers. A name is in one list at most; 0,
/// the name of unknown content, is in none.
///
/// Both lists are one log of names in order of arrival, with a bit a slot and list that says whether the
/// name is there still: what is added and what goes next lie side by side. One table finds the names of
/// both. Its buckets are lines of memory with room for five names, half full at most; a bucket counts those
/// that found no room in it and went on to the next. So a name is found, or known to be missing, in one
/// line, and taking it out touches that line and one bit of the log.
/// \complexity all O(1) expected, push() O(64) worst. No allocation after construction; bytes() is all of
///             its memory.
template <class Value, std::size_t Lists = 1>
class GhostMap {
  static_assert(Lists == 1 || Lists == 2, "quire: eviction: a ghost's list is one bit");

 public:
  /// \pre capacity < 2^29
  explicit GhostMap(BlockCount capacity)
      : capacity_(static_cast<std::size_t>(capacity.value)),
        log_(SlotLog::slots_for(capacity_)),
        names_(SlotLog::slots_for(capacity_)),
        live_(names_.size()),
        table_(2 * capacity_ / Bucket::places + 1) {}

  [[nodiscard]] std::size_t size(std::size_t list = 0) const { return size_[list]; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  [[nodiscard]] bool contains(std::uint64_t content) const { return list_of(content).has_value(); }
  [[nodiscard]] std::optional<std::size_t> list_of(std::uint64_t content) const {
    const Entry e = find(content);
    return e.found() ? std::optional(list_at(e)) : std::nullopt;
  }
  /// The name that has been in the list longest.
  [[nodiscard]] std::optional<std::uint64_t> oldest(std::size_t list = 0) const {
    const std::size_t p = first(list);
    return p == none ? std::nullopt : std::optional(names_[p].content);
  }

  /// The value kept with a name, or nullptr. Valid until the next change.
  [[nodiscard]] const Value* value(std::uint64_t content) const {
    const Entry e = find(content);
    return e.found() ? &names_[slot_at(e)].value : nullptr;
  }

  /// Fetches what the next question about a name, or its addition, will look at.
  void prefetch(std::uint64_t content) const { quire::prefetch(&table_[home(content)]); }

  /// Adds a name as the newest of a list; when it is there, in either, it moves; when both are full the
  /// oldest of the list is forgotten, or of the other where it has none.
  void push(std::uint64_t content, const Value& value = {}, std::size_t list = 0) {
    if (content == 0 || capacity_ == 0) return;
    if (log_.crowded()) pack();
    if (const Entry e = find(content); e.found()) {
      erase(content, e);
    } else if (all() == capacity_) {
      pop_oldest(size_[list] != 0 ? list : Lists - 1 - list);
    }
    const std::size_t p = log_.take();
    names_[p] = {content, value};
    live_.set(list, p);
    ++size_[list];
    std::size_t b = home(content);
    for (; table_[b].which(0) == 0; b = next(b)) ++table_[b].passed;
    const std::size_t i = static_cast<std::size_t>(std::countr_zero(table_[b].which(0)));
    table_[b].content[i] = content;
    table_[b].place[i] = place(p, list);
  }
  /// Forgets a name; says which list it was in.
  std::optional<std::size_t> take(std::uint64_t content) {
    const Entry e = find(content);
    if (!e.found()) return std::nullopt;
    const std::size_t list = list_at(e);
    erase(content, e);
    return list;
  }
  /// Forgets a name; says whether it was there.
  bool erase(std::uint64_t content) { return take(content).has_value(); }
  void pop_oldest(std::size_t list = 0) {
    const std::size_t p = first(list);
    if (p == none) return;
    const std::uint64_t content = names_[p].content;
    erase(content, find(content));
    // What the next one needs is fetched while others work.
    if (const std::size_t then = first(list); then != none) prefetch(names_[then].content);
  }

  [[nodiscard]] Bytes bytes() const {
    return static_cast<std::int64_t>(names_.size() * sizeof(Name) + names_.size() / 8 * Lists +
                                     table_.size() * sizeof(Bucket));
  }

 private:
  using Bits = SlotBits<Lists>;
  static constexpr std::size_t none = Bits::npos;

  struct Name {
    std::uint64_t content = 0;
    [[no_unique_address]] Value value{};
  };
  struct alignas(64) Bucket {
    static constexpr std::size_t places = 5;
    std::array<std::uint64_t, places> content{};  // 0: no name
    std::array<std::uint32_t, places> place{};    // slots; the upper bit: of the second list
    std::uint32_t passed = 0;  // names that are in later buckets for want of room

    /// A bit for each place that has this content.
    [[nodiscard]] unsigned which(std::uint64_t wanted) const {
      unsigned bits = 0;
      for (std::size_t i = 0; i < places; ++i) bits |= unsigned{content[i] == wanted} << i;
      return bits;
    }
  };
  static_assert(sizeof(Bucket) == 64);
  struct Entry {
    std::size_t bucket = 0;
    unsigned bits = 0;  // of its places
    [[nodiscard]] bool found() const { return bits != 0; }
    [[nodiscard]] std::size_t at() const {
      return static_cast<std::size_t>(std::countr_zero(bits));
    }
  };

  [[nodiscard]] std::size_t all() const {
    std::size_t sum = 0;
    for (const std::size_t n : size_) sum += n;
    return sum;
  }
  [[nodiscard]] std::size_t home(std::uint64_t content) const {
    return static_cast<std::size_t>((mix64(content) >> 32) * table_.size() >> 32);
  }
  [[nodiscard]] std::size_t next(std::size_t b) const { return b + 1 == table_.size() ? 0 : b + 1; }
  static std::uint32_t place(std::size_t slot, std::size_t list) {
    return static_cast<std::uint32_t>(slot | list << 31);
  }
  [[nodiscard]] std::uint32_t place_at(Entry e) const { return table_[e.bucket].place[e.at()]; }
  [[nodiscard]] std::size_t slot_at(Entry e) const {
    return place_at(e) & ~(std::uint32_t{1} << 31);
  }
  [[nodiscard]] std::size_t list_at(Entry e) const { return place_at(e) >> 31; }

  /// The slot of the name that has been in a list longest, or none.
  [[nodiscard]] std::size_t first(std::size_t list) const {
    const std::size_t found = live_.first_from_word(list, log_.head() / 64);
    return found != none ? found : live_.first_from_word(list, 0);
  }
  [[nodiscard]] Entry find(std::uint64_t content) const {
    if (content == 0) return {};
    for (std::size_t b = home(content);; b = next(b)) {
      const unsigned bits = table_[b].which(content);
      if (bits != 0 || table_[b].passed == 0) return {b, bits};
    }
  }
  void erase(std::uint64_t content, Entry e) {
    const std::size_t list = list_at(e);
    live_.clear(list, slot_at(e));
    --size_[list];
    table_[e.bucket].content[e.at()] = 0;
    for (std::size_t b = home(content); b != e.bucket; b = next(b)) --table_[b].passed;
  }
  /// One bounded part of the work that turns slots of names that are gone into room.
  [[gnu::noinline]] void pack() {
    const auto word = [this](std::size_t w) {
      std::uint64_t live = 0;
      for (std::size_t list = 0; list < Lists; ++list) live |= live_.word(list, w);
      return live;
    };
    const auto oldest = [this] {
      std::size_t least = log_.span();
      for (std::size_t list = 0; list < Lists; ++list) {
        if (const std::size_t p = first(list); p != none) least = std::min(least, log_.age(p));
      }
      return log_.at(least);
    };
    (void)log_.pack(oldest, word, [this](std::size_t from, std::size_t to) {
      const Entry e = find(names_[from].content);
      const std::size_t list = list_at(e);
      live_.clear(list, from);
      live_.set(list, to);
      names_[to] = names_[from];
      table_[e.bucket].place[e.at()] = place(to, list);
    });
  }

  std::size_t capacity_;
  SlotLog log_;
  huge_vector<Name> names_;  // \shape (slots of the log)
  Bits live_;                // lanes: lists
  huge_vector<Bucket> table_;
  std::array<std::size_t, Lists> size_{};
};

struct NothingRemembered {};
/// Names alone.
using GhostList = GhostMap<NothingRemembered>;
using TwoGhostLists = GhostMap<NothingRemembered, 2>;

}  // namespace quire::eviction
