#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/attention/concepts.hpp>
#include <quire/core/error.hpp>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/kernels/paged_prefill/paged_prefill.cuh>

namespace quire::kernels {

/// Sequences of a batch whose tables begin with the same blocks.
struct SharedPrefix {
  std::vector<std::uint32_t> sequences;
  std::int32_t tokens = 0;  // that they share; fewer than any of them has
};

/// How a decode step with shared prefixes is spread over a device.
struct CascadePlan {
  DecodePlan own;  // what each sequence has alone, and all merges
  std::vector<PrefixGroup> groups;
  std::vector<PrefixWork> work;
  std::vector<std::uint32_t> members, first_partial;  // \shape (rows of all groups)
};

/// Plans a decode step: each prefix is attended to once for its group, each sequence to the rest.
/// \shape lengths, table_begin (sequences) \unit tile: query vectors of a block of threads
/// most_parts: that a prefix is cut into, of each of which every sequence has a partial result
/// \pre no sequence is in two groups
/// \errors usage when a prefix reaches to a sequence's last token, or names one that is not there
template <AttentionVariant Variant>
[[nodiscard]] CascadePlan plan_cascade(std::span<const std::int32_t> lengths,
                                       std::span<const std::uint32_t> table_begin,
                                       std::span<const SharedPrefix> prefixes,
                                       const Variant& variant, const DecodeSlots& slots,
                                       std::uint32_t kv_heads, std::uint32_t group,
                                       std::uint32_t tile, std::uint32_t most_parts = 0xffffffffu) {
  CascadePlan plan;
  std::vector<std::int32_t> begin(lengths.size(), 0), rest(lengths.begin(), lengths.end());
  std::vector<std::uint32_t> shared_parts(lengths.size(), 0);
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    if (lengths[s] > 0) begin[s] = static_cast<std::int32_t>(variant.first_visible(lengths[s] - 1));
  }
  for (const SharedPrefix& prefix : prefixes) {
    std::int32_t first = std::numeric_limits<std::int32_t>::max();
    for (const std::uint32_t s : prefix.sequences) {
      if (s >= lengths.size() || lengths[s] <= prefix.tokens) {
        throw usage_error("plan_cascade",
                          "sequence " + std::to_string(s) + " has no token beyond a prefix of " +
                              std::to_string(prefix.tokens),
                          "prefixes shorter than their sequences");
      }
      first = std::min(first, begin[s]);
      begin[s] = std::max(begin[s], prefix.tokens);
    }
    const std::int32_t tokens = prefix.tokens - first;
    if (prefix.sequences.empty() || tokens <= 0) continue;  // beyond every window
    const auto rows = static_cast<std::uint32_t>(prefix.sequences.size());
    const std::uint32_t tiles = (rows * group + tile - 1) / tile;
    const auto least_tokens = static_cast<std::uint32_t>(std::max(slots.least_tokens, 1));
    const auto most = std::clamp(static_cast<std::uint32_t>(tokens) / least_tokens, 1u, most_parts);
    std::int32_t parts =
        static_cast<std::int32_t>(std::clamp(slots.blocks / (tiles * kv_heads), 1u, most));
    // whole tiles of 16 tokens each
    const std::int32_t each = ((tokens + parts - 1) / parts + 15) / 16 * 16;
    parts = (tokens + each - 1) / each;
    const auto at = static_cast<std::uint32_t>(plan.groups.size());
    plan.groups.push_back({static_cast<std::uint32_t>(plan.members.size()), rows,
                           table_begin[prefix.sequences.front()]});
    for (const std::uint32_t s : prefix.sequences) {
      plan.members.push_back(s);
      shared_parts[s] = static_cast<std::uint32_t>(parts);
    }
    for (std::uint32_t first_vector = 0; first_vector < rows * group; first_vector += tile) {
      for (std::int32_t i = 0; i < parts; ++i) {
        plan.work.push_back({at, first_vector, first + i * each,
                             std::min(first + (i + 1) * each, prefix.tokens),
                             static_cast<std::uint32_t>(i)});
      }
    }
  }

  for (std::size_t s = 0; s < lengths.size(); ++s) rest[s] -= begin[s];
  plan.own = plan_decode(std::span<const std::int32_t>(rest), attention::Causal(), slots);
  // A sequence's parts lie together: those of the prefix, then its own.
  std::vector<std::uint32_t> own_parts(lengths.size(), 1);
  std::vector<std::int32_t> own_first(lengths.size(), 0);  // in the decode plan's numbering
  for (const MergeWork& m : plan.own.merges) {
    own_parts[m.sequence] = m.count;
    own_first[m.sequence] = static_cast<std::int32_t>(m.begin);
  }
  plan.own.merges.clear();
  std::vector<std::uint32_t> place(lengths.size(), 0);
  std::uint32_t partials = 0;
  for (std::uint32_t s = 0; s < lengths.size(); ++s) {
    place[s] = partials;
    const std::uint32_t count = shared_parts[s] + own_parts[s];
    if (count == 1) continue;
    plan.own.merges.push_back({s, partials, count});
    partials += count;
  }
  plan.own.partials = partials;
  for (DecodeWork& w : plan.own.work) {
    w.begin += begin[w.sequence];
    w.end += begin[w.sequence];
    if (shared_parts[w.sequence] + own_parts[w.sequence] == 1) continue;
    const std::int32_t part = w.partial < 0 ? 0 : w.partial - own_first[w.sequence];
    w.partial = static_cast<std::int32_t>(place[w.sequence] + shared_parts[w.sequence]) + part;
  }
  for (const std::uint32_t s : plan.members) plan.first_partial.push_back(place[s]);
  return plan;
}

/// Decode attention of a batch whose sequences share prefixes: the prefix's keys and values are read
/// once for a whole group, through matrix products of all its queries; what a sequence has alone
/// goes through paged_decode, and the states are merged.
/// `prefix`: its `work` and the arrays of the plan on the device; `prefixes`: how many there are.
/// \source Ye et al., "Cascade Inference", FlashInfer, 2024; Juravsky et al., "Hydragen", 2024
template <class Key, AttentionVariant Variant, DecodeTuning tuning = DecodeTuning{},
          PrefillTuning prefill = prefix_tuning>
void cascade(const SharedPrefixParams<typename Key::Query, Variant>& prefix, std::uint32_t prefixes,
             const PagedDecodeParams<typename Key::Query, Variant>& own, std::uint32_t work,
             const MergeWork* merge_work, std::uint32_t merges, simt::Stream stream = {}) {
  using Kernel = PagedPrefill<Key, Variant, prefill, true>;
  if (prefixes > 0) {
    simt::launch<Kernel>({{prefixes, prefix.cache.kv_heads}, Kernel::shared_bytes}, prefix, stream);
  }
  paged_decode<Key, Variant, tuning>(own, work, merge_work, merges, stream);
}

}  // namespace quire::kernels
