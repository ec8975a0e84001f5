#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <quire/cost_model/concepts.hpp>
#include <quire/executor/step.hpp>

namespace quire::cost_model {

/// Requests that have sequences in a step; those of one stand together.
[[nodiscard]] inline std::int64_t requests_in(const StepPlan& plan) {
  std::int64_t requests = 0;
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    requests += i == 0 || plan.sequences[i].request != plan.sequences[i - 1].request;
  }
  return requests;
}

/// What the moves of a plan between the tiers take.
struct Transfers {
  double seconds = 0;     // before the sequences can run: fetches, and room made for them
  double background = 0;  // disk traffic that goes on while they run
  double bytes = 0;
};

/// Moves between device and host go over the link, keys and values of each layer of each block apart,
/// as the paper's engine does, at a fixed cost a copy beside that of its bytes; reads from disk stream through the host, at the pace of the slower of
/// both. Writes to disk and prefetches are asynchronous: a step lasts at least as long as they do,
/// since they must keep up in the long run.
[[nodiscard]] inline Transfers transfers_of(const StepPlan& plan, const CostInputs& in) {
  const Hardware& h = in.hardware;
  const auto devices = static_cast<double>(in.tensor_parallel);
  const double block = in.storage.kv_block_bytes;
  const auto on_disk = [&in](BlockId slot) {
    return std::int64_t{slot.value} >= in.host_slots.value;
  };
  double reads = 0;  // blocks
  double behind = static_cast<double>(plan.spills.size() + plan.prefetches.size());
  for (const BlockSwap& s : plan.swap_in) reads += on_disk(s.host);
  for (const BlockSwap& s : plan.swap_out) behind += on_disk(s.host);
  const auto moved = static_cast<double>(plan.swap_out.size() + plan.swap_in.size());
  Transfers t;
  t.bytes = (moved + static_cast<double>(plan.spills.size() + plan.prefetches.size())) * block;
  const double calls = moved * 2 * static_cast<double>(in.model.layers);
  if (moved > 0) t.seconds = moved * block / devices / h.link_bandwidth + calls * h.copy_latency;
  if (reads > 0) t.seconds = std::max(t.seconds, h.disk_latency + reads * block / h.disk_bandwidth);
  if (behind > 0) t.background = behind * block / h.disk_bandwidth;
  return t;
}

/// A step of `compute` seconds with its transfers: one after the other, or layer by layer, each layer
/// computed while the next is on its way.
[[nodiscard]] inline double with_transfers(double compute, const Transfers& t,
                                           const CostInputs& in) {
  double seconds = compute + t.seconds;
  if (in.overlaps) {
    const auto layers = static_cast<double>(std::max<std::int64_t>(1, in.model.layers));
    const double work = compute / layers, move = t.seconds / layers;
    seconds = move + (layers - 1) * std::max(work, move) + work;
  }
  return std::max(seconds, t.background);
}

/// What a plan costs whose sequences take `compute` seconds: with its transfers, and its block copies,
/// which pass the device's memory twice.
[[nodiscard]] inline StepCost cost_with_moves(const StepPlan& plan, double compute,
                                              const CostInputs& in) {
  Transfers transfers = transfers_of(plan, in);
  const double copied = static_cast<double>(plan.copies.size()) * in.storage.kv_block_bytes;
  transfers.bytes += copied;
  if (copied > 0) compute += 2 * copied / in.hardware.bandwidth;
  StepCost total;
  total.bytes_moved = static_cast<std::int64_t>(transfers.bytes);
  total.seconds = with_transfers(compute, transfers, in);
  return total;
}

}  // namespace quire::cost_model
