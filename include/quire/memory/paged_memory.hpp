#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/memory/block_pool.hpp>
#include <quire/memory/prefix_pins.hpp>
#include <quire/memory/prefix_statistics.hpp>
#include <quire/memory/stored_block.hpp>
#include <quire/memory/tiered_cache.hpp>
#include <quire/memory/usage.hpp>
#include <quire/model/shape.hpp>
#include <quire/offload/concepts.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire {

/// KV memory in single blocks, taken when they are needed: growth, sharing, copy-on-write, prefix
/// reuse, and moving to the tiers below the device. Operations on a group are all or nothing.
/// \complexity O(blocks touched) plus the policies' own.
template <EvictionPolicy Eviction, PrefixIndexPolicy PrefixIndex, class BlockSize,
          AdmissionPolicy Admission = admission::Always>
class BasicPagedMemory {
 public:
  using Pool = BlockPool<Eviction, PrefixIndex, Admission>;
  using Tiers = TieredCache<Eviction, PrefixIndex>;
  static constexpr Tokens block_tokens = BlockSize::tokens;
  static constexpr bool needs_tokens = PrefixIndex::enabled;
  static constexpr bool copies_parts = MatchesParts<PrefixIndex>;

  BasicPagedMemory(const KvGeometry& geometry, const model::Shape& shape, double watermark)
      : pool_(geometry.device_blocks, block_tokens),
        tiers_(geometry),
        shape_(shape),
        costs_(geometry.costs),
        block_bytes_(geometry.block_bytes),
        watermark_(
            static_cast<std::int64_t>(watermark * static_cast<double>(pool_.capacity().value))),
        pins_(geometry.device_blocks) {
    scratch_.reserve(static_cast<std::size_t>(geometry.device_blocks.value));  // no text has more
    if (geometry.tells_freed) pool_.note_freed();
  }

  [[nodiscard]] const Pool& pool() const { return pool_; }
  [[nodiscard]] BlockCount capacity() const { return pool_.capacity(); }
  /// Slots of the tiers below the device that swapped sequences may have.
  [[nodiscard]] BlockCount host_free() const { return tiers_.room(); }
  [[nodiscard]] const Tiers& tiers() const { return tiers_; }

  /// Why a group could not be admitted even into an empty pool, or nothing.
  [[nodiscard]] std::optional<std::string> rejects(const SequenceGroup& group,
                                                   Tokens max_length) const {
    const Request& r = group.request;
    const Tokens output = r.output_length.value_or(r.sampling.max_tokens);
    // the last token of a sequence is drawn and never computed
    const bool more = output > Tokens{1} && r.prompt_length + 1 < max_length;
    const BlockCount need = blocks_for(r.prompt_length + (more ? 1 : 0), block_tokens);
    if (need <= capacity()) return std::nullopt;
    return "the prompt needs " + std::to_string(need.value) + " KV blocks, the pool has " +
           std::to_string(capacity().value);
  }

  /// Gives a waiting group the blocks of all its tokens, found in the prefix index or new.
  /// False, and nothing changed, when that would leave fewer free blocks than the watermark; an idle
  /// pool first gives up the pins that would run out anyway.
  /// choose(candidates): how many of the prefix blocks that lie below the device to fetch.
  bool admit(SequenceGroup& group, Tokens max_length) {
    return admit(group, max_length, [](auto candidates) { return candidates.size(); });
  }
  template <class Choose>
  bool admit(SequenceGroup& group, Tokens, Choose&& choose) {
    Sequence* first = nullptr;
    BlockCount need = 0;
    for (Sequence& s : group.sequences) {
      if (s.finished()) continue;
      if (first == nullptr) {
        first = &s;
        need += attach_prefix(s, group);
      } else {
        s.shared = std::min(group.prompt_length(), s.length - 1).value / block_tokens.value *
                   block_tokens.value;
        need += blocks_for(s.length, block_tokens) - blocks_for(s.shared, block_tokens);
      }
    }
    // an idle pool admits without the watermark, or a large request would wait for ever
    const bool idle = pool_.referenced().value ==
                      static_cast<std::int64_t>(table(*first).size()) + (part_ ? 1 : 0);
    const BlockCount reserve = idle ? BlockCount{0} : watermark_;
    if (idle && pool_.available() - need < reserve) pins_.unpin_limited(pool_);
    if (pool_.available() - need < reserve) {
      if (part_) pool_.release(part_->block);
      part_.reset();
      detach(*first);
      return false;
    }
    if (fetch_prefix(*first, group, choose) && part_) {  // whole blocks go further
      pool_.release(part_->block);
      part_.reset();
    }
    count_request(*first, group);
    const std::optional<PartOfBlock> part = std::exchange(part_, std::nullopt);
    if (part) attach_part(*first, *part);
    for (Sequence& s : group.sequences) {
      if (s.finished()) continue;
      if (&s != first) {
        for (std::int64_t b = 0; b < s.shared.value / block_tokens.value; ++b) {
          const BlockId block = table(*first)[static_cast<std::size_t>(b)];
          pool_.acquire(block);
          table(s).append(block);
        }
        s.computed = s.shared;
        s.published = static_cast<std::size_t>(s.shared.value / block_tokens.value);
      }
      extend(s, s.length);
      s.table_changed = true;
    }
    if (part) pool_.touch(part->block, context(group, first->published));
    touch_prefix(*first, group);
    return true;
  }

  /// Makes room for tokens[i] more tokens of the i-th sequence (finished ones ignored), copying
  /// blocks that others still share. False, and nothing changed, when the pool has too few blocks.
  bool grow(SequenceGroup& group, std::span<const Tokens> tokens, StepPlan& plan) {
    BlockCount need = 0;
    writes_.clear();
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      const Sequence& s = group.sequences[i];
      if (s.finished() || tokens[i] == Tokens{0}) continue;
      const auto have = static_cast<std::int64_t>(table(s).size());
      const BlockCount want = blocks_for(s.computed + tokens[i], block_tokens);
      if (want.value > have) need += want - have;
      if (shares_next(group, s)) need += 1;
    }
    if (need > pool_.available()) return false;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      Sequence& s = group.sequences[i];
      if (s.finished() || tokens[i] == Tokens{0}) continue;
      const std::size_t next = next_block(s);
      if (next < table(s).size() && (pool_.references(table(s)[next]) > 1 + waiting_for(group, s) ||
                                     keeps_part(table(s)[next]))) {
        const BlockId from = table(s)[next];
        const BlockId to = take();
        plan.copies.push_back({from, to});
        table(s).replace(next, to);
        if (plan_ != nullptr && pool_.references(from) == 1) {
          copied_.push_back(from);  // what is fetched in this step must not take its place
        } else {
          pool_.release(from);
        }
      }
      extend(s, s.computed + tokens[i]);
    }
    return true;
  }

  /// Whether the next token of a sequence that is alone in its group needs a block more. It never
  /// needs a copy: nobody else writes to, or reads, a block that is not full.
  [[nodiscard]] static bool needs_block(const Sequence& s) {
    return s.computed.value >= static_cast<std::int64_t>(table(s).size()) * block_tokens.value;
  }
  /// \pre the pool has one
  void append_block(Sequence& s) { table(s).append(take()); }

  /// A new sequence with the text and the blocks of `parent`, all shared.
  Sequence fork(SequenceGroup&, const Sequence& parent) {
    Sequence child = parent;
    for (const BlockId block : table(child).blocks()) pool_.acquire(block);
    child.table_changed = true;
    return child;
  }

  /// Gives back everything a sequence holds, on the device and on the host. Tail blocks go first.
  void release(Sequence& s) {
    detach(s);
    for (const BlockId block : s.host_blocks) tiers_.release(block);
    s.host_blocks.clear();
  }
  void recycle(SequenceGroup&, Sequence& s) { release(s); }
  void release_spares(SequenceGroup&) {}

  /// Device blocks that a group would hold at most if it ran its next token: what a scheduler that
  /// exchanges running groups for waiting ones has to reckon with. \complexity O(blocks) for a group
  /// of several sequences, else O(1).
  [[nodiscard]] BlockCount blocks_wanted(const SequenceGroup& group) const {
    if (group.status == GroupStatus::waiting) {
      BlockCount blocks = 0;
      for (const Sequence& s : group.sequences) {
        if (!s.finished()) blocks += blocks_for(s.length + 1, block_tokens);
      }
      return blocks;
    }
    if (group.sequences.size() == 1) {
      const Sequence& s = group.sequences.front();
      return static_cast<std::int64_t>(std::max(table(s).size(), s.host_blocks.size())) + 1;
    }
    if (group.status == GroupStatus::running || group.parked > BlockCount{0}) {
      return distinct_blocks(group) + group.unfinished();
    }
    std::vector<BlockId> hosts;
    for (const Sequence& s : group.sequences) {
      hosts.insert(hosts.end(), s.host_blocks.begin(), s.host_blocks.end());
    }
    std::sort(hosts.begin(), hosts.end());
    return static_cast<std::int64_t>(std::unique(hosts.begin(), hosts.end()) - hosts.begin()) +
           group.unfinished();
  }
  [[nodiscard]] BlockCount available() const { return pool_.available(); }
  [[nodiscard]] BlockCount watermark() const { return watermark_; }

  [[nodiscard]] BlockCount distinct_blocks(const SequenceGroup& group) const {
    std::vector<BlockId> blocks;
    for (const Sequence& s : group.sequences) {
      blocks.insert(blocks.end(), table(s).blocks().begin(), table(s).blocks().end());
    }
    std::sort(blocks.begin(), blocks.end());
    return static_cast<std::int64_t>(std::unique(blocks.begin(), blocks.end()) - blocks.begin());
  }

  /// Moves a group's blocks to the tiers below; false, and nothing changed but cached text, when they
  /// do not fit there.
  bool swap_out(SequenceGroup& group, StepPlan& plan) {
    const auto blocks = static_cast<std::size_t>(distinct_blocks(group).value);
    if (tiers_.room() < BlockCount{static_cast<std::int64_t>(blocks)}) return false;
    slots_.clear();
    while (slots_.size() < blocks) {
      const std::optional<BlockId> slot = tiers_.reserve();
      if (!slot) {  // cached text that this plan uses cannot give way
        for (const BlockId taken : slots_) tiers_.release(taken);
        return false;
      }
      slots_.push_back(*slot);
    }
    const std::size_t before = plan.swap_out.size();
    moved_.begin(pool_.capacity());
    for (Sequence& s : group.sequences) {
      if (s.finished()) continue;
      for (const BlockId device : table(s).blocks()) {
        const std::optional<BlockId> known = moved_.find(device);
        const BlockId slot = known ? *known : slots_.back();
        if (known) {
          tiers_.acquire(slot);
        } else {
          slots_.pop_back();
          moved_.insert(device, slot);
          plan.swap_out.push_back({.device = device, .host = slot});
        }
        s.host_blocks.push_back(slot);
      }
      drop_table(s);
    }
    for (const BlockId unused : slots_) tiers_.release(unused);  // of sequences that have finished
    group.timeline.swapped_out_blocks += static_cast<std::int64_t>(plan.swap_out.size() - before);
    return true;
  }

  /// Brings a swapped group back; false, and nothing changed, when the pool has too little room.
  bool swap_in(SequenceGroup& group, StepPlan& plan) {
    // with room to go on in this very step
    return bring_back(group, plan, growth_on_host(group));
  }

  /// Enters the full, computed blocks of a sequence into the prefix index.
  /// When the same text is indexed already, the sequence takes over that block and gives up its
  /// own.
  void publish(const SequenceGroup& group, Sequence& s) {
    if constexpr (PrefixIndex::enabled) {
      const auto full = static_cast<std::size_t>(s.computed.value / block_tokens.value);
      while (s.published < full) {
        const std::size_t b = s.published;
        const BlockId block = table(s)[b];
        if (pool_.indexed(block)) {  // a sibling that shares it was first
          ++s.published;
          continue;
        }
        std::optional<BlockId> parent;
        if (b > 0) parent = table(s)[b - 1];
        const bool reachable = !parent || pool_.indexed(*parent);
        // a sibling that recomputed the shared prompt may have exchanged its blocks meanwhile
        if (Admission::admits_all && !reachable) return;
        const auto begin = b * static_cast<std::size_t>(block_tokens.value);
        const std::span<const TokenId> text(s.tokens.data() + begin,
                                            static_cast<std::size_t>(block_tokens.value));
        const bool admitted =
            pool_.admit(block, parent, text, group.request.salt, context(group, b));
        if (!admitted || !reachable) statistics_.refused_blocks += 1;
        if (reachable) {
          // a known text is taken over admitted or not: who holds a block holds all before it
          const bool fresh =
              admitted && pool_.publish(block, parent, text, group.request.salt, context(group, b));
          if (fresh) {
            statistics_.inserted_blocks += 1;
            tiers_.on_publish(block, parent, {s.tokens.data(), begin + text.size()},
                              group.request.salt, context(group, b));
          } else if (take_over(group, s, b) && admitted) {
            statistics_.known_blocks += 1;
          }
        }
        ++s.published;
      }
    }
  }

  /// A sequence ends while its blocks are still its own: enters the block that it filled in part, for
  /// an index that finds parts, and pins its text where the request says for how long.
  void on_end(const SequenceGroup& group, Sequence& s, Seconds now) {
    if constexpr (PrefixIndex::enabled) {
      const auto full = static_cast<std::size_t>(s.computed.value / block_tokens.value);
      if (table(s).empty() || s.published != full) return;
      if constexpr (copies_parts) publish_part(group, s, full);
      if (group.request.keep_for > Seconds{0.0}) {
        const bool kept =
            pin(s.tokens, group.request.salt, now + group.request.keep_for).has_value();
        (kept ? statistics_.texts_kept : statistics_.texts_not_kept) += 1;
      }
    }
  }

  /// Keeps the longest cached prefix of a text from eviction until a time on the engine's clock, or
  /// until unpin() when none is given. Empty when nothing of it is cached, or when pinned blocks
  /// would take more than a fifth of the pool.
  std::optional<PinId> pin(std::span<const TokenId> text, std::uint64_t salt,
                           std::optional<Seconds> until = std::nullopt) {
    scratch_.clear();
    if constexpr (PrefixIndex::enabled) pool_.match(text, salt, scratch_);
    return pins_.add(pool_, scratch_, until);
  }
  /// False when the pin is not known, or ran out.
  bool unpin(PinId id) { return pins_.remove(pool_, id); }
  /// Gives up the pins whose time has come.
  void expire(Seconds now) { pins_.expire(pool_, now); }
  [[nodiscard]] std::size_t pins() const { return pins_.size(); }

  /// What requests asked for and found, since the beginning.
  [[nodiscard]] const PrefixStatistics& prefix_statistics() const { return statistics_; }

  /// Tokens that admit() would find computed for the first sequence of a waiting group.
  [[nodiscard]] Tokens cached_prefix(const SequenceGroup& group) {
    if constexpr (PrefixIndex::enabled) {
      if (const Sequence* s = first_of(group)) {
        match_prefix(*s, group);
        match_below(*s, group, scratch_.size());
        const auto found = static_cast<std::int64_t>(scratch_.size() + hits_.size());
        const std::optional<PartOfBlock> part = match_part(*s, group);
        return found * block_tokens.value + (part && hits_.empty() ? part->tokens : Tokens{0});
      }
    }
    return 0;
  }
  /// Whether it can tell which waiting groups' cached_prefix() may have changed: not where tiers below the
  /// device hold text too, whose coming and going nobody watches.
  [[nodiscard]] bool watches_prefixes() const {
    return PrefixIndex::enabled && !tiers_.keeps_evicted();
  }
  /// A group begins to wait, or waits no longer, under a slot of its own. \pre watches_prefixes()
  void begin_watch(std::uint32_t slot) { pool_.watch().open(slot); }
  void end_watch(std::uint32_t slot) { pool_.watch().close(slot); }
  /// Appends the slots of groups that began to wait, or whose cached_prefix() may have changed since the
  /// last match_again().
  void take_changed(std::vector<std::uint32_t>& slots) { pool_.watch().take(slots); }
  /// cached_prefix() of a group that is watched.
  [[nodiscard]] Tokens match_again(const SequenceGroup& group, std::uint32_t slot) {
    const Tokens found = cached_prefix(group);
    if constexpr (PrefixIndex::enabled) {
      std::optional<BlockId> last;
      std::optional<std::uint64_t> next;
      if (!scratch_.empty()) last = scratch_.back();
      if (const Sequence* s = first_of(group)) {
        const auto begin = scratch_.size() * static_cast<std::size_t>(block_tokens.value);
        const auto end = static_cast<std::size_t>(s->length.value - 1);  // see match_prefix()
        const std::span<const TokenId> text(s->tokens);
        next = pool_.watch_key_after(last, text.subspan(begin, end - begin), group.request.salt);
      }
      pool_.watch().matched(slot, last, next);
    }
    return found;
  }
  /// Brings what a waiting group will need from disk to the host, and keeps it there.
  void prefetch(const SequenceGroup& group) {
    if constexpr (PrefixIndex::enabled) {
      if (!tiers_.keeps_evicted()) return;
      if (const Sequence* s = first_of(group)) {
        match_prefix(*s, group);
        match_below(*s, group, scratch_.size());
        for (const auto& hit : hits_) tiers_.pin(hit);  // making room for one must not cost another
        for (const auto& hit : hits_) {
          if (!tiers_.prefetch(hit)) return;
        }
      }
    }
  }
  /// The content of a tier's slot turned out not to be what was written there.
  void on_lost(BlockId slot) { tiers_.on_lost(slot); }
  /// Plans the copy of all cached text to disk, as far as there is room.
  void persist() { tiers_.persist(); }
  /// Takes in the cached text that an earlier process left on disk; returns how much.
  BlockCount restore(std::span<const StoredBlock> stored) { return tiers_.restore(stored); }

  void begin_step(StepPlan& plan) {
    plan_ = &plan;
    tiers_.begin_step(plan);
  }
  void end_step(StepPlan& plan) {
    // The blocks that are copied from were held, so that no other use came before the copy.
    for (const BlockCopy& copy : part_copies_) {
      plan.copies.push_back(copy);
      pool_.release(copy.from);
    }
    part_copies_.clear();
    for (const BlockId block : copied_) pool_.release(block);
    copied_.clear();
    pool_.take_evicted(plan.evicted);
    if (!plan.empty()) pool_.take_freed(plan.freed);  // who asked must come to read them
    statistics_.evicted_blocks += static_cast<std::int64_t>(plan.evicted.size());
    tiers_.end_step();
    plan_ = nullptr;
  }

  /// Adds what one running or swapped group holds; `final_length` is where its sequences will end.
  void add_usage(const SequenceGroup& group, Tokens final_length, MemoryUsage& usage) const {
    if (group.status == GroupStatus::swapped && group.parked == BlockCount{0}) {
      usage.swapped += swapped_states(group);
    }
    for (const Sequence& s : group.sequences) {
      usage.logical_blocks += static_cast<std::int64_t>(table(s).size());
      if (table(s).empty()) continue;
      // A block that several sequences share counts once: each adds its part.
      const double part = 1.0 / pool_.references(table(s).back());
      const Tokens room = static_cast<std::int64_t>(table(s).size()) * block_tokens.value;
      const Tokens unfilled = std::max(room - s.computed, Tokens{0});
      const Tokens later = std::clamp(final_length - s.computed, Tokens{0}, unfilled);
      reserved_ += part * static_cast<double>(later.value);
      unused_ += part * static_cast<double>((unfilled - later).value);
    }
  }
  /// The same for a running sequence that is alone in its group; needs no finish_usage() to be exact.
  static void add_alone(const Sequence& s, Tokens final_length, MemoryUsage& usage) {
    const auto blocks = static_cast<std::int64_t>(table(s).size());
    const Tokens unfilled = std::max(Tokens{blocks * block_tokens.value} - s.computed, Tokens{0});
    const Tokens later = std::clamp(final_length - s.computed, Tokens{0}, unfilled);
    usage.logical_blocks += blocks;
    usage.reserved += later;
    usage.internal += unfilled - later;
  }
  void finish_usage(MemoryUsage& usage) const {
    usage.capacity = capacity().value * block_tokens.value;
    usage.physical_blocks = pool_.referenced();
    const Tokens held = usage.physical_blocks.value * block_tokens.value;
    usage.reserved += std::llround(reserved_);
    usage.internal += std::llround(unused_);
    usage.token_states = held - usage.reserved - usage.internal;
    usage.free = usage.capacity - held;
    reserved_ = unused_ = 0;
  }

 protected:
  /// swap_in(), with `more` blocks free besides.
  bool bring_back(SequenceGroup& group, StepPlan& plan, BlockCount more) {
    std::vector<BlockId> hosts;
    for (const Sequence& s : group.sequences) {
      hosts.insert(hosts.end(), s.host_blocks.begin(), s.host_blocks.end());
    }
    std::sort(hosts.begin(), hosts.end());
    hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
    const BlockCount need = static_cast<std::int64_t>(hosts.size()) + more;
    const BlockCount reserve = pool_.referenced() == BlockCount{0} ? BlockCount{0} : watermark_;
    if (pool_.available() - need < reserve) return false;
    moved_.begin(tiers_.host().capacity() + tiers_.disk().capacity());
    for (Sequence& s : group.sequences) {
      for (const BlockId host : s.host_blocks) {
        if (const std::optional<BlockId> device = moved_.find(host)) {
          pool_.acquire(*device);
          table(s).append(*device);
        } else {
          const BlockId block = take();
          moved_.insert(host, block);
          plan.swap_in.push_back({.device = block, .host = host});
          table(s).append(block);
        }
        tiers_.release(host);
      }
      s.host_blocks.clear();
      s.table_changed = true;
    }
    return true;
  }

  static BlockTable& table(Sequence& s) { return s.tables[0]; }
  static const BlockTable& table(const Sequence& s) { return s.tables[0]; }
  static std::size_t next_block(const Sequence& s) {
    return static_cast<std::size_t>(s.computed.value / block_tokens.value);
  }

  /// Whether writing the next token needs a copy first, given the writes counted before it.
  bool shares_next(const SequenceGroup& group, const Sequence& s) {
    const std::size_t next = next_block(s);
    if (next >= table(s).size()) return false;
    const BlockId block = table(s)[next];
    if (keeps_part(block)) return true;
    return copies_before_write(block, pool_.references(block) - waiting_for(group, s));
  }
  /// Whether a block that is written next is known to the index by the part of it that is filled.
  [[nodiscard]] bool keeps_part(BlockId block) const {
    return copies_parts && pool_.indexed(block);
  }
  /// Siblings that hold the next block of `s` because `s` computes it for them: after a recompute,
  /// the first sequence fills the blocks of the prompt for all.
  [[nodiscard]] static std::uint32_t waiting_for(const SequenceGroup& group, const Sequence& s) {
    std::uint32_t waiting = 0;
    for (const Sequence& other : group.sequences) {
      waiting += !other.finished() && &other != &s && other.shared > s.computed;
    }
    return waiting;
  }
  bool copies_before_write(BlockId block, std::uint32_t references) {
    if (references == 1) return false;
    auto known = std::find_if(writes_.begin(), writes_.end(),
                              [&](const auto& w) { return w.first == block; });
    if (known == writes_.end()) {
      writes_.emplace_back(block, references);
      known = writes_.end() - 1;
    }
    if (known->second == 1) return false;
    --known->second;  // the copy takes one reference away from the original
    return true;
  }
  /// Token states of a swapped group; those of a block that several sequences share count once.
  [[nodiscard]] static Tokens swapped_states(const SequenceGroup& group) {
    if (group.sequences.size() == 1) return group.sequences.front().computed;
    std::vector<std::pair<BlockId, Tokens>> filled;
    for (const Sequence& s : group.sequences) {
      // up to `shared` it is for the first sequence to say what has been computed
      for (Tokens from = s.shared; from < s.computed; from += block_tokens) {
        const auto b = static_cast<std::size_t>(from.value / block_tokens.value);
        filled.emplace_back(s.host_blocks[b], std::min(s.computed - from, block_tokens));
      }
    }
    std::sort(filled.begin(), filled.end(), std::greater<>());
    const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
    filled.erase(std::unique(filled.begin(), filled.end(), same), filled.end());
    Tokens states = 0;
    for (const auto& [block, tokens] : filled) states += tokens;
    return states;
  }
  /// Blocks that a swapped group will need beside its own to compute all its tokens.
  [[nodiscard]] BlockCount growth_on_host(const SequenceGroup& group) {
    BlockCount need = 0;
    writes_.clear();
    for (const Sequence& s : group.sequences) {
      if (s.finished()) continue;
      const std::size_t have = s.host_blocks.size(), next = next_block(s);
      const BlockCount want = blocks_for(s.length, block_tokens);
      need += std::max(want - static_cast<std::int64_t>(have), BlockCount{0});
      if (next >= have) continue;
      const BlockId host = s.host_blocks[next];
      if (copies_before_write(host, tiers_.references(host) - waiting_for(group, s))) need += 1;
    }
    return need;
  }

  void extend(Sequence& s, Tokens tokens) {
    const auto want = static_cast<std::size_t>(blocks_for(tokens, block_tokens).value);
    if (want > table(s).size() + 1) table(s).reserve(want);
    while (table(s).size() < want) table(s).append(take());
  }
  /// A block of the pool; what it evicts goes down a tier. \pre one is available
  BlockId take() {
    const BlockId block = *pool_.allocate();
    if constexpr (!PrefixIndex::enabled) return block;  // nothing cached is evicted
    if (tiers_.keeps_evicted()) {
      evicted_.clear();
      pool_.take_evicted(evicted_);
      for (const BlockId b : evicted_) tiers_.on_evict(b);
      if (plan_ != nullptr) {
        plan_->evicted.insert(plan_->evicted.end(), evicted_.begin(), evicted_.end());
      }
      tiers_.on_allocate(block);
    }
    return block;
  }

  /// Exchanges block b of a sequence for the one that is indexed with the same text, if there is one.
  bool take_over(const SequenceGroup& group, Sequence& s, std::size_t b) {
    const std::size_t tokens = (b + 1) * static_cast<std::size_t>(block_tokens.value);
    scratch_.clear();
    pool_.match({s.tokens.data(), tokens}, group.request.salt, scratch_);
    if (scratch_.size() <= b) return false;
    const BlockId own = table(s)[b];
    pool_.acquire(scratch_[b]);
    table(s).replace(b, scratch_[b]);
    pool_.release(own);
    s.table_changed = true;
    return true;
  }

  void drop_table(Sequence& s) {
    const auto blocks = table(s).blocks();
    if constexpr (copies_parts) drop_part_copies(blocks);
    for (std::size_t i = blocks.size(); i-- > 0;) pool_.release(blocks[i]);
    table(s).clear();
    s.published = 0;
  }
  void detach(Sequence& s) {
    drop_table(s);
    s.computed = s.shared = 0;
  }

  /// Cached blocks of the sequence's text, into scratch_.
  void match_prefix(const Sequence& s, const SequenceGroup& group) {
    scratch_.clear();
    pool_.match(s.tokens, group.request.salt, scratch_);
    // At least the last token is computed, or there would be nothing to draw from.
    const auto most = static_cast<std::size_t>((s.length.value - 1) / block_tokens.value);
    if (scratch_.size() > most) scratch_.resize(most);
  }
  /// The block that continues scratch_ furthest with the sequence's text, for an index that finds parts.
  [[nodiscard]] std::optional<PartOfBlock> match_part(const Sequence& s,
                                                      const SequenceGroup& group) const {
    if constexpr (copies_parts) {
      const std::size_t begin = scratch_.size() * static_cast<std::size_t>(block_tokens.value);
      const auto end = static_cast<std::size_t>(s.length.value - 1);  // the last token is computed
      if (begin >= end) return std::nullopt;
      std::optional<BlockId> parent;
      if (!scratch_.empty()) parent = scratch_.back();
      return pool_.match_part(parent, {s.tokens.data() + begin, end - begin}, group.request.salt);
    } else {
      return std::nullopt;
    }
  }
  /// Gives the sequence a block of its own with what it shares of a cached one. The cached block was
  /// acquired when it was found, and is held until the copy is in the plan.
  void attach_part(Sequence& s, const PartOfBlock& part) {
    const BlockId own = take();
    table(s).append(own);
    part_copies_.push_back({.from = part.block, .to = own});
    s.computed += part.tokens;
  }
  /// Copies into these blocks are not needed any more.
  void drop_part_copies(std::span<const BlockId> blocks) {
    std::erase_if(part_copies_, [&](const BlockCopy& copy) {
      if (std::find(blocks.begin(), blocks.end(), copy.to) == blocks.end()) return false;
      pool_.release(copy.from);
      return true;
    });
  }
  /// Enters the last block of a sequence that it filled in part. \pre `full` blocks before it are full
  void publish_part(const SequenceGroup& group, const Sequence& s, std::size_t full) {
    const Tokens filled = s.computed.value % block_tokens.value;
    if (filled == Tokens{0} || full >= table(s).size()) return;
    const BlockId block = table(s)[full];
    std::optional<BlockId> parent;
    if (full > 0) parent = table(s)[full - 1];
    if (pool_.indexed(block) || pool_.references(block) > 1) return;  // a sibling writes on in it
    if (parent && !pool_.indexed(*parent)) return;
    const std::span<const TokenId> text(
        s.tokens.data() + full * static_cast<std::size_t>(block_tokens.value),
        static_cast<std::size_t>(filled.value));
    if (!pool_.admit(block, parent, text, group.request.salt, context(group, full))) return;
    if (pool_.publish(block, parent, text, group.request.salt, context(group, full))) {
      statistics_.part_blocks += 1;
    }
  }

  /// Counts a request that was admitted, before a part of a block is attached.
  void count_request(const Sequence& s, const SequenceGroup&) {
    if constexpr (PrefixIndex::enabled) {
      const Tokens part = part_ ? part_->tokens : Tokens{0};
      statistics_.requests += 1;
      statistics_.asked_tokens += s.length;
      statistics_.found_tokens += s.computed + part;
      statistics_.found_in_parts += part;
      statistics_.asked_blocks += s.length.value / block_tokens.value;
      statistics_.found_blocks += static_cast<std::int64_t>(s.published);
    }
  }

  /// Attaches cached blocks of the sequence's text; returns how many more it needs.
  BlockCount attach_prefix(Sequence& s, const SequenceGroup& group) {
    if constexpr (PrefixIndex::enabled) {
      match_prefix(s, group);
      for (const BlockId block : scratch_) {
        pool_.acquire(block);
        table(s).append(block);
      }
      s.published = scratch_.size();
      s.computed = static_cast<std::int64_t>(scratch_.size()) * block_tokens.value;
      part_ = match_part(s, group);
      if (part_) pool_.acquire(part_->block);
    }
    return blocks_for(s.length, block_tokens) - static_cast<std::int64_t>(table(s).size());
  }
  [[nodiscard]] static const Sequence* first_of(const SequenceGroup& group) {
    for (const Sequence& s : group.sequences) {
      if (!s.finished()) return &s;
    }
    return nullptr;
  }
  /// What lies below the device of the sequence's text after its first `from` blocks, into hits_.
  void match_below(const Sequence& s, const SequenceGroup& group, std::size_t from) {
    hits_.clear();
    const auto most = static_cast<std::size_t>((s.length.value - 1) / block_tokens.value);
    tiers_.match(s.tokens, group.request.salt, from, most, hits_);
  }
  /// Plans the fetch of what follows the blocks that the sequence has; whether there is any.
  /// \pre the pool has room
  template <class Choose>
  bool fetch_prefix(Sequence& s, const SequenceGroup& group, Choose&& choose) {
    if constexpr (PrefixIndex::enabled) {
      if (!tiers_.keeps_evicted()) return false;
      match_below(s, group, table(s).size());
      if (hits_.empty()) return false;
      candidates_.clear();
      for (const auto& hit : hits_) {
        const std::size_t b = table(s).size() + candidates_.size();
        candidates_.push_back({.on_disk = hit.on_disk,
                               .recompute = costs_.compute(context(group, b).recompute),
                               .fetch = costs_.fetch(hit.on_disk)});
      }
      const std::size_t chosen = choose(std::span<const FetchCandidate>(candidates_));
      assert(chosen <= hits_.size());
      hits_.resize(chosen);
      for (const auto& hit : hits_) tiers_.pin(hit);  // making room for one must not cost another
      for (const auto& hit : hits_) {
        const BlockId block = take();
        tiers_.fetch(hit, block);
        table(s).append(block);
      }
      s.computed += static_cast<std::int64_t>(chosen) * block_tokens.value;
      return chosen > 0;
    } else {
      return false;
    }
  }
  void touch_prefix(const Sequence& s, const SequenceGroup& group) {
    for (std::size_t b = s.published; b-- > 0;) pool_.touch(table(s)[b], context(group, b));
  }

  [[nodiscard]] BlockContext context(const SequenceGroup& group, std::size_t block) const {
    const double tokens = static_cast<double>(block_tokens.value);
    const double position = static_cast<double>(block) * tokens;
    const double linear = 2.0 * static_cast<double>(shape_.parameters()) * tokens;
    const double attention = 4.0 *
                             static_cast<double>(shape_.layers * shape_.heads * shape_.head_dim) *
                             tokens * (position + tokens / 2);
    std::int32_t priority = group.request.priority;
    std::uint64_t duration = 0;
    for (const PriorityRange& range : group.request.priorities) {
      const Tokens first = static_cast<std::int64_t>(position);
      if (first < range.begin || first >= range.end) continue;
      priority = range.priority;
      duration = range.duration;
      break;
    }
    return {.position = static_cast<std::int64_t>(position),
            .length = group.prompt_length(),
            .recompute = linear + attention,
            .size = block_bytes_,
            .tenant = group.request.tenant,
            .priority = priority,
            .duration = duration,
            .category = group.request.turn,
            .next_use = std::nullopt};
  }

  /// Block -> block, emptied in O(1): where the blocks of a group went.
  class Moves {
   public:
    void begin(BlockCount ids) {
      to_.resize(std::max(to_.size(), static_cast<std::size_t>(ids.value)));
      ++round_;
    }
    void insert(BlockId from, BlockId to) { to_[from.value] = {round_, to}; }
    [[nodiscard]] std::optional<BlockId> find(BlockId from) const {
      const auto& [round, to] = to_[from.value];
      return round == round_ ? std::optional(to) : std::nullopt;
    }

   private:
    std::vector<std::pair<std::uint64_t, BlockId>> to_;
    std::uint64_t round_ = 0;
  };

  Pool pool_;
  Tiers tiers_;
  model::Shape shape_;
  TierCosts costs_;
  Bytes block_bytes_;
  BlockCount watermark_;
  std::vector<std::pair<BlockId, std::uint32_t>>
      writes_;   // grow(): references left after the copies
  Moves moved_;  // swaps of one group
  std::vector<BlockId> scratch_, evicted_, slots_;
  std::optional<PartOfBlock> part_;     // of the group that is being admitted
  std::vector<BlockCopy> part_copies_;  // of groups admitted in this step
  std::vector<BlockId> copied_;         // blocks that the plan copies and nobody else refers to
  PrefixPins pins_;
  PrefixStatistics statistics_;
  std::vector<typename Tiers::Hit> hits_;
  std::vector<FetchCandidate> candidates_;
  StepPlan* plan_ = nullptr;
  mutable double reserved_ = 0, unused_ = 0;
};

/// The paged memory of a configuration; those that differ elsewhere share its code.
template <class C>
using PagedMemory = BasicPagedMemory<typename C::Eviction, typename C::PrefixIndex,
                                     typename C::BlockSize, typename C::Admission>;

}  // namespace quire
