// mechanism: how the CUDA executor moves blocks between its pool and the tiers below, beside its steps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/lower_tiers.hpp>
#include <quire/executor/step.hpp>
#include <quire/executor/transfers.cuh>
#include <quire/kernels/copy_blocks/copy_blocks.cuh>
#include <quire/memory/disk_tier.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>

namespace quire::executor {

/// The tiers below a device's pool: the host's slots in pinned memory, which the device copies to and from
/// on two streams of its own, and the disk, whose thread reads and writes them.
///
/// Blocks that leave do so beside the step, and beside later ones until one writes where they are read.
/// Blocks that come are waited for by the step, where the offload policy overlaps layer by layer. The host
/// waits for the device where the disk's thread would meet it in a slot: what spills must have left the
/// device, what is prefetched must not be read any more; and for blocks that go straight to disk or come
/// straight from it, a few at a time, through pinned memory between.
class CudaTiers {
 public:
  CudaTiers(const KvGeometry& geometry, std::size_t block_bytes, std::size_t layers)
      : block_bytes_(block_bytes),
        host_(static_cast<std::size_t>(geometry.host_blocks.value) * block_bytes),
        staging_(geometry.tiers.uses_disk ? 2 * half() * block_bytes : 0),
        out_(block_bytes, layers, 1),
        in_(block_bytes, layers, geometry.tiers.overlaps ? 8 : 1),
        below_(geometry, {host_.data(), host_.size()}, block_bytes) {}

  /// Opens the disk tier. \errors as DiskTier
  void open_disk(const DiskTierOptions& options, const KvGeometry& geometry,
                 std::uint64_t fingerprint) {
    below_.open_disk(options, geometry, fingerprint);
  }
  [[nodiscard]] std::span<const StoredBlock> stored() const { return below_.stored(); }
  [[nodiscard]] DiskTier* disk() { return below_.disk(); }
  /// Fills with NaN: all bits set is one in every format, as element or as scale.
  void poison() {
    std::fill_n(host_.data(), host_.size(), std::byte{0xff});
    std::fill_n(staging_.data(), staging_.size(), std::byte{0xff});
  }

  /// Starts the plan's moves but its copies, in its order, after all that `computed` stands for.
  /// pool: the device's. \errors state for a plan that names slots which do not exist, before anything moves
  void move(const StepPlan& plan, const simt::Event& computed, std::byte* pool,
            StepResult& result) {
    below_.begin(plan);
    sort_out(plan);
    for (const TierMove& m : plan.spills) {
      if (written_.contains(m.from.value)) wait_for_out();
    }
    below_.spill(plan, result);
    if (!out_to_host_.empty() || !out_to_disk_.empty()) computed.order(out_.stream());
    if (!out_to_host_.empty()) {
      for (const kernels::BlockMove& m : out_to_host_) {
        below_.give_up(BlockId{m.to});
        leaving_.insert(m.from);
        written_.insert(m.to);
      }
      out_.start(out_to_host_, pool, host_.data());
    }
    write_to_disk(pool);
    for (const TierMove& m : plan.prefetches) {
      if (written_.contains(m.to.value)) wait_for_out();
      if (read_.contains(m.to.value)) wait_for_in();
    }
    below_.prefetch(plan);
    if (!plan.swap_in.empty()) fetch(plan, computed, pool, result);
    below_.tell_lost(result);
  }

  /// Blocks of the device that may not have left yet: whoever writes to one waits first.
  [[nodiscard]] const std::unordered_set<std::uint32_t>& leaving() const { return leaving_; }
  /// What `stream` is given from now on comes after the blocks that leave.
  void order_after_leaving(simt::Stream stream) {
    out_.order(stream);
    leaving_.clear();
  }
  /// Whether blocks come that no stream waits for yet.
  [[nodiscard]] bool arriving() const { return arriving_; }
  void order_after_arriving(simt::Stream stream) {
    in_.order(stream);
    arriving_ = false;
  }
  /// The same for one layer after the other; `all_ordered` follows the last.
  void order_after_arriving(simt::Stream stream, std::size_t layer) const {
    in_.order(stream, layer);
  }
  void all_ordered() { arriving_ = false; }

 private:
  /// Blocks of half of what lies between device and disk: one half is read while the other is copied.
  [[nodiscard]] std::size_t half() const {
    constexpr std::size_t bytes = std::size_t{32} << 20;
    return simt::emulated ? 2 : std::clamp<std::size_t>(bytes / block_bytes_, 1, 64);
  }
  [[nodiscard]] std::byte* staged(std::size_t place) {
    return staging_.data() + place * block_bytes_;
  }

  /// Which swaps concern the host's slots, and which the disk's.
  void sort_out(const StepPlan& plan) {
    out_to_host_.clear();
    out_to_disk_.clear();
    for (const BlockSwap& s : plan.swap_out) {
      if (below_.is_host(s.host)) {
        out_to_host_.push_back({s.device.value, s.host.value});
      } else {
        out_to_disk_.push_back(s);
      }
    }
    for (const BlockSwap& s : plan.swap_in) (void)below_.is_host(s.host);  // or it is nowhere
  }

  void wait_for_out() {
    out_.synchronise("blocks that leave");
    written_.clear();
    leaving_.clear();
  }
  void wait_for_in() {
    in_.synchronise("blocks that come");
    read_.clear();
  }

  void write_to_disk(const std::byte* pool) {
    std::vector<kernels::BlockMove> moves;
    for (std::size_t first = 0; first < out_to_disk_.size(); first += moves.size()) {
      wait_for_in();  // of what came through the same memory
      const auto swaps = std::span(out_to_disk_).subspan(first);
      moves.clear();
      for (const BlockSwap& s : swaps.first(std::min(swaps.size(), 2 * half()))) {
        moves.push_back({s.device.value, static_cast<std::uint32_t>(moves.size())});
      }
      out_.start(moves, pool, staging_.data());
      wait_for_out();
      for (const kernels::BlockMove& m : moves) {
        below_.write(swaps[m.to].host, {staged(m.to), block_bytes_});
      }
    }
  }

  void fetch(const StepPlan& plan, const simt::Event& computed, std::byte* pool,
             StepResult& result) {
    std::vector<kernels::BlockMove> from_host;
    from_disk_.clear();
    below_.each_fetch(plan, [&](std::uint32_t i, const BlockSwap& s) {
      if (!below_.is_host(s.host)) {
        from_disk_.push_back(i);
        return;
      }
      if (!below_.arrived(s.host)) result.failed.push_back(i);
      from_host.push_back({s.host.value, s.device.value});
      read_.insert(s.host.value);
    });
    computed.order(in_.stream());
    if (!leaving_.empty()) out_.order(in_.stream());
    read_from_disk(plan, pool, result);
    if (!from_host.empty()) in_.start(from_host, host_.data(), pool);
    arriving_ = true;
  }
  /// Reads go on while what was read before them is copied.
  void read_from_disk(const StepPlan& plan, std::byte* pool, StepResult& result) {
    const std::size_t parts = (from_disk_.size() + half() - 1) / half();
    if (parts > 0) begin_part(plan, 0);
    for (std::size_t part = 0; part < parts; ++part) {
      if (part + 1 < parts) begin_part(plan, part + 1);
      std::vector<kernels::BlockMove> moves;
      for (const Reading& r : reading_[part % 2]) {
        if (!below_.wait(r.ticket)) {
          // the rows that use the block are computed and discarded: finite values keep them harmless
          std::fill_n(staged(r.place), block_bytes_, std::byte{0});
          result.failed.push_back(r.swap);
        }
        moves.push_back({static_cast<std::uint32_t>(r.place), plan.swap_in[r.swap].device.value});
      }
      in_.start(moves, staging_.data(), pool);
      copied_[part % 2].record(in_.stream());
    }
  }
  void begin_part(const StepPlan& plan, std::size_t part) {
    copied_[part % 2].synchronise("blocks from disk");
    auto& reading = reading_[part % 2];
    reading.clear();
    const std::size_t first = part * half(), end = std::min(first + half(), from_disk_.size());
    for (std::size_t n = first; n < end; ++n) {
      const std::size_t place = part % 2 * half() + n - first;
      reading.push_back(
          {from_disk_[n], place,
           below_.start_read(plan.swap_in[from_disk_[n]].host, {staged(place), block_bytes_})});
    }
  }

  /// A block on its way from disk.
  struct Reading {
    std::uint32_t swap;  // of the plan's
    std::size_t place;   // in staging_
    LowerTiers::Ticket ticket;
  };

  std::size_t block_bytes_;
  simt::PinnedArray<std::byte> host_;     // \shape (host_blocks, block_bytes)
  simt::PinnedArray<std::byte> staging_;  // \shape (2 * half(), block_bytes)
  Transfers out_, in_;
  std::unordered_set<std::uint32_t> leaving_;  // blocks of the device that out_ may still read
  std::unordered_set<std::uint32_t> written_;  // slots of the host that out_ may still write
  std::unordered_set<std::uint32_t> read_;     // slots of the host that in_ may still read
  bool arriving_ = false;                      // in_ may still write what this step reads
  std::vector<kernels::BlockMove> out_to_host_;
  std::vector<BlockSwap> out_to_disk_;
  std::vector<std::uint32_t> from_disk_;  // swaps in
  std::vector<Reading> reading_[2];
  simt::Event copied_[2];  // of what was in a half of staging_
  LowerTiers below_;       // last: the disk's thread uses the host's memory until it is gone
};

}  // namespace quire::executor
