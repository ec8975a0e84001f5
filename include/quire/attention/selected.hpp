#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/paged.hpp>
#include <quire/attention/task_kernel.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/core/units.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/model/shape.hpp>
#include <quire/retention/concepts.hpp>

namespace quire::attention {

/// The smallest and the largest value of each dimension over the keys of every block.
/// \shape (blocks, layers, kv_heads, 2, head_dim)
class PageRanges {
 public:
  PageRanges() = default;
  PageRanges(const model::Shape& shape, BlockCount blocks)
      : kv_heads_(static_cast<std::size_t>(shape.kv_heads)),
        head_dim_(static_cast<std::size_t>(shape.head_dim)),
        block_(static_cast<std::size_t>(shape.layers) * kv_heads_ * 2 * head_dim_),
        memory_(static_cast<std::size_t>(blocks.value) * block_) {}

  /// Smallest values, then largest. \shape (2, head_dim)
  [[nodiscard]] float* at(BlockId block, std::size_t layer, std::size_t head) {
    return memory_.data() + block.value * block_ + (layer * kv_heads_ + head) * 2 * head_dim_;
  }
  [[nodiscard]] const float* at(BlockId block, std::size_t layer, std::size_t head) const {
    return const_cast<PageRanges*>(this)->at(block, layer, head);
  }
  /// Takes one more key in; the first of a block starts anew. \shape key (head_dim)
  void add(BlockId block, std::size_t layer, std::size_t head, bool first, const float* key) {
    float *smallest = at(block, layer, head), *largest = smallest + head_dim_;
    for (std::size_t i = 0; i < head_dim_; ++i) {
      smallest[i] = first ? key[i] : std::min(smallest[i], key[i]);
      largest[i] = first ? key[i] : std::max(largest[i], key[i]);
    }
  }
  void copy(BlockId from, BlockId to) {
    std::copy_n(memory_.data() + from.value * block_, block_, memory_.data() + to.value * block_);
  }

 private:
  std::size_t kv_heads_ = 0, head_dim_ = 0, block_ = 0;
  AlignedArray<float> memory_;
};

namespace detail {

/// \errors state error that names the policy: pages that a sequence does not have, twice one page, or not
/// the query's own.
template <class Policy>
void check_chosen(std::span<const std::uint32_t> chosen, std::size_t pages) {
  if (!chosen.empty() && chosen.back() + std::size_t{1} == pages &&
      std::adjacent_find(chosen.begin(), chosen.end(), std::greater_equal<>()) == chosen.end()) {
    return;
  }
  throw state_error("retention policy " + std::string(Policy::name),
                    "choose() names pages out of order or out of range, or leaves the last one out",
                    "numbers below " + std::to_string(pages) + " in rising order, " +
                        std::to_string(pages - 1) + " the last of them");
}

/// Refuses a page's score that is no number, which would come last or first as a sort happens to take it.
/// Where query or keys are no numbers themselves, or too large for a sum of products, it is the model's
/// fault, which shows in what it gives. \shape query (head_dim); range (2, head_dim)
/// \errors state error that names the policy
template <class Policy>
void check_bound(float score, std::span<const float> query, std::span<const float> range) {
  if (!std::isnan(score)) return;
  double largest[2] = {0, 0};
  const std::span<const float> both[2] = {query, range};
  for (std::size_t i = 0; i < 2; ++i) {
    for (const float x : both[i]) {
      if (!std::isfinite(x)) return;
      largest[i] = std::max(largest[i], std::abs(static_cast<double>(x)));
    }
  }
  const double most = largest[0] * largest[1] * static_cast<double>(query.size());
  if (most > std::numeric_limits<float>::max()) return;
  throw state_error("retention policy " + std::string(Policy::name),
                    "bound() gives NaN for a page whose keys are numbers, as the query is",
                    "a number, the higher the more the page matters");
}

/// The keys of some pages of a sequence, or of all.
class PageKeys {
 public:
  static constexpr bool listed = true, shifts = false, votes = false;

  /// pages: the chosen ones, of which the query's own is the last; empty: all.
  PageKeys(const SequenceRows& sequence, std::span<const std::uint32_t> pages, std::size_t tokens)
      : pages_(pages), tokens_(tokens), before_(sequence.position) {
    const auto size = static_cast<std::int64_t>(tokens);
    if (!pages.empty()) {
      before_ = (std::ssize(pages) - 1) * size + sequence.position % size;
    }
  }
  [[nodiscard]] std::int64_t before() const { return before_; }
  [[nodiscard]] std::size_t slot(std::size_t p) const {
    return pages_.empty() ? p : pages_[p / tokens_] * tokens_ + p % tokens_;
  }

 private:
  std::span<const std::uint32_t> pages_;
  std::size_t tokens_;
  std::int64_t before_;
};

}  // namespace detail

/// The first tokens of a block.
struct PartOfPage {
  BlockId block;
  std::size_t tokens = 0;
};

/// Makes the ranges of a block anew from its keys.
template <kv_format::KvStorage Format>
void find_range(const KvView<std::byte>& cache, const PartOfPage& part, std::size_t layer,
                PageRanges& ranges) {
  std::vector<float> key(cache.head_dim);
  for (std::size_t h = 0; h < cache.kv_heads; ++h) {
    for (std::size_t slot = 0; slot < part.tokens; ++slot) {
      read_key<Format>(cache, part.block, h, slot, key.data());
      ranges.add(part.block, layer, h, slot == 0, key.data());
    }
  }
}

/// Brings the ranges up to date with keys that write_kv() has written.
template <kv_format::KvStorage Format>
void add_to_ranges(const KvView<std::byte>& cache, std::span<const SequenceRows> sequences,
                   std::size_t layer, PageRanges& ranges) {
  std::vector<float> key(cache.head_dim);
  for (const SequenceRows& sequence : sequences) {
    for (std::size_t i = 0; i < sequence.rows; ++i) {
      const std::size_t position = static_cast<std::size_t>(sequence.position) + i;
      const BlockId block = sequence.blocks[position / cache.block_tokens];
      const std::size_t slot = position % cache.block_tokens;
      for (std::size_t h = 0; h < cache.kv_heads; ++h) {
        // as stored, so that the ranges bound what the kernel will read
        read_key<Format>(cache, block, h, slot, key.data());
        ranges.add(block, layer, h, slot == 0, key.data());
      }
    }
  }
}

/// Attention in which each sequence that adds one token reads only the pages that the policy chooses
/// for it; longer ones, and layers that attend to all, read everything. Gives the bits of paged()
/// where all pages are chosen. Returns the pages read and, second, those there were, of sequences
/// with one token.
/// \pre as paged(); the ranges hold this layer's keys
/// \errors state error: the policy chooses what is not there, or gives a page a score that is no number
template <kv_format::KvStorage Format, PageSelectingPolicy Policy>
std::pair<std::int64_t, std::int64_t> selected(const KvView<const std::byte>& cache,
                                               const Queries& queries, const Policy& policy,
                                               std::size_t layer, const PageRanges& ranges,
                                               Workspace& workspace, ThreadPool& threads) {
  const std::size_t group = queries.heads / cache.kv_heads;
  std::vector<std::vector<std::uint32_t>> chosen(queries.sequences.size() * cache.kv_heads);
  std::atomic<std::int64_t> read{0}, held{0};
  threads.parallel_for(chosen.size(), [&](std::size_t i) {
    const SequenceRows& s = queries.sequences[i / cache.kv_heads];
    const std::size_t head = i % cache.kv_heads;
    const std::size_t pages = static_cast<std::size_t>(s.position) / cache.block_tokens + 1;
    if (s.rows != 1) return;
    held += static_cast<std::int64_t>(pages);
    if (!policy.attends_to_all(static_cast<std::int64_t>(layer), pages)) {
      std::vector<float> bounds(pages);
      const float* q = queries.q + s.row * queries.q_stride + head * group * cache.head_dim;
      for (std::size_t p = 0; p < pages; ++p) {
        const float* smallest = ranges.at(s.blocks[p], layer, head);
        bounds[p] = -std::numeric_limits<float>::infinity();
        for (std::size_t g = 0; g < group; ++g) {
          const std::span<const float> query(q + g * cache.head_dim, cache.head_dim);
          const float score = policy.bound(query, smallest, smallest + cache.head_dim);
          detail::check_bound<Policy>(score, query, {smallest, 2 * cache.head_dim});
          bounds[p] = std::max(bounds[p], score);
        }
      }
      policy.choose(bounds, chosen[i]);
      detail::check_chosen<Policy>(chosen[i], pages);
    }
    read += static_cast<std::int64_t>(chosen[i].empty() ? pages : chosen[i].size());
  });
  const std::vector<detail::Task>& tasks = workspace.shares().tasks;
  detail::find_tasks(queries, cache.kv_heads, workspace.shares());
  const std::size_t workers = std::min(threads.size(), tasks.size());
  workspace.reserve(workers, cache.head_dim);
  const KvView<const std::byte> view = cache.template with_codec<Format>();
  std::atomic<std::size_t> next{0};
  threads.parallel_for(workers, [&](std::size_t worker) {
    for (std::size_t i = next++; i < tasks.size(); i = next++) {
      const detail::Task& task = tasks[i];
      const detail::PageKeys keys(queries.sequences[task.sequence],
                                  chosen[task.sequence * cache.kv_heads + task.kv_head],
                                  cache.block_tokens);
      detail::TaskKernel<kv_format::storage_of<Format>, Causal, detail::PageKeys>(
          view, queries, Causal{}, task, keys, workspace.part(worker))
          .run();
    }
  });
  return {read.load(), held.load()};
}

}  // namespace quire::attention
