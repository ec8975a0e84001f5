#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

#include <quire/attention/concepts.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/task_kernel.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/codec.hpp>

namespace quire::attention {

namespace detail {
/// Cuts a batch into tasks.
[[nodiscard]] inline std::vector<Task> tasks_of(const Queries& queries, std::size_t kv_heads) {
  const std::size_t group = queries.heads / kv_heads;
  std::vector<Task> tasks;
  for (std::size_t s = 0; s < queries.sequences.size(); ++s) {
    const std::size_t vectors = queries.sequences[s].rows * group;
    for (std::size_t first = 0; first < vectors; first += tile_queries) {
      for (std::size_t h = 0; h < kv_heads; ++h) {
        tasks.push_back({s, h, first, std::min(tile_queries, vectors - first)});
      }
    }
  }
  return tasks;
}
}  // namespace detail

/// Attention of a ragged batch straight from the block tables: decoding, chunks of prompts and
/// whole prompts in one pass. Query heads that share a KV head are computed together, so that each
/// key and value is read once for all of them.
/// A row's bits depend on its query, its position and the keys and values before it: not on the
/// block size, on where a chunk begins, on the rest of the batch or on the number of threads.
/// \pre keys and values of all rows are written; heads % kv_heads == 0
template <kv_format::KvStorage Format, AttentionVariant Variant>
void paged(const KvView<const std::byte>& cache, const Queries& queries, const Variant& variant,
           Workspace& workspace, ThreadPool& threads) {
  const std::vector<detail::Task> tasks = detail::tasks_of(queries, cache.kv_heads);
  // Longest first would balance better; in order keeps neighbours in the cache.
  const std::size_t workers = std::min(threads.size(), tasks.size());
  workspace.reserve(workers, cache.head_dim);
  const KvView<const std::byte> view = cache.template with_codec<Format>();
  std::atomic<std::size_t> next{0};
  threads.parallel_for(workers, [&](std::size_t worker) {
    for (std::size_t i = next++; i < tasks.size(); i = next++) {
      detail::TaskKernel<kv_format::storage_of<Format>, Variant>(
          view, queries, variant, tasks[i], detail::TableKeys{}, workspace.part(worker))
          .run();
    }
  });
}

}  // namespace quire::attention
