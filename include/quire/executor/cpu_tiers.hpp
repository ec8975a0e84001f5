// mechanism: how the CPU executor moves blocks between its arena and the tiers below.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/layer_loader.hpp>
#include <quire/executor/lower_tiers.hpp>
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
        below_(geometry, host_.all(), block_bytes),
        link_(link),
        overlaps_(geometry.tiers.overlaps && layers > 1),
        loader_(static_cast<std::size_t>(overlaps_ ? layers : 1), block_bytes) {}
  /// Opens the disk tier. \errors as DiskTier
  void open_disk(const DiskTierOptions& options, const KvGeometry& geometry,
                 std::uint64_t fingerprint) {
    below_.open_disk(options, geometry, fingerprint);
  }

  [[nodiscard]] std::span<const StoredBlock> stored() const { return below_.stored(); }
  [[nodiscard]] DiskTier* disk() { return below_.disk(); }
  [[nodiscard]] HostTier& host() { return host_; }

  /// Carries out a plan's moves but its copies. `block(id)`: the bytes of a block of the device.
  /// \errors state for a plan that names slots which do not exist
  template <class BlockBytes>
  void move(const StepPlan& plan, BlockBytes&& block, StepResult& result) {
    loader_.wait();  // a step that ended early may have left some under way
    below_.begin(plan);
    below_.spill(plan, result);
    const auto start = std::chrono::steady_clock::now();
    for (const BlockSwap& s : plan.swap_out) {
      if (below_.is_host(s.host)) {
        below_.give_up(s.host);
        host_.write(s.host, block(s.device));
      } else {
        below_.write(s.host, block(s.device));
      }
    }
    below_.prefetch(plan);
    fetch(plan, block, result);
    pace(start, plan.swap_out.size() + plan.swap_in.size() - later_.size());
    const Seconds rest = link_seconds(later_.size());
    loader_.start(later_, rest);
    below_.tell_lost(result);
  }

  /// Returns when a layer of all blocks that the plan fetches has come.
  void wait(std::size_t layer) {
    if (overlaps_) loader_.wait(layer);
  }
  void wait() { loader_.wait(); }

 private:
  template <class BlockBytes>
  void fetch(const StepPlan& plan, BlockBytes&& block, StepResult& result) {
    reads_.clear();
    later_.clear();
    below_.each_fetch(plan, [&](std::uint32_t i, const BlockSwap& s) {
      const std::span<std::byte> target = block(s.device);
      if (!below_.is_host(s.host)) {
        reads_.emplace_back(i, below_.start_read(s.host, target));
        return;
      }
      const bool there = below_.arrived(s.host);
      if (there && overlaps_ && !copied_on(plan, s.device)) {
        later_.push_back({target.data(), host_.slot(s.host).data()});
      } else if (!there || !host_.read(s.host, target)) {
        fail(i, target, result);
      }
    });
    for (const auto& [i, ticket] : reads_) {
      if (!below_.wait(ticket)) fail(i, block(plan.swap_in[i].device), result);
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
  LowerTiers below_;
  EmulatedLink link_;
  std::vector<std::pair<std::uint32_t, LowerTiers::Ticket>> reads_;
  bool overlaps_;
  std::vector<LayerLoader::Copy> later_;  // what the loader is to bring
  LayerLoader loader_;                    // last: it reads the host's memory until it is gone
};

}  // namespace quire::executor
