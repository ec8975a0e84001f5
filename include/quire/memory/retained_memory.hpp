#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/memory/paged_memory.hpp>
#include <quire/prefix_index/none.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/scheduler/limits.hpp>

namespace quire {

/// Paged memory under a policy that drops tokens: after every step each lane of a sequence gives up
/// slots, and a block in which no lane holds a token goes back to the pool. What dropped tokens leave
/// in blocks that stay are holes; the policy's Compaction says what becomes of them.
/// Blocks are taken for the tokens of a step, not for a whole prompt ahead.
/// \complexity O(kept tokens x lanes) a sequence and step.
template <EvictionPolicy Eviction, DroppingPolicy Retention, class BlockSize>
class RetainedMemory : public BasicPagedMemory<Eviction, prefix_index::None, BlockSize> {
  using Base = BasicPagedMemory<Eviction, prefix_index::None, BlockSize>;
  using Compaction = typename Retention::Compaction;
  using Lane = retention::Lane;

 public:
  using Base::block_tokens;
  static constexpr bool takes_blocks_step_by_step = true;

  RetainedMemory(const KvGeometry& geometry, const model::Shape& shape,
                 const SchedulerLimits& limits)
      : Base(geometry, shape, limits.watermark),
        policy_(limits.retention, shape.layers),
        scope_(scope(geometry.attends)),
        layers_(static_cast<std::size_t>(shape.layers)),
        kv_heads_(static_cast<std::size_t>(shape.kv_heads)) {
    if (limits.retention.budget < Tokens{1}) {
      throw usage_error("limits.retention.budget",
                        std::to_string(limits.retention.budget.value) + " tokens", "at least 1");
    }
  }

  /// A prompt never has to fit as a whole; whether its first step does is seen when it is planned.
  [[nodiscard]] std::optional<std::string> rejects(const SequenceGroup&, Tokens) const {
    return std::nullopt;
  }
  bool admit(SequenceGroup& group, Tokens max_length) { return admit(group, max_length, 0); }
  template <class Choose>
  bool admit(SequenceGroup& group, Tokens, Choose&&) {
    for (Sequence& s : group.sequences) {
      if (!s.finished()) start(s);
    }
    return true;
  }

  /// grow() for a group that joins: leaves the watermark free, but for an idle pool.
  bool begin(SequenceGroup& group, std::span<const Tokens> tokens, StepPlan& plan) {
    const BlockCount reserve =
        pool_.referenced() == BlockCount{0} ? BlockCount{0} : this->watermark();
    if (pool_.available() - blocks_for_growth(group, tokens) < reserve) return false;
    return grow(group, tokens, plan);
  }

  /// Gives the step's tokens slots in every lane. False, and nothing changed, when the pool has too
  /// few blocks.
  bool grow(SequenceGroup& group, std::span<const Tokens> tokens, StepPlan& plan) {
    if (blocks_for_growth(group, tokens) > pool_.available()) return false;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      Sequence& s = group.sequences[i];
      if (s.finished() || tokens[i] == Tokens{0}) continue;
      for (const std::size_t b : written_blocks(s, tokens[i])) {
        const BlockId from = table(s)[b];
        if (pool_.references(from) == 1) continue;
        const BlockId to = this->take();
        plan.copies.push_back({from, to});
        table(s).replace(b, to);
        pool_.release(from);
        s.table_changed = true;
      }
      for (Lane& lane : s.lanes) {
        for (std::int64_t t = 0; t < tokens[i].value; ++t) {
          lane.entries.push_back({(s.computed + t).value, take_slot(lane), 0});
        }
        lane.history.resize(history_for(lane, static_cast<std::size_t>(tokens[i].value)));
      }
      const auto want = static_cast<std::size_t>(
          ceil_div(static_cast<std::int64_t>(tail(s)), block_tokens.value));
      while (table(s).size() < want) {
        table(s).append(this->take());
        s.table_changed = true;
      }
    }
    return true;
  }

  /// Has the policy drop tokens after a step that ran. votes: of all lanes, or none.
  void retain(const SequenceGroup& group, Sequence& s, Tokens tokens,
              std::span<const std::int64_t> votes) {
    std::size_t voted = 0;
    bool dropped = false;
    for (std::size_t l = 0; l < s.lanes.size(); ++l) {
      Lane& lane = s.lanes[l];
      const std::size_t count = votes.empty() ? 0 : lane.entries.size();
      const std::size_t entries = lane.entries.size(), holes = lane.holes.size();
      const std::uint32_t tail = lane.tail;
      drop_.clear();
      policy_.after_step(lane, votes.subspan(voted, count),
                         {.prompt = group.prompt_length(),
                          .computed = s.computed,
                          .tokens = tokens,
                          .layer = layer_of(l)},
                         drop_);
      if (lane.entries.size() != entries || lane.holes.size() != holes || lane.tail != tail) {
        refuse_places();
      }
      voted += count;
      if (drop_.empty()) continue;
      erase(lane);
      dropped = true;
    }
    if (!dropped) return;
    if constexpr (Compaction::moves) {
      compact(s);
    } else {
      free_empty_blocks(s);
    }
  }

  /// Tokens that have slots, in the mean over lanes.
  [[nodiscard]] static Tokens kept(const Sequence& s) {
    std::size_t entries = 0;
    for (const Lane& lane : s.lanes) entries += lane.entries.size();
    return static_cast<std::int64_t>(entries / std::max<std::size_t>(1, s.lanes.size()));
  }

  /// \errors state error that names the policy: it gave tokens other slots. Looked for once a sequence:
  /// in every step it would cost policies that drop a token each a tenth and more.
  void release(Sequence& s) {
    for (const Lane& lane : s.lanes) check_places(lane);
    s.lanes.clear();
    Base::release(s);
    // a sibling that was forked since relies on the moves as well
    std::erase_if(moves_, [&](const retention::SlotMove& m) {
      return pool_.references(BlockId{m.to_block}) == 0;
    });
  }
  void recycle(SequenceGroup&, Sequence& s) { release(s); }

  bool swap_in(SequenceGroup& group, StepPlan& plan) {
    // with room to go on in this very step, and to copy what siblings share
    BlockCount more = 0;
    for (const Sequence& s : group.sequences) {
      if (s.finished()) continue;
      const BlockCount want = blocks_for(slots_after(s, s.remaining()), block_tokens);
      more += std::max(want - static_cast<std::int64_t>(s.host_blocks.size()), BlockCount{0});
      if (group.sequences.size() > 1) more += static_cast<std::int64_t>(s.host_blocks.size());
    }
    return this->bring_back(group, plan, more);
  }

  void begin_step(StepPlan& plan) {
    Base::begin_step(plan);
    plan.slot_moves.insert(plan.slot_moves.end(), moves_.begin(), moves_.end());
    moves_.clear();
  }

  void add_usage(const SequenceGroup& group, Tokens final_length, MemoryUsage& usage) const {
    for (const Sequence& s : group.sequences) {
      usage.logical_blocks += static_cast<std::int64_t>(table(s).size());
      if (!s.host_blocks.empty()) usage.swapped += kept(s);
      if (table(s).empty()) continue;
      const double lanes = static_cast<double>(s.lanes.size());
      double holes = 0, fresh = 0;
      const auto room = static_cast<std::uint32_t>(table(s).size()) * block_size;
      for (const Lane& lane : s.lanes) {
        fresh += (room - lane.tail) / lanes;
        if (group.sequences.size() == 1) {
          holes += static_cast<double>(lane.holes.size()) / lanes;
        } else {  // a block that several sequences share counts once: each adds its part
          for (const std::uint32_t hole : lane.holes) {
            holes += 1.0 / pool_.references(table(s)[hole / block_size]) / lanes;
          }
        }
      }
      const double part = 1.0 / pool_.references(table(s).back());
      const double later = std::min(
          fresh, static_cast<double>(std::max(final_length - s.computed, Tokens{0}).value));
      this->reserved_ += part * later;
      this->unused_ += part * (fresh - later);
      holes_ += holes;
    }
  }
  void finish_usage(MemoryUsage& usage) const {
    Base::finish_usage(usage);
    // siblings' shares of a block are rounded, and must not add up to more than there is
    const Tokens held = usage.capacity - usage.free;
    usage.reserved = std::min(usage.reserved, held);
    usage.internal = std::min(usage.internal, held - usage.reserved);
    usage.holes = std::min(Tokens{std::llround(holes_)}, held - usage.reserved - usage.internal);
    usage.token_states = held - usage.reserved - usage.internal - usage.holes;
    holes_ = 0;
  }

 private:
  static constexpr auto block_size = static_cast<std::uint32_t>(block_tokens.value);

  static constexpr retention::Scope scope(bool attends) {
    if (attends) return Retention::scope;
    // Without attention all heads keep equally many: one stands for them.
    if constexpr (retention::per_layer_budgets<Retention>) return retention::Scope::layer;
    return retention::Scope::sequence;
  }
  [[nodiscard]] std::int64_t layer_of(std::size_t lane) const {
    if (scope_ == retention::Scope::sequence) return 0;
    return static_cast<std::int64_t>(scope_ == retention::Scope::layer ? lane : lane / kv_heads_);
  }

  using Base::pool_;
  using Base::table;

  void start(Sequence& s) {
    s.computed = s.shared = 0;
    s.lanes.assign(retention::lane_count(scope_, layers_, kv_heads_), {});
    s.table_changed = true;
  }
  [[nodiscard]] static std::uint32_t tail(const Sequence& s) {
    std::uint32_t most = 0;
    for (const Lane& lane : s.lanes) most = std::max(most, lane.tail);
    return most;
  }
  /// Slots of its table that a sequence will have used when it has taken `tokens` more.
  [[nodiscard]] static Tokens slots_after(const Sequence& s, Tokens tokens) {
    std::int64_t end = 0;
    for (const Lane& lane : s.lanes) {
      const std::int64_t reused =
          Compaction::reuses ? std::min(std::ssize(lane.holes), tokens.value) : 0;
      end = std::max(end, lane.tail + tokens.value - reused);
    }
    return end;
  }
  /// What `history` holds once `more` entries have joined.
  [[nodiscard]] static std::size_t history_for(const Lane& lane, std::size_t more) {
    const std::size_t before = lane.entries.size() - more;
    return before == 0 ? lane.history.size() : lane.history.size() / before * lane.entries.size();
  }
  [[nodiscard]] static std::uint32_t take_slot(Lane& lane) {
    if (Compaction::reuses && !lane.holes.empty()) {
      const std::uint32_t slot = lane.holes.back();
      lane.holes.pop_back();
      return slot;
    }
    return lane.tail++;
  }

  /// Blocks of a sequence's table that its next tokens will be written into.
  [[nodiscard]] std::vector<std::size_t> written_blocks(const Sequence& s, Tokens tokens) const {
    std::vector<std::size_t> blocks;
    if (table(s).empty()) return blocks;
    for (const Lane& lane : s.lanes) {
      auto left = static_cast<std::size_t>(tokens.value);
      if (Compaction::reuses) {
        for (std::size_t i = lane.holes.size(); i-- > 0 && left > 0; --left) {
          blocks.push_back(lane.holes[i] / block_size);
        }
      }
      for (std::size_t i = 0; i < left; ++i) {
        const std::size_t b = (lane.tail + i) / block_size;
        if (b >= table(s).size()) break;
        blocks.push_back(b);
      }
    }
    std::sort(blocks.begin(), blocks.end());
    blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
    return blocks;
  }
  [[nodiscard]] BlockCount blocks_for_growth(const SequenceGroup& group,
                                             std::span<const Tokens> tokens) {
    BlockCount need = 0;
    this->writes_.clear();
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      const Sequence& s = group.sequences[i];
      if (s.finished() || tokens[i] == Tokens{0}) continue;
      const BlockCount want = blocks_for(slots_after(s, tokens[i]), block_tokens);
      need += std::max(want - static_cast<std::int64_t>(table(s).size()), BlockCount{0});
      for (const std::size_t b : written_blocks(s, tokens[i])) {
        const BlockId block = table(s)[b];
        if (this->copies_before_write(block, pool_.references(block))) need += 1;
      }
    }
    return need;
  }

  [[noreturn]] static void refuse_places() {
    throw state_error("retention policy " + std::string(Retention::name),
                      "after_step() changes which slots a lane uses",
                      "entries to drop, by index; of the lane it may write scores and history");
  }
  /// A lane's tokens stand in the order of the text, and their slots are with its holes those below its
  /// tail, each once, which is told by the sum. \errors state: they do not, since the policy wrote there
  static void check_places(const Lane& lane) {
    const std::uint64_t tail = lane.tail;
    std::uint64_t sum = 0;
    std::int64_t before = -1;
    for (const retention::Entry& entry : lane.entries) {
      if (entry.slot >= tail || entry.position <= before) refuse_places();
      before = entry.position;
      sum += entry.slot;
    }
    for (const std::uint32_t hole : lane.holes) sum += hole;
    if (tail > 0 && sum != tail * (tail - 1) / 2) refuse_places();
  }

  /// Takes the entries named in drop_ out of a lane.
  void erase(Lane& lane) {
    const std::size_t parts = lane.entries.empty() ? 0 : lane.history.size() / lane.entries.size();
    std::size_t to = drop_.front(), next = 0;
    for (std::size_t from = to; from < lane.entries.size(); ++from) {
      if (next < drop_.size() && drop_[next] == from) {
        lane.holes.push_back(lane.entries[from].slot);
        ++next;
        continue;
      }
      lane.entries[to] = lane.entries[from];
      std::copy_n(lane.history.begin() + static_cast<std::ptrdiff_t>(from * parts), parts,
                  lane.history.begin() + static_cast<std::ptrdiff_t>(to * parts));
      ++to;
    }
    if (next != drop_.size()) {
      throw state_error("retention policy " + std::string(Retention::name),
                        "after_step() names entries that the lane does not have",
                        "indices below the number of entries, in rising order");
    }
    lane.entries.resize(to);
    lane.history.resize(to * parts);
    std::sort(lane.holes.begin(), lane.holes.end(), std::greater<>());
    std::size_t last = 0;  // holes at the end are slots like those behind them
    while (last < lane.holes.size() && lane.holes[last] + 1 == lane.tail) {
      --lane.tail;
      ++last;
    }
    lane.holes.erase(lane.holes.begin(), lane.holes.begin() + static_cast<std::ptrdiff_t>(last));
  }

  /// Moves what lies beyond the blocks that are needed into holes before them, and gives the rest
  /// back: which blocks a sequence holds depends on how many tokens it keeps, not on which.
  void compact(Sequence& s) {
    std::size_t most = 0;
    for (const Lane& lane : s.lanes) most = std::max(most, lane.entries.size());
    // with room for the next token, or every step would take a block and give it back
    const auto keep = static_cast<std::uint32_t>(
        ceil_div(static_cast<std::int64_t>(most) + 1, block_tokens.value));
    const std::uint32_t end = keep * block_size;
    if (keep >= table(s).size()) return;
    for (std::uint32_t b = 0; b < keep; ++b) {
      if (pool_.references(table(s)[b]) > 1) return;  // a sibling reads it as it is
    }
    for (std::size_t l = 0; l < s.lanes.size(); ++l) {
      Lane& lane = s.lanes[l];
      std::erase_if(lane.holes, [&](std::uint32_t hole) { return hole >= end; });
      for (retention::Entry& entry : lane.entries) {
        if (entry.slot < end) continue;
        std::uint32_t to = lane.tail;
        if (lane.holes.empty()) {
          ++lane.tail;
        } else {
          to = lane.holes.back();
          lane.holes.pop_back();
        }
        moves_.push_back({static_cast<std::uint32_t>(l), table(s)[entry.slot / block_size].value,
                          entry.slot % block_size, table(s)[to / block_size].value,
                          to % block_size});
        entry.slot = to;
      }
      lane.tail = std::min(lane.tail, end);
    }
    for (std::size_t b = table(s).size(); b-- > keep;) pool_.release(table(s)[b]);
    table(s).truncate(keep);
    s.table_changed = true;
  }

  /// Gives back blocks in which no lane has a token; slots behind them move up.
  void free_empty_blocks(Sequence& s) {
    used_.assign(table(s).size(), 0);
    for (const Lane& lane : s.lanes) {
      for (const retention::Entry& entry : lane.entries) used_[entry.slot / block_size] = 1;
    }
    std::uint32_t kept = 0;
    new_place_.assign(used_.size() + 1, 0);
    for (std::size_t b = 0; b < used_.size(); ++b) {
      new_place_[b] = kept;
      kept += used_[b];
    }
    new_place_.back() = kept;
    if (kept == used_.size()) return;
    s.table_changed = true;
    for (std::size_t b = used_.size(); b-- > 0;) {
      if (!used_[b]) pool_.release(table(s)[b]);
    }
    for (std::size_t b = 0; b < used_.size(); ++b) {
      if (used_[b]) table(s).replace(new_place_[b], table(s)[b]);
    }
    table(s).truncate(kept);
    const auto moved = [&](std::uint32_t slot) {
      return new_place_[slot / block_size] * block_size + slot % block_size;
    };
    for (Lane& lane : s.lanes) {
      for (retention::Entry& entry : lane.entries) entry.slot = moved(entry.slot);
      std::erase_if(lane.holes, [&](std::uint32_t hole) { return !used_[hole / block_size]; });
      for (std::uint32_t& hole : lane.holes) hole = moved(hole);
      const std::uint32_t b = lane.tail / block_size;
      // a tail in a block that went starts at what follows it
      lane.tail = b < used_.size() && !used_[b] ? new_place_[b] * block_size : moved(lane.tail);
    }
  }

  Retention policy_;
  retention::Scope scope_;
  std::size_t layers_, kv_heads_;
  std::vector<retention::SlotMove> moves_;  // decided after a step, carried out before the next
  std::vector<std::uint32_t> drop_, used_, new_place_;
  mutable double holes_ = 0;
};

}  // namespace quire
