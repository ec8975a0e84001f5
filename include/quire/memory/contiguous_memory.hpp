#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/memory/buddy_allocator.hpp>
#include <quire/memory/usage.hpp>
#include <quire/model/shape.hpp>
#include <quire/reservation/concepts.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire {

/// KV memory in runs of consecutive blocks, reserved whole when a request is admitted: one run for
/// each of its sequences, nothing shared, nothing preempted. Forks copy.
/// \source the Orca baselines of Kwon et al., SOSP '23, section 6.1.
template <ReservationPolicy Reservation, class BlockSize>
class BasicContiguousMemory {
 public:
  static constexpr Tokens block_tokens = BlockSize::tokens;
  static constexpr bool needs_tokens = false;

  BasicContiguousMemory(const KvGeometry& geometry, const model::Shape&, double)
      : capacity_(geometry.device_blocks), buddy_(geometry.device_blocks, geometry.device_blocks) {}

  [[nodiscard]] BlockCount capacity() const { return capacity_; }
  [[nodiscard]] BlockCount host_free() const { return 0; }
  [[nodiscard]] const BuddyAllocator& buddy() const { return buddy_; }

  [[nodiscard]] std::optional<std::string> rejects(const SequenceGroup& group,
                                                   Tokens max_length) const {
    const Tokens reserved = reservation(group, max_length), end = longest(group, max_length);
    if (reserved < end) {
      return "the reservation holds " + std::to_string(reserved.value) +
             " tokens, the sequence may reach " + std::to_string(end.value);
    }
    const BlockCount need = blocks_for(reserved, block_tokens);
    const std::int64_t width = group.request.sampling.width();
    BuddyAllocator empty(capacity_, capacity_);
    if (empty.fits(need, width)) return std::nullopt;
    return "the reservation needs " + std::to_string(width) + " runs of " +
           std::to_string(BuddyAllocator::rounded(need).value) + " KV blocks, the pool has " +
           std::to_string(capacity_.value) + " blocks";
  }

  template <class Choose>
  bool admit(SequenceGroup& group, Tokens max_length, Choose&&) {
    return admit(group, max_length);
  }
  bool admit(SequenceGroup& group, Tokens max_length) {
    const Tokens tokens = reservation(group, max_length);
    const BlockCount need = blocks_for(tokens, block_tokens);
    const std::int64_t width = group.request.sampling.width();
    if (!buddy_.fits(need, width)) return false;
    for (std::int64_t i = 1; i < width; ++i) group.spare_runs.push_back(*buddy_.allocate(need));
    std::reverse(group.spare_runs.begin(), group.spare_runs.end());
    place(group.sequences.front(), *buddy_.allocate(need), tokens);
    return true;
  }

  /// Room was reserved at admission, so a sequence only ever writes into its own run.
  bool grow(SequenceGroup&, std::span<const Tokens>, StepPlan&) { return true; }

  /// A new sequence in a run of its own; the parent's blocks are copied at the start of the next
  /// step.
  Sequence fork(SequenceGroup& group, const Sequence& parent) {
    Sequence child = parent;
    place(child, group.spare_runs.back(), parent.reserved);
    group.spare_runs.pop_back();
    const auto used = static_cast<std::size_t>(blocks_for(parent.computed, block_tokens).value);
    for (std::size_t b = 0; b < used; ++b) {
      copies_.push_back({parent.tables[0][b], child.tables[0][b]});
    }
    return child;
  }

  /// A beam that was dropped leaves its run to the group, for the beam that replaces it.
  void recycle(SequenceGroup& group, Sequence& s) {
    group.spare_runs.push_back(s.run);
    forget(s);
  }
  void release(Sequence& s) {
    if (s.run.blocks > 0) {
      // a fork that ends before its next step needs no content
      std::erase_if(copies_, [&](const BlockCopy& c) { return holds(s.run, c.to); });
      buddy_.free(s.run);
    }
    forget(s);
  }
  void release_spares(SequenceGroup& group) {
    for (const BlockRun run : group.spare_runs) buddy_.free(run);
    group.spare_runs.clear();
  }

  [[nodiscard]] BlockCount distinct_blocks(const SequenceGroup&) const { return 0; }
  bool swap_out(SequenceGroup&, StepPlan&) { return false; }
  bool swap_in(SequenceGroup&, StepPlan&) { return false; }
  void publish(const SequenceGroup&, Sequence&) {}
  void prefetch(const SequenceGroup&) {}
  void on_lost(BlockId) {}
  void persist() {}
  [[nodiscard]] Tokens cached_prefix(const SequenceGroup&) const { return 0; }

  void begin_step(StepPlan& plan) {
    plan.copies.insert(plan.copies.end(), copies_.begin(), copies_.end());
    copies_.clear();
  }
  void end_step(StepPlan&) {}

  void add_usage(const SequenceGroup& group, Tokens final_length, MemoryUsage& usage) const {
    for (const Sequence& s : group.sequences) add_alone(s, final_length, usage);
    for (const BlockRun run : group.spare_runs) {
      add_run(group.sequences.front().reserved, run, 0, final_length, usage);
    }
  }
  static void add_alone(const Sequence& s, Tokens final_length, MemoryUsage& usage) {
    if (s.run.blocks > 0) add_run(s.reserved, s.run, s.computed, final_length, usage);
  }
  void finish_usage(MemoryUsage& usage) const {
    usage.capacity = capacity_.value * block_tokens.value;
    usage.free = usage.capacity - usage.physical_blocks.value * block_tokens.value;
  }

 private:
  static void add_run(Tokens reserved, BlockRun run, Tokens computed, Tokens final_length,
                      MemoryUsage& usage) {
    const Tokens room = static_cast<std::int64_t>(run.blocks) * block_tokens.value;
    const Tokens end = std::clamp(final_length, computed, std::max(computed, reserved));
    usage.token_states += computed;
    usage.reserved += end - computed;
    usage.internal += std::max(reserved - end, Tokens{0});
    usage.rounding += room - std::max(reserved, end);
    usage.physical_blocks += run.blocks;
    usage.logical_blocks += run.blocks;
  }

  // no model has such sequences, and sums of reservations stay far from overflow
  static constexpr std::int64_t most_reserved = std::int64_t{1} << 40;

  [[nodiscard]] static Tokens reservation(const SequenceGroup& group, Tokens max_length) {
    const Request& r = group.request;
    LengthHint hint{.prompt = r.prompt_length,
                    .limit = std::min(r.sampling.max_tokens, max_length),
                    .output = r.output_length,
                    .max_length = max_length};
    if (hint.output) hint.output = std::min(*hint.output, max_length);
    const Tokens tokens = Reservation::reserve(hint);
    if (tokens < hint.prompt || tokens.value > most_reserved) {
      throw state_error("reservation " + std::string(Reservation::name),
                        "reserve() gives " + std::to_string(tokens.value) + " tokens",
                        "at least the " + std::to_string(hint.prompt.value) +
                            " of the prompt, at most " + std::to_string(most_reserved));
    }
    return tokens;
  }
  /// Tokens that a sequence of the group has at most.
  [[nodiscard]] static Tokens longest(const SequenceGroup& group, Tokens max_length) {
    const Request& r = group.request;
    const Tokens output = std::min(r.output_length.value_or(r.sampling.max_tokens), max_length);
    return std::min(r.prompt_length + output, max_length);
  }
  [[nodiscard]] static bool holds(BlockRun run, BlockId block) {
    return block >= run.first && block.value - run.first.value < run.blocks;
  }
  static void place(Sequence& s, BlockRun run, Tokens tokens) {
    s.run = run;
    s.reserved = tokens;
    s.table_changed = true;
    s.tables[0].clear();
    for (std::uint32_t b = 0; b < run.blocks; ++b) {
      s.tables[0].append(BlockId{run.first.value + b});
    }
  }
  static void forget(Sequence& s) {
    s.run = {};
    s.tables[0].clear();
    s.computed = 0;
  }

  BlockCount capacity_;
  BuddyAllocator buddy_;
  std::vector<BlockCopy> copies_;  // forks of the last step
};

/// The contiguous memory of a configuration; those that differ elsewhere share its code.
template <class C>
using ContiguousMemory = BasicContiguousMemory<typename C::Reservation, typename C::BlockSize>;

}  // namespace quire
