#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

#include <quire/attention/concepts.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/task_kernel.hpp>
#include <quire/attention/workspace.hpp>
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

/// Part of a task's keys.
struct Span {
  const Task* task = nullptr;
  std::size_t number = 0;
  std::size_t at = 0;       // where its result goes
  std::size_t of_task = 0;  // spans of the task, at its first one
};

/// Calls body(i, worker) for i in [0, count); whoever is free takes the next.
template <class Body>
void share_out(std::size_t count, ThreadPool& threads, const Body& body) {
  std::atomic<std::size_t> next{0};
  threads.parallel_for(std::min(threads.size(), count), [&](std::size_t worker) {
    for (std::size_t i = next++; i < count; i = next++) body(i, worker);
  });
}
}  // namespace detail

/// Attention of a ragged batch straight from the block tables: decoding, chunks of prompts and
/// whole prompts in one pass. Query heads that share a KV head are computed together, so that each
/// key and value is read once for all of them. A few long sequences are shared out along their context.
/// A row's bits depend on its query, its position and the keys and values before it: not on the
/// block size, on where a chunk begins, on the rest of the batch or on the number of threads.
/// \pre keys and values of all rows are written; heads % kv_heads == 0
template <kv_format::KvStorage Format, AttentionVariant Variant>
void paged(const KvView<const std::byte>& cache, const Queries& queries, const Variant& variant,
           Workspace& workspace, ThreadPool& threads) {
  const std::vector<detail::Task> tasks = detail::tasks_of(queries, cache.kv_heads);
  const KvView<const std::byte> view = cache.template with_codec<Format>();
  using Kernel = detail::TaskKernel<kv_format::storage_of<Format>, Variant>;
  workspace.reserve(threads.size(), cache.head_dim);
  const auto kernel = [&](const detail::Task& task, std::size_t worker) {
    return Kernel(view, queries, variant, task, detail::TableKeys{}, workspace.part(worker));
  };
  if (threads.size() > 1 && tasks.size() < 4 * threads.size()) {
    // Few tasks: their spans are computed one by one, by whoever is free, and merged in order.
    std::vector<detail::Span> spans;
    std::size_t floats = 0;
    for (const detail::Task& task : tasks) {
      const Kernel one = kernel(task, 0);
      const auto [first, last] = one.spans();
      for (std::size_t s = first; s < last; ++s, floats += one.span_floats()) {
        spans.push_back({&task, s, floats, s == first ? last - first : 0});
      }
    }
    if (spans.size() > tasks.size()) {
      float* results = workspace.spans(floats);
      detail::share_out(spans.size(), threads, [&](std::size_t i, std::size_t worker) {
        kernel(*spans[i].task, worker).run_span(spans[i].number, results + spans[i].at);
      });
      detail::share_out(spans.size(), threads, [&](std::size_t i, std::size_t worker) {
        if (spans[i].of_task == 0) return;
        kernel(*spans[i].task, worker).merge(results + spans[i].at, spans[i].of_task);
      });
      return;
    }
  }
  // Longest first would balance better; in order keeps neighbours in the cache.
  detail::share_out(tasks.size(), threads,
                    [&](std::size_t i, std::size_t worker) { kernel(tasks[i], worker).run(); });
}

}  // namespace quire::attention
