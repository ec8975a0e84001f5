// mechanism: the host's slots and the disk below them, as executors that move real bytes drive them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/step.hpp>
#include <quire/memory/disk_tier.hpp>

namespace quire::executor {

/// What a plan asks for below the device: spills, prefetches, and what else goes to disk and comes from
/// there. The executor has the host's memory, and moves blocks between it and the device.
///
/// Writes to disk and prefetches go on after the calls return. A slot of the host whose prefetch failed is
/// filled with zeros, which harm nobody, and is known to be spoilt until something else is put there.
class LowerTiers {
 public:
  using Ticket = DiskTier::Ticket;

  /// host: the slots' memory, which outlives this. \shape (host_blocks, block_bytes)
  LowerTiers(const KvGeometry& geometry, std::span<std::byte> host, std::size_t block_bytes)
      : host_(host),
        slots_(geometry.host_blocks),
        block_bytes_(block_bytes),
        spoilt_(static_cast<std::size_t>(geometry.host_blocks.value), false) {}
  /// Opens the disk tier. \errors as DiskTier
  void open_disk(const DiskTierOptions& options, const KvGeometry& geometry,
                 std::uint64_t fingerprint) {
    disk_.emplace(options, geometry.disk_blocks, block_bytes_, geometry.block_tokens, fingerprint);
  }

  [[nodiscard]] std::span<const StoredBlock> stored() const {
    return disk_ ? disk_->stored() : std::span<const StoredBlock>{};
  }
  [[nodiscard]] DiskTier* disk() { return disk_ ? &*disk_ : nullptr; }

  /// Whether a slot, numbered through, is one of the host. \errors state for one that is nowhere
  [[nodiscard]] bool is_host(BlockId slot) const {
    if (static_cast<std::int64_t>(slot.value) < slots_.value) return true;
    (void)disk_slot(slot);
    return false;
  }
  /// The bytes of a slot of the host. \shape (block_bytes)
  [[nodiscard]] std::span<std::byte> slot(BlockId slot) const {
    return host_.subspan(slot.value * block_bytes_, block_bytes_);
  }

  /// The next calls are about this plan. \errors state for spills and prefetches of slots that do not exist
  void begin(const StepPlan& plan) {
    for (const TierMove& m : plan.spills) check_host(m.from), (void)disk_slot(m.to);
    for (const TierMove& m : plan.prefetches) check_host(m.to), (void)disk_slot(m.from);
    records_.clear();
    for (const TierRecord& r : plan.records) records_.emplace(r.slot.value, &r);
  }
  /// Writes down what spills. What should have come up before and did not is lost.
  void spill(const StepPlan& plan, StepResult& result) {
    for (const TierMove& m : plan.spills) {
      if (arrived(m.from)) {
        write(m.to, slot(m.from));
      } else {
        disk_->forget(disk_slot(m.to));
        result.lost.push_back(m.to);
      }
    }
  }
  /// Starts to bring blocks up to the host.
  void prefetch(const StepPlan& plan) {
    for (const TierMove& m : plan.prefetches) {
      give_up(m.to);
      coming_[m.to.value] = disk_->start_read(disk_slot(m.from), slot(m.to));
    }
  }
  /// A slot of the host is about to hold something else: a prefetch of what it held before must not come
  /// after.
  void give_up(BlockId slot) {
    (void)arrived(slot);
    spoilt_[slot.value] = false;
  }
  /// Waits for a prefetch into a slot of the host. False when what should be there is not.
  [[nodiscard]] bool arrived(BlockId slot) {
    const auto at = coming_.find(slot.value);
    if (at != coming_.end()) {
      if (!disk_->wait(at->second)) {
        spoilt_[slot.value] = true;
        std::ranges::fill(this->slot(slot), std::byte{0});
      }
      coming_.erase(at);
    }
    return !spoilt_[slot.value];
  }
  /// Keeps a block on disk. \pre the slot is not of the host
  void write(BlockId slot, std::span<const std::byte> block) {
    const auto record = records_.find(slot.value);
    disk_->write(disk_slot(slot), block, record == records_.end() ? nullptr : record->second);
  }
  /// Begins to read one of them; wait() says whether it came.
  [[nodiscard]] Ticket start_read(BlockId slot, std::span<std::byte> target) {
    return disk_->start_read(disk_slot(slot), target);
  }
  [[nodiscard]] bool wait(Ticket ticket) { return disk_->wait(ticket); }

  /// body(i, swap): the plan's swaps into the device, but of a block that a later one fills again: its
  /// request was sent back, and another has the block.
  template <class Body>
  void each_fetch(const StepPlan& plan, Body&& body) {
    last_.clear();
    for (std::uint32_t i = 0; i < plan.swap_in.size(); ++i) {
      last_[plan.swap_in[i].device.value] = i;
    }
    for (std::uint32_t i = 0; i < plan.swap_in.size(); ++i) {
      if (last_[plan.swap_in[i].device.value] == i) body(i, plan.swap_in[i]);
    }
  }

  /// Says which slots' writes have failed since it was asked last.
  void tell_lost(StepResult& result) {
    if (!disk_) return;
    lost_.clear();
    disk_->take_lost(lost_);
    for (const BlockId slot : lost_) {
      result.lost.push_back(BlockId{slot.value + static_cast<std::uint32_t>(slots_.value)});
    }
  }

 private:
  void check_host(BlockId slot) const {
    if (static_cast<std::int64_t>(slot.value) >= slots_.value) throw no_such(slot, slots_);
  }
  [[nodiscard]] BlockId disk_slot(BlockId slot) const {
    const std::int64_t own = static_cast<std::int64_t>(slot.value) - slots_.value;
    const BlockCount slots = disk_ ? disk_->slots() : BlockCount{0};
    if (own < 0 || own >= slots.value) throw no_such(slot, slots_ + slots);
    return BlockId{static_cast<std::uint32_t>(own)};
  }
  [[nodiscard]] static Error no_such(BlockId slot, BlockCount slots) {
    return state_error("step plan",
                       "it names block " + std::to_string(slot.value) + " of the host pool",
                       "a block below " + std::to_string(slots.value));
  }

  std::span<std::byte> host_;
  BlockCount slots_;
  std::size_t block_bytes_;
  std::vector<bool> spoilt_;                          // slots of the host whose prefetch failed
  std::unordered_map<std::uint32_t, Ticket> coming_;  // prefetches, by slot of the host
  std::unordered_map<std::uint32_t, const TierRecord*> records_;
  std::unordered_map<std::uint32_t, std::uint32_t> last_;  // swap into a block of the device
  std::vector<BlockId> lost_;
  std::optional<DiskTier> disk_;  // last: its thread writes to the host's memory until it is gone
};

}  // namespace quire::executor
