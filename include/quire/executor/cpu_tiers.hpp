// mechanism: how the CPU executor moves blocks between its arena and the tiers below.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/layer_loader.hpp>
#include <quire/executor/step.hpp>
#include <quire/memory/disk_tier.hpp>
#include <quire/memory/host_tier.hpp>

namespace quire::executor {

/// A link between device and host that an executor pretends to have, for hosts whose "device" is
/// memory like any other.
struct EmulatedLink {
  double bytes_per_second = 0;  // 0: no limit
  Seconds latency = 0.0;        // of each block moved
};

/// The tiers below the CPU executor's arena, and the moves that a plan asks for.
///
/// Writes to disk and prefetches go on after move() returns. A block whose prefetch or read failed is
/// reported when it is fetched; a failed write, when the next plan is carried out.
/// Where the offload policy overlaps, blocks on the host come layer by layer after move() returns:
/// wait(layer) before the layer is read or written, wait() before the next plan. Blocks on disk come
/// whole, and blocks that the plan copies on have come when move() returns.
class CpuTiers {
 public:
  CpuTiers(const KvGeometry& geometry, std::size_t block_bytes, EmulatedLink link,
           std::int64_t layers = 1)
      : host_(geometry.host_blocks, block_bytes),
        spoilt_(static_cast<std::size_t>(geometry.host_blocks.value), false),
        link_(link),
        overlaps_(geometry.tiers.overlaps && layers > 1),
        loader_(static_cast<std::size_t>(overlaps_ ? layers : 1), block_bytes) {}
  /// Opens the disk tier. \errors as DiskTier
  void open_disk(const DiskTierOptions& options, const KvGeometry& geometry,
                 std::uint64_t fingerprint) {
    disk_.emplace(options, geometry.disk_blocks, host_.block_bytes(), geometry.block_tokens,
                  fingerprint);
  }

  [[nodiscard]] std::span<const StoredBlock> stored() const {
    return disk_ ? disk_->stored() : std::span<const StoredBlock>{};
  }
  [[nodiscard]] DiskTier* disk() { return disk_ ? &*disk_ : nullptr; }
  [[nodiscard]] HostTier& host() { return host_; }

  /// Carries out a plan's moves but its copies. `block(id)`: the bytes of a block of the device.
  /// \errors state for a plan that names slots which do not exist
  template <class BlockBytes>
  void move(const StepPlan& plan, BlockBytes&& block, StepResult& result) {
    loader_.wait();  // a step that ended early may have left some under way
    records_.clear();
    for (const TierRecord& r : plan.records) records_.emplace(r.slot.value, &r);
    for (const TierMove& m : plan.spills) {
      if (arrived(m.from)) {
        disk_->write(disk_slot(m.to), host_.slot(m.from), record(m.to));
      } else {  // what should go down never came up
        disk_->forget(disk_slot(m.to));
        result.lost.push_back(m.to);
      }
    }
    const auto start = std::chrono::steady_clock::now();
    for (const BlockSwap& s : plan.swap_out) {
      if (is_host(s.host)) {
        (void)arrived(s.host);  // a prefetch of what the slot held before must not come after
        spoilt_[s.host.value] = false;
        host_.write(s.host, block(s.device));
      } else {
        disk_->write(disk_slot(s.host), block(s.device), record(s.host));
      }
    }
    for (const TierMove& m : plan.prefetches) {
      (void)arrived(m.to);
      spoilt_[checked(m.to).value] = false;
      coming_[m.to.value] = disk_->start_read(disk_slot(m.from), host_.slot(m.to));
    }
    fetch(plan, block, result);
    pace(start, plan.swap_out.size() + plan.swap_in.size() - later_.size());
    const Seconds rest = link_seconds(later_.size());
    loader_.start(later_, rest);
    if (disk_) {
      lost_.clear();
      disk_->take_lost(lost_);
      for (const BlockId slot : lost_) {
        result.lost.push_back(
            BlockId{slot.value + static_cast<std::uint32_t>(host_.slots().value)});
      }
    }
  }

  /// Returns when a layer of all blocks that the plan fetches has come.
  void wait(std::size_t layer) {
    if (overlaps_) loader_.wait(layer);
  }
  void wait() { loader_.wait(); }

 private:
  [[nodiscard]] bool is_host(BlockId slot) const {
    return static_cast<std::int64_t>(slot.value) < host_.slots().value;
  }
  [[nodiscard]] BlockId checked(BlockId slot) const {
    if (is_host(slot)) return slot;
    throw no_such("host", slot, host_.slots());
  }
  [[nodiscard]] BlockId disk_slot(BlockId slot) const {
    const std::int64_t own = static_cast<std::int64_t>(slot.value) - host_.slots().value;
    const BlockCount slots = disk_ ? disk_->slots() : BlockCount{0};
    if (own < 0 || own >= slots.value) throw no_such("host", slot, host_.slots() + slots);
    return BlockId{static_cast<std::uint32_t>(own)};
  }
  [[nodiscard]] static Error no_such(std::string_view pool, BlockId slot, BlockCount slots) {
    return state_error(
        "step plan",
        "it names block " + std::to_string(slot.value) + " of the " + std::string(pool) + " pool",
        "a block below " + std::to_string(slots.value));
  }
  [[nodiscard]] const TierRecord* record(BlockId slot) const {
    const auto at = records_.find(slot.value);
    return at == records_.end() ? nullptr : at->second;
  }
  /// Waits for a prefetch into a slot of the host. False when what should be there is not.
  [[nodiscard]] bool arrived(BlockId slot) {
    const auto at = coming_.find(checked(slot).value);
    if (at != coming_.end()) {
      spoilt_[slot.value] = !disk_->wait(at->second);
      coming_.erase(at);
    }
    return !spoilt_[slot.value];
  }

  template <class BlockBytes>
  void fetch(const StepPlan& plan, BlockBytes&& block, StepResult& result) {
    reads_.clear();
    later_.clear();
    last_.clear();
    for (std::uint32_t i = 0; i < plan.swap_in.size(); ++i) {
      last_[plan.swap_in[i].device.value] = i;
    }
    for (std::uint32_t i = 0; i < plan.swap_in.size(); ++i) {
      const BlockSwap& s = plan.swap_in[i];
      if (last_[s.device.value] != i) continue;  // its request was sent back, another has the block
      const std::span<std::byte> target = block(s.device);
      if (!is_host(s.host)) {
        reads_.emplace_back(i, disk_->start_read(disk_slot(s.host), target));
        continue;
      }
      const bool there = arrived(s.host);
      if (there && overlaps_ && !copied_on(plan, s.device)) {
        later_.push_back({target.data(), host_.slot(s.host).data()});
      } else if (!there || !host_.read(s.host, target)) {
        fail(i, target, result);
      }
    }
    for (const auto& [i, ticket] : reads_) {
      if (!disk_->wait(ticket)) fail(i, block(plan.swap_in[i].device), result);
    }
  }
  [[nodiscard]] static bool copied_on(const StepPlan& plan, BlockId block) {
    return std::any_of(plan.copies.begin(), plan.copies.end(),
                       [block](const BlockCopy& c) { return c.from == block; });
  }
  /// The rows that use the block are computed and discarded: finite values keep them harmless.
  static void fail(std::uint32_t i, std::span<std::byte> target, StepResult& result) {
    std::fill(target.begin(), target.end(), std::byte{0});
    result.failed.push_back(i);
  }
  /// What the link takes for so many blocks.
  [[nodiscard]] Seconds link_seconds(std::size_t blocks) const {
    double seconds = link_.latency.value * static_cast<double>(blocks);
    if (link_.bytes_per_second > 0) {
      seconds += static_cast<double>(blocks * host_.block_bytes()) / link_.bytes_per_second;
    }
    return seconds;
  }
  /// Sleeps for as long as the link would have taken longer.
  void pace(std::chrono::steady_clock::time_point start, std::size_t blocks) const {
    const double seconds = link_seconds(blocks).value;
    if (seconds > 0) std::this_thread::sleep_until(start + std::chrono::duration<double>(seconds));
  }

  HostTier host_;
  std::optional<DiskTier> disk_;
  std::unordered_map<std::uint32_t, DiskTier::Ticket> coming_;  // prefetches, by slot of the host
  std::vector<bool> spoilt_;  // slots of the host whose prefetch failed
  EmulatedLink link_;
  std::unordered_map<std::uint32_t, const TierRecord*> records_;
  std::unordered_map<std::uint32_t, std::uint32_t> last_;  // swap into a block of the device
  std::vector<std::pair<std::uint32_t, DiskTier::Ticket>> reads_;
  std::vector<BlockId> lost_;
  bool overlaps_;
  std::vector<LayerLoader::Copy> later_;  // what the loader is to bring
  LayerLoader loader_;                    // last: it reads the host's memory until it is gone
};

}  // namespace quire::executor
