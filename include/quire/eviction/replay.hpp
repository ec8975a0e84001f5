// mechanism: runs a string of block references over a policy and counts hits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include <quire/admission/always.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>

namespace quire::eviction {

/// The blocks that a trace's requests want, in order: one row a request, from its first block on.
class ReferenceString {
 public:
  struct Row {
    std::size_t begin = 0;  // into references()
    std::size_t end = 0;
    TenantId tenant{};
    std::int32_t priority = 0;
    std::int32_t category = 0;
  };

  /// Adds a request. Equal names mean equal text from the beginning of the prompt; 0 names nothing,
  /// and policies remember nothing by it.
  void add(std::span<const std::uint64_t> contents, TenantId tenant = {}, std::int32_t priority = 0,
           std::int32_t category = 0) {
    const std::size_t begin = references_.size();
    for (const std::uint64_t name : contents) {
      const auto [at, first_time] = index_.emplace(name, names_.size());
      if (first_time) {
        names_.push_back(name);
        last_use_.push_back(never);
      }
      const std::uint32_t content = at->second;
      if (last_use_[content] != never) next_use_[last_use_[content]] = references_.size();
      last_use_[content] = references_.size();
      references_.push_back(content);
      next_use_.push_back(never);
    }
    rows_.push_back({begin, references_.size(), tenant, priority, category});
  }

  static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
  /// Indices of names, in order of first appearance. \shape (references)
  [[nodiscard]] std::span<const std::uint32_t> references() const { return references_; }
  /// Index of the next reference to the same content, or never. \shape (references)
  [[nodiscard]] std::span<const std::size_t> next_use() const { return next_use_; }
  [[nodiscard]] std::span<const Row> rows() const { return rows_; }
  [[nodiscard]] std::size_t distinct() const { return names_.size(); }
  [[nodiscard]] std::uint64_t name(std::uint32_t content) const { return names_[content]; }

 private:
  std::vector<std::uint32_t> references_;
  std::vector<std::size_t> next_use_;
  std::vector<Row> rows_;
  std::vector<std::uint64_t> names_;
  std::vector<std::size_t> last_use_;
  std::unordered_map<std::uint64_t, std::uint32_t> index_;
};

struct ReplayOptions {
  /// Off: each reference stands for itself, as in the literature on object caches. On: a block
  /// counts as a hit only if all blocks before it in its row do, blocks of the running row stay,
  /// and a block goes only after the blocks that continue it.
  bool prefix_rule = false;
  Tokens block_tokens = 512;
  Bytes block_bytes = 512 * 131072;  // Llama-3-8B in bf16: 128 KiB a token
  /// Arithmetic of a prompt token: so much each, and so much per token before it. Llama-3-8B.
  Flops dense_flops = 1.6e10;
  Flops attention_flops = 524288.0;
};

struct ReplayCounts {
  std::uint64_t references = 0;
  std::uint64_t hits = 0;
  std::uint64_t evictions = 0;
  std::uint64_t refused = 0;  // not cached, because the running row alone fills the cache
  std::uint64_t not_admitted = 0;
  [[nodiscard]] double hit_ratio() const {
    return references == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(references);
  }
  friend bool operator==(const ReplayCounts&, const ReplayCounts&) = default;
};

/// Plays `trace` against a cache of `capacity` blocks, empty at first, ordered by `policy` and entered
/// by leave of `admission`. Under the prefix rule nothing that continues a refused block enters.
/// \pre policy and admission are built for at least `capacity` blocks and have seen nothing.
/// \complexity O(references) plus the policies' own.
template <EvictionPolicy Policy, AdmissionPolicy Admission>
ReplayCounts replay(Policy& policy, Admission& admission, BlockCount capacity,
                    const ReferenceString& trace, const ReplayOptions& options = {}) {
  constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  constexpr std::size_t names_ahead = 8;  // lines that come from memory at once
  struct Block {
    std::uint32_t content = none;
    std::uint32_t parent = none;
    std::uint32_t children = 0;
    bool in_use = false;
  };
  std::vector<Block> blocks(static_cast<std::size_t>(capacity.value));
  std::vector<std::uint32_t> block_of(trace.distinct(), none);
  std::vector<std::uint32_t> free;
  for (std::size_t i = blocks.size(); i-- > 0;) free.push_back(static_cast<std::uint32_t>(i));

  ReplayCounts counts;
  const auto references = trace.references();
  const auto leaf = [&](std::uint32_t b) { return blocks[b].children == 0; };
  const auto evict = [&] {
    const std::optional<BlockId> victim = policy.victim();
    if (!victim) return false;
    policy.on_remove(*victim);
    Block& gone = blocks[victim->value];
    block_of[gone.content] = none;
    if (gone.parent != none) {
      Block& parent = blocks[gone.parent];
      --parent.children;
      if (leaf(gone.parent) && !parent.in_use) policy.set_evictable(BlockId{gone.parent}, true);
    }
    gone = {};
    free.push_back(victim->value);
    ++counts.evictions;
    return true;
  };

  std::vector<std::uint32_t> row_blocks;
  for (const ReferenceString::Row& row : trace.rows()) {
    row_blocks.clear();
    bool prefix_cached = true;
    bool admitting = true;
    std::uint32_t before = none;
    for (std::size_t i = row.begin; i < row.end; ++i) {
      const std::uint32_t content = references[i];
      const double position =
          static_cast<double>(i - row.begin) * static_cast<double>(options.block_tokens.value);
      std::optional<std::uint64_t> next_use(0);
      next_use = trace.next_use()[i];
      if (next_use == ReferenceString::never) next_use.reset();
      const BlockContext context{
          .position = static_cast<std::int64_t>(i - row.begin) * options.block_tokens.value,
          .length = static_cast<std::int64_t>(row.end - row.begin) * options.block_tokens.value,
          .recompute = (options.dense_flops + options.attention_flops * position) *
                       static_cast<double>(options.block_tokens.value),
          .size = options.block_bytes,
          .tenant = row.tenant,
          .priority = row.priority,
          .category = row.category,
          .content = trace.name(content),
          .next_use = next_use,
      };

      if constexpr (FetchesNames<Policy>) {
        if (i + names_ahead < references.size()) {
          const std::uint32_t then = references[i + names_ahead];
          if (block_of[then] == none) policy.prefetch(trace.name(then));
        }
      }

      ++counts.references;
      admission.on_request(context);
      std::uint32_t b = block_of[content];
      if (b != none) {
        if (!options.prefix_rule || prefix_cached) ++counts.hits;
        if (options.prefix_rule && !blocks[b].in_use) {
          blocks[b].in_use = true;
          if (leaf(b)) policy.set_evictable(BlockId{b}, false);
          row_blocks.push_back(b);
        }
        policy.on_access(BlockId{b}, context);
      } else {
        prefix_cached = false;
        if constexpr (!Admission::admits_all) {
          std::optional<std::uint64_t> rival;
          if (free.empty()) {
            const std::optional<BlockId> victim = policy.victim();
            if (victim) rival = trace.name(blocks[victim->value].content);
          }
          if (!admitting || !admission.admit(context, rival)) {
            ++counts.not_admitted;
            admitting = !options.prefix_rule;
            continue;
          }
        }
        if (free.empty() && !evict()) {  // nothing behind an uncached block can be found either
          counts.refused += row.end - i;
          counts.references += row.end - i - 1;
          break;
        }
        b = free.back();
        free.pop_back();
        block_of[content] = b;
        blocks[b].content = content;
        policy.on_insert(BlockId{b}, context);
        if (options.prefix_rule) {
          blocks[b].in_use = true;
          blocks[b].parent = before;
          if (before != none) ++blocks[before].children;
          row_blocks.push_back(b);
        } else {
          policy.set_evictable(BlockId{b}, true);
        }
      }
      before = b;
    }
    while (!row_blocks.empty()) {  // released last to first
      const std::uint32_t b = row_blocks.back();
      row_blocks.pop_back();
      blocks[b].in_use = false;
      if (leaf(b)) policy.set_evictable(BlockId{b}, true);
    }
  }
  return counts;
}

/// The same where everything is admitted.
template <EvictionPolicy Policy>
ReplayCounts replay(Policy& policy, BlockCount capacity, const ReferenceString& trace,
                    const ReplayOptions& options = {}) {
  admission::Always always(capacity);
  return replay(policy, always, capacity, trace, options);
}

}  // namespace quire::eviction
