#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/attention/concepts.hpp>
#include <quire/kernels/paged_decode/params.hpp>

namespace quire::kernels {

/// How the tokens of a decode step are spread over a device.
struct DecodePlan {
  std::vector<DecodeWork> work;   // longest first; one block of threads each and KV head
  std::vector<MergeWork> merges;  // sequences that were split
  std::uint32_t partials = 0;
};

/// What the planner knows about the device.
struct DecodeSlots {
  std::uint32_t blocks = 132 * 4;     // blocks that run at once: multiprocessors times occupancy
  std::uint32_t blocks_per_work = 1;  // KV heads times passes over the heads of a group
  std::int32_t least_tokens = 128;    // a part shorter than this costs more than it saves
};

/// Splits sequences so that the device is full and no part is much longer than the rest.
///
/// Where whole sequences leave slots empty: the smallest part length at which all parts run at once
/// (FlashInfer's plan). Where they do not: sequences longer than twice the mean load of a slot.
/// \shape lengths (sequences): tokens, the query's own included; 0: no query, the result is zeros
/// \complexity O(sequences log length + parts log parts)
template <AttentionVariant Variant>
[[nodiscard]] DecodePlan plan_decode(std::span<const std::int32_t> lengths, const Variant& variant,
                                     const DecodeSlots& slots) {
  constexpr std::int64_t tile = 16;
  const auto first_token = [&](std::int32_t length) {
    return length == 0 ? std::int64_t{0} : variant.first_visible(length - 1);
  };
  std::int64_t longest = 0, total = 0;
  for (const std::int32_t n : lengths) {
    longest = std::max(longest, n - first_token(n));
    total += n - first_token(n);
  }
  const auto parts = [&](std::int64_t n, std::int64_t part) {
    return std::max<std::int64_t>(1, (n + part - 1) / part);
  };
  const auto fits = [&](std::int64_t part) {
    std::int64_t count = 0;
    for (const std::int32_t n : lengths) count += parts(n - first_token(n), part);
    return count * slots.blocks_per_work <= slots.blocks;
  };
  const std::int64_t least = (std::max(slots.least_tokens, 1) + tile - 1) / tile;
  std::int64_t part = std::max<std::int64_t>(least, (longest + tile - 1) / tile);  // in tiles
  if (fits(part * tile)) {
    std::int64_t low = least, high = part;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (fits(middle * tile)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    part = low;
  } else {
    const std::int64_t mean = total * slots.blocks_per_work / slots.blocks;
    part = std::max<std::int64_t>(least, (2 * mean + tile - 1) / tile);
  }
  part *= tile;

  DecodePlan plan;
  for (std::uint32_t s = 0; s < lengths.size(); ++s) {
    const std::int64_t begin = first_token(lengths[s]), n = lengths[s] - begin;
    const std::int64_t count = parts(n, part);
    // equal parts, whole tiles each, so that none is left with a few tokens
    const std::int64_t each = ((n + count - 1) / count + tile - 1) / tile * tile;
    std::uint32_t made = 0;
    for (std::int64_t at = 0; at < n || made == 0; at += each, ++made) {
      plan.work.push_back({s, static_cast<std::int32_t>(begin + at),
                           static_cast<std::int32_t>(begin + std::min(n, at + each)), -1,
                           at == 0 ? 1u : 0u});
    }
    if (made == 1) continue;
    plan.merges.push_back({s, plan.partials, made});
    for (std::uint32_t i = 0; i < made; ++i) {
      plan.work[plan.work.size() - made + i].partial = static_cast<std::int32_t>(plan.partials + i);
    }
    plan.partials += made;
  }
  std::stable_sort(
      plan.work.begin(), plan.work.end(),
      [](const DecodeWork& a, const DecodeWork& b) { return a.end - a.begin > b.end - b.begin; });
  return plan;
}

/// Some keys that lie one after another in a row's list, and the query that attends to them.
struct KeyRun {
  std::uint32_t query = 0;  // whose tables and query are read
  std::uint32_t into = 0;   // the row that it is part of
  std::int32_t begin = 0, end = 0;
};

/// Plans rows whose keys are runs, of queries of their own: what follows of a row after the first goes
/// into its merge, and with `merge_all` each row has one, which tells its log-sum-exp.
/// \shape runs: those of a row follow each other; partials are numbered from first_partial on
[[nodiscard]] inline DecodePlan plan_runs(std::span<const KeyRun> runs, const DecodeSlots& slots,
                                          bool merge_all, std::uint32_t first_partial = 0) {
  std::vector<std::int32_t> lengths;
  lengths.reserve(runs.size());
  for (const KeyRun& run : runs) lengths.push_back(run.end - run.begin);
  DecodePlan plan = plan_decode(std::span<const std::int32_t>(lengths), attention::Causal(), slots);
  std::vector<std::uint32_t> parts(runs.size(), 0), begin(runs.size(), 0);
  for (const DecodeWork& w : plan.work) ++parts[w.sequence];
  plan.merges.clear();
  plan.partials = 0;
  for (std::size_t r = 0; r < runs.size();) {
    MergeWork merge{runs[r].into, first_partial + plan.partials, 0};
    std::size_t end = r;
    for (; end < runs.size() && runs[end].into == runs[r].into; ++end) {
      begin[end] = merge.begin + merge.count;
      merge.count += parts[end];
    }
    if (merge.count > 1 || merge_all) {
      plan.merges.push_back(merge);
      plan.partials += merge.count;
    } else {
      begin[r] = ~0u;
    }
    r = end;
  }
  for (DecodeWork& w : plan.work) {
    const std::size_t r = w.sequence;
    w.partial = begin[r] == ~0u ? -1 : static_cast<std::int32_t>(begin[r]++);
    w.sequence = runs[r].query;
    w.begin += runs[r].begin;
    w.end += runs[r].begin;
  }
  return plan;
}

}  // namespace quire::kernels
