#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <optional>
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

/// Heads whose tasks take turns, tile by tile, and the most query vectors that such a task may have.
inline constexpr std::size_t most_together = 8, few_queries = 8;
/// Bytes that they may fetch ahead: a part of a second-level cache.
inline constexpr std::size_t bytes_together = std::size_t{192} << 10;
/// Heads of a sequence that one thread should take together: as many as leave each thread some.
[[nodiscard]] inline std::size_t together(const KvView<const std::byte>& cache, std::size_t tasks,
                                          std::size_t threads) {
  const std::size_t values =
      cache.value_slab_bytes == 0 ? cache.slab_bytes : cache.value_slab_bytes;
  const std::size_t tile = (cache.slab_bytes + values) / cache.block_tokens * tile_tokens;
  const std::size_t most =
      std::min({most_together, cache.kv_heads, tasks / threads, bytes_together / tile});
  if (most < 2) return 1;
  const std::size_t parts = (cache.kv_heads + most - 1) / most;  // of about the same size
  return (cache.kv_heads + parts - 1) / parts;
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
  const std::size_t few = detail::together(view, tasks.size(), threads.size());
  const std::size_t state = Workspace::state_floats(cache.head_dim, detail::few_queries);
  workspace.reserve(threads.size(), cache.head_dim, few * state);
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
  std::vector<std::size_t> begins;
  for (std::size_t i = 0; i < tasks.size();) {
    begins.push_back(i);
    const detail::Task& first = tasks[i++];
    while (i < tasks.size() && i - begins.back() < few && tasks[i].sequence == first.sequence &&
           tasks[i].first == first.first && first.count <= detail::few_queries) {
      ++i;
    }
  }
  begins.push_back(tasks.size());
  detail::share_out(begins.size() - 1, threads, [&](std::size_t i, std::size_t worker) {
    const std::size_t begin = begins[i], count = begins[i + 1] - begin;
    if (count == 1) return kernel(tasks[begin], worker).run();
    std::array<std::optional<Kernel>, detail::most_together> heads;
    for (std::size_t h = 0; h < count; ++h) {
      heads[h].emplace(view, queries, variant, tasks[begin + h], detail::TableKeys{},
                       workspace.part(worker), workspace.extra(worker) + h * state);
      heads[h]->begin();
    }
    for (bool more = true; more;) {
      for (std::size_t h = 0; h < count; ++h) more = heads[h]->step();
    }
    for (std::size_t h = 0; h < count; ++h) heads[h]->finish();
  });
}

}  // namespace quire::attention
